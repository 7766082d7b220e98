"""`virc runs ls`: every run of the workspace, the newest last."""

from pathlib import Path
from typing import TYPE_CHECKING

from virc.core.errors import ConfigError
from virc.core.text import duration
from virc_cli.console import output
from virc_cli.console.options import Json
from virc_cli.console.tables import table

if TYPE_CHECKING:
    from virc.runs.queue import Queue
    from virc.runs.run import Info, Run, State

FAILURE: dict[str, object] = {"runs": None, "slurm": None}
_HEAD = ("name", "state", "step", "loss", "reward", "begun", "job")
_OPTIONAL = ("reward", "job")  # columns that are left out where all of it is empty; losses stay
_OF_STATE = ("progress", "step", "total", "loss", "reward", "seconds", "job")


def command(as_json: Json = False) -> None:
    """List the runs in runs/.

    How far each is, its last loss or reward, its age or the time left, and what Slurm says of its job.
    """
    from virc.runs import queue
    from virc.runs.run import FOLDER, discover

    read = [(run, *_read(run)) for run in discover(Path.cwd())]
    slurm = queue.ask([(run, state) for run, _, state, _ in read if state])
    rows = [_fields(run, info, state, error, slurm) for run, info, state, error in read]
    for row in rows:
        if row["error"] and row["progress"] is None:
            output.warn(str(row["error"]))
    if slurm.error:
        output.warn(slurm.error)
    if as_json:
        output.emit("virc.runs.ls/1", {"runs": rows, "slurm": slurm.error})
    elif rows:
        output.lines(table(_without_empty([_HEAD, *map(_cells, rows)])))
    else:
        output.note(f"{Path.cwd() / FOLDER} has no runs; virc train begins one")


def _without_empty(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    kept = [at for at, name in enumerate(_HEAD) if name not in _OPTIONAL or any(row[at] not in "-" for row in rows[1:])]
    return [tuple(row[at] for at in kept) for row in rows]


def _read(run: "Run") -> "tuple[Info | None, State | None, str | None]":
    from virc.runs import run as runs

    try:
        return runs.info(run), runs.state(run), None
    except ConfigError as error:
        return None, None, error.message


def _fields(
    run: "Run", info: "Info | None", state: "State | None", error: str | None, slurm: "Queue"
) -> dict[str, object]:
    from virc.runs.follow import time_left
    from virc.runs.queue import shown

    fields: dict[str, object] = dict.fromkeys(
        ("system", "stage", "progress", "step", "total", "loss", "reward", "created", "seconds", "seconds_left", "job",
         "queue")
    )  # fmt: skip
    if info is None or state is None:
        return {"name": run.name, **fields, "error": error}
    fields |= {name: getattr(info, name) for name in ("system", "stage", "created")}
    fields |= {name: getattr(state, name) for name in _OF_STATE}
    job = slurm.of(state)
    fields["progress"] = shown(run, state, job)
    fields["queue"] = job.fields() if job else None
    fields["seconds_left"] = time_left(run) if state.progress == "running" else None
    return {"name": run.name, **fields, "error": state.error}


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    from virc.runs.status import age, number, steps

    step, total, left = row["step"], row["total"], row["seconds_left"]
    return (
        str(row["name"]),
        str(row["progress"] or "unreadable"),
        steps(step, total if isinstance(total, int) else None) if isinstance(step, int) else "-",
        *(number(value) if isinstance(value, float) else "-" for value in (row["loss"], row["reward"])),
        f"{duration(left)} left" if isinstance(left, float) else age(str(row["created"])) or "-",
        _job(row),
    )


def _job(row: dict[str, object]) -> str:
    """What Slurm says of a run's job; empty where that adds nothing."""
    job = row["queue"]
    if not isinstance(job, dict):  # Slurm did not answer
        return str(row["job"]) if row["job"] and row["progress"] != "finished" else ""
    if job["phase"] == "over" and row["progress"] != "new":
        return ""
    return str(job["text"]).removeprefix("job ")
