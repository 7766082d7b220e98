"""What came of an evaluation, model by model and pair by pair: `virc.eval/1`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from virc.core.result_log import Id
from virc.evaluation.boxes import BoxScores, Overlap, box_scores
from virc.evaluation.rewarded import Gap, Mean, Rewarded, RewardFacts, gaps, means
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
        right: None where the answer is undecided: the judge failed on it.
        seconds: from the problem's pictures to its answer.
        tokens: drawn in all tries, and `prompt_tokens` those read; None where the server does not tell.
        replies: drawn in all, rejected ones and those of a judge too; None where a former version asked.
        rejected: tries that could not be used.
        failure: what ended it where there is no answer; `no_answer` is a refusal. None where that is not known.
        trace: folder of its trace, relative to the report's.
        overlap: its boxes beside those of the row; None where the answer is a text.
        evidence: the share of each box of evidence that crops showed, see `evidence`; None where the row names none.
        rewarded: what a system's reward gives it; None where none was asked for, or none is known of this model.
    """

    answer: str | None
    right: bool | None
    by: Decider | None = None
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
    overlap: Overlap | None = None
    evidence: Sequence[float] | None = None
    rewarded: Rewarded | None = None

    @property
    def refused(self) -> bool:
        """Whether the model said that it cannot tell."""
        return self.answer is None and self.failure == "no_answer"

    @property
    def unusable(self) -> bool:
        """Whether it ended because no reply of a turn could be used."""
        return self.answer is None and self.failure == "tries"


class Result(msgspec.Struct, frozen=True):
    """One problem and its answers by model; `unreadable` says whether refusing is right.

    `reference` is empty where nothing says which answer is right.
    """

    id: Id
    question: str
    reference: str
    categories: Categories
    answers: Mapping[str, Answered]
    unreadable: bool = False


class Score(msgspec.Struct, frozen=True):
    """A share of right answers.

    Args:
        undecided: answers that the judge failed on; they are among `of`.
        bounds: the share if all undecided answers are wrong, and if all are right, 0 to 1; (0, 1) of nothing.
        interval: from the lower end of the 95 % interval of the first to the upper end of that of the second.
    """

    right: int
    undecided: int
    of: int
    bounds: Interval
    interval: Interval

    @property
    def share(self) -> float:
        """The share if all undecided answers are wrong, 0 to 1; 0 of nothing."""
        return self.bounds[0]


class Share(msgspec.Struct, frozen=True):
    """A share of problems, with its 95 % interval; no judge is asked for it."""

    count: int
    of: int
    interval: Interval

    @property
    def share(self) -> float:
        """From 0 to 1; 0 of nothing."""
        return self.count / self.of if self.of else 0.0


class Means(msgspec.Struct, frozen=True):
    """Means over all answers: units, tool calls, seconds, and what was asked for; None where not known.

    Args:
        tokens: drawn, and `prompt_tokens` those read.
        replies: of the model, rejected ones and those of a judge too.
    """

    turns: float | None
    calls: float | None
    seconds: float | None
    tokens: float | None
    prompt_tokens: float | None = None
    replies: float | None = None


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
        score: over the problems that have a result.
        unanswered: problems it gave no answer to; they are right only where it refused what is to be refused.
        missing: problems without a result, which are not counted: not asked, or something else than the model failed.
        undecided: answers that the judge failed on; every score counts them in its bounds.
        false_refusals: refusals of problems that have an answer.
        unusable: problems that ended because no reply of a turn could be used.
        format_errors: tries a turn that could not be used; None of no turns.
        categories: division -> part -> score.
        boxes: over the problems whose answers are boxes; None where there are none.
        evidence: over the problems that name their evidence; None where there are none.
        reward: the means of the reward and of its terms; None where there is none.
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
    reward: Mapping[str, Mean] | None = None


