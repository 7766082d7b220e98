"""The published systems, with a YAML or without: what each is, which components it needs and which of them are there.

`field.yaml` in the folder of a system is a published one; that of ViRC is in `catalog/`. `catalog/components.yaml` has
the files of this package that provide each component.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.core import plugins
from virc.core.errors import ConfigError
from virc.systems.names import HubId, Name

PACKAGE = Path(__file__).parent
"""The folder of this package's systems."""
COMPONENTS = PACKAGE / "catalog" / "components.yaml"

Kind = Literal["own", "works", "reconstructed", "ran", "partly", "to-be-supplied", "planned", "unsupported"]
"""`own`: of a file of the user's, which no test runs. `reconstructed`: works, with assumptions where its authors left
something out. `ran`: all its stages did."""
Line = Annotated[str, Meta(min_length=1, pattern=r"\A[^\n]+\Z")]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One published system.

    Args:
        name: of its YAML, where it has one.
        row: its number in the list of the field.
        title: as its authors call it.
        about: what it is, one line.
        stages: how it is trained, as published.
        base: models it starts from, as published; None where that is not known.
        repo: of its code on GitHub; None where none is known. Some hold no code of training.
        needs: components, by their names.
        unknown: what of it is not public.
        reported: what others report of it, or what became public since, that no YAML here has yet.
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
    reported: Line | None = None
    outside: Line | None = None
    unsupported: Line | None = None


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part that systems are made of.

    Args:
        about: what it is, one line.
        kind: what it is a part of, a key of `components.yaml`.
        provided: files of this package that provide it together, counted from its folder; empty: nothing does yet.
        lacks: published system -> what that needs of it and is not provided.
    """

    about: Line
    kind: str = ""
    provided: tuple[str, ...] = ()
    lacks: Mapping[Name, Line] = {}

    @property
    def is_there(self) -> bool:
        return bool(self.provided) and all((PACKAGE.parent / file).is_file() for file in self.provided)


class State(msgspec.Struct, frozen=True):
    """How far a system is supported, and what that lacks; `str` of it is both."""

    kind: Kind
    what: str = ""

    def __str__(self) -> str:
        kind = self.kind.replace("-", " ")
        return f"{kind}: {self.what}" if self.what else kind


@cache
def rows() -> Mapping[str, Row]:
    files = [COMPONENTS.with_name("field.yaml"), *plugins.in_system_folders("field.yaml")]
    found = (msgspec.yaml.decode(file.read_bytes(), type=Row) for file in files)
    return {each.name: each for each in sorted(found, key=lambda each: each.row)}


@cache
def components() -> Mapping[str, Component]:
    kinds = msgspec.yaml.decode(COMPONENTS.read_bytes(), type=dict[str, dict[str, Component]])
    return {
        name: msgspec.structs.replace(found, kind=kind)
        for kind, named in kinds.items()
        for name, found in named.items()
    }


def lacking(published: Row) -> dict[str, str]:
    """Components that it needs and this package lacks, each with the part that is missing, "" for all of it."""
    needed = {each: components()[each] for each in published.needs}
    return {
        each: part if found.is_there else ""
        for each, found in needed.items()
        if (part := found.lacks.get(published.name, "")) or not found.is_there
    }


def is_beside(component: str) -> bool:
    """Whether a component makes rows, or evaluates: published rows can be trained on without it."""
    return components()[component].kind in ("rows", "evaluation")


def of_listed(published: Row) -> State:
    if published.unsupported:
        return State("unsupported", published.unsupported)
    missing = needs(published) if lacking(published) else ""
    if published.unknown:  # whatever this package may come to provide, this has to come from its authors
        return State("to-be-supplied", "; ".join(filter(None, (published.unknown, missing))))
    return State("planned", missing or "needs a YAML alone")


def refusal(name: str) -> ConfigError | None:
    published = rows().get(name)
    if published is None:
        return None
    return ConfigError(f"{name} is {of_listed(published)}", f"virc systems show {name}")


def needs(published: Row) -> str:
    missing = lacking(published).items()
    return "needs: " + ", ".join(f"{each} ({part})" if part else each for each, part in missing)
