"""Summary of an evaluation, model by model and pair by pair: `virc.eval/1`."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

import msgspec

from virc.core.result_log import Id
from virc.evaluation.boxes import BoxScores, Overlap, box_scores
from virc.evaluation.looks import Guess, Looks
from virc.evaluation.rewarded import Gap, Mean, Rewarded, RewardFacts, gap_of, mean_of
from virc.evaluation.statistics import Interval, holm, mcnemar, mean_interval, paired, problems_needed, wilson
from virc.reasoning.trace import FailureKind
from virc.scoring.boxes import Box
from virc.scoring.score import Decider, Metric
from virc.solving.ablation import CropAblation
from virc.solving.evidence import SEEN, are_seen, looked_at

SCHEMA = "virc.eval/1"

Categories = Mapping[str, tuple[str, ...]]
"""Division -> the parts of it that a problem belongs to."""


class Answered(msgspec.Struct, frozen=True):
    """What one model made of one problem.

    Args:
        right: None where the answer is undecided: the judge failed on it.
        unread: no rule could read it, so that it counts as wrong; a judge was not asked.
        seconds: from the problem's pictures to its answer.
        tokens: drawn in all tries, and `prompt_tokens` those read; None where the server does not tell.
        replies: drawn in all, rejected ones and those of a judge too; None where a former version asked.
        rejected: tries that could not be used.
        failure: what ended it where there is no answer; `no_answer` is a refusal. None where that is not known.
        trace: folder of its trace, relative to the report's.
        overlap: its boxes compared with those of the row; None where the answer is a text.
        measured: by the metric of the row, 0 to 1, 0 without an answer; None where the row names none.
        evidence: the share of each box of evidence that crops showed, see `evidence`; None where the row names none.
        rewarded: what a system's reward gives it; None where none was asked for, or none is known of this model.
        regions: of its crops, each with the number of its picture, and in shares of that picture's sides.
    """

    answer: str | None
    right: bool | None
    by: Decider | None = None
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
    overlap: Overlap | None = None
    measured: float | None = None
    evidence: Sequence[float] | None = None
    rewarded: Rewarded | None = None
    regions: Sequence[tuple[int, Box]] = ()

    @property
    def cropped(self) -> bool:
        """Whether it made a crop that shows more than the picture does."""
        pictures = {root for root, _ in self.regions}
        return any(looked_at([crop for root, crop in self.regions if root == each]) for each in pictures)

    @property
    def looked(self) -> bool:
        """Whether a crop showed a box of evidence; where none is known, whether it made a crop."""
        return any(share >= SEEN for share in self.evidence) if self.evidence else self.cropped

    @property
    def refused(self) -> bool:
        return self.answer is None and self.failure == "no_answer"

    @property
    def unusable(self) -> bool:
        return self.answer is None and self.failure == "tries"


class Result(msgspec.Struct, frozen=True):
    """One problem and its answers by model; `unreadable` says whether refusing is right.

    `reference` is empty where nothing says which answer is right; `guess` stands for it where it is one of choices;
    `metric` measures the answers in addition to right and wrong.
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


class Measured(msgspec.Struct, frozen=True):
    """The mean of a metric over the problems that name it, 0 to 1."""

    mean: float
    of: int


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
        return self.count / self.of if self.of else 0.0


class Means(msgspec.Struct, frozen=True):
    """Means over all answers; None where not known. Replies include rejected ones and those of a judge."""

    turns: float | None
    calls: float | None
    seconds: float | None
    tokens: float | None
    prompt_tokens: float | None = None
    replies: float | None = None


class EvidenceScores(msgspec.Struct, frozen=True):
    seen: Share
    right_where_seen: Score
    right_elsewhere: Score

    @property
    def figures(self) -> "Sequence[Share | Score]":
        return self.seen, self.right_where_seen, self.right_elsewhere


