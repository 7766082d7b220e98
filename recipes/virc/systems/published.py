"""The published systems, with a YAML or without: what each is, which components it needs and which of them are there.

`field/NAME.yaml` is one published system. `catalog/components.yaml` names the files of this package that provide each
component.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.core.errors import ConfigError
from virc.systems.names import HubId, Name

PACKAGE = Path(__file__).parent
"""The folder of this package's systems."""
FIELD = PACKAGE / "field"
COMPONENTS = PACKAGE / "catalog" / "components.yaml"

Kind = Literal["own", "works", "ran", "partly", "to-be-supplied", "planned", "unsupported"]
"""`own`: of a file outside this package, which no test of this package runs. `ran`: all its stages did."""
Line = Annotated[str, Meta(min_length=1, pattern=r"\A[^\n]+\Z")]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One published system.

    Args:
        name: of its file, and of its YAML where it has one.
        row: its number in the list of the field.
        title: as its authors call it.
        about: what it is, one line.
        stages: how it is trained, as published.
        base: models it starts from, as published; None where that is not known.
        repo: of its code on GitHub; None where none is known. Some hold no code of training.
        needs: ids of components.
        unknown: what of it is not public.
        outside: what of it no component can express.
        unsupported: why none of it can be expressed.
    """

    name: Name
    row: int
    title: Line
    about: Line
    stages: Line
    base: Line | None = None
    repo: HubId | None = None
    needs: tuple[str, ...] = ()
    unknown: Line | None = None
    outside: Line | None = None
    unsupported: Line | None = None


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part that systems are made of.

    Args:
        about: what it is, one line.
        provided: files of this package that provide it together, counted from its folder; empty: nothing does yet.
        tests: files of this repository that show it.
        lacks: published system -> what that needs of it and is not provided.
    """

    about: Line
    provided: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    lacks: Mapping[Name, Line] = {}

    @property
    def is_there(self) -> bool:
        """Whether this package provides it."""
        return bool(self.provided) and all((PACKAGE.parent / file).is_file() for file in self.provided)


class State(msgspec.Struct, frozen=True):
    """How far a system is supported, and what that lacks; `str` of it is both."""

    kind: Kind
    what: str = ""

    def __str__(self) -> str:
        kind = self.kind.replace("-", " ")
        return f"{kind}: {self.what}" if self.what else kind


def names() -> list[str]:
    """Names of the published systems; nothing is read for it."""
    return sorted(file.stem for file in FIELD.glob("*.yaml"))


def row(name: str) -> Row | None:
    """The published system of that name; None where there is none."""
    return _read(name) if name in names() else None


def field() -> list[Row]:
    """Every published system, in the order of their numbers."""
    return sorted(map(_read, names()), key=lambda each: each.row)


def _read(name: str) -> Row:
    return msgspec.yaml.decode((FIELD / f"{name}.yaml").read_bytes(), type=Row)


@cache
def components() -> Mapping[str, Component]:
    """Every component by its id."""
    return msgspec.yaml.decode(COMPONENTS.read_bytes(), type=dict[str, Component])


def lacking(published: Row) -> dict[str, str]:
    """Components that it needs and this package does not provide, by their ids, each with the part that is missing.

    The part is empty where all of it is.
    """
    needed = {each: components()[each] for each in published.needs}
    return {
        each: part if found.is_there else ""
        for each, found in needed.items()
        if (part := found.lacks.get(published.name, "")) or not found.is_there
    }


def of_listed(published: Row) -> State:
    """The state of a published system without a YAML of its own."""
    if published.unsupported:
        return State("unsupported", published.unsupported)
    missing = needs(published) if lacking(published) else ""
    if published.unknown:  # whatever this package may come to provide, this has to come from its authors
        return State("to-be-supplied", "; ".join(filter(None, (published.unknown, missing))))
    return State("planned", missing or "needs a YAML alone")


def refusal(name: str) -> ConfigError | None:
    """Why a published system cannot be used that has no YAML; None where it is none of the field."""
    published = row(name)
    if published is None:
        return None
    return ConfigError(f"{name} is {of_listed(published)}", f"virc systems show {name}")


def needs(published: Row) -> str:
    """The components that it lacks, as a clause."""
    missing = lacking(published).items()
    return "needs " + ", ".join(f"{each} ({part})" if part else each for each, part in missing)
