"""What is left of an engine that was killed: processes that nobody waits for any more, and Ray's folder."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2s
from pathlib import Path

from virc.core.processes import start_time
from virc.runs.run import Run
from virc_cli.console import output

MARK = "VIRC_RUN"
"""The variable by which the processes of a run's engine are known; whatever they start has it too."""

_TEMPORARY = Path("/tmp")  # where Ray's sockets lie: their paths must be short
_GRACE = 10.0  # seconds for the processes to be gone
_LOOK = 0.05


def mark(run: Run) -> dict[str, str]:
    """The variable for an engine of that run."""
    return {MARK: str(run.folder.absolute())}


@contextmanager
def none_after(run: Run) -> Iterator[None]:
    """Leave nothing of the run's engine, however the block ends."""
    try:
        yield
    finally:
        clear(run)


def clear(run: Run) -> None:
    """End what is left of the run's engines on this machine, and remove what Ray left of them."""
    found = {pid: start_time(pid) for pid in processes(run)}
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + _GRACE
    while any(since is not None and start_time(pid) == since for pid, since in found.items()):
        if time.monotonic() > end:
            output.warn(f"processes of {run.name} are still there: {', '.join(map(str, processes(run)))}")
            break
        time.sleep(_LOOK)
    for folder in _TEMPORARY.glob(f"virc-ray-{_short(run)}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def processes(run: Run) -> list[int]:
    """The processes of this machine that an engine of the run is, or has started; those of others cannot be seen."""
    wanted = os.fsencode(f"{MARK}={mark(run)[MARK]}")
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return [pid for pid in found if pid != os.getpid()]


def _short(run: Run) -> str:
    return blake2s(os.fsencode(mark(run)[MARK])).hexdigest()[:8]
