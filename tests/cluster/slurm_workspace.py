"""A workspace on a real Slurm, and small runs of `tiny` in its jobs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import real_slurm
from real_slurm import Slurm
from support import workspaces

SITE = 'time: "1:00:00"\nshared: [/]\n'
_STAGE = ("train", "tiny", "--stage", "instruct", "--launcher", "slurm", "--site", "site.yaml")


class Job:
    """A run and the job it is in.

    Attributes:
        run: the run's folder.
        id: of the job.
    """

    def __init__(self, slurm: Slurm, run: Path) -> None:
        self.slurm, self.run = slurm, run
        self.id = str(workspaces.state(run)["job"])

    @property
    def state(self) -> dict[str, Any]:
        """The run's state as its file says it."""
        return workspaces.state(self.run)

    @property
    def losses(self) -> dict[int, float]:
        """The loss of each step."""
        return workspaces.losses(self.run)

    @property
    def log(self) -> str:
        """What the job's script wrote."""
        file = self.run / "logs" / f"slurm-{self.id}.log"
        return file.read_text() if file.exists() else ""

    def said(self) -> str:
        """The ends of all that the job wrote."""
        return "".join(f"{path}: {path.read_text()[-2000:]}\n" for path in (self.run / "logs").rglob("*.log"))

    def until_step(self, step: int) -> None:
        """Wait until a step has been logged."""
        self.slurm.until(lambda: max(self.losses, default=0) >= step, self.said, 120)

    def until_state(self, *states: str, patience: float = 120) -> None:
        """Wait until Slurm says one of these states of the job."""
        self.slurm.until(lambda: self.slurm.state(self.id) in states, self.said, patience)

    def completed(self) -> None:
        """Wait until the job has ended; fails if it did not end well."""
        self.until_state("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        assert (self.slurm.state(self.id), self.slurm.exit_code(self.id)) == ("COMPLETED", "0:0"), self.said()


class Workspace:
    """A workspace with rows, whose runs are jobs of a cluster."""

    def __init__(self, folder: Path, slurm: Slurm) -> None:
        self.folder, self.slurm = folder, slurm
        (folder / "site.yaml").write_text(SITE)
        workspaces.synth(folder, 12)

    def submit(self, name: str, *words: str, **settings: object) -> Job:
        """Begin a run, and submit its job."""
        settings = {"steps": 2, "save_steps": 1000, **settings}
        done = workspaces.run(self.folder, *_STAGE, "--name", name, *words, *workspaces.sets(settings))
        assert done.returncode == 0, done.stderr
        return Job(self.slurm, Path(done.stdout.strip()))


@contextmanager
def workspace(folder: Path) -> Iterator[Workspace]:
    """A workspace on a cluster of its own; skips the test where Slurm is not installed."""
    if name := real_slurm.missing():
        pytest.skip(f"{name} is not installed: apt-get install slurm-wlm munge")
    with real_slurm.cluster() as slurm, pytest.MonkeyPatch.context() as patch:
        for key in set(os.environ) - set(slurm.env):
            patch.delenv(key)
        for key, value in slurm.env.items():
            patch.setenv(key, value)
        yield Workspace(folder, slurm)
