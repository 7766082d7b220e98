"""The figures of an evaluation as a terminal shows them."""

from collections.abc import Iterable, Iterator, Sequence

from virc.core.text import counted
from virc.evaluation.columns import Column
from virc.evaluation.pages import figures
from virc.evaluation.summary import ModelSummary, Pair, Summary
from virc_cli.console.tables import table

_MAX_PARTS = 24  # of a division; a longer list is in the report alone
_HEAD = (
    "model", "right", "95 % interval", "of", "undecided", "unread", "no answer", "missing",
    "turns", "calls", "replies", "tokens in", "tokens out", "seconds",
)  # fmt: skip
_METRICS = ("metric", "model", "mean", "rows that name it")
_EVIDENCE = ("model", "evidence seen", "right where seen", "right elsewhere")


def lines(summary: Summary, columns: Sequence[Column] = ()) -> Iterator[str]:
    for shown in _of(columns, "first", summary):
        yield from (*shown, "")
    ablation = summary.crop_ablation
    swapped = "" if ablation == "none" else f", crop ablation: {ablation}"
    yield f"{summary.benchmark}: {counted(summary.problems, 'problem')}{swapped}"
    yield ""
    yield from table([_HEAD, *(_model(model) for model in summary.models)])
    if any(model.unread.count for model in summary.models):
        yield figures.UNREAD
    if summary.commonest.of:
        yield f"the commonest answer alone: {figures.percent(summary.commonest.share)}"
        for model in summary.models:
            if model.p_commonest is not None:
                gap = 100 * (model.score.share - summary.commonest.share)
                yield f"  {model.name} minus that: {gap:+.1f} points, {figures.probability(model.p_commonest)}"
    yield from _refusals(summary.models)
    metrics = (
        (name, model.name, figures.percent(metric.mean), str(metric.of))
        for model in summary.models
        for name, metric in model.metrics.items()
    )
    yield from _block(_METRICS, metrics)
    for spread in summary.seeds:
        interval = "" if spread.interval is None else f" (95 %: {figures.between(spread.interval)})"
        mean = f"{figures.percent(spread.mean)}{interval}, standard deviation {100 * spread.deviation:.1f} points"
        yield f"{spread.model}, mean of {len(spread.seeds)} seeds: {mean}"
    for shown in _of(columns, "figures", summary):
        yield from ("", *shown)
    seen = ((model.name, *map(figures.counted, model.evidence.figures)) for model in summary.models if model.evidence)
    yield from _block(_EVIDENCE, seen)
    divisions = dict.fromkeys(name for model in summary.models for name in model.categories)
    for block in (
        *map(_pair, summary.pairs),
        *(_division(division, summary.models) for division in divisions),
        *_of(columns, "last", summary),
    ):
        yield ""
        yield from block


def _of(columns: Sequence[Column], place: str, summary: Summary) -> Iterator[list[str]]:
    """The lines of each column in a place that has any."""
    yield from filter(None, ([*column.lines(summary)] for column in columns if column.place == place))


def _block(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """An empty line and a table; nothing without rows."""
    if found := [*rows]:
        yield ""
        yield from table([head, *found])


def _model(model: ModelSummary) -> tuple[str, ...]:
    score, means = model.score, model.means
    return (
        model.name, figures.shares(score) if score.of else "-", figures.interval(score), str(score.of),
        str(model.undecided), figures.unread(model.unread), str(model.unanswered), str(model.missing),
        figures.mean(means.turns, 1), figures.mean(means.calls, 1), figures.mean(means.replies, 1),
        figures.mean(means.prompt_tokens, 0), figures.mean(means.tokens, 0), figures.mean(means.seconds, 2),
    )  # fmt: skip


def _refusals(models: Sequence[ModelSummary]) -> Iterator[str]:
    kinds = {"refusals": "refused"}
    if any(model.refusals.of > model.false_refusals.of for model in models):  # else each refusal is wrong
        kinds["false_refusals"] = "refused though there is an answer"
    shares = ([figures.counted(getattr(model, kind)) for kind in kinds] for model in models)
    unusable = ((str(model.unusable), figures.mean(model.format_errors, 3)) for model in models)
    rows = ((model.name, *share, *more) for model, share, more in zip(models, shares, unusable, strict=True))
    yield from _block(("model", *kinds.values(), "no usable reply", "rejected a turn"), rows)


def _pair(pair: Pair) -> Iterator[str]:
    low, high = pair.interval
    gained = " to ".join(f"{100 * end:+.1f}" for end in dict.fromkeys(pair.bounds))
    points = f"{gained} points ({100 * low:+.1f} to {100 * high:+.1f}), {_chance(pair)}"
    yield f"{pair.one} minus {pair.other}: {points}, on {pair.of} problems"
    if pair.means:
        one, other = pair.means
        tokens = f"{figures.mean(one.tokens, 0)} tokens against {figures.mean(other.tokens, 0)}"
        yield f"  {tokens}, {figures.mean(one.seconds, 2)} s against {figures.mean(other.seconds, 2)}, for a problem"
    if pair.needed:
        yield f"  {counted(pair.needed, 'problem')} like these would tell the two apart (power 80 %)"
    for name, ids in ((pair.one, pair.only_one), (pair.other, pair.only_other)):
        more = f" … ({len(ids)} in all)" if len(ids) > 8 else ""
        yield f"  solved by {name} alone: {', '.join(map(str, ids[:8])) or 'none'}{more}"


def _chance(pair: Pair) -> str:
    chance = figures.probability(pair.p) + (
        "" if pair.p_holm is None else f" (Holm: {figures.probability(pair.p_holm)})"
    )
    low, high = pair.p_bounds
    return f"{chance} ({low:.3f} to {high:.3f} with the {pair.undecided} undecided)" if pair.undecided else chance


def _division(division: str, models: Sequence[ModelSummary]) -> Iterator[str]:
    parts = sorted({part for model in models for part in model.categories.get(division, {})})
    if len(parts) > _MAX_PARTS:
        yield f"{division}: {len(parts)} parts, in the report"
        return
    rows = [(division, *(model.name for model in models))]
    for part in parts:
        scores = [model.categories.get(division, {}).get(part) for model in models]
        rows.append((part, *(figures.counted(score) for score in scores)))
    yield from table(rows)
