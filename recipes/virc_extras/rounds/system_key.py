"""The steps of a round in a system's YAML: the newest model makes rows, and stages learn from them.

    rounds:
      - sample: {data: data/problems.jsonl, from: last, samples: 8}
      - {train: instruct, from: base, data: sample}
      - {train: rl, from: last}

`from` names what a step starts from: `base`, what the first round begins with; `last`, the model that was trained last,
in the first round before any the base; or a stage, its newest model of these rounds.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from virc.config.user import Text
from virc.data.sample.rules import PairRule
from virc.systems.kinds import Kind
from virc.systems.names import Name
from virc.systems.registry import Stage

BASE, LAST = "base", "last"
"""What a step starts from that is no stage."""
Count = Annotated[int, Meta(ge=1, le=1000)]


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"start": "from"}):
    """Rows of a model's own replies, by `virc data sample`.

    Args:
        name: of the rows, which a later step names as its `data`.
        data: JSONL file of problems with answers, in which `{round}` is the number of the round; None: `--data`.
        start: the model that is sampled.
        samples, keep, temperature, max_turns, max_tokens, margin: as the options of that command.
        pairs: keep pairs by this rule; None: keep right solutions.
    """

    name: Name = "sample"
    data: Text | None = None
    start: Name = LAST
    samples: Count = 8
    keep: Count = 2
    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    pairs: PairRule | None = None
    margin: Annotated[float, Meta(ge=0)] = 0.0
    max_turns: Count | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.margin and self.pairs is None:
            raise ValueError("`margin` is of pairs: add `pairs`, or leave it out")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"start": "from"}):
    """One step of a round: `sample`, or `train` with what belongs to it.

    Args:
        sample: rows to make.
        train: the stage to train.
        start: the model that the stage starts from.
        data: rows that an earlier step of the round made, by its name, or a file, in which `{round}` is the number of
            the round; None: those of the stage.
        merge: make a model of the run's newest checkpoint afterwards; None: where it is none by itself.
    """

    sample: Sample | None = None
    train: Name | None = None
    start: Name = LAST
    data: Text | None = None
    merge: bool | None = None

    def __post_init__(self) -> None:
        if (self.sample is None) == (self.train is None):
            raise ValueError("a step has either `sample` or `train`")
        if self.sample and (self.start, self.data, self.merge) != (LAST, None, None):
            raise ValueError("`from` and `data` of a step that samples stand inside `sample`; `merge` is of `train`")

    @property
    def name(self) -> str:
        return self.sample.name if self.sample else str(self.train)


class Keys(msgspec.Struct, frozen=True):
    """What is read of a system's YAML."""

    rounds: tuple[Step, ...] = ()
    stages: Mapping[Name, Stage] = {}

    def __post_init__(self) -> None:
        check_rounds(self.rounds, {name: stage.kind for name, stage in self.stages.items()})


def check_rounds(steps: Sequence[Step], stages: Mapping[str, Kind]) -> None:
    """Raises ValueError: steps are of one name, or name stages or rows that are not there or do not fit."""
    if not steps:
        return
    trained = [step.train for step in steps if step.train]
    made: dict[str, Sample] = {}
    for number, step in enumerate(steps, 1):
        where = f"step {number} of `rounds`"
        start = step.sample.start if step.sample else step.start
        if step.train and step.train not in stages:
            raise ValueError(f"{where} trains {step.train!r}, which is no stage; stages: {', '.join(stages)}")
        if step.train in (BASE, LAST):
            raise ValueError(f"{where} trains {step.train!r}, a name that `from` has another meaning for")
        if start not in (BASE, LAST, *trained):
            raise ValueError(f"{where} is from {start!r}, which is `base`, `last` or a stage that the rounds train")
        if step.name in {other.name for other in steps[: number - 1]}:
            raise ValueError(f"{where} is the second that is called {step.name!r}: one `name` or stage, one step")
        if step.sample:
            made[step.name] = step.sample
        elif step.train and step.data in made:
            _check_rows(where, made[step.data], step.train, stages[step.train])
    if not trained:
        raise ValueError("no step of `rounds` trains a stage")


def _check_rows(where: str, made: Sample, stage: str, kind: Kind) -> None:
    if (kind == "dpo") != (made.pairs is not None):
        rows = "pairs" if made.pairs else "right solutions"
        fits = "leave out `pairs` of that step" if made.pairs else "give that step `pairs`, such as `right`"
        raise ValueError(f"{where} gives {rows} of {made.name!r} to {stage}, of kind {kind}: {fits}")