class Pair(msgspec.Struct, frozen=True):
    """Two models on the problems that both have a result for.

    Args:
        undecided: problems that the judge failed on for at least one of the two; they are among `of`.
        bounds: the share of `one` less that of `other`, if all undecided answers of `one` are wrong and all of `other`
            are right, and the other way round.
        interval: from the lower end of the paired 95 % interval of the first to the upper end of that of the second.
        p: of McNemar's exact test on the problems that were decided for both.
        p_bounds: the lowest and the highest `p` that the undecided answers could lead to.
        reward: the difference in the reward and in its terms; None where not both have one.
        means: of `one` and of `other` on those problems.
    """

    one: str
    other: str
    undecided: int
    of: int
    bounds: Interval
    interval: Interval
    p: float
    p_bounds: Interval
    only_one: Sequence[Id]
    only_other: Sequence[Id]
    reward: Mapping[str, Gap] | None = None
    means: tuple[Means, Means] | None = None


class Reported(msgspec.Struct, frozen=True):
    """A published figure beside ours: `theirs` is a share, 0 to 1; `differs` maps a setting to (theirs, ours)."""

    model: str
    published: str
    source: str
    theirs: float | None
    ours: Score
    differs: Mapping[str, tuple[Any, Any]]

    @property
    def is_undecided(self) -> bool:
        """Whether it depends on undecided answers which of the two is higher."""
        low, high = self.ours.bounds
        return self.theirs is not None and low < high and low <= self.theirs <= high


class Summary(msgspec.Struct, frozen=True):
    """An evaluation; `commonest` is what guessing the commonest answer is worth, `reward` is which one was given."""

    benchmark: str
    problems: int
    models: Sequence[ModelSummary]
    pairs: Sequence[Pair]
    commonest: Share
    crop_ablation: CropAblation
    against: Sequence[Reported] = ()
    reward: RewardFacts | None = None


def score(verdicts: Iterable[bool | None]) -> Score:
    """The share of right ones among verdicts; None is undecided."""
    counts = Counter(verdicts)
    of, right, undecided = counts.total(), counts[True], counts[None]
    most = right + undecided
    bounds = (right / of, most / of) if of else (0.0, 1.0)
    return Score(right, undecided, of, bounds, (wilson(right, of)[0], wilson(most, of)[1]))


def share(hits: Iterable[bool]) -> Share:
    """The share of those that are true."""
    counts = Counter(hits)
    return Share(counts[True], counts.total(), wilson(counts[True], counts.total()))


def summarise(
    benchmark: str,
    results: Sequence[Result],
    models: Mapping[str, Mapping[str, Any]],
    crop_ablation: CropAblation = "none",
    reward: RewardFacts | None = None,
) -> Summary:
    """Summarise results, one for each problem; `models` maps a name to its `protocol` and `settings`."""
    references = [result.reference for result in results if result.reference]
    ((commonest, _),) = Counter(references).most_common(1) or [("", 0)]
    return Summary(
        benchmark=benchmark,
        problems=len(results),
        models=[_model(name, results, facts, reward) for name, facts in models.items()],
        pairs=[_pair(one, other, results, reward) for one, other in combinations(models, 2)],
        commonest=share(reference == commonest for reference in references),
        crop_ablation=crop_ablation,
        reward=reward,
    )


def _model(name: str, results: Sequence[Result], facts: Mapping[str, Any], reward: RewardFacts | None) -> ModelSummary:
    met = [result for result in results if name in result.answers]
    answers = [result.answers[name] for result in met]
    turns = sum(answered.turns + answered.unusable for answered in answers)  # one without a usable try is one too
    rewarded = [answered.rewarded for answered in answers if answered.rewarded]
    parts: dict[str, dict[str, list[bool | None]]] = defaultdict(lambda: defaultdict(list))
    for result, answered in zip(met, answers, strict=True):
        for division, names in result.categories.items():
            for part in names:
                parts[division][part].append(answered.right)
    return ModelSummary(
        name=name,
        score=score(answered.right for answered in answers),
        unanswered=sum(answered.answer is None for answered in answers),
        missing=len(results) - len(met),
        undecided=sum(answered.right is None for answered in answers),
        refusals=share(answered.refused for answered in answers),
        false_refusals=share(result.answers[name].refused for result in met if not result.unreadable),
        unusable=sum(answered.unusable for answered in answers),
        format_errors=sum(answered.rejected for answered in answers) / turns if turns else None,
        deciders=Counter(answered.by for answered in answers if answered.by),
        means=means_of(answers),
        categories={
            division: {part: score(verdicts) for part, verdicts in sorted(named.items())}
            for division, named in parts.items()
        },
        protocol=facts.get("protocol"),
        settings=facts.get("settings") or {},
        boxes=box_scores([answered.overlap for answered in answers if answered.overlap], _classes(name, met)),
        evidence=_evidence(answers),
        reward=means(rewarded, reward.names) if reward and rewarded else None,
    )


