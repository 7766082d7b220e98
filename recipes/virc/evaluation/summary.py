"""Summary of an evaluation, by model and by pair of models: the records of `virc.eval/1`, and `summarise`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from virc.core.result_log import Id
from virc.evaluation.answered import Answered, Result
from virc.evaluation.boxes import BoxScores, Overlap, box_scores
from virc.evaluation.environment_rewards import RewardGap, RewardMean, reward_gaps, reward_means
from virc.evaluation.looks import Looks
from virc.evaluation.seeds import Seeds, are_compared, seeds_of
from virc.evaluation.statistics import Interval, holm, mcnemar, paired, problems_needed, wilson
from virc.scoring.score import Decider, Metric
from virc.solving.ablation import CropAblation
from virc.solving.evidence import are_seen

SCHEMA = "virc.eval/1"


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
    def figures(self) -> Sequence[Share | Score]:
        return self.seen, self.right_where_seen, self.right_elsewhere


class ModelSummary(msgspec.Struct, frozen=True):
    """The scores of one model.

    Args:
        score: over the problems that have a result; `missing` is the number of the others.
        unread: answers that no rule could read, which count as wrong; a judge was not asked about them.
        false_refusals: refusals of problems that have an answer.
        unusable: problems that ended because no reply of a turn could be used.
        format_errors: unusable tries per turn; None without turns.
        categories: division -> category -> score.
        boxes, evidence: over the problems whose answers are boxes, or that name their evidence; None without any.
        reward: the means of the environment's reward, and of its terms.
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
        bounds: the share of `one` minus that of `other` if undecided answers of `one` are wrong and of `other` right,
            and the other way round.
        interval: from the lower end of the paired 95 % interval of the first to the upper end of that of the second.
        p: p of McNemar's exact test on the problems decided for both; `p_bounds` what it could become, at the ends.
        means: of `one` and of `other` on those problems; `reward` the differences in the environment's reward.
        needed: such problems that would distinguish the two with a power of at least 80 %; None if both solve as many.
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


class Summary(msgspec.Struct, frozen=True):
    """An evaluation.

    Args:
        commonest: the share that always giving the commonest answer solves; of choices, the commonest letter.
        assumed: defaults for what was not published of the models' systems, a sentence each.
        contamination, looks: what training rows share, and whether models look, if that was requested.
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
    contamination: Contamination | None = None
    looks: Sequence[Looks] = ()


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
    pairs = [_pair(*names, results) for names in combinations(models, 2) if are_compared(*names)]
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
        seeds=seeds_of(models, results),
    )


def _model(name: str, results: Sequence[Result], facts: Mapping[str, Any], commonest: str) -> ModelSummary:
    answered = [(result, result.answers[name]) for result in results if name in result.answers]
    answers = [answer for _, answer in answered]
    turns = sum(answer.turns + answer.unusable for answer in answers)  # an unusable turn is one too
    by_commonest = Counter(
        (answer.right, result.guessed.right == commonest) for result, answer in answered if result.reference
    )
    answers_of: dict[str, dict[str, list[Answered]]] = defaultdict(lambda: defaultdict(list))
    values_of: dict[Metric, list[float]] = defaultdict(list)
    for result, answer in answered:
        for division, categories in result.categories.items():
            for category in categories:
                answers_of[division][category].append(answer)
        if result.metric:
            values_of[result.metric].append(answer.measured or 0.0)
    metrics = {metric: Measured(sum(values) / len(values), len(values)) for metric, values in values_of.items()}
    overlaps = {category: _overlaps(of) for category, of in answers_of.get("category", {}).items()}
    return ModelSummary(
        name=name,
        score=score(answer.right for answer in answers),
        unanswered=sum(answer.answer is None for answer in answers),
        missing=len(results) - len(answers),
        undecided=sum(answer.right is None for answer in answers),
        unread=share(answer.unread for answer in answers),
        refusals=share(answer.refused for answer in answers),
        false_refusals=share(answer.refused for result, answer in answered if not result.unreadable),
        unusable=sum(answer.unusable for answer in answers),
        format_errors=sum(answer.rejected for answer in answers) / turns if turns else None,
        deciders=Counter(answer.by for answer in answers if answer.by),
        means=means_of(answers),
        categories={
            division: {category: score(answer.right for answer in of) for category, of in sorted(parts.items())}
            for division, parts in answers_of.items()
        },
        protocol=facts.get("protocol"),
        settings=facts.get("settings") or {},
        boxes=box_scores(_overlaps(answers), overlaps),
        evidence=_evidence(answers),
        reward=reward_means(answer.reward for answer in answers),
        metrics=dict(sorted(metrics.items())),
        p_commonest=mcnemar(by_commonest[True, False], by_commonest[False, True]) if by_commonest else None,
    )


def _overlaps(answers: Iterable[Answered]) -> list[Overlap]:
    return [answer.overlap for answer in answers if answer.overlap]


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


def _pair(one: str, other: str, results: Sequence[Result]) -> Pair:
    common = [each for each in results if one in each.answers and other in each.answers]
    answers = [(each.answers[one], each.answers[other]) for each in common]
    rights = [(first.right, second.right) for first, second in answers]
    only_one, only_other = (
        [result.id for result, right in zip(common, rights, strict=True) if right == alone]
        for alone in ((True, False), (False, True))
    )
    of = len(common)
    low, high = (_split(rights, undecided) for undecided in (False, True))
    gaps = [only_first - only_second for _, only_first, only_second, _ in (low, high)]
    ends = [mcnemar(only_first, only_second) for _, only_first, only_second, _ in (low, high)]
    return Pair(
        one=one,
        other=other,
        undecided=sum(None in each for each in rights),
        of=of,
        bounds=(gaps[0] / of, gaps[1] / of) if of else (-1.0, 1.0),
        interval=(paired(*low)[0], paired(*high)[1]),
        p=mcnemar(len(only_one), len(only_other)),
        # p falls as the split of the problems that only one solves gets less even; it is 1 where that can become even
        p_bounds=(min(ends), 1.0 if gaps[0] <= 0 <= gaps[1] else max(ends)),
        only_one=only_one,
        only_other=only_other,
        reward=reward_gaps((first.reward, second.reward) for first, second in answers),
        means=(means_of([first for first, _ in answers]), means_of([second for _, second in answers])),
        needed=problems_needed(len(only_one), len(only_other), of),
    )


def _split(rights: Iterable[tuple[bool | None, bool | None]], undecided: bool) -> tuple[int, int, int, int]:
    """How many problems both, the first alone, the second alone and neither of two models solve.

    Undecided answers count as `undecided` for the first model, and as the opposite for the second.
    """
    decided = (
        (undecided if first is None else first, not undecided if second is None else second) for first, second in rights
    )
    counts = Counter(decided)
    return counts[True, True], counts[True, False], counts[False, True], counts[False, False]
