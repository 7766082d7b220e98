"""Tables of results for papers, model cards and READMEs, with intervals and paired tests."""

import html
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from virc.core.errors import DataError
from virc.core.text import plain
from virc.evaluation.pages import figures
from virc.evaluation.problems import BenchmarkProblem
from virc.evaluation.seeds import with_seed
from virc.evaluation.summary import ModelSummary, Summary
from virc_extras.studies.checking.result_file import ResultFile, read_results
from virc_extras.studies.checking.verifying import summary_of, verify_file

Form = Literal["markdown", "latex", "html"]
_MODELS = ("Model", "Right (%)", "95 % interval", "Problems", "SD over seeds")
_PAIRS = (
    *("Compared", "Difference (points)", "95 % interval", "p (McNemar)", "p (Holm)"),
    *("Problems", "Problems for 80 % power"),
)
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#!|&~$]")
_LATEX = {each: f"\\{each}" for each in "&%$#_{}"} | {each: f"{{{each}}}" for each in "[]*"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$",
} | {each: f"${each}$" for each in "<>|"}  # fmt: skip


class CardTable(msgspec.Struct, frozen=True):
    title: str
    rows: Sequence[Sequence[str]]
    """The first is the head."""
    notes: Sequence[str] = ()


def tables_of(paths: Sequence[Path]) -> list[CardTable]:
    """The tables of a card: for each benchmark the models, and if there are several, what they differ by.

    Raises:
        DataError: a file is no result, or two of a benchmark have other problems under an id.
        VircError: a file was edited, or is scored otherwise here.
    """
    groups: dict[str, dict[str, ResultFile]] = defaultdict(dict)
    notes: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        file = read_results(path)
        found = verify_file(file)
        found.check()
        head, ablation = file.head, file.head.crop_ablation
        title, name = plain(head.benchmark, 200), plain(head.model, 200)
        title = title if ablation == "none" else f"{title}, crop ablation: {ablation}"
        same = groups[title].get(name)
        if same and same.seed != file.seed:
            name, same = with_seed(name, file.seed), groups[title].get(with_seed(name, file.seed))
        if same:
            raise DataError(f"{path} and {same.path} are of one model and seed", "leave one out")
        groups[title][name] = file
        judge = f", judge {plain(head.judge, 200)}" if head.judge else ""
        signed = f"signed: {plain(found.signed, 200)}" if found.signed else "not signed"
        made = f"virc {plain(head.versions.get('virc'), 200)}{judge}, SHA-256 {plain(head.digest, 200)}, {signed}"
        looks = f"{plain(found.looks, 200)}; " if found.looks else ""
        notes[title].append(f"{name}: {looks}{found.uncounted}; {made}; virc eval verify FILE")
    return [each for title, files in groups.items() for each in _tables(title, files, notes[title])]


def written(tables: Sequence[CardTable], form: Form) -> list[str]:
    """The lines of a card."""
    return [line for table in tables for line in _WRITTEN[form](table)]


def _tables(title: str, files: Mapping[str, ResultFile], notes: Sequence[str]) -> Iterator[CardTable]:
    summary = _summary(files)
    rows = [
        (model.name, _percent(model.score.bounds), _percent(model.score.interval), _counted(model), "")
        for model in summary.models
    ]
    for each in summary.seeds:
        shown = (_percent([each.mean]), _percent(each.interval or ()), f"{100 * each.deviation:.1f}")
        rows.append((f"{each.model}, mean of {len(each.seeds)} seeds", *shown[:2], "", shown[2]))
    columns = len(_MODELS) - (not summary.seeds)
    yield CardTable(title, [row[:columns] for row in (_MODELS, *rows)], notes)
    pairs = [
        (
            *(f"{pair.one} − {pair.other}", figures.gained(pair), figures.points_between(pair.interval)),
            *("-" if p is None else figures.chance(p) for p in (pair.p, pair.p_holm)),
            f"{pair.of}",
            "-" if pair.needed is None else f"{pair.needed:,}",
        )
        for pair in summary.pairs
    ]
    if pairs:
        yield CardTable(f"{title}: differences", [_PAIRS, *pairs])


def _counted(model: ModelSummary) -> str:
    return f"{model.score.of} of {model.score.of + model.missing}" if model.missing else f"{model.score.of}"


def _percent(shares: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{100 * each:.1f}" for each in shares))


def _summary(files: Mapping[str, ResultFile]) -> Summary:
    problems: dict[str, BenchmarkProblem] = {}
    for file in files.values():
        for id, problem in file.problems.items():
            if problems.setdefault(id, problem) != problem:
                says = f"{file.path} has another problem {plain(id, 60)} than the files before it"
                raise DataError(says, "leave one out")
    verdicts = {name: {id: line.verdict for id, line in file.lines.items()} for name, file in files.items()}
    return summary_of(files, problems, verdicts)


def _markdown(table: CardTable) -> Iterator[str]:
    head, *rows = [[_in_markdown(cell) for cell in row] for row in table.rows]
    yield from (f"**{_in_markdown(table.title)}**", "")
    yield from (f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows))
    yield from ("", *(f"- {_in_markdown(note)}" for note in table.notes), "")


def _in_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", text)


def _latex(table: CardTable) -> Iterator[str]:
    head, *rows = [" & ".join(map(_escaped, row)) + r" \\" for row in table.rows]
    yield from (f"% {note}" for note in (r"\usepackage{booktabs}", *table.notes))
    columns = "l" + "r" * (len(table.rows[0]) - 1)
    yield from (r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule")
    yield from (head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}")
    yield from (rf"\caption{{{_escaped(table.title)}}}", r"\end{table}")


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(each, each) for each in text)


def _html(table: CardTable) -> Iterator[str]:
    yield from ("<table>", f"<caption>{html.escape(table.title)}</caption>")
    for tag, cells in zip(["th", *["td"] * len(table.rows)], table.rows, strict=False):
        yield f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
    yield from ("</table>", *(f"<p>{html.escape(note)}</p>" for note in table.notes))


_WRITTEN = {"markdown": _markdown, "latex": _latex, "html": _html}
