"""Run folders: what `virc train` leaves in `runs/NAME`, for every engine alike.

run.json            what is trained, from what, with which settings (`Info`)
settings.yaml       the settings alone, as `--config` takes them
state.json          how far it is (`State`); replaced whole, also as a sign of life
metrics.jsonl       one line for each logged step (`metrics.Metric`)
virc_protocol.json  the chat protocol of its data
data/               of RL, the rows as verl reads them; of supervised training those to train on, where not all
reward.json         of RL, what replies are rewarded for (`rewards.verl.Settings`)
code/               copies of the user's own files of tools, and of RL of the reward
environment.txt     every package of the engine's environment
logs/attempt_N/     the engine's files, the exact command, and what the engine wrote
checkpoints/        a folder for each step that was saved, as the engine leaves it
rollouts/           of RL: `step_N/`, some replies of that step as traces
plots/              pictures of the metrics
"""

import os
import re
import socket
import time
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from virc.core import files
from virc.core.errors import ConfigError
from virc.core.files import is_file, write_json
from virc.core.processes import start_time
from virc.core.text import did_you_mean

FOLDER = "runs"
SIGN_OF_LIFE = 30.0
"""Seconds after which a running attempt writes its state again."""

_MAX_BYTES = 16 * 2**20

Kind = TypeVar("Kind")
Progress = Literal["new", "running", "stopped", "failed", "finished", "died"]


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is; written once, before its first attempt.

    Args:
        name, system, stage, kind: of the run, and what it is a run of.
        created: UTC, ISO 8601.
        base: folder of the weights it starts from.
        adapter: folder of a LoRA adapter on `base` that it continues.
        root: name of the model at the beginning of its chain of stages; a later stage looks for it.
        data: the file of rows; `dataset` is its name, `entry` its columns and tags in a `dataset_info.json`.
        media: folder that names of images start from.
        rows, longest: number of rows, and tokens of the longest.
        settings, origins: every setting of the stage, and where those that are no default come from.
        environment, device: the engine's environment, and `cpu` or `cuda`.
        python: the environment's interpreter.
        recipes: folder with the code of `virc` that the engine's process imports.
        code: SHA-256 of the user's own files of tools and reward, by their names in `code/`.
        launcher: `local`, `slurm` or `ray`.
        site: settings of the cluster, for `slurm` and `ray`.
        site_file: the file of those of `slurm`, which is read again for each job.
    """

    schema: str = "virc.run/1"
    name: str
    system: str
    stage: str
    kind: str
    overlays: tuple[str, ...] = ()
    created: str
    base: str
    adapter: str | None = None
    root: str
    data: str
    dataset: str
    entry: dict[str, Any] = {}
    validation: str | None = None
    media: str = ""
    ignore: tuple[str, ...] = ()
    trust_rows: bool = False
    rows: int
    longest: int
    settings: dict[str, Any]
    origins: dict[str, str]
    environment: str
    device: str
    python: str
    recipes: str
    code: dict[str, str] = {}
    launcher: str = "local"
    site: dict[str, Any] = {}
    site_file: str | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is.

    Args:
        progress: `died` is never written: `state` returns it for a `running` run whose process is gone.
        attempt: number of the newest attempt, from 1; 0: none yet.
        loss, reward: the last one logged.
        best, best_validation: step and mean reward of the checkpoint that did best on the validation rows.
        seconds: over all attempts.
        error: the sentence a failed attempt ended with.
        pid, host, started: the process of the running attempt; `started` is its start time in /proc, in clock ticks.
        engine, engine_started: the engine's process, which leads its own process group; as `pid` and `started`.
    """

    schema: str = "virc.run.state/1"
    progress: Progress = "new"
    attempt: int = 0
    step: int = 0
    total: int | None = None
    loss: float | None = None
    reward: float | None = None
    best: int | None = None
    best_validation: float | None = None
    seconds: float = 0.0
    error: str | None = None
    pid: int | None = None
    host: str | None = None
    started: int | None = None
    engine: int | None = None
    engine_started: int | None = None
    job: str | None = None