class ModelSummary(msgspec.Struct, frozen=True):
    """How one model did.

    Args:
        score: over the problems that have a result.
        unanswered: problems it gave no answer to; they are right only where it refused what is to be refused.
        missing: problems without a result, which are not counted: not asked, or something else than the model failed.
        undecided: answers that the judge failed on; every score counts them in its bounds.
        unread: answers that no rule could read, which count as wrong; a judge was not asked about them.
        false_refusals: refusals of problems that have an answer.
        unusable: problems that ended because no reply of a turn could be used.
        format_errors: tries a turn that could not be used; None of no turns.
        categories: division -> part -> score.
        boxes: over the problems whose answers are boxes; None where there are none.
        evidence: over the problems that name their evidence; None where there are none.
        reward: the means of the reward and of its terms; None where there is none.
        metrics: the metrics that problems name.
        p_commonest: of McNemar's exact test against the commonest answer alone, on the problems that were decided.
    """

    name: str
    score: Score
    unanswered: int
    missing: int
    undecided: int
    unread: Share
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
    metrics: Mapping[Metric, Measured] = {}
    p_commonest: float | None = None


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
        needed: problems like these that would tell the two apart with a power of at least 80 %; None where both
            solve as many.
        p_holm: `p` corrected for the number of pairs (Holm); None of one pair alone.
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
    needed: int | None = None
    p_holm: float | None = None


class Seeds(msgspec.Struct, frozen=True):
    """Shares of right answers, 0 to 1, with several seeds; `interval` is over problems, each with its mean."""

    model: str
    seeds: Mapping[int, float]
    mean: float
    deviation: float
    interval: Interval | None


class Reported(msgspec.Struct, frozen=True):
    """A published figure and ours: `theirs` is a share, 0 to 1; `differs` maps a setting to (theirs, ours)."""

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
    """An evaluation.

    Args:
        commonest: what guessing the commonest answer is worth; of choices, their commonest letter.
        reward: which one was given.
        assumed: what nobody published of the systems of models, a sentence each.
        seeds: of the models that were asked with several seeds.
        contamination: what the problems share with rows of training; None where none were named.
        looks: whether each model looks, and its crops matter; empty where that was not asked.
    """

    benchmark: str
    problems: int
    models: Sequence[ModelSummary]
    pairs: Sequence[Pair]
    commonest: Share
    crop_ablation: CropAblation
    against: Sequence[Reported] = ()
    reward: RewardFacts | None = None
    assumed: Sequence[str] = ()
    seeds: Sequence[Seeds] = ()
    contamination: "Contamination | None" = None
    looks: Sequence[Looks] = ()


class SharedPicture(msgspec.Struct, frozen=True):
    """A problem whose picture is nearly that of a row of training, by its number from 1."""

    id: Id
    row: int
    same_question: bool


class Contamination(msgspec.Struct, frozen=True):
    """What problems share with rows of training; `without`: each model's score on the other problems."""

    against: str
    rows: int
    unread: int
    shared: Sequence[SharedPicture]
    without: Mapping[str, Score]


def score(verdicts: Iterable[bool | None]) -> Score:
    counts = Counter(verdicts)
    of, right, undecided = counts.total(), counts[True], counts[None]
    most = right + undecided
    bounds = (right / of, most / of) if of else (0.0, 1.0)
    return Score(right, undecided, of, bounds, (wilson(right, of)[0], wilson(most, of)[1]))


def share(hits: Iterable[bool]) -> Share:
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
    guesses = [result.guessed.right for result in results if result.reference]
    ((commonest, _),) = Counter(guesses).most_common(1) or [("", 0)]
    pairs = [_pair(*two, results, reward) for two in combinations(models, 2) if _are_compared(*two)]
    if len(pairs) > 1:
        corrected = zip(pairs, holm([pair.p for pair in pairs]), strict=True)
        pairs = [msgspec.structs.replace(pair, p_holm=p) for pair, p in corrected]
    return Summary(
        benchmark=benchmark,
        problems=len(results),
        models=[_model(name, results, facts, reward, commonest) for name, facts in models.items()],
        pairs=pairs,
        commonest=share(guess == commonest for guess in guesses),
        crop_ablation=crop_ablation,
        reward=reward,
        seeds=_seeds(models, results),
    )


_SEED = re.compile(r" \(seed (\d+)\)$")


