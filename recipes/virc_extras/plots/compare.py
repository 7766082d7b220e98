"""`virc runs compare`: the settings in which runs differ, their last measures, and their curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from virc.core.errors import UsageError
from virc_cli.console import output
from virc_cli.console.options import Json, RunNames
from virc_cli.console.tables import fits, table, value_text

FAILURE: dict[str, object] = dict.fromkeys(("names", "settings", "results", "plot"))


def command(names: RunNames, as_json: Json = False) -> None:
    """Print how runs differ, and their last measures; plot curves.

    The picture is plots/compared.png in the first run.
    """
    from virc.runs import run as runs
    from virc.runs.status import number
    from virc_extras.plots import pictures as plots
    from virc_extras.plots.comparing import differing, results

    chosen = [runs.find(Path.cwd(), name) for name in dict.fromkeys(names)]
    if len(chosen) < 2:
        raise UsageError("one run is compared with nothing", f"virc runs show {chosen[0].name}")
    called, settings, measured = [run.name for run in chosen], differing(chosen), results(chosen)
    output.know(names=called, settings=settings, results=measured)
    if not as_json:
        rows = [(name, *map(value_text, values)) for name, values in settings.items()]
        output.lines(
            _stacked([("setting", *called), *rows], output.stdout()) if rows else ["all settings are the same"]
        )
        rows = [
            (name, *(number(value) if isinstance(value, float) else value_text(value) for value in values))
            for name, values in measured.items()
        ]
        output.lines(_stacked([("result", *called), *rows], output.stdout()))
    picture = str(plots.write(chosen, chosen[0].folder / "plots" / "compared.png"))
    if as_json:
        fields = {"names": called, "settings": settings, "results": measured, "plot": picture}
        output.emit("virc.runs.compare/1", fields)
    else:
        output.line(picture)


def _stacked(rows: Sequence[tuple[str, ...]], stream: TextIO) -> list[str]:
    """A table for a stream: where its lines are wider than the terminal, a row is a line for each of its cells.

    Args:
        rows: the first is the head.
    """
    lines = table(rows)
    if fits(lines, stream):
        return lines
    head, *others = rows
    width = max(map(len, head[1:]))
    lines = [head[0]]
    for name, *cells in others:
        lines.append(f"  {name}")
        lines += [f"    {column.ljust(width)}  {cell}" for column, cell in zip(head[1:], cells, strict=True)]
    return lines