class Run(msgspec.Struct, frozen=True):
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def workspace(self) -> Path:
        """The folder whose `runs/` it is in."""
        return self.folder.absolute().parents[1]

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def rollouts(self) -> Path:
        return self.folder / "rollouts"

    def attempt(self, number: int) -> Path:
        return self.folder / "logs" / f"attempt_{number}"

    def log(self, number: int) -> Path:
        return self.attempt(number) / "engine.log"


def new(workspace: Path, name: str | None, stem: str, meaning: Callable[[str], str | None] = lambda _: None) -> Run:
    """The folder of a new run: `runs/NAME`, else the first free one of `runs/STEM`, `runs/STEM-2`, ...

    Args:
        meaning: returns what a name already means besides a run, such as a model; None: nothing.

    Raises:
        ConfigError: NAME is taken, or cannot name a run.
    """
    if name is not None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,99}", name):
            raise ConfigError(f"{name!r} cannot name a run", "use letters, digits, - and _")
        if (workspace / FOLDER / name).exists():
            resume = f"virc train --resume --name {name} resumes it"
            raise ConfigError(f"there is a run {name} already", f"{resume}; virc runs rm {name} removes it")
        if other := meaning(name):
            raise ConfigError(f"a run cannot be called {name}: {other}", "choose another name with «--name»")
        return Run(workspace / FOLDER / name)
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    free = (each for each in names if not (workspace / FOLDER / each).exists() and not meaning(each))
    return Run(workspace / FOLDER / next(free))


def discover(workspace: Path) -> list[Run]:
    """Every run of a workspace, the oldest first; those whose `run.json` cannot be read come before all others."""
    runs = [Run(path.parent) for path in (workspace / FOLDER).glob("[!.]*/run.json")]
    return sorted(runs, key=lambda run: (_created(run), run.name))


def _created(run: Run) -> str:
    try:
        return info(run).created
    except ConfigError:
        return ""


def find(workspace: Path, name: str) -> Run:
    run = Run(workspace / FOLDER / name)
    if "/" in name or name.startswith(".") or not is_file(run.folder / "run.json"):
        names = [each.name for each in discover(workspace)]
        hint = did_you_mean(name, names) if names else "virc train begins one"
        raise ConfigError(f"there is no run {name[:100]!r}", hint)
    return run


def newest_finished(workspace: Path, system: str, stage: str, root: str) -> Run | None:
    """The newest finished run of a stage whose chain began with the model `root`."""
    for run in reversed(discover(workspace)):
        if not _created(run):
            break
        about = info(run)
        if (about.system, about.stage, about.root) == (system, stage, root) and state(run).progress == "finished":
            return run
    return None


def info(run: Run) -> Info:
    return read_json(run.folder / "run.json", Info)


def state(run: Run) -> State:
    """How far the run is; a run that says `running` and whose process is gone has `died`."""
    path = run.folder / "state.json"
    if not path.exists():
        return State()
    written = read_json(path, State)
    if written.progress != "running":
        return written
    if is_on_this_machine(written):
        alive = process_lives(written.pid, written.started)
    else:  # a running attempt writes its state again and again
        alive = path.stat().st_mtime > time.time() - 4 * SIGN_OF_LIFE
    return written if alive else msgspec.structs.replace(written, progress="died")


def write_state(run: Run, **changes: Any) -> State:
    """Change fields of the state, on disk at once; returns the new state."""
    changed = msgspec.structs.replace(state(run), **changes)
    write_json(run.folder / "state.json", changed)
    return changed


def this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": start_time(os.getpid())}


def is_on_this_machine(state: State) -> bool:
    """Whether the newest attempt runs, or ran, on this machine."""
    return state.host == socket.gethostname()


def process_lives(pid: int | None, started: int | None) -> bool:
    """Whether a process of this machine still runs; the id may have passed to another one, which `started` later."""
    return pid is not None and started is not None and start_time(pid) == started


def engine_lives(state: State) -> bool:
    """Whether the engine of the newest attempt runs on this machine, even if virc itself was killed."""
    return is_on_this_machine(state) and process_lives(state.engine, state.engine_started)


def read_json(path: Path, kind: type[Kind]) -> Kind:
    return files.read_json(path, kind, _MAX_BYTES)
