"""`virc runs show`: what a run is, how far it is, and what it left."""

import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virc.core.text import duration, sized
from virc_cli.console import output
from virc_cli.console.options import Json, RunName
from virc_cli.console.tables import section, value_text

if TYPE_CHECKING:
    from virc.models.provenance import Origin
    from virc.runs.attempts import Attempt
    from virc.runs.checkpoints import Checkpoint
    from virc.runs.metrics import Metric
    from virc.runs.queue import Job
    from virc.runs.run import Info, Run, State

FAILURE: dict[str, object] = dict.fromkeys(
    ("name", "folder", "info", "state", "seconds_left", "attempts", "checkpoints", "merged", "metrics", "health",
     "rollouts", "log", "queue", "slurm")
)  # fmt: skip
_LAST = 5  # of lines of metrics, and of folders of rollouts, only the newest are printed


def command(name: RunName, as_json: Json = False) -> None:
    """Show a run: settings, progress, attempts and checkpoints."""
    from virc.runs import attempts, queue
    from virc.runs import run as runs
    from virc.runs.checkpoints import checkpoints
    from virc.runs.follow import time_left
    from virc.runs.metrics import metrics
    from virc.runs.status import step_line
    from virc.training import health

    run = runs.find(Path.cwd(), name)
    output.know(name=run.name, folder=str(run.folder))
    info, state = runs.info(run), runs.state(run)
    job, unanswered = queue.job_of(run, state)
    if unanswered:
        output.warn(unanswered)
    seconds_left = time_left(run) if state.progress == "running" else None
    tried, saved = attempts.attempts(run), checkpoints(run)
    newest = list(deque(metrics(run), _LAST))
    if as_json:
        output.emit("virc.runs.show/1", _object(run, info, state, job, unanswered, seconds_left, tried, saved, newest))
        return
    output.lines(
        [
            *_about(info, queue.shown(run, state, job)),
            *_progress(run, info, state, job, seconds_left),
            *_settings(info),
            *_attempts(run, state, tried),
            *_checkpoints(run, state, saved),
            *section("merged models", [(str(folder), origin.source) for folder, origin in _merged(run).items()]),
            *section("metrics", [(step_line(metric, None),) for metric in newest]),
            *section("health", list(health.current(run).items())),
            *section("rollouts", [(str(folder / "*" / "index.html"),) for folder in _rollout_folders(run)][-_LAST:]),
        ]
    )


def _about(info: "Info", progress: str) -> Iterator[str]:
    chosen = f" with {', '.join(info.overlays)}" if info.overlays else ""
    yield _line("run", f"{info.name}, {progress}")
    yield _line("stage", f"{info.stage} of {info.system}{chosen}")
    yield _line("base", info.base + (f" with the adapter {info.adapter}" if info.adapter else ""))
    ignored = f", without {', '.join(info.ignore)}" if info.ignore else ""
    yield _line("data", f"{info.data}, {info.rows:,} rows of at most {info.longest:,} tokens{ignored}")
    yield _line("engine", f"{info.environment} on {info.device}, {info.python}")


def _progress(run: "Run", info: "Info", state: "State", job: "Job | None", left: float | None) -> Iterator[str]:
    from virc.runs.queue import shown
    from virc.runs.status import age, ended, next_step, number, steps

    parts = [
        steps(state.step, state.total),
        "" if state.loss is None else f"loss {number(state.loss)}",
        "" if state.reward is None else f"reward {number(state.reward)}",
        f"{duration(state.seconds)} so far" if state.seconds else "",
        "" if left is None else f"{duration(left)} left",
        f"begun {age(info.created)}",
    ]
    yield _line("step", ", ".join(part for part in parts if part))
    if state.progress == "running":
        yield _line("process", f"{state.pid} on {state.host}")
    if job and (job.alive or state.progress in ("new", "running")):
        yield _line("job", job.text.removeprefix("job "))
    elif state.job and state.progress != "finished":
        yield _line("job", state.job)
    if info.site_file:
        yield _line("site", info.site_file)  # what --resume reads again
    if state.progress in ("stopped", "failed", "died") and shown(run, state, job) == state.progress:
        yield _line("ended", ended(run, state))
        yield _line("next", next_step(run, state))
    yield _line("folder", str(run.folder))


