"""An evaluation as one self-contained page: no script, no network; every answer with a trace links to its page.

Text that others wrote is escaped. Long questions and answers are cut: their traces hold all of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import get_args
from urllib.parse import quote

import msgspec

from virc.core.result_log import Id
from virc.core.web.html import fill, in_line, key_name, safe
from virc.evaluation import figures
from virc.evaluation.figures import bar, between, cut, isolated, percent, shares, short, undecided
from virc.evaluation.rewarded import Mean
from virc.evaluation.statistics import Interval
from virc.evaluation.summary import Answered, Means, ModelSummary, Pair, Reported, Result, Score, Share, Summary
from virc.scoring.score import Decider
from virc.solving.ablation import CropAblation

_NAME, _VALUE = 160, 400  # characters shown of a name and of a setting
_QUESTION, _ANSWER, _NOTE, _ID = 300, 160, 120, 60  # characters shown of each
_COLUMN, _COLUMNS = 15, 50  # % of the width: a column of answers, and all together at most
_AXIS = '<span class="ends"><span>0</span><span>50</span><span>100%</span></span>'
_UNKNOWN = '<td class="none">not known</td>'

_ABLATIONS: Mapping[CropAblation, str] = {
    "blank": "every crop is white",
    "counterfactual": "crops are those of a counterfactual with other values, whose answer is right",
}
_MEANS = {
    "turns": "turns", "calls": "tool calls", "replies": "replies", "seconds": "seconds", "prompt_tokens": "tokens read",
    "tokens": "tokens drawn",
}  # fmt: skip
"""Field -> heading."""


def render(summary: Summary, results: Sequence[Result]) -> str:
    """The page of an evaluation as one HTML document; `results` are in the order of the benchmark."""
    names = [model.name for model in summary.models]
    facts = [_count(summary.problems, "problem"), _count(len(names), "model"), _ABLATIONS.get(summary.crop_ablation)]
    sections = {
        "Accuracy": _accuracy(summary)
        + _boxes(summary.models)
        + _evidence(summary.models)
        + _cost(summary.models)
        + _refusals(summary.models),
        "Reward": _reward(summary),
        "Model by model": _pairs(
            summary.pairs, {each.id: f'<a href="#p{at}">{_label(each.id)}</a>' for at, each in enumerate(results)}
        ),
        "Published figures": _against(summary.against),
        "Categories": _categories(summary.models),
        "Problems": _problem_list(results, names),
        "Settings": _settings(summary.models),
    }
    return fill(
        "evaluation/report",
        _rules(names),
        title=safe(summary.benchmark[:_NAME], "[{}]"),
        benchmark=cut(summary.benchmark, _NAME),
        byline=" · ".join(filter(None, facts)),
        sections="\n".join(_section(title, body) for title, body in sections.items() if body),
    )


def _section(title: str, body: str) -> str:
    key = title.lower().replace(" ", "-")
    return f'<section aria-labelledby="{key}">\n<h2 id="{key}">{title}</h2>\n{body}\n</section>'


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _table(caption: str, head: str, rows: Iterable[str], css: str) -> str:
    """A table that scrolls by itself in a narrow window; `head` and `rows` are cells as HTML, the caption is text."""
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return (
        f'<div class="scroll" role="region" aria-label="{safe(caption[:_NAME], "[{}]")}" tabindex="0">'
        f'<table class="{css}"><caption dir="auto">{cut(caption, _NAME)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def _heads(*names: str) -> str:
    return "".join(f'<th scope="col" dir="auto">{name}</th>' for name in names)


def _row_head(name: str) -> str:
    return f'<th scope="row" dir="auto">{cut(name, _NAME)}</th>'


def _accuracy(summary: Summary) -> str:
    rows = (
        f"{_row_head(model.name)}<td>{bar(model.score)}</td>{_share(model.score)}"
        f"<td>{model.undecided:,}</td><td>{model.score.right:,} of {model.score.of:,}</td>"
        for model in summary.models
    )
    head = _heads("Model", _AXIS, "Right", "Undecided", "Problems")
    guess = f'<p class="note">The commonest answer alone: {percent(summary.commonest.share)}.</p>\n'
    table = _table("Share of right answers with its 95 % interval", head, rows, "accuracy")
    return table + guess if summary.commonest.of else table


def _share(score: Score | Share) -> str:
    if not score.of:
        return _UNKNOWN
    interval = between(score.interval) + undecided(score)
    return f"<td><strong>{shares(score)}</strong><small>{interval}</small></td>"


def _reward(summary: Summary) -> str:
    """A row for the total and for each term of each model, and what models differ by."""
    facts, models = summary.reward, [model for model in summary.models if model.reward]
    if facts is None:
        return ""
    rows = (
        _mean_row(name, model.name, model.reward[name], axis)
        for name in facts.names
        for axis in [figures.axis_of(model.reward[name] for model in models if model.reward)]
        for model in models
        if model.reward
    )
    head = _heads("Term", "Model", "From 0", "Mean", "Problems", "Not applicable", "Unscored")
    note = "Each term has an axis of its own, whose ends stand below its bars. What a term does not apply to, and what "
    return (
        _table(figures.reward_title(facts), head, rows, "reward")
        + f'<p class="note">{note}could not be scored, is in no mean.</p>\n'
        + "".join(map(_gaps, summary.pairs))
    )


def _mean_row(name: str, model: str, mean: Mean, axis: Interval) -> str:
    ends = "".join(f"<span>{end:.3g}</span>" for end in axis)
    picture = f'<td>{figures.mean_bar(mean, axis)}<span class="ends">{ends}</span></td>'
    known = f"<td><strong>{figures.value(mean.mean)}</strong><small>{figures.values(mean.interval)}</small></td>"
    counts = "".join(f"<td>{count:,}</td>" for count in (mean.of, mean.not_applicable, mean.unscored))
    seen = "<td></td>" + _UNKNOWN if mean.mean is None else picture + known
    return f'{_row_head(name)}<td dir="auto">{cut(model, _NAME)}</td>{seen}{counts}'


def _gaps(pair: Pair) -> str:
    if not pair.reward:
        return ""
    rows = (
        f"{_row_head(name)}<td>{figures.signed(gap).replace('-', '−')}</td><td>{gap.of:,}</td>"
        for name, gap in pair.reward.items()
    )
    head = _heads("Term", "Difference with its 95 % interval", "Problems")
    return _table(f"Mean of {pair.one} less that of {pair.other}", head, rows, "numbers")


def _boxes(models: Sequence[ModelSummary]) -> str:
    """A table of those that were asked for boxes."""
    rows = [
        f"{_row_head(model.name)}<td>{model.boxes.mean_iou:.3f}</td><td>{model.boxes.mean_giou:.3f}</td>"
        + "".join(
            _UNKNOWN if each is None else f"<td>{percent(each)}</td>"
            for each in (model.boxes.ap50, model.boxes.mean_ap)
        )
        + f"<td>{model.boxes.of:,}</td>"
        for model in models
        if model.boxes
    ]
    head = _heads("Model", "Mean IoU", "Mean generalized IoU", "AP50", "Mean AP", "Problems")
    return _table("Answers that are boxes, and how they overlap", head, rows, "numbers") if rows else ""


def _evidence(models: Sequence[ModelSummary]) -> str:
    """A table of those whose problems say where the answer is seen."""
    rows = [
        _row_head(model.name) + "".join(map(_share, model.evidence.figures)) + f"<td>{model.evidence.seen.of:,}</td>"
        for model in models
        if model.evidence
    ]
    head = _heads("Model", "Looked at the evidence", "Right where it did", "Right elsewhere", "Problems")
    return _table("Whether it looked where the answer is seen", head, rows, "numbers") if rows else ""


def _cost(models: Sequence[ModelSummary]) -> str:
    groups = {
        "Problems": ("no answer", "missing"),
        "Decided by": get_args(Decider),
        "Mean of an answer": [*_MEANS.values()],
    }
    head = (
        '<th scope="col" rowspan="2">Model</th>'
        + "".join(f'<th scope="colgroup" colspan="{len(of)}">{name}</th>' for name, of in groups.items())
        + f"</tr>\n<tr>{''.join(_heads(*of) for of in groups.values())}"
    )
    rows = (
        _row_head(model.name)
        + "".join(f"<td>{count:,}</td>" for count in (model.unanswered, model.missing))
        + "".join(f"<td>{model.deciders.get(decider, 0):,}</td>" for decider in groups["Decided by"])
        + "".join(_mean(model.means, name) for name in _MEANS)
        for model in models
    )
    return _table("What became of the problems, and what an answer took", head, rows, "numbers")


def _refusals(models: Sequence[ModelSummary]) -> str:
    rows = (
        f"{_row_head(model.name)}{_share(model.refusals)}{_share(model.false_refusals)}<td>{model.unusable:,}</td>"
        + (_UNKNOWN if model.format_errors is None else f"<td>{model.format_errors:.3f}</td>")
        for model in models
    )
    head = _heads("Model", "Refused", "Refused, of those with an answer", "No usable reply", "Rejected a turn")
    return _table("What was refused, and what could not be used", head, rows, "numbers")


def _mean(means: Means, name: str) -> str:
    value: float | None = getattr(means, name)
    return _UNKNOWN if value is None else f"<td>{_mean_text(value, name)}</td>"


def _mean_text(value: float | None, name: str) -> str:
    if value is None:
        return "not known"
    return f"{value:,.0f}" if name.endswith("tokens") else f"{value:,.1f}"


def _against_each(pair: Pair, name: str) -> str:
    """What an answer of the one and of the other took."""
    values = [_mean_text(getattr(means, name), name) for means in pair.means or ()]
    return f"<td>{' against '.join(values)}</td>" if values else _UNKNOWN


def _pairs(pairs: Sequence[Pair], links: Mapping[Id, str]) -> str:
    if not pairs:
        return ""
    end = figures.reach(pairs)
    ends = f"<span>−{100 * end:.0f}</span><span>0</span><span>+{100 * end:.0f}</span>"
    rows = (
        f'{_row_head(pair.one)}<td dir="auto">{cut(pair.other, _NAME)}</td><td>{figures.gap(pair, end)}</td>'
        f"<td><strong>{figures.gained(pair)}</strong><small>{figures.points_between(pair.interval)}</small></td>"
        f"<td>{figures.chance(pair.p)}{_open_chance(pair)}</td><td>{pair.undecided:,}</td><td>{pair.of:,}</td>"
        + "".join(_against_each(pair, name) for name in ("tokens", "seconds"))
        for pair in pairs
    )
    sides = f'<span class="ends">{ends}</span>'
    head = _heads("First", "Second", sides, "Points", "p", "Undecided", "Problems", "Tokens drawn", "Seconds")
    caption = "Share of the first less that of the second in percentage points, with its 95 % interval"
    lists = "\n".join(_only(pair, links) for pair in pairs)
    return (
        _table(caption, head, rows, "pairs")
        + '<p class="note">Where an interval includes 0 (drawn pale), chance alone may have made the difference.</p>\n'
        + f'<div class="only">\n{lists}\n</div>'
    )


def _open_chance(pair: Pair) -> str:
    """What p can be once the undecided answers are decided."""
    low, high = map(figures.chance, pair.p_bounds)
    return f"<small>{low} to {high}</small>" if pair.undecided else ""


def _only(pair: Pair, links: Mapping[Id, str]) -> str:
    sides = ((pair.one, pair.other, pair.only_one), (pair.other, pair.one, pair.only_other))
    return "\n".join(
        f"<details><summary><bdi>{short(winner)}</bdi> is right and <bdi>{short(loser)}</bdi> is not: "
        f"{_count(len(ids), 'problem')}</summary>"
        f"<p>{' '.join(links[id] for id in ids) or 'none'}</p></details>"
        for winner, loser, ids in sides
    )


def _against(against: Sequence[Reported]) -> str:
    if not against:
        return ""
    rows = (
        f"{_row_head(each.model)}<td>{bar(each.ours, each.theirs)}</td>{_share(each.ours)}"
        + _theirs(each)
        + f'<td dir="auto">{cut(each.published, _NAME)}<small>{cut(each.source, _NAME)}</small></td>'
        + f"<td>{_differs(each)}</td>"
        for each in against
    )
    head = _heads("Model", _AXIS, "Ours", "Theirs", "Published for", "What differs: theirs, ours")
    return _table("Our share with its 95 % interval; a mark where theirs is", head, rows, "against")


def _theirs(reported: Reported) -> str:
    if reported.theirs is None:
        return _UNKNOWN
    note = "<small>undecided which is higher</small>" if reported.is_undecided else ""
    return f"<td><strong>{percent(reported.theirs)}</strong>{note}</td>"


def _differs(reported: Reported) -> str:
    return "".join(
        f'<p dir="auto">{cut(key_name(key), _NAME)}: {_value(theirs)}, {_value(ours)}</p>'
        for key, (theirs, ours) in reported.differs.items()
    )


def _value(value: object) -> str:
    return "not known" if value is None else cut(in_line(value), _VALUE)


def _categories(models: Sequence[ModelSummary]) -> str:
    """A table for each division with a row for each of its parts."""
    divisions = list(dict.fromkeys(division for model in models for division in model.categories))
    head, tables = _heads("Part", *(short(model.name) for model in models)), []
    for division in divisions:
        scores = [model.categories.get(division, {}) for model in models]
        parts = sorted({part for each in scores for part in each})
        rows = [_row_head(part) + "".join(_part(each.get(part)) for each in scores) for part in parts]
        tables.append(_table(division, head, rows, "parts"))
    return "".join(tables)


def _part(score: Score | None) -> str:
    if score is None or not score.of:
        return _UNKNOWN
    counted = f"{score.right:,} of {score.of:,}{undecided(score)}"
    return f"<td>{bar(score)}<strong>{shares(score)}</strong><small>{counted}</small></td>"


def _settings(models: Sequence[ModelSummary]) -> str:
    facts = [{"chat_protocol": model.protocol} | dict(model.settings) for model in models]
    keys = dict.fromkeys(key for each in facts for key, value in each.items() if value is not None)
    rows = (
        _row_head(key_name(key)) + "".join(f'<td dir="auto">{_value(each.get(key))}</td>' for each in facts)
        for key in keys
    )
    head = _heads("Setting", *(short(model.name) for model in models))
    return _table("What each model was asked with", head, rows, "parts") if keys else ""


Rights = Sequence[bool | None]
"""Of each model in turn whether it was right; None where there is no verdict."""


class _Filter(msgspec.Struct, frozen=True):
    """A choice of problems: its key in the page, its label as HTML, and what it shows (None: all problems)."""

    key: str
    label: str
    holds: Callable[[Rights], bool] | None = None


def _filters(names: Sequence[str]) -> list[_Filter]:
    """What can be chosen between models of these names."""
    several = len(names) > 1
    found = [
        _Filter("all", "all"),
        _Filter("wrong", "wrong by any" if several else "wrong", lambda rights: False in rights),
    ]
    if several:
        found.append(_Filter("hard", "wrong by all", lambda rights: set(rights) == {False}))
        found += [
            _Filter(f"only{at}", f"only {short(name)} right", partial(_sole, at)) for at, name in enumerate(names)
        ]
    return [*found, _Filter("open", "without a verdict", lambda rights: None in rights)]


def _rules(names: Sequence[str]) -> str:
    """The style of a page with the list: how wide its columns are, and what each filter hides."""
    columns = len(names) + 1
    width = min(_COLUMN, _COLUMNS / columns)
    widths = f"main {{ --columns: {columns}; --short: {width:.3f}%; }}\n"
    return widths + "".join(
        f"body:has(#{each.key}:checked) .list tbody tr:not(.{each.key}, :target) {{ display: none; }}\n"
        for each in _filters(names)
        if each.holds
    )


def _problem_list(results: Sequence[Result], names: Sequence[str]) -> str:
    """Filters, and a row for each problem; `names` are the models in the order of their columns."""
    answers = [[result.answers.get(name) for name in names] for result in results]
    rights = [[each.right if each else None for each in of] for of in answers]
    choices = _filters(names)
    models = "".join(f'<th scope="col" dir="auto">{short(name)}</th>' for name in names)
    rows = "\n".join(
        _row(at, result, names, [each.key for each in choices if each.holds and each.holds(found)])
        for at, (result, found) in enumerate(zip(results, rights, strict=True))
    )
    return (
        f"{_choice(choices, rights)}\n"
        '<table class="list"><caption>Every answer with a trace is a link to it.</caption>\n'
        '<thead><tr><th scope="col">Problem</th><th scope="col">Question</th>'
        f'<th scope="col">Reference</th>{models}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table>"
    )


def _label(id: str | int) -> str:
    """A problem's id."""
    return isolated(str(id), _ID)


