"""Summary of an evaluation, by model and by pair of models: the records of `virc.eval/1`, and `summarise`.

Read `Result` (a problem with its answers), `Summary` (what is made of all results), then `summarise` and its parts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, NamedTuple

import msgspec

from virc.core.result_log import Id
from virc.evaluation.boxes import BoxScores, Overlap, box_scores
from virc.evaluation.environment_rewards import EnvironmentReward, RewardGap, RewardMean, reward_gaps, reward_means
from virc.evaluation.looks import Guess, Looks
from virc.evaluation.statistics import Interval, holm, mcnemar, mean_interval, paired, problems_needed, wilson
from virc.reasoning.trace import FailureKind
from virc.scoring.boxes import Box
from virc.scoring.score import Decider, Metric
from virc.solving.ablation import CropAblation
from virc.solving.evidence import SEEN, are_seen, looked_at

SCHEMA = "virc.eval/1"

Categories = Mapping[str, tuple[str, ...]]
"""Division, such as `level` -> the categories in it that a problem belongs to."""


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
        overlap: its boxes compared with those of the row; None if the answer is a text.
        measured: value of the row's metric, 0 to 1, 0 without an answer; None if the row names no metric.
        evidence: the share of each box of evidence that crops showed, see `evidence`; None if the row names none.
        reward: that of the environment; None if there is none.
        regions: the crops, each with the number of its picture, and in shares of that picture's sides.
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
    reward: EnvironmentReward | None = None
    regions: Sequence[tuple[int, Box]] = ()

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
    """Means over all answers; None if unknown. Replies include rejected ones and those of a judge."""

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
    """The scores of one model.

    Args:
        score: over the problems that have a result.
        unanswered: problems without an answer; they are right only if refusing is right.
        missing: problems without a result, which do not count: not asked, or not ended by the model.
        undecided: answers that the judge failed on; every score counts them in its bounds.
        unread: answers that no rule could read, which count as wrong; a judge was not asked about them.
        false_refusals: refusals of problems that have an answer.
        unusable: problems that ended because no reply of a turn could be used.
        format_errors: unusable tries per turn; None without turns.
        categories: division -> category -> score.
        boxes: over the problems whose answers are boxes; None if there are none.
        evidence: over the problems that name their evidence; None if there are none.
        reward: the means of the environment's reward, and of its terms.
        metrics: the means of the metrics that problems name.
        p_commonest: p of McNemar's exact test against always giving the commonest answer, on decided problems.
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
    reward: Mapping[str, RewardMean] = {}
    metrics: Mapping[Metric, Measured] = {}
    p_commonest: float | None = None


class Pair(msgspec.Struct, frozen=True):
    """Two models on the problems that both have a result for.

    Args:
        undecided: problems that the judge failed on for at least one of the two; `of` includes them.
        bounds: the share of `one` minus that of `other`, if all undecided answers of `one` are wrong and all of
            `other` are right, and the other way round.
        interval: from the lower end of the paired 95 % interval of the first to the upper end of that of the second.
        p: p of McNemar's exact test on the problems that were decided for both.
        p_bounds: the lowest and the highest `p` that the undecided answers could lead to.
        reward: the differences in the environment's reward, and in its terms.
        means: of `one` and of `other` on those problems.
        needed: problems like these that would distinguish the two with a power of at least 80 %; None if both solve
            as many.
        p_holm: `p` corrected for the number of pairs (Holm); None for a single pair.
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
    reward: Mapping[str, RewardGap] = {}
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
        """Whether undecided answers decide which of the two is higher."""
        low, high = self.ours.bounds
        return self.theirs is not None and low < high and low <= self.theirs <= high


class Summary(msgspec.Struct, frozen=True):
    """An evaluation.

    Args:
        commonest: the share that always giving the commonest answer solves; of choices, the commonest letter.
        assumed: defaults for what was not published of the models' systems, a sentence each.
        seeds: of the models that were asked with several seeds.
        contamination: problems that training rows share; None if no training run was named.
        looks: whether each model looks, and its crops matter; empty if that was not requested.
    """

    benchmark: str
    problems: int
    models: Sequence[ModelSummary]
    pairs: Sequence[Pair]
    commonest: Share
    crop_ablation: CropAblation
    against: Sequence[Reported] = ()
    assumed: Sequence[str] = ()
    seeds: Sequence[Seeds] = ()
    contamination: "Contamination | None" = None
    looks: Sequence[Looks] = ()


class SharedPicture(msgspec.Struct, frozen=True):
    """A problem whose picture is nearly that of a training row; `row` is its number, from 1."""

    id: Id
    row: int
    same_question: bool


class Contamination(msgspec.Struct, frozen=True):
    """Problems that training rows share; `without`: each model's score on the other problems."""

    against: str
    rows: int
    unread: int
    shared: Sequence[SharedPicture]
    without: Mapping[str, Score]


