"""What Slurm knows of the jobs of runs: which wait and why, which run and where, which are over.

`ask` asks Slurm once about all runs; `Watch` follows the job of one run.
"""

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from virc.core import processes
from virc.core.errors import EngineError, SetupError
from virc.core.plan import Step
from virc.core.text import duration, plain
from virc.runs.run import Run, State
from virc.runs.run import state as state_of

Phase = Literal["queued", "running", "ending", "over"]
Shown = Literal["new", "queued", "starting", "running", "stopped", "failed", "finished", "died"]
"""`Progress`, or where its job is before the run itself writes anything."""

PATIENCE = 5.0
"""Seconds that Slurm gets to answer."""

_FIELDS = "%A|%T|%S|%N|%r"
_FILTERS = ("ACCOUNT", "FORMAT", "FORMAT2", "LICENSES", "NAMES", "PARTITION", "QOS", "SORT", "STATES", "USERS", "ARRAY")
_WAITS = frozenset(
    ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
)
_RUNS = frozenset(("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"))
_EVERY = 5.0  # seconds between two questions about a job that waits
_SOON = 1.0  # seconds until the next question about a job that starts or ends
_OUTAGE = 600.0  # seconds that a follower waits for Slurm to answer again
_LINGERS = 600.0  # seconds that the job of a finished run may still take, for its plots and its end
_FAR = 366 * 86400.0  # seconds: where Slurm does not know a start, it is years away


class Job(msgspec.Struct, frozen=True):
    """A job as Slurm knows it.

    Args:
        phase: `ending` while Slurm ends it, also to put it back into the queue; `over`: nothing of it is left.
        slurm: Slurm's own word for its state; empty: Slurm does not know the job any more.
        reason: Slurm's own word for why it waits.
        start: when it started, or may start; seconds since 1970.
        nodes: where it runs, as Slurm writes lists of nodes.
    """

    id: str
    phase: Phase
    slurm: str = ""
    reason: str | None = None
    start: float | None = None
    nodes: str | None = None

    @property
    def alive(self) -> bool:
        return self.phase != "over"

    @property
    def text(self) -> str:
        match self.phase:
            case "queued" if self.reason == "BeginTime" and self.start:
                return f"job {self.id} is held until {_clock(self.start)}"
            case "queued" if self.slurm == "CONFIGURING":
                return f"job {self.id} waits until its nodes {self.nodes or ''} are ready".replace("  ", " ")
            case "queued":
                soon = self.start and time.time() < self.start < time.time() + _FAR
                start = f"; it may start at {_clock(self.start)}" if soon and self.start else ""
                reason = self.reason or "None"
                is_held = reason in ("JobHeldUser", "JobHoldMaxRequeue") or "held" in reason
                release = f"; scontrol release {self.id} lets it start" if is_held else ""
                return f"job {self.id} waits: {plain(reason)}{release}{start}"
            case "running":
                suspended = ", suspended" if self.slurm in ("SUSPENDED", "STOPPED") else ""
                return f"job {self.id} runs on {self.nodes or 'its nodes'}{suspended}"
            case "ending":
                return f"job {self.id} is ending"
        return f"job {self.id} has ended{f': {self.slurm}' if self.slurm else ''}"

    def fields(self) -> dict[str, Any]:
        start = datetime.fromtimestamp(self.start, UTC).isoformat(timespec="seconds") if self.start else None
        return {**msgspec.structs.asdict(self), "start": start, "text": self.text}


class Queue(msgspec.Struct, frozen=True):
    jobs: Mapping[str, Job] = {}
    error: str | None = None

    def of(self, state: State) -> Job | None:
        """The job of a run; None: it has none, Slurm did not answer, or it is over and the run finished."""
        if state.job is None or self.error:
            return None
        unlisted = None if state.progress == "finished" else Job(state.job, "over")
        return self.jobs.get(state.job, unlisted)


def ask(found: Iterable[tuple[Run, State]]) -> Queue:
    """Ask Slurm for the jobs of runs, if any of them has one and has not finished long ago."""
    asked = (_owner(run) for run, state in found if state.job and not _long_over(run, state))
    owners = {owner for owner in asked if owner is not None}
    if not owners:
        return Queue()
    try:
        printed = processes.answer(_step(owners), PATIENCE)
    except SetupError:
        return Queue(error="whether jobs wait or run is not known: squeue is not on this machine")
    except EngineError as error:
        return Queue(error=f"whether jobs wait or run is not known: {error.message}")
    return Queue({job.id: job for job in map(_job, printed.splitlines()) if job})


