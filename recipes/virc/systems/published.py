"""The published systems, with a YAML or without: what each is, what it needs, and what of that is not here.

`field.yaml` in the folder of a system is a published one.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.core import plugins
from virc.core.errors import ConfigError
from virc.systems.names import HubId, Name

Kind = Literal["own", "works", "reconstructed", "ran", "partly", "to-be-supplied", "planned", "unsupported"]
"""`own`: of a file of the user's, which no test runs. `reconstructed`: works, with assumptions where its authors left
something out. `ran`: all its stages did."""
Line = Annotated[str, Meta(min_length=1, pattern=r"\A[^\n]+\Z")]


class PublishedSystem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One published system.

    Args:
        name: of its YAML, where it has one.
        row: its number in the list of the field.
        title: as its authors call it.
        about: what it is, one line.
        stages: how it is trained, as published.
        base: models it starts from, as published; None where that is not known.
        repo: of its code on GitHub; None where none is known. Some hold no code of training.
        needs: what it consists of, in a few words each.
        lacks: of `needs`, what is not here -> the part that is missing, "" for all of it.
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
    lacks: Mapping[str, str] = {}
    unknown: Line | None = None
    reported: Line | None = None
    outside: Line | None = None
    unsupported: Line | None = None


class State(msgspec.Struct, frozen=True):
    """How far a system is supported, and what that lacks; `str` of it is both."""

    kind: Kind
    what: str = ""

    def __str__(self) -> str:
        kind = self.kind.replace("-", " ")
        return f"{kind}: {self.what}" if self.what else kind


@cache
def rows() -> Mapping[str, PublishedSystem]:
    found = (
        msgspec.yaml.decode(file.read_bytes(), type=PublishedSystem) for file in plugins.in_system_folders("field.yaml")
    )
    return {each.name: each for each in sorted(found, key=lambda each: each.row)}


def of_listed(published: PublishedSystem) -> State:
    if published.unsupported:
        return State("unsupported", published.unsupported)
    missing = needs(published)
    if published.unknown:  # whatever this package may come to provide, this has to come from its authors
        return State("to-be-supplied", "; ".join(filter(None, (published.unknown, missing))))
    return State("planned", missing or "needs a YAML alone")


def refusal(name: str) -> ConfigError | None:
    published = rows().get(name)
    if published is None:
        return None
    return ConfigError(f"{name} is {of_listed(published)}", f"virc systems show {name}")


def needs(published: PublishedSystem) -> str:
    missing = ", ".join(f"{each} ({part})" if part else each for each, part in published.lacks.items())
    return f"needs: {missing}" if missing else ""
