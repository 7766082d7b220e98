"""How far each published system is supported, computed from `field.yaml` and `tested.json`.

`tested.json` next to the YAML of a system says what was tried of it. Tests write it.

A stage *ran* in its engine with its own settings, but for sizes and steps, on rows in a layout that its authors publish
or that is this package's own; of RL each term of the reward was seen high and low. Its reward is *as published* where
it was counted for random replies by the published function too. A system works where both hold for all its stages,
whoever made their rows, and a scripted conversation in its own grammar was answered, with the crops that calls name.
It is reconstructed where it works so by assumptions, which its YAML lists, in the place of what was not published.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Literal

import msgspec

from virc.core import plugins
from virc.core.text import counted
from virc.systems import texts
from virc.systems.published import Row, State, is_beside, lacking, needs, of_listed, rows
from virc.systems.registry import PACKAGE, System, discover

TESTED = "tested.json"


class Ran(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one stage ran; `rows`: their layout or format, `terms`: least and largest value of each in rollouts."""

    engine: str
    steps: int
    rows: str
    terms: Mapping[str, tuple[float, float]] = {}


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cases: int
    differ: int


class Solved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    replies: int
    crops: int


class Verified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was compared with the repositories of a system's authors.

    Args:
        texts: the digest of the references to their texts, with the chat protocol around them.
        tests: tests of the system that passed with their texts.
    """

    texts: str
    tests: int


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    stages: Mapping[str, Ran] = {}
    rewards: Mapping[str, Compared] = {}
    solved: Solved | None = None
    verified: Verified | None = None


class Level(msgspec.Struct, frozen=True):
    """How far a stage is, and what is missing; of a stage without a published reward, `ran` is all there is."""

    reached: Literal["none", "ran", "rewarded"]
    lacks: tuple[str, ...] = ()


@cache
def tested() -> Mapping[str, Record]:
    found: dict[str, Record] = {}
    for file in (PACKAGE / TESTED, *plugins.in_system_folders(TESTED)):
        found |= msgspec.json.decode(file.read_bytes(), type=dict[str, Record])
    return found


def of(published: Row) -> State:
    system = discover().get(published.name)
    return of_system(system, published) if system else of_listed(published)


def states() -> dict[str, State]:
    known = {name: of(published) for name, published in rows().items()}
    return known | {name: of_system(system, None) for name, system in discover().items() if name not in known}


def of_system(system: System, published: Row | None) -> State:
    if system.is_own:
        return State("own", str(system.file))
    if system.reward and system.reward.total is None:
        return State("to-be-supplied", system.reward.supply or "the total of its reward")
    levels = {stage: of_stage(system, stage) for stage in system.stages}
    gaps = [f"{stage} {lack}" for stage, level in levels.items() for lack in level.lacks]
    gaps += _untried(system)
    outside = [*_not_expressed(published, bool(system.assumed))] if published else []
    if not gaps and not outside:
        return State(
            "reconstructed" if system.assumed else "works",
            "; ".join(filter(None, (_assumed(system), _beside(published) if published else ""))),
        )
    ran = levels and not outside and all(level.reached != "none" for level in levels.values())
    return State("ran" if ran else "partly", "; ".join([*gaps, *outside]))


def of_stage(system: System, stage: str) -> Level:
    told = tested().get(system.name, Record())
    if stage not in told.stages:
        return Level("none", ("did not run yet",))
    if system.stages[stage].kind != "rl" or not system.stages[stage].published:  # nobody says how it is rewarded
        return Level("ran")
    if stage not in told.rewards:
        return Level("ran", ("has a reward that no test compares with the published one",))
    return Level("rewarded")


def _untried(system: System) -> Iterator[str]:
    record, found = tested().get(system.name, Record()), texts.of(system.file.parent)
    if record.solved is None:
        yield "not tried whether a conversation in its grammar was answered"
    if found and (record.verified is None or record.verified.texts != found.digest(system.chat_protocol)):
        yield "its texts, or what stands around them, were not compared with the repository of its authors"


def _beside(published: Row) -> str:
    missing = ", ".join(each for each in lacking(published) if is_beside(each))
    return f"without {missing}" if missing else ""


def _assumed(system: System) -> str:
    number = counted(len(system.assumed), "assumption")
    return f"{number}: {', '.join(each.of for each in system.assumed)}" if system.assumed else ""


def _not_expressed(published: Row, assumed: bool) -> Iterator[str]:
    """What of a published system is not in its YAML, but for `_beside`; `assumed`: it has what was not published."""
    if not all(map(is_beside, lacking(published))):
        yield needs(published)
    if published.unknown and not assumed:
        yield f"to be supplied: {published.unknown}"
    if published.outside:
        yield f"not: {published.outside}"
