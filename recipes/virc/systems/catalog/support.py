"""How far each published system is supported: computed from files, written down nowhere.

`../field/NAME.yaml` is one published system: what it is and which components it needs. `components.yaml` says which
files of this package provide each component. `tested.json` says with which content a system's stages ran in their
engines; the tests of the engines write it. Only `virc systems ls|show` and the refusal of a name read them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError
from virc.systems.registry import PACKAGE, HubId, Name, System, discover

FIELD = PACKAGE / "field"
COMPONENTS = Path(__file__).with_name("components.yaml")
TESTED = Path(__file__).with_name("tested.json")

Kind = Literal["own", "works", "partly", "to-be-supplied", "planned", "unsupported"]
"""`own` are those of a file that is not of this package: nobody but their owner tests them."""
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


class Ran(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one stage ran in: an engine and its version (`verl 0.9.1`), for so many optimizer steps."""

    engine: str
    steps: int


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stages of a system that ran, and the digest of the YAML they ran with."""

    digest: str
    stages: Mapping[str, Ran]


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


@cache
def tested() -> Mapping[str, Record]:
    """The systems whose stages ran in their engines."""
    return msgspec.json.decode(TESTED.read_bytes(), type=dict[str, Record])


def digest(system: System) -> str:
    """SHA-256 of what a system's YAML says, in hexadecimal digits; comments and format do not count."""
    content = plain_yaml.read(system.file)
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


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


def of(published: Row) -> State:
    """The state of a published system."""
    system = discover().get(published.name)
    return of_system(system, published) if system else of_listed(published)


def of_listed(published: Row) -> State:
    """The state of a published system without a YAML of its own."""
    if published.unsupported:
        return State("unsupported", published.unsupported)
    if lacking(published):
        return State("planned", _needs(published))
    if published.unknown:
        return State("to-be-supplied", published.unknown)
    return State("planned", "needs a YAML alone")


def of_system(system: System, published: Row | None) -> State:
    """The state of a system that has a YAML.

    Args:
        published: what it stands for; None where nobody has published it.
    """
    if system.file.parent != PACKAGE:
        return State("own", str(system.file))
    if system.reward and system.reward.total is None:
        return State("to-be-supplied", system.reward.supply or "the total of its reward")
    gaps = [*_untested(system), *(_gaps(published) if published else ())]
    return State("partly", "; ".join(gaps)) if gaps else State("works")


def refusal(name: str) -> ConfigError | None:
    """Why a published system cannot be used that has no YAML; None where it is none of the field."""
    published = row(name)
    if published is None:
        return None
    return ConfigError(f"{name} is {of_listed(published)}", f"virc systems show {name}")


def _untested(system: System) -> Iterator[str]:
    ran = tested().get(system.name)
    if ran and ran.digest != digest(system):
        yield "changed since its stages were tested"
    elif missing := [stage for stage in system.stages if not ran or stage not in ran.stages]:
        yield f"not tested: {', '.join(missing)}"
    elif not system.stages:
        yield "no stages"


def _gaps(published: Row) -> Iterator[str]:
    if lacking(published):
        yield _needs(published)
    if published.unknown:
        yield f"to be supplied: {published.unknown}"
    if published.outside:
        yield f"not: {published.outside}"


def _needs(published: Row) -> str:
    missing = lacking(published).items()
    return "needs " + ", ".join(f"{each} ({part})" if part else each for each, part in missing)
