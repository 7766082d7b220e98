"""A cluster of this machine's loopback addresses, made of the programs in slurm_stubs/."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STUBS = Path(__file__).parent / "slurm_stubs"


def environment(spool: Path) -> dict[str, str]:
    """The variables by which programs find the cluster, whose jobs are kept in a folder.

    Jobs of two pytest processes have other numbers, since a job's ports come from its number.
    """
    path = os.pathsep.join(map(str, (STUBS, Path(sys.executable).parent, os.environ["PATH"])))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return {"PATH": path, "STUB_OF_SLURM": str(spool), "STUB_OF_SLURM_FIRST": str(1000 * (1 + worker))}


def tell(spool: Path, job: str) -> None:
    """Send what slurm sends before a job's time is over."""
    env = {**os.environ, **environment(spool)}
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], env=env, check=True)


def until(there: Callable[[], bool], said: Callable[[], str], patience: float = 120) -> None:
    """Wait until something is the case; fails with `said` if it is not in so many seconds."""
    end = time.monotonic() + patience
    while not there():
        assert time.monotonic() < end, said()
        time.sleep(0.05)


def ended(spool: Path, job: str, said: Callable[[], str], patience: float = 120) -> int:
    """The exit code of a job, once it is over and not put back into the queue."""
    file = spool / f"{job}.ended"
    until(file.exists, said, patience)
    return int(file.read_text())
