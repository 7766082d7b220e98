"""The report's list of problems: who was right about which, to be filtered without a script."""

from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

import msgspec

from virc.evaluation.figures import cut, isolated, short
from virc.evaluation.summary import Answered, Result

_QUESTION, _ANSWER, _NOTE, _ID = 300, 160, 120, 60  # characters shown of each
_COLUMN, _COLUMNS = 15, 50  # % of the width: a column of answers, and all together at most

Rights = Sequence[bool | None]
"""Of each model in turn whether it was right; None where there is no verdict."""


class Filter(msgspec.Struct, frozen=True):
    """A choice of problems: its key in the page, its label as HTML, and what it shows (None: all problems)."""

    key: str
    label: str
    holds: Callable[[Rights], bool] | None = None


def filters(names: Sequence[str]) -> list[Filter]:
    """What can be chosen between models of these names."""
    several = len(names) > 1
    found = [
        Filter("all", "all"),
        Filter("wrong", "wrong by any" if several else "wrong", lambda rights: False in rights),
    ]
    if several:
        found.append(Filter("hard", "wrong by all", lambda rights: set(rights) == {False}))
        found += [Filter(f"only{at}", f"only {short(name)} right", partial(_only, at)) for at, name in enumerate(names)]
    return [*found, Filter("open", "without a verdict", lambda rights: None in rights)]


def rules(names: Sequence[str]) -> str:
    """The style of a page with the list: how wide its columns are, and what each filter hides."""
    columns = len(names) + 1
    width = min(_COLUMN, _COLUMNS / columns)
    widths = f"main {{ --columns: {columns}; --short: {width:.3f}%; }}\n"
    return widths + "".join(
        f"body:has(#{each.key}:checked) .list tbody tr:not(.{each.key}, :target) {{ display: none; }}\n"
        for each in filters(names)
        if each.holds
    )


def problem_list(results: Sequence[Result], names: Sequence[str]) -> str:
    """Filters, and a row for each problem; `names` are the models in the order of their columns."""
    answers = [[result.answers.get(name) for name in names] for result in results]
    rights = [[each.right if each else None for each in of] for of in answers]
    choices = filters(names)
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


def label(id: str | int) -> str:
    """A problem's id."""
    return isolated(str(id), _ID)


def _choice(choices: Sequence[Filter], rights: Sequence[Rights]) -> str:
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
        f'<tr id="p{at}"{css}><th scope="row">{label(result.id)}</th>'
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
        return f'<td class="{css}"><b>{word}: </b>{_linked(reason, answered.trace)}</td>'
    css, word = {True: ("r", "right"), False: ("w", "wrong"), None: ("u", "undecided")}[answered.right]
    by = f" <small>{answered.by}</small>" if answered.by not in (None, "rule") else ""
    shown = _linked(isolated(answered.answer, _ANSWER), answered.trace)
    overlaps = f" <small>IoU {answered.overlap.iou:.2f}</small>" if answered.overlap else ""
    return f'<td class="{css}"><b>{word}: </b>{shown}{by}{overlaps}</td>'


def _linked(shown: str, trace: str | None) -> str:
    """A link to the page of a trace; `./` keeps a name with a colon or slashes in front from leading elsewhere."""
    if trace is None:
        return shown
    return f'<a href="./{quote(trace, errors="surrogatepass")}/index.html">{shown}</a>'


def _only(at: int, rights: Rights) -> bool:
    return rights[at] is True and set(rights[:at]) | set(rights[at + 1 :]) == {False}