def _choice(choices: Sequence[_Filter], rights: Sequence[Rights]) -> str:
    counts = {each.key: sum(map(each.holds, rights)) if each.holds else len(rights) for each in choices}
    first = "wrong" if counts["wrong"] else "all"
    radios = "".join(
        f'<input type="radio" name="show" id="{each.key}" autocomplete="off"{" checked" * (each.key == first)}>'
        f'<label for="{each.key}" dir="auto">{each.label} <span>{counts[each.key]:,}</span></label>'
        for each in choices
        if counts[each.key] or each.key == first
    )
    return f'<fieldset class="filters"><legend>Show</legend>{radios}</fieldset>'


def _row(at: int, result: Result, names: Sequence[str], keys: Sequence[str]) -> str:
    css = f' class="{" ".join(keys)}"' if keys else ""
    cells = "".join(_cell(result.answers.get(name)) for name in names)
    return (
        f'<tr id="p{at}"{css}><th scope="row">{_label(result.id)}</th>'
        f'<td dir="auto">{cut(result.question, _QUESTION)}</td>'
        f"<td>{isolated(result.reference, _ANSWER)}</td>{cells}</tr>"
    )


def _cell(answered: Answered | None) -> str:
    """What one model made of a problem; the mark before it is in the style, the word for it in the text."""
    if answered is None:
        return '<td class="f">missing</td>'
    if answered.answer is None:
        reason = isolated(answered.reason or "no answer", _NOTE)
        css, word = ("r", "right") if answered.right else ("n", "no answer")
        return f'<td class="{css}"><b>{word}: </b>{_linked(reason, answered.trace)}{_given(answered)}</td>'
    css, word = {True: ("r", "right"), False: ("w", "wrong"), None: ("u", "undecided")}[answered.right]
    by = f" <small>{answered.by}</small>" if answered.by not in (None, "rule") else ""
    shown = _linked(isolated(answered.answer, _ANSWER), answered.trace)
    overlaps = f" <small>IoU {answered.overlap.iou:.2f}</small>" if answered.overlap else ""
    return f'<td class="{css}"><b>{word}: </b>{shown}{by}{overlaps}{_given(answered)}</td>'


def _given(answered: Answered) -> str:
    """The reward of an answer; its terms show when it is pointed at."""
    found = answered.rewarded
    if found is None:
        return ""
    total = "?" if found.total is None else figures.value(found.total)
    return f' <small title="{safe(figures.in_words(found), "[{}]")}">reward {total}</small>'


def _linked(shown: str, trace: str | None) -> str:
    """A link to the page of a trace; `./` keeps a name with a colon or slashes in front from leading elsewhere."""
    if trace is None:
        return shown
    return f'<a href="./{quote(trace, errors="surrogatepass")}/index.html">{shown}</a>'


def _sole(at: int, rights: Rights) -> bool:
    return rights[at] is True and set(rights[:at]) | set(rights[at + 1 :]) == {False}
