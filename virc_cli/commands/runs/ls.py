"""`virc runs ls`: every run of the workspace, the newest last."""

from pathlib import Path
from typing import TYPE_CHECKING

from virc_cli.console import output
from virc_cli.console.options import Json

if TYPE_CHECKING:
    from virc.runs.run import Run

FAILURE: dict[str, object] = {"runs": None}
_HEAD = ("name", "state", "step", "loss", "reward", "begun")


def command(as_json: Json = False) -> None:
    """List the runs in runs/.

    How far each is, its last loss or reward, its age or the time left.
    """
    from virc.runs.run import FOLDER, discover
    from virc_cli.console.tables import table

    rows = [_fields(run) for run in discover(Path.cwd())]
    for row in rows:
        if row["error"] and row["progress"] is None:
            output.warn(str(row["error"]))
    if as_json:
        output.emit({"schema": "virc.runs.ls/1", "runs": rows, "error": None})
    elif rows:
        output.lines(table(_without_empty([_HEAD, *map(_cells, rows)])))
    else:
        output.note(f"{Path.cwd() / FOLDER} has no runs; virc train begins one")


def _without_empty(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """A table without its column of rewards where no run has one; losses stay."""
    at = _HEAD.index("reward")
    if any(row[at] != "-" for row in rows[1:]):
        return rows
    return [(*row[:at], *row[at + 1 :]) for row in rows]


def _fields(run: "Run") -> dict[str, object]:
    from virc.core.errors import ConfigError
    from virc.runs import run as runs
    from virc.runs.follow import time_left

    fields: dict[str, object] = dict.fromkeys(
        ("system", "stage", "progress", "step", "total", "loss", "reward", "created", "seconds", "seconds_left", "job")
    )
    try:
        info, state = runs.info(run), runs.state(run)
    except ConfigError as error:
        return {"name": run.name, **fields, "error": error.message}
    for name in fields:
        fields[name] = getattr(state, name, getattr(info, name, None))
    fields["seconds_left"] = time_left(run) if state.progress == "running" else None
    return {"name": run.name, **fields, "error": state.error}


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    from virc.core.text import duration
    from virc.runs.status import age, number, steps

    step, total, left = row["step"], row["total"], row["seconds_left"]
    return (
        str(row["name"]),
        str(row["progress"] or "unreadable"),
        steps(step, total if isinstance(total, int) else None) if isinstance(step, int) else "-",
        *(number(value) if isinstance(value, float) else "-" for value in (row["loss"], row["reward"])),
        f"{duration(left)} left" if isinstance(left, float) else age(str(row["created"])) or "-",
    )
