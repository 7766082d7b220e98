"""An evaluation as one self-contained page: no script, no network; every answer with a trace links to its page.

Text that others wrote is escaped. Long questions and answers are cut: their traces hold all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import get_args
from urllib.parse import quote

import msgspec

from virc.core.web import html
from virc.evaluation.answered import Result
from virc.evaluation.columns import Column
from virc.evaluation.pages import figures
from virc.evaluation.summary import Summary
from virc.scoring.score import Decider
from virc.solving.ablation import CropAblation

_COLUMN, _COLUMNS = 15, 50  # % of the width: a column of answers, and all together at most

_ABLATIONS: Mapping[CropAblation, str] = {
    "blank": "every crop is white",
    "counterfactual": "crops are those of a counterfactual with other values, whose answer is right",
    "swapped": "crops are cut from another problem's picture",
    "blurred": "crops are blurred",
    "no-picture": "the picture is white",
    "no-tools": "no tool is offered",
}
_MEANS = {
    "turns": "Turns", "calls": "Tool calls", "replies": "Replies", "seconds": "Seconds", "prompt_tokens": "Tokens read",
    "tokens": "Tokens drawn",
}  # fmt: skip
"""Field -> heading."""


def render(summary: Summary, results: Sequence[Result], columns: Sequence[Column] = ()) -> str:
    from markupsafe import Markup

    names = [model.name for model in summary.models]
    places = {each.id: at for at, each in enumerate(results)}
    choices = _filters(names)
    answers = [[result.answers.get(name) for name in names] for result in results]
    rights = [[each.right if each else None for each in of] for of in answers]
    counts = {each.key: sum(map(each.holds, rights)) if each.holds else len(rights) for each in choices}
    first = "wrong" if counts["wrong"] else "all"
    return html.render(
        "evaluation/pages/report",
        _rules(choices, len(names) + 1),
        figures=figures,
        quote=partial(quote, errors="surrogatepass"),
        summary=summary,
        ablation=_ABLATIONS.get(summary.crop_ablation),
        model_names=list(map(figures.short, names)),
        deciders=get_args(Decider),
        means=_MEANS,
        cost_heads=[*(f"By {decider}" for decider in get_args(Decider)), *_MEANS.values()],
        places=places,
        divisions=_divisions(summary),
        filters=[(each, counts[each.key]) for each in choices if counts[each.key] or each.key == first],
        first_filter=first,
        sections=[(column, Markup(section)) for column in columns if (section := column.section(summary, places))],
        added=lambda answered: Markup("".join(column.cell(answered) for column in columns)),
        results=[
            (result, [each.key for each in choices if each.holds and each.holds(found)])
            for result, found in zip(results, rights, strict=True)
        ],
        settings=_settings(summary),
    )


def _divisions(summary: Summary) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for model in summary.models:
        for division, parts in model.categories.items():
            found.setdefault(division, set()).update(parts)
    return {division: sorted(parts) for division, parts in found.items()}


def _settings(summary: Summary) -> dict[str, list[object]]:
    facts = [{"chat_protocol": model.protocol} | dict(model.settings) for model in summary.models]
    keys = dict.fromkeys(key for each in facts for key, value in each.items() if value is not None)
    return {key: [each.get(key) for each in facts] for key in keys}


Rights = Sequence[bool | None]
"""Of each model in turn whether it was right; None if there is no verdict."""


class _Filter(msgspec.Struct, frozen=True):
    """A choice of problems: its key in the page, its label, and what it shows (None: all problems)."""

    key: str
    label: str
    holds: Callable[[Rights], bool] | None = None


def _filters(names: Sequence[str]) -> list[_Filter]:
    several = len(names) > 1
    found = [
        _Filter("all", "all"),
        _Filter("wrong", "wrong by any" if several else "wrong", lambda rights: False in rights),
    ]
    if several:
        found.append(_Filter("hard", "wrong by all", lambda rights: set(rights) == {False}))
        found += [
            _Filter(f"only{at}", f"only {figures.short(name)} right", partial(_sole, at))
            for at, name in enumerate(names)
        ]
    return [*found, _Filter("open", "without a verdict", lambda rights: None in rights)]


def _sole(at: int, rights: Rights) -> bool:
    return rights[at] is True and set(rights[:at]) | set(rights[at + 1 :]) == {False}


def _rules(choices: Sequence[_Filter], columns: int) -> str:
    """The style of a page with the list: how wide its columns are, and what each filter hides."""
    width = min(_COLUMN, _COLUMNS / columns)
    widths = f"main {{ --columns: {columns}; --short: {width:.3f}%; }}\n"
    return widths + "".join(
        f"body:has(#{each.key}:checked) .list tbody tr:not(.{each.key}, :target) {{ display: none; }}\n"
        for each in choices
        if each.holds
    )