def with_seed(model: str, seed: int) -> str:
    return f"{model} (seed {seed})"


def without_seed(model: str) -> str:
    return _SEED.sub("", model)


def _are_compared(one: str, other: str) -> bool:
    seeds = [_SEED.findall(name) for name in (one, other)]
    return seeds[0] == seeds[1] and without_seed(one) != without_seed(other)


def _seeds(models: Mapping[str, Mapping[str, Any]], results: Sequence[Result]) -> list[Seeds]:
    names: dict[str, list[str]] = defaultdict(list)
    for name in models:
        names[without_seed(name)].append(name)
    found = []
    for model, rows in names.items():
        asked = [[each.answers[name].right for name in rows if name in each.answers] for each in results]
        rights = [[float(right) for right in of if right is not None] for of in asked]
        decided = [of for of in rights if len(of) == len(rows) > 1]
        if decided:
            shares = [fmean(of) for of in zip(*decided, strict=True)]
            numbers = [int((models[name].get("settings") or {}).get("seed", 0)) for name in rows]
            ends = mean_interval([fmean(of) for of in decided])
            interval = ends and (max(0.0, ends[0]), min(1.0, ends[1]))
            by_seed = dict(zip(numbers, shares, strict=True))
            found.append(Seeds(model, by_seed, fmean(shares), stdev(shares), interval))
    return found


def _model(
    name: str, results: Sequence[Result], facts: Mapping[str, Any], reward: RewardFacts | None, commonest: str
) -> ModelSummary:
    met = [result for result in results if name in result.answers]
    answers = [result.answers[name] for result in met]
    turns = sum(answered.turns + answered.unusable for answered in answers)  # one without a usable try is one too
    rewarded = [answered.rewarded for answered in answers if answered.rewarded]
    parts: dict[str, dict[str, list[bool | None]]] = defaultdict(lambda: defaultdict(list))
    for result, answered in zip(met, answers, strict=True):
        for division, names in result.categories.items():
            for part in names:
                parts[division][part].append(answered.right)
    with_commonest = Counter(
        (result.answers[name].right, result.guessed.right == commonest) for result in met if result.reference
    )
    return ModelSummary(
        name=name,
        score=score(answered.right for answered in answers),
        unanswered=sum(answered.answer is None for answered in answers),
        missing=len(results) - len(met),
        undecided=sum(answered.right is None for answered in answers),
        unread=share(answered.unread for answered in answers),
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
        reward={each: mean_of(rewarded, each) for each in reward.names} if reward and rewarded else None,
        metrics=_metrics(name, met),
        p_commonest=mcnemar(with_commonest[True, False], with_commonest[False, True]) if with_commonest else None,
    )


def _metrics(name: str, met: Sequence[Result]) -> dict[Metric, Measured]:
    found: dict[Metric, list[float]] = defaultdict(list)
    for result in met:
        if result.metric:
            found[result.metric].append(result.answers[name].measured or 0.0)
    return {metric: Measured(sum(values) / len(values), len(values)) for metric, values in sorted(found.items())}


def means_of(answers: Sequence[Answered]) -> Means:
    known = {name: [getattr(each, name) for each in answers] for name in Means.__struct_fields__}
    found = {name: [value for value in values if value is not None] for name, values in known.items()}
    return Means(**{name: sum(values) / len(values) if values else None for name, values in found.items()})


def _evidence(answers: Sequence[Answered]) -> EvidenceScores | None:
    known = [(are_seen(each.evidence), each.right) for each in answers if each.evidence]
    if not known:
        return None
    rights = [score(right for seen, right in known if seen is wanted) for wanted in (True, False)]
    return EvidenceScores(share(seen for seen, _ in known), *rights)


def _classes(name: str, met: Sequence[Result]) -> dict[str, list[Overlap]]:
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
        reward={each: gap_of(rewarded, each) for each in reward.names} if reward and rewarded else None,
        means=(means_of([answers[one] for answers in both]), means_of([answers[other] for answers in both])),
        needed=problems_needed(len(ids[True, False]), len(ids[False, True]), of),
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
