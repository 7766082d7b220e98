"""What models answered, problem by problem, as it is counted and shown."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from virc.core.result_log import Id
from virc.reasoning.trace import FailureKind
from virc.scoring.boxes import Box
from virc.scoring.score import Decider, Matcher, Metric
from virc.solving.evidence import SEEN, looked_at

Categories = Mapping[str, tuple[str, ...]]
"""Division, such as `level` -> the categories in it that a problem belongs to."""


class Guess(NamedTuple):
    """What a guess without the picture must be to be right: a letter of the `choices`, else the answer."""

    right: str
    choices: int = 0


class Answered(msgspec.Struct, frozen=True):
    """The answer of one model to one problem.

    Args:
        right: None if the judge failed on the answer, which is then undecided.
        unread: whether no rule could read it, so that it counts as wrong; a judge was not asked.
        seconds: from the problem's pictures to its answer.
        tokens: drawn in all tries, and `prompt_tokens` those read; None if the server does not report them.
        replies: number of replies, with rejected ones and those of a judge; None in files of former versions.
        rejected: tries that could not be used.
        failure: why there is no answer; `no_answer` is a refusal. None if there is one, or the reason is unknown.
        trace: folder of its trace, relative to the report's.
        measured: value of the row's metric, 0 to 1, 0 without an answer; None if the row names no metric.
        evidence: the share of each box of evidence that crops showed, see `evidence`; None if the row names none.
        regions: the crops, each with the number of its picture, and in shares of that picture's sides.
        columns: what the columns of the evaluation add.
    """

    answer: str | None
    right: bool | None
    by: Decider | None = None
    matcher: Matcher | None = None
    unread: bool = False
    turns: int = 0
    calls: int = 0
    seconds: float = 0.0
    tokens: int | None = None
    prompt_tokens: int | None = None
    replies: int | None = None
    rejected: int = 0
    failure: FailureKind | None = None
    trace: str | None = None
    reason: str | None = None
    measured: float | None = None
    evidence: Sequence[float] | None = None
    regions: Sequence[tuple[int, Box]] = ()
    columns: Mapping[str, Any] = {}

    @property
    def cropped(self) -> bool:
        """Whether it made a crop that shows more than the picture does."""
        pictures = {root for root, _ in self.regions}
        return any(looked_at([crop for root, crop in self.regions if root == each]) for each in pictures)

    @property
    def looked(self) -> bool:
        """Whether a crop showed a box of evidence; if the row has none, whether it made a crop."""
        return any(share >= SEEN for share in self.evidence) if self.evidence else self.cropped

    @property
    def refused(self) -> bool:
        return self.answer is None and self.failure == "no_answer"

    @property
    def unusable(self) -> bool:
        return self.answer is None and self.failure == "tries"


class Result(msgspec.Struct, frozen=True):
    """One problem and its answers by model; `unreadable` says whether refusing is right.

    `reference` is empty if the right answer is unknown; `guess` is its letter if it is one of choices; `metric`
    measures the answers in addition to right and wrong.
    """

    id: Id
    question: str
    reference: str
    categories: Categories
    answers: Mapping[str, Answered]
    unreadable: bool = False
    metric: Metric | None = None
    guess: Guess | None = None

    @property
    def guessed(self) -> Guess:
        return self.guess or Guess(self.reference)
