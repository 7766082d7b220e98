"""The kinds of stages: what each runs in."""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from virc.core.errors import ConfigError
from virc.core.text import plain

Kind = Literal["sft", "dpo", "rl"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of stages: modules of `virc.stages`, each with a `Config`."""
Engine = Literal["llamafactory", "verl"]


class Runs(msgspec.Struct, frozen=True):
    """What stages of a kind run in: a folder of `virc.engines`, an environment of `virc env`, folders of code."""

    engine: Engine
    environment: str
    code: tuple[str, ...]


BY_KIND: Mapping[Kind, Runs] = {
    "sft": Runs("llamafactory", "sft", ("llamafactory",)),
    "dpo": Runs("llamafactory", "sft", ("llamafactory", "llamafactory/preferences")),
    "rl": Runs("verl", "rl", ("verl",)),
}


def runs_in(kind: str) -> Runs:
    """Raises ConfigError: this version has no such kind, which a run of another version may have."""
    found = next((runs for name, runs in BY_KIND.items() if name == kind), None)
    if found is None:
        raise ConfigError(f"stages of kind {plain(kind, 40)!r} are not of this version of virc")
    return found