def _settings(info: "Info") -> Iterator[str]:
    def value(name: str) -> Any:
        inner: Any = info.settings
        for key in name.split("."):
            inner = inner.get(key) if isinstance(inner, dict) else None
        return inner

    rows = [(name, value_text(value(name)), f"({origin})") for name, origin in info.origins.items()]
    yield from section("settings that differ from the defaults", rows)


def _attempts(run: "Run", state: "State", tried: "list[Attempt]") -> Iterator[str]:
    rows = []
    for attempt in tried:
        newest = attempt.number == state.attempt
        error = attempt.error or (state.error if newest else None)
        how = "running" if newest and state.progress == "running" else _exit(attempt.exit)
        rows.append((str(attempt.number), attempt.began or "-", how, str(run.log(attempt.number)), error or ""))
    yield from section("attempts", rows)


def _exit(code: int | None) -> str:
    if code is None:
        return "no end recorded"
    try:
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
    except ValueError:
        return f"exit {code}"


def _checkpoints(run: "Run", state: "State", saved: "list[Checkpoint]") -> Iterator[str]:
    from virc.core.files import size_of

    rows = [
        (str(each.folder), sized(size_of(each.folder)), ", ".join(_of_checkpoint(run, state, each))) for each in saved
    ]
    yield from section("checkpoints", rows)


def _of_checkpoint(run: "Run", state: "State", saved: "Checkpoint") -> Iterator[str]:
    from virc.runs.status import number

    yield "can be resumed" if saved.resumable else "weights alone"
    if saved.step == state.best and state.best_validation is not None:
        yield f"best on the validation rows, {number(state.best_validation)}"
    if not saved.merged:
        yield f"virc merge {run.name}@{saved.step}"


def _merged(run: "Run") -> "dict[Path, Origin]":
    from virc.models import provenance

    return provenance.merged_from(run.name, run.workspace)


def _rollout_folders(run: "Run") -> list[Path]:
    found = [path for path in run.rollouts.glob("step_*") if path.is_dir()]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _line(label: str, text: str) -> str:
    return f"{label:8} {text}"


def _object(
    run: "Run", info: "Info", state: "State", job: "Job | None", slurm_error: str | None, seconds_left: float | None,
    tried: "list[Attempt]", saved: "list[Checkpoint]", newest: "list[Metric]",
) -> dict[str, object]:  # fmt: skip
    import msgspec

    from virc.core.files import size_of
    from virc.runs.queue import shown
    from virc.training import health

    return {
        "name": run.name,
        "folder": str(run.folder),
        "info": msgspec.to_builtins(info),
        "state": {**msgspec.to_builtins(state), "progress": shown(run, state, job)},
        "seconds_left": seconds_left,
        "attempts": [{**msgspec.to_builtins(each), "log": str(run.log(each.number))} for each in tried],
        "checkpoints": [
            {
                "step": each.step,
                "folder": str(each.folder),
                "bytes": size_of(each.folder),
                "resumable": each.resumable,
                "merged": each.merged,
                "best": each.step == state.best,
            }
            for each in saved
        ],
        "merged": [{"folder": str(folder), "source": each.source} for folder, each in _merged(run).items()],
        "metrics": [msgspec.json.decode(msgspec.json.encode(each)) for each in newest],
        "health": health.current(run),
        "rollouts": [str(folder) for folder in _rollout_folders(run)],
        "log": str(run.log(state.attempt)) if state.attempt else None,
        "queue": job.fields() if job else None,
        "slurm": slurm_error,
    }