def means_of(answers: Sequence[Answered]) -> Means:
    """The means over these answers."""
    known = {
        name: _mean(value for each in answers if (value := getattr(each, name)) is not None)
        for name in Means.__struct_fields__
    }
    return Means(**known)


def _evidence(answers: Sequence[Answered]) -> EvidenceScores | None:
    known = [(are_seen(each.evidence), each.right) for each in answers if each.evidence]
    if not known:
        return None
    rights = [score(right for seen, right in known if seen is wanted) for wanted in (True, False)]
    return EvidenceScores(share(seen for seen, _ in known), *rights)


def _classes(name: str, met: Sequence[Result]) -> dict[str, list[Overlap]]:
    """What a model made of rows with boxes, by the classes that they name in the field `category`."""
    found: dict[str, list[Overlap]] = defaultdict(list)
    for result in met:
        for part in result.categories.get("category", ()):
            if overlap := result.answers[name].overlap:
                found[part].append(overlap)
    return found


def _pair(one: str, other: str, results: Sequence[Result], reward: RewardFacts | None) -> Pair:
    both = [each.answers for each in results if one in each.answers and other in each.answers]
    rewarded = [
        (first, second) for answers in both if (first := answers[one].rewarded) and (second := answers[other].rewarded)
    ]
    ids: dict[tuple[bool | None, bool | None], list[Id]] = defaultdict(list)
    for result in results:
        if one in result.answers and other in result.answers:
            ids[result.answers[one].right, result.answers[other].right].append(result.id)
    counts = {rights: len(found) for rights, found in ids.items()}
    low, high = (_split(counts, undecided) for undecided in (False, True))
    of = sum(low)
    bounds = ((low[1] - low[2]) / of, (high[1] - high[2]) / of) if of else (-1.0, 1.0)
    return Pair(
        one=one,
        other=other,
        undecided=sum(count for rights, count in counts.items() if None in rights),
        of=of,
        bounds=bounds,
        interval=(paired(*low)[0], paired(*high)[1]),
        p=mcnemar(len(ids[True, False]), len(ids[False, True])),
        p_bounds=_p_bounds(low, high),
        only_one=ids[True, False],
        only_other=ids[False, True],
        reward=gaps(rewarded, reward.names) if reward and rewarded else None,
        means=(means_of([answers[one] for answers in both]), means_of([answers[other] for answers in both])),
    )


_Split = tuple[int, int, int, int]
"""Problems that both models solve, only the first, only the second, and none."""


def _split(counts: Mapping[tuple[bool | None, bool | None], int], undecided: bool) -> _Split:
    """The problems if undecided answers of the first model are right as `undecided` is, those of the second are not."""
    found: Counter[tuple[bool, bool]] = Counter()
    for (first, second), count in counts.items():
        found[undecided if first is None else first, not undecided if second is None else second] += count
    return found[True, True], found[True, False], found[False, True], found[False, False]


def _p_bounds(low: _Split, high: _Split) -> Interval:
    """The lowest and the highest p of all ways in which undecided answers can be right or wrong.

    p falls as the split of the problems that only one model solves gets less even, so that the least even splits, `low`
    and `high`, have the lowest. Each undecided answer shifts the split by one: where it can be even, p can be 1.
    """
    ends = mcnemar(*low[1:3]), mcnemar(*high[1:3])
    return min(ends), 1.0 if low[1] <= low[2] and high[1] >= high[2] else max(ends)


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
