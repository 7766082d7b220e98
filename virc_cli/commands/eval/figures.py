"""The figures of an evaluation as a terminal shows them."""

from collections.abc import Iterable, Iterator, Sequence

from virc.core.text import counted
from virc.evaluation.looks import Looks
from virc.evaluation.pages import figures
from virc.evaluation.summary import Contamination, ModelSummary, Pair, Reported, Score, Share, Summary
from virc_cli.console.tables import table

_MAX_PARTS = 24  # of a division; a longer list is in the report alone
_HEAD = (
    "model", "right", "95 % interval", "of", "undecided", "unread", "no answer", "missing",
    "turns", "calls", "replies", "read", "tokens", "seconds",
)  # fmt: skip
_ARMS = ("asked with", "right", "of", "lost points", "95 % interval", "p")
_BOXES = ("model", "mean IoU", "mean generalized IoU", "AP50", "mean AP", "rows with boxes")
_METRICS = ("metric", "model", "mean", "rows that name it")
_EVIDENCE = ("model", "evidence seen", "right where seen", "right elsewhere")
_REWARD = ("reward", "model", "mean", "95 % interval", "of")
_REFUSALS = ("model", "refused", "of those with an answer", "no usable reply", "rejected a turn")


def lines(summary: Summary) -> Iterator[str]:
    for verdict in summary.looks:
        yield f"{verdict.model}: {verdict.sentence}, {_probability(verdict.p)} ({verdict.test})"
        yield from table([_ARMS, *_arms(verdict)])
        yield ""
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
                yield f"  {model.name} minus that: {gap:+.1f} points, {_probability(model.p_commonest)}"
    yield from _reward(summary)
    yield from _block(_REFUSALS, map(_refusals, summary.models))
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
    if summary.contamination:
        yield ""
        yield from _shared(summary.contamination)
    yield from _block(_BOXES, (row for model in summary.models for row in _boxes(model)))
    seen = ((model.name, *map(_counted, model.evidence.figures)) for model in summary.models if model.evidence)
    yield from _block(_EVIDENCE, seen)
    divisions = dict.fromkeys(name for model in summary.models for name in model.categories)
    for block in (
        *map(_pair, summary.pairs),
        *(_division(division, summary.models) for division in divisions),
        *map(_reported, summary.against),
    ):
        yield ""
        yield from block


def _block(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """An empty line and a table; nothing without rows."""
    if found := [*rows]:
        yield ""
        yield from table([head, *found])


def _arms(verdict: Looks) -> Iterator[tuple[str, ...]]:
    for name, arm in verdict.arms.items():
        share = figures.percent(arm.right / arm.of) if arm.of else "-"
        gain, interval = figures.points(arm.gain), figures.points_between(arm.interval)
        yield name, share, str(arm.of), gain, interval, figures.chance(arm.p)


def _model(model: ModelSummary) -> tuple[str, ...]:
    score, means = model.score, model.means
    return (
        model.name, figures.shares(score) if score.of else "-", figures.interval(score), str(score.of),
        str(model.undecided), figures.unread(model.unread), str(model.unanswered), str(model.missing),
        _mean(means.turns, 1), _mean(means.calls, 1), _mean(means.replies, 1), _mean(means.prompt_tokens, 0),
        _mean(means.tokens, 0), _mean(means.seconds, 2),
    )  # fmt: skip


def _reward(summary: Summary) -> Iterator[str]:
    rows = (
        (term, model, figures.value(mean.mean), figures.values(mean.interval), str(mean.of))
        for term, model, mean, _ in figures.reward_rows(summary.models)
    )
    yield from _block(_REWARD, rows)
    for pair in summary.pairs:
        if pair.reward:
            yield ""
            yield f"{pair.one} minus {pair.other} in the reward"
            yield from table(
                [(name, figures.signed(gap), f"on {gap.of} problems") for name, gap in pair.reward.items()]
            )


def _refusals(model: ModelSummary) -> tuple[str, ...]:
    shares = (_counted(model.refusals), _counted(model.false_refusals))
    return (model.name, *shares, str(model.unusable), _mean(model.format_errors, 3))


def _boxes(model: ModelSummary) -> Iterator[tuple[str, ...]]:
    if model.boxes:
        precisions = (model.boxes.ap50, model.boxes.mean_ap)
        means = (_mean(model.boxes.mean_iou, 3), _mean(model.boxes.mean_giou, 3))
        shown = ("-" if each is None else figures.percent(each) for each in precisions)
        yield model.name, *means, *shown, str(model.boxes.of)


def _pair(pair: Pair) -> Iterator[str]:
    low, high = pair.interval
    gained = " to ".join(f"{100 * end:+.1f}" for end in dict.fromkeys(pair.bounds))
    points = f"{gained} points ({100 * low:+.1f} to {100 * high:+.1f}), {_chance(pair)}"
    yield f"{pair.one} minus {pair.other}: {points}, on {pair.of} problems"
    if pair.means:
        one, other = pair.means
        tokens = f"{_mean(one.tokens, 0)} tokens against {_mean(other.tokens, 0)}"
        yield f"  {tokens}, {_mean(one.seconds, 2)} s against {_mean(other.seconds, 2)}, for a problem"
    if pair.needed:
        yield f"  {counted(pair.needed, 'problem')} like these would tell the two apart (power 80 %)"
    for name, ids in ((pair.one, pair.only_one), (pair.other, pair.only_other)):
        more = f" … ({len(ids)} in all)" if len(ids) > 8 else ""
        yield f"  only {name} solves {', '.join(map(str, ids[:8])) or 'none'}{more}"


def _shared(found: Contamination) -> Iterator[str]:
    same = sum(each.same_question for each in found.shared)
    unread = f", {found.unread} without a picture that can be read" if found.unread else ""
    yield f"{found.against}: {counted(found.rows, 'row')} of training{unread}"
    yield f"  problems with nearly a picture of theirs: {len(found.shared)}, {same} with the question too"
    for each in found.shared[:8]:
        yield f"  problem {each.id}: row {each.row}" + (", the question too" if each.same_question else "")
    for name, clean in found.without.items() if found.shared else ():
        yield f"  {name} without these: {_counted(clean)} (95 %: {figures.interval(clean)})"


def _probability(p: float) -> str:
    shown = figures.chance(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _chance(pair: Pair) -> str:
    chance = _probability(pair.p) + ("" if pair.p_holm is None else f" (Holm: {_probability(pair.p_holm)})")
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
        rows.append((part, *(_counted(score) for score in scores)))
    yield from table(rows)


def _reported(each: Reported) -> Iterator[str]:
    theirs = "no figure" if each.theirs is None else figures.percent(each.theirs)
    ours = f"{each.model}: {figures.shares(each.ours)} ({figures.interval(each.ours)}{figures.undecided(each.ours)})"
    settled = "; undecided which is higher" if each.is_undecided else ""
    yield f"{ours}; {each.published}: {theirs}, {each.source}{settled}"
    for name, (their, our) in each.differs.items():
        yield f"  {name}: {their} there, {our} here"


def _counted(score: Score | Share | None) -> str:
    return f"{figures.shares(score)} of {score.of}{figures.undecided(score)}" if score and score.of else "-"


def _mean(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