def _long_over(run: Run, state: State) -> bool:
    with suppress(FileNotFoundError):  # it was removed meanwhile
        return state.progress == "finished" and (run.folder / "state.json").stat().st_mtime < time.time() - _LINGERS
    return True


def job_of(run: Run, state: State) -> tuple[Job | None, str | None]:
    queue = ask([(run, state)])
    return queue.of(state), queue.error


def shown(run: Run, state: State, job: Job | None) -> Shown:
    """How far a run is, its job included: a run whose job waits is `queued`, however its last attempt ended."""
    if job is None or not job.alive or state.progress == "finished":
        return state.progress
    if job.phase == "queued":
        return "queued"
    if job.phase == "running" and state.progress != "running" and _started_since(run, job):
        return "starting"
    return state.progress


class Watch:
    """Follows the job of a run while the run itself is not running; call `look` with each state of the run.

    Attributes:
        job: as Slurm knows it; None: not asked, or no answer.
        over: nothing more will come of the run: it has ended, and its job does not wait or run.
    """

    def __init__(self, run: Run, every: float = _EVERY) -> None:
        self.job: Job | None = None
        self.over = False
        self._run, self._every = run, every
        self._next = 0.0
        self._last: object = None  # what `look` returned last
        self._last_sign = -math.inf  # when the run ran, or Slurm answered, for the last time

    def look(self, state: State) -> str | None:
        """Consider a state of the run; returns what is new about its job, one clause."""
        if state.progress in ("running", "finished") or state.job is None:
            self.over = state.progress not in ("new", "running")
            self._next = 0.0
            self._last_sign = time.monotonic()
            return None
        if time.monotonic() < self._next:
            return None
        job, unanswered = job_of(self._run, state)
        self._next = time.monotonic() + (self._every if job and job.phase == "queued" else _SOON)
        self.job = job
        if job:
            self._last_sign = time.monotonic()
        if job is None:  # a controller that is restarted answers in a few minutes; meanwhile the job tries to requeue
            hopeless = state.progress == "failed" or time.monotonic() > self._last_sign + _OUTAGE
            self.over = hopeless and state.progress != "new"
        elif job.phase == "over":
            self.over = state_of(self._run) == state  # else it has started and ended since
        else:  # only a run that was stopped may go back into the queue by itself
            self.over = state.progress in ("failed", "died") and shown(self._run, state, job) == state.progress
        return self._news(job, unanswered)

    def _news(self, job: Job | None, unanswered: str | None) -> str | None:
        """A clause about a job that waits or runs, or about Slurm that does not answer; None if nothing changed."""
        news = (job.phase, job.reason, job.start) if job else unanswered
        if news == self._last:
            return None
        self._last = news
        return job.text if job and job.phase in ("queued", "running") else unanswered


def _started_since(run: Run, job: Job) -> bool:
    """Whether the job started after the run's state was last written, so that the state is of an earlier attempt."""
    try:
        written = (run.folder / "state.json").stat().st_mtime
    except OSError:
        return True
    return job.start is not None and job.start + 1 > written


def _step(owners: Iterable[int]) -> Step:
    argv = (
        "squeue",
        "--all",  # jobs in hidden partitions, too
        f"--user={','.join(map(str, sorted(owners)))}",
        "--noheader",
        "--states=all",
        f"--format={_FIELDS}",
    )
    env = {f"SQUEUE_{name}": "" for name in _FILTERS}  # what users set for their own tables
    return Step(argv, "ask Slurm", {**env, "SLURM_TIME_FORMAT": "%s"})


def _owner(run: Run) -> int | None:
    for place in (run.folder / "state.json", run.folder):
        with suppress(OSError):
            return place.stat().st_uid
    return None


def _job(line: str) -> Job | None:
    parts = line.split("|", _FIELDS.count("|"))
    if len(parts) <= _FIELDS.count("|"):
        return None
    number, word, start, nodes, reason = (part.strip() for part in parts)
    phase: Phase = "over"
    if word in _WAITS:
        phase = "queued"
    elif word in _RUNS:
        phase = "running"
    elif word == "COMPLETING":
        phase = "ending"
    since = None
    with suppress(ValueError):
        since = float(start)
    return Job(number, phase, word, reason if phase == "queued" else None, since, nodes or None)


def _clock(moment: float) -> str:
    then, now = datetime.fromtimestamp(moment), datetime.now()
    day = "" if then.date() == now.date() else f"{then:%Y-%m-%d} "
    left = moment - time.time()
    return f"{day}{then:%H:%M}" + (f" (in {duration(left)})" if left > 0 else "")
