"""What came of an evaluation, model by model and pair by pair: `virc.eval/1`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from virc.core.result_log import Id
from virc.evaluation.boxes import BoxScores, Overlap, box_scores
from virc.evaluation.statistics import Interval, mcnemar, paired, wilson
from virc.reasoning.trace import FailureKind
from virc.scoring.score import Decider
from virc.solving.ablation import CropAblation
from virc.solving.evidence import are_seen

SCHEMA = "virc.eval/1"

Categories = Mapping[str, tuple[str, ...]]
"""Division -> the parts of it that a problem belongs to."""


class Answered(msgspec.Struct, frozen=True):
    """What one model made of one problem.

    Args:
        right: None where the judge failed.
        seconds: from the problem's pictures to its answer.
        tokens: drawn in all tries; None where the server does not tell.
        rejected: tries that could not be used.
        failure: what ended it where there is no answer; `no_answer` is a refusal. None where that is not known.
        trace: folder of its trace, relative to the report's.
        overlap: its boxes beside those of the row; None where the answer is a text.
        evidence: the share of each box of evidence that crops showed, see `evidence`; None where the row names none.
    """

    answer: str | None
    right: bool | None
    by: Decider | None = None
    turns: int = 0
    calls: int = 0
    seconds: float = 0.0
    tokens: int | None = None
    rejected: int = 0
    failure: FailureKind | None = None
    trace: str | None = None
    reason: str | None = None
    overlap: Overlap | None = None
    evidence: Sequence[float] | None = None

    @property
    def refused(self) -> bool:
        """Whether the model said that it cannot tell."""
        return self.answer is None and self.failure == "no_answer"

    @property
    def unusable(self) -> bool:
        """Whether it ended because no reply of a turn could be used."""
        return self.answer is None and self.failure == "tries"


class Result(msgspec.Struct, frozen=True):
    """One problem and its answers by model; `unreadable` says whether refusing is right."""

    id: Id
    question: str
    reference: str
    categories: Categories
    answers: Mapping[str, Answered]
    unreadable: bool = False


class Score(msgspec.Struct, frozen=True):
    """A share of right answers, with its 95 % interval."""

    right: int
    of: int
    interval: Interval

    @property
    def share(self) -> float:
        """From 0 to 1; 0 of nothing."""
        return self.right / self.of if self.of else 0.0


class Share(msgspec.Struct, frozen=True):
    """A share of problems, with its 95 % interval."""

    count: int
    of: int
    interval: Interval

    @property
    def share(self) -> float:
        """From 0 to 1; 0 of nothing."""
        return self.count / self.of if self.of else 0.0


class Means(msgspec.Struct, frozen=True):
    """Means over all answers: units, tool calls, seconds and drawn tokens; None where not known."""

    turns: float | None
    calls: float | None
    seconds: float | None
    tokens: float | None


class EvidenceScores(msgspec.Struct, frozen=True):
    """Whether a model looked where the answer is seen, over the problems that name their evidence."""

    seen: Share
    right_where_seen: Score
    right_elsewhere: Score

    @property
    def figures(self) -> "Sequence[Share | Score]":
        """All three, as they are named."""
        return self.seen, self.right_where_seen, self.right_elsewhere


class ModelSummary(msgspec.Struct, frozen=True):
    """How one model did.

    Args:
        score: over the problems that were decided.
        unanswered: problems it gave no answer to; they are right only where it refused what is to be refused.
        missing: problems without a result, which are not counted: not asked, or something else than the model failed.
        undecided: answers the judge could not be asked about; they are not counted.
        false_refusals: refusals of problems that have an answer.
        unusable: problems that ended because no reply of a turn could be used.
        format_errors: tries a turn that could not be used; None of no turns.
        categories: division -> part -> score.
        boxes: over the problems whose answers are boxes; None where there are none.
        evidence: over the problems that name their evidence; None where there are none.
    """

    name: str
    score: Score
    unanswered: int
    missing: int
    undecided: int
    refusals: Share
    false_refusals: Share
    unusable: int
    format_errors: float | None
    deciders: Mapping[Decider, int]
    means: Means
    categories: Mapping[str, Mapping[str, Score]]
    protocol: str | None = None
    settings: Mapping[str, Any] = {}
    boxes: BoxScores | None = None
    evidence: EvidenceScores | None = None


class Pair(msgspec.Struct, frozen=True):
    """Two models on the problems that were decided for both.

    Args:
        difference: the share of `one` less that of `other`, with its paired 95 % `interval`.
        p: of McNemar's exact test.
    """

    one: str
    other: str
    of: int
    difference: float
    interval: Interval
    p: float
    only_one: Sequence[Id]
    only_other: Sequence[Id]


class Reported(msgspec.Struct, frozen=True):
    """A published figure beside ours: `theirs` is a share, 0 to 1; `differs` maps a setting to (theirs, ours)."""

    model: str
    published: str
    source: str
    theirs: float | None
    ours: Score
    differs: Mapping[str, tuple[Any, Any]]


class Summary(msgspec.Struct, frozen=True):
    """An evaluation; `commonest` is what guessing the commonest answer is worth."""

    benchmark: str
    problems: int
    models: Sequence[ModelSummary]
    pairs: Sequence[Pair]
    commonest: Share
    crop_ablation: CropAblation
    against: Sequence[Reported] = ()


def score(verdicts: Iterable[bool]) -> Score:
    """The share of right ones among verdicts."""
    decided = list(verdicts)
    return Score(sum(decided), len(decided), wilson(sum(decided), len(decided)))


def share(hits: Iterable[bool]) -> Share:
    """The share of those that are true."""
    return Share(*msgspec.structs.astuple(score(hits)))


def summarise(
    benchmark: str,
    results: Sequence[Result],
    models: Mapping[str, Mapping[str, Any]],
    crop_ablation: CropAblation = "none",
) -> Summary:
    """Summarise results, one for each problem; `models` maps a name to its `protocol` and `settings`."""
    ((commonest, _),) = Counter(result.reference for result in results).most_common(1) or [("", 0)]
    return Summary(
        benchmark=benchmark,
        problems=len(results),
        models=[_model(name, results, facts) for name, facts in models.items()],
        pairs=[_pair(one, other, results) for one, other in combinations(models, 2)],
        commonest=share(result.reference == commonest for result in results),
        crop_ablation=crop_ablation,
    )


def _model(name: str, results: Sequence[Result], facts: Mapping[str, Any]) -> ModelSummary:
    met = [result for result in results if name in result.answers]
    answers = [result.answers[name] for result in met]
    turns = sum(answered.turns + answered.unusable for answered in answers)  # one without a usable try is one too
    parts: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for result, answered in zip(met, answers, strict=True):
        for division, names in result.categories.items() if answered.right is not None else ():
            for part in names:
                parts[division][part].append(bool(answered.right))
    return ModelSummary(
        name=name,
        score=score(answered.right for answered in answers if answered.right is not None),
        unanswered=sum(answered.answer is None for answered in answers),
        missing=len(results) - len(met),
        undecided=sum(answered.right is None for answered in answers),
        refusals=share(answered.refused for answered in answers),
        false_refusals=share(result.answers[name].refused for result in met if not result.unreadable),
        unusable=sum(answered.unusable for answered in answers),
        format_errors=sum(answered.rejected for answered in answers) / turns if turns else None,
        deciders=Counter(answered.by for answered in answers if answered.by),
        means=Means(
            turns=_mean(answered.turns for answered in answers),
            calls=_mean(answered.calls for answered in answers),
            seconds=_mean(answered.seconds for answered in answers),
            tokens=_mean(answered.tokens for answered in answers if answered.tokens is not None),
        ),
        categories={
            division: {part: score(verdicts) for part, verdicts in sorted(named.items())}
            for division, named in parts.items()
        },
        protocol=facts.get("protocol"),
        settings=facts.get("settings") or {},
        boxes=box_scores([answered.overlap for answered in answers if answered.overlap], _classes(name, met)),
        evidence=_evidence(answers),
    )


def _evidence(answers: Sequence[Answered]) -> EvidenceScores | None:
    known = [(are_seen(each.evidence), each.right) for each in answers if each.evidence]
    if not known:
        return None
    rights = [score(right for seen, right in known if seen is wanted and right is not None) for wanted in (True, False)]
    return EvidenceScores(share(seen for seen, _ in known), *rights)


def _classes(name: str, met: Sequence[Result]) -> dict[str, list[Overlap]]:
    """What a model made of rows with boxes, by the classes that they name in the field `category`."""
    found: dict[str, list[Overlap]] = defaultdict(list)
    for result in met:
        for part in result.categories.get("category", ()):
            if overlap := result.answers[name].overlap:
                found[part].append(overlap)
    return found


def _pair(one: str, other: str, results: Sequence[Result]) -> Pair:
    split: dict[tuple[bool, bool], list[Id]] = defaultdict(list)
    for result in results:
        rights = tuple(result.answers[name].right for name in (one, other) if name in result.answers)
        if len(rights) == 2 and None not in rights:
            split[bool(rights[0]), bool(rights[1])].append(result.id)
    counts = [len(split[key]) for key in ((True, True), (True, False), (False, True), (False, False))]
    of = sum(counts)
    return Pair(
        one=one,
        other=other,
        of=of,
        difference=(counts[1] - counts[2]) / of if of else 0.0,
        interval=paired(*counts),
        p=mcnemar(counts[1], counts[2]),
        only_one=split[True, False],
        only_other=split[False, True],
    )


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
