"""What an engine that was killed leaves behind: processes without a parent, and Ray's temporary folder."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2s
from pathlib import Path

from virc.core.events import Reporter
from virc.core.processes import start_time
from virc.runs.run import Run

MARK = "VIRC_RUN"
"""The environment variable that marks the processes of a run's engine; whatever they start inherits it."""

_TEMPORARY = Path("/tmp")  # Ray's sockets are there, since their paths must be short
_GRACE = 10.0  # seconds for the processes to end
_LOOK = 0.05


def mark(run: Run) -> dict[str, str]:
    return {MARK: str(run.folder.absolute())}


@contextmanager
def none_after(run: Run, report: Reporter) -> Iterator[None]:
    """Leave nothing of the run's engine, however the block ends."""
    try:
        yield
    finally:
        clear(run, report)


def clear(run: Run, report: Reporter) -> None:
    """Kill the leftover processes of the run's engines on this machine, and remove Ray's files."""
    found = {pid: start_time(pid) for pid in processes(run)}
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + _GRACE
    while any(since is not None and start_time(pid) == since for pid, since in found.items()):
        if time.monotonic() > end:
            report.warn(f"processes of {run.name} do not end: {', '.join(map(str, processes(run)))}")
            break
        time.sleep(_LOOK)
    for folder in _TEMPORARY.glob(f"virc-ray-{_short(run)}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def processes(run: Run) -> list[int]:
    """The processes of the run's engine on this machine; those of other users cannot be seen."""
    wanted = os.fsencode(f"{MARK}={mark(run)[MARK]}")
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def _short(run: Run) -> str:
    return blake2s(os.fsencode(mark(run)[MARK])).hexdigest()[:8]
