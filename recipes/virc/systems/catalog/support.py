"""How far each published system is supported, computed from `field.yaml` and `tested.json`.

`tested.json` beside the YAML of a system says what was tried of it. Tests write it.

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
    """How one stage ran.

    Args:
        engine: its engine and version, `verl 0.9.1`.
        steps: optimizer steps.
        rows: the layout of the rows that it was trained on, or their format.
        terms: least and largest value of each term of the reward in its rollouts, or in replies that were rewarded
            again.
    """

    engine: str
    steps: int
    rows: str
    terms: Mapping[str, tuple[float, float]] = {}


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the reward of one stage was held against the published function.

    Args:
        cases: replies that both rewarded.
        differ: replies with another reward here, each for a reason that is listed.
    """

    cases: int
    differ: int


class Solved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scripted conversation that was answered: its replies and crops."""

    replies: int
    crops: int


class Verified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was compared with the repositories of a system's authors.

    Args:
        texts: the digest of the references to their texts that were compared, with the chat protocol around them.
        tests: tests of the system that passed with their texts.
    """

    texts: str
    tests: int


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was tried of a system: its stages and their rewards, by stage, a conversation, and its authors' texts."""

    stages: Mapping[str, Ran] = {}
    rewards: Mapping[str, Compared] = {}
    solved: Solved | None = None
    verified: Verified | None = None


class Level(msgspec.Struct, frozen=True):
    """How far a stage is, and what it lacks; of a stage without a published reward, `ran` is all there is."""

    reached: Literal["none", "ran", "rewarded"]
    lacks: tuple[str, ...] = ()


@cache
def tested() -> Mapping[str, Record]:
    """What was tried, by system."""
    found: dict[str, Record] = {}
    for file in (PACKAGE / TESTED, *plugins.in_system_folders(TESTED)):
        found |= msgspec.json.decode(file.read_bytes(), type=dict[str, Record])
    return found


def of(published: Row) -> State:
    """The state of a published system."""
    system = discover().get(published.name)
    return of_system(system, published) if system else of_listed(published)


def states() -> dict[str, State]:
    """The state of every published system, and of every other with a YAML."""
    known = {name: of(published) for name, published in rows().items()}
    return known | {name: of_system(system, None) for name, system in discover().items() if name not in known}


def of_system(system: System, published: Row | None) -> State:
    """The state of a system that has a YAML.

    Args:
        published: the published system; None where there is none.
    """
    if system.is_own:
        return State("own", str(system.file))
    if system.reward and system.reward.total is None:
        return State("to-be-supplied", system.reward.supply or "the total of its reward")
    levels = {stage: of_stage(system, stage) for stage in system.stages}
    gaps = [f"{stage} {lack}" for stage, level in levels.items() for lack in level.lacks]
    gaps += [*_unsolved(system), *_unverified(system)]
    outside = [*_not_expressed(published, bool(system.assumed))] if published else []
    if not gaps and not outside:
        return State(
            "reconstructed" if system.assumed else "works",
            "; ".join(filter(None, (_assumed(system), _beside(published) if published else ""))),
        )
    ran = levels and not outside and all(level.reached != "none" for level in levels.values())
    return State("ran" if ran else "partly", "; ".join([*gaps, *outside]))


def of_stage(system: System, stage: str) -> Level:
    """How far a stage of a system is."""
    told = tested().get(system.name, Record())
    if stage not in told.stages:
        return Level("none", ("did not run yet",))
    if not _is_compared(system, stage):
        return Level("ran")
    if stage not in told.rewards:
        return Level("ran", ("has a reward that no test holds against the published one",))
    return Level("rewarded")


def _is_compared(system: System, stage: str) -> bool:
    """Whether somebody publishes how the stage is rewarded."""
    return system.stages[stage].kind == "rl" and bool(system.stages[stage].published)


def _unsolved(system: System) -> Iterator[str]:
    """Whether no conversation was answered."""
    if tested().get(system.name, Record()).solved is None:
        yield "not tried whether a conversation in its grammar was answered"


def _unverified(system: System) -> Iterator[str]:
    """Whether its texts, or its chat protocol around them, were not compared with its authors' repository."""
    found = texts.of(system.file.parent)
    record = tested().get(system.name, Record()).verified
    if found and (record is None or record.texts != found.digest(system.chat_protocol)):
        yield "its texts, or what stands around them, were not compared with the repository of its authors"


def _beside(published: Row) -> str:
    """What a system that trains on published rows lacks to make such rows, or to be measured as published."""
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