def score(verdicts: Iterable[bool | None]) -> Score:
    """The score of verdicts; None: undecided."""
    counts = Counter(verdicts)
    of, right, undecided = counts.total(), counts[True], counts[None]
    max_right = right + undecided
    bounds = (right / of, max_right / of) if of else (0.0, 1.0)
    return Score(right, undecided, of, bounds, (wilson(right, of)[0], wilson(max_right, of)[1]))


def share(hits: Iterable[bool]) -> Share:
    counts = Counter(hits)
    return Share(counts[True], counts.total(), wilson(counts[True], counts.total()))


def summarise(
    benchmark: str,
    results: Sequence[Result],
    models: Mapping[str, Mapping[str, Any]],
    crop_ablation: CropAblation = "none",
) -> Summary:
    """Summarise results, one for each problem; `models` maps a name to its `protocol` and `settings`."""
    right_guesses = [result.guessed.right for result in results if result.reference]
    ((commonest, _),) = Counter(right_guesses).most_common(1) or [("", 0)]
    pairs = [_pair(*names, results) for names in combinations(models, 2) if _are_compared(*names)]
    if len(pairs) > 1:
        corrected = zip(pairs, holm([pair.p for pair in pairs]), strict=True)
        pairs = [msgspec.structs.replace(pair, p_holm=p) for pair, p in corrected]
    return Summary(
        benchmark=benchmark,
        problems=len(results),
        models=[_model(name, results, facts, commonest) for name, facts in models.items()],
        pairs=pairs,
        commonest=share(guess == commonest for guess in right_guesses),
        crop_ablation=crop_ablation,
        seeds=_seeds(models, results),
    )


_SEED = re.compile(r" \(seed (\d+)\)$")


def with_seed(model: str, seed: int) -> str:
    return f"{model} (seed {seed})"


def without_seed(model: str) -> str:
    return _SEED.sub("", model)


def _are_compared(one: str, other: str) -> bool:
    """Whether two names are different models with the same seed."""
    seeds = [_SEED.findall(name) for name in (one, other)]
    return seeds[0] == seeds[1] and without_seed(one) != without_seed(other)


def _seeds(models: Mapping[str, Mapping[str, Any]], results: Sequence[Result]) -> list[Seeds]:
    """The shares of models with several seeds, on the problems that were decided for each seed."""
    names_of: dict[str, list[str]] = defaultdict(list)
    for name in models:
        names_of[without_seed(name)].append(name)
    seeds = []
    for model, names in names_of.items():
        verdicts = [[each.answers[name].right for name in names if name in each.answers] for each in results]
        rights = [[float(right) for right in problem if right is not None] for problem in verdicts]
        decided = [problem for problem in rights if len(problem) == len(names) > 1]
        if decided:
            shares = [fmean(seed) for seed in zip(*decided, strict=True)]
            numbers = [int((models[name].get("settings") or {}).get("seed", 0)) for name in names]
            ends = mean_interval([fmean(problem) for problem in decided])
            interval = ends and (max(0.0, ends[0]), min(1.0, ends[1]))
            by_seed = dict(zip(numbers, shares, strict=True))
            seeds.append(Seeds(model, by_seed, fmean(shares), stdev(shares), interval))
    return seeds


