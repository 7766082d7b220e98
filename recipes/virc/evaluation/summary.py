"""Summary of an evaluation, by model and by pair of models: the records of `virc.eval/1`, and `summarise`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, Protocol

import msgspec

from virc.core.result_log import Id
from virc.evaluation.answered import Answered, Result
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
        evidence: over the problems that name their evidence; None without any.
        p_commonest: p of McNemar's exact test against always giving the commonest answer, on decided problems.
        columns: what the columns of the evaluation add.
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
    evidence: EvidenceScores | None = None
    metrics: Mapping[Metric, Measured] = {}
    p_commonest: float | None = None
    columns: Mapping[str, Any] = {}

    @property
    def fields(self) -> dict[str, Any]:
        return _flat(msgspec.to_builtins(self))


class Pair(msgspec.Struct, frozen=True):
    """Two models on the problems that both have a result for.

    Args:
        undecided: problems that the judge failed on for at least one of the two; `of` includes them.
        bounds: the share of `one` minus that of `other` if undecided answers of `one` are wrong and of `other` right,
            and the other way round.
        interval: from the lower end of the paired 95 % interval of the first to the upper end of that of the second.
        p: p of McNemar's exact test on the problems decided for both; `p_bounds` what it could become, at the ends.
        means: of `one` and of `other` on those problems.
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
    means: tuple[Means, Means] | None = None
    needed: int | None = None
    p_holm: float | None = None
    columns: Mapping[str, Any] = {}


class Summary(msgspec.Struct, frozen=True):
    """An evaluation.

    Args:
        commonest: the share that always giving the commonest answer solves; of choices, the commonest letter.
        assumed: defaults for what was not published of the models' systems, a sentence each.
        columns: what the columns of the evaluation add.
    """

    benchmark: str
    problems: int
    models: Sequence[ModelSummary]
    pairs: Sequence[Pair]
    commonest: Share
    crop_ablation: CropAblation
    assumed: Sequence[str] = ()
    seeds: Sequence[Seeds] = ()
    columns: Mapping[str, Any] = {}

    @property
    def fields(self) -> dict[str, Any]:
        """What `virc.eval/1` has: the fields of columns are among the others."""
        fields = _flat(msgspec.to_builtins(self))
        return fields | {name: [_flat(each) for each in fields[name]] for name in ("models", "pairs")}


class Figures(Protocol):
    """What a column adds to a summary."""

    def of_model(self, answered: Sequence[tuple[Result, Answered]]) -> Mapping[str, Any]:
        """Of the answers of one model."""

    def of_pair(self, answers: Sequence[tuple[Answered, Answered]]) -> Mapping[str, Any]:
        """Of the answers of two models to the same problems."""


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = fields.pop("columns")
    return fields | columns


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
    columns: Sequence[Figures] = (),
) -> Summary:
    """Summarise results, one for each problem; `models` maps a name to its `protocol` and `settings`."""
    right_guesses = [result.guessed.right for result in results if result.reference]
    ((commonest, _),) = Counter(right_guesses).most_common(1) or [("", 0)]
    pairs = [_pair(*names, results, columns) for names in combinations(models, 2) if are_compared(*names)]
    if len(pairs) > 1:
        corrected = zip(pairs, holm([pair.p for pair in pairs]), strict=True)
        pairs = [msgspec.structs.replace(pair, p_holm=p) for pair, p in corrected]
    return Summary(
        benchmark=benchmark,
        problems=len(results),
        models=[_model(name, results, facts, commonest, columns) for name, facts in models.items()],
        pairs=pairs,
        commonest=share(guess == commonest for guess in right_guesses),
        crop_ablation=crop_ablation,
        seeds=seeds_of(models, results),
    )


def _model(
    name: str, results: Sequence[Result], facts: Mapping[str, Any], commonest: str, columns: Sequence[Figures]
) -> ModelSummary:
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
        evidence=_evidence(answers),
        metrics=dict(sorted(metrics.items())),
        p_commonest=mcnemar(by_commonest[True, False], by_commonest[False, True]) if by_commonest else None,
        columns={key: value for column in columns for key, value in column.of_model(answered).items()},
    )


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


def _pair(one: str, other: str, results: Sequence[Result], columns: Sequence[Figures]) -> Pair:
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
        means=(means_of([first for first, _ in answers]), means_of([second for _, second in answers])),
        needed=problems_needed(len(only_one), len(only_other), of),
        columns={key: value for column in columns for key, value in column.of_pair(answers).items()},
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