def _model(name: str, results: Sequence[Result], facts: Mapping[str, Any], commonest: str) -> ModelSummary:
    met = [result for result in results if name in result.answers]  # the problems that have a result
    answers = [result.answers[name] for result in met]
    turns = sum(answer.turns + answer.unusable for answer in answers)  # an unusable turn is one too
    verdicts_by_category: dict[str, dict[str, list[bool | None]]] = defaultdict(lambda: defaultdict(list))
    for result, answer in zip(met, answers, strict=True):
        for division, names in result.categories.items():
            for category in names:
                verdicts_by_category[division][category].append(answer.right)
    by_commonest = Counter(
        (result.answers[name].right, result.guessed.right == commonest) for result in met if result.reference
    )
    return ModelSummary(
        name=name,
        score=score(answer.right for answer in answers),
        unanswered=sum(answer.answer is None for answer in answers),
        missing=len(results) - len(met),
        undecided=sum(answer.right is None for answer in answers),
        unread=share(answer.unread for answer in answers),
        refusals=share(answer.refused for answer in answers),
        false_refusals=share(result.answers[name].refused for result in met if not result.unreadable),
        unusable=sum(answer.unusable for answer in answers),
        format_errors=sum(answer.rejected for answer in answers) / turns if turns else None,
        deciders=Counter(answer.by for answer in answers if answer.by),
        means=means_of(answers),
        categories={
            division: {category: score(verdicts) for category, verdicts in sorted(categories.items())}
            for division, categories in verdicts_by_category.items()
        },
        protocol=facts.get("protocol"),
        settings=facts.get("settings") or {},
        boxes=box_scores([answer.overlap for answer in answers if answer.overlap], _overlaps_by_category(name, met)),
        evidence=_evidence(answers),
        reward=reward_means(answer.reward for answer in answers),
        metrics=_metrics(name, met),
        p_commonest=mcnemar(by_commonest[True, False], by_commonest[False, True]) if by_commonest else None,
    )


def _metrics(name: str, met: Sequence[Result]) -> dict[Metric, Measured]:
    values_of: dict[Metric, list[float]] = defaultdict(list)
    for result in met:
        if result.metric:
            values_of[result.metric].append(result.answers[name].measured or 0.0)
    return {metric: Measured(sum(values) / len(values), len(values)) for metric, values in sorted(values_of.items())}


def means_of(answers: Sequence[Answered]) -> Means:
    means = {}
    for name in Means.__struct_fields__:
        values = [value for each in answers if (value := getattr(each, name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return Means(**means)


def _evidence(answers: Sequence[Answered]) -> EvidenceScores | None:
    rights = [(are_seen(each.evidence), each.right) for each in answers if each.evidence]
    if not rights:
        return None
    scores = [score(right for was_seen, right in rights if was_seen is seen) for seen in (True, False)]
    return EvidenceScores(share(seen for seen, _ in rights), *scores)


def _overlaps_by_category(name: str, met: Sequence[Result]) -> dict[str, list[Overlap]]:
    overlaps: dict[str, list[Overlap]] = defaultdict(list)
    for result in met:
        for category in result.categories.get("category", ()):
            if overlap := result.answers[name].overlap:
                overlaps[category].append(overlap)
    return overlaps


def _pair(one: str, other: str, results: Sequence[Result]) -> Pair:
    common = [each for each in results if one in each.answers and other in each.answers]
    answers = [(each.answers[one], each.answers[other]) for each in common]
    ids: dict[tuple[bool | None, bool | None], list[Id]] = defaultdict(list)  # by `right` of the two
    for result, (first, second) in zip(common, answers, strict=True):
        ids[first.right, second.right].append(result.id)
    counts = {rights: len(of_rights) for rights, of_rights in ids.items()}
    low, high = (_split(counts, undecided) for undecided in (False, True))
    of = sum(low)
    differences = [split.only_first - split.only_second for split in (low, high)]
    bounds = (differences[0] / of, differences[1] / of) if of else (-1.0, 1.0)
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
        reward=reward_gaps((first.reward, second.reward) for first, second in answers),
        means=(means_of([first for first, _ in answers]), means_of([second for _, second in answers])),
        needed=problems_needed(len(ids[True, False]), len(ids[False, True]), of),
    )


class _Split(NamedTuple):
    """Numbers of problems, by which of two models solve them."""

    both: int
    only_first: int
    only_second: int
    neither: int


def _split(counts: Mapping[tuple[bool | None, bool | None], int], undecided: bool) -> _Split:
    """The split if undecided answers count as `undecided` for the first model, and as the opposite for the second."""
    split: Counter[tuple[bool, bool]] = Counter()
    for (first, second), count in counts.items():
        split[undecided if first is None else first, not undecided if second is None else second] += count
    return _Split(split[True, True], split[True, False], split[False, True], split[False, False])


def _p_bounds(low: _Split, high: _Split) -> Interval:
    """The lowest and the highest p of all ways in which undecided answers can be right or wrong.

    p falls as the split of the problems that only one model solves gets less even: the least even splits, `low` and
    `high`, have the lowest p. Each undecided answer shifts the split by one; p is 1 if the split can become even.
    """
    ends = [mcnemar(split.only_first, split.only_second) for split in (low, high)]
    can_be_even = low.only_first <= low.only_second and high.only_first >= high.only_second
    return min(ends), 1.0 if can_be_even else max(ends)
