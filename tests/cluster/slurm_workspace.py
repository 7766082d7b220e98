"""A workspace on a real Slurm, and small runs of `tiny` in its jobs."""

import hashlib
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import real_slurm
from real_slurm import Slurm
from support import made, workspaces

import virc
from virc.cluster import jobs
from virc.cluster.site import Site
from virc.core.events import Reporter
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.run import Run
from virc.stages import resolve as stages
from virc.systems import registry as systems

SITE = 'time: "1:00:00"\nshared: [/]\n'
_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


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
    def saved(self) -> int:
        """The step of the newest checkpoint."""
        return max(int(path.name.rpartition("-")[2]) for path in (self.run / "checkpoints").glob("checkpoint-*"))

    @property
    def weights(self) -> bytes:
        """Those of the toy's newest checkpoint."""
        return (self.run / "checkpoints" / f"checkpoint-{self.saved}" / "adapter_model.safetensors").read_bytes()

    def go(self) -> None:
        """Let the toy go on where it waits, and wait no more."""
        (self.run / "go").touch()

    @property
    def progress(self) -> str:
        """What virc takes the run for, such as `running` or `died`."""
        return runs.state(Run(self.run)).progress

    @property
    def log(self) -> str:
        """What the job's script wrote."""
        file = self.run / "logs" / f"slurm-{self.id}.log"
        return file.read_text() if file.exists() else ""

    def said(self) -> str:
        """The ends of all that the job wrote."""
        return "".join(f"{path}: {path.read_text()[-2000:]}\n" for path in (self.run / "logs").rglob("*.log"))

    def until_step(self, step: int) -> None:
        """Wait until a step has been logged; fails if the job ends before."""
        while max(self.losses, default=0) < step:
            state = self.slurm.state(self.id)
            assert state in ("PENDING", "CONFIGURING", "RUNNING"), self.said()
            time.sleep(0.2)

    def until_state(self, *states: str, patience: float = 240) -> None:
        """Wait until Slurm says one of these states of the job; fails once it has ended in another."""

        def there() -> bool:
            state = self.slurm.state(self.id)
            assert state in states or state not in _ENDED, f"{state}: {self.said()}"
            return state in states

        self.slurm.until(there, self.said, patience)

    def resumed(self) -> None:
        """Wait until Slurm has the job back in its queue, and let it start at once; then until it has ended well."""
        self.released()
        self.completed()

    def released(self) -> None:
        """Wait until Slurm has the job back in its queue, and end the two minutes for which it holds it there."""
        self.until_state("PENDING")
        # A start in the second of the requeue has 'Job credential revoked'. Slurm itself waits for longer.
        time.sleep(2)
        self.slurm.now(self.id)

    def engine(self, attempt: int = 1) -> int:
        """The process of the toy, once it trains."""
        log = self.run / "logs" / f"attempt_{attempt}" / "engine.log"
        self.slurm.until(lambda: log.exists() and "process " in log.read_text(), self.said)
        return int(re.findall(r"process (\d+)", log.read_text())[-1])

    def completed(self) -> None:
        """Wait until the job has ended; fails if it did not end well."""
        self.until_state(*_ENDED)
        assert (self.slurm.state(self.id), self.slurm.exit_code(self.id)) == ("COMPLETED", "0:0"), self.said()


def weights(steps: int) -> bytes:
    """The toy's weights after so many steps, each of them done once."""
    found = b""
    for step in range(1, steps + 1):
        found = hashlib.sha256(found + b"%d" % step).digest()
    return found


class Workspace:
    """A workspace whose runs are jobs of a cluster.

    Attributes:
        engine: stands for the interpreter of an environment, and runs the toy.
    """

    def __init__(self, folder: Path, slurm: Slurm) -> None:
        self.folder, self.slurm = folder, slurm
        (folder / "site.yaml").write_text(SITE)
        (folder / "rows.json").write_text("[]")
        self.engine = folder / "toy"
        toy = Path(__file__).with_name("slurm_toy_engine.py")
        self.engine.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(toy)])} "$@"\n')
        self.engine.chmod(0o755)

    def submit(self, name: str, stage: str, *words: str, **settings: object) -> Job:
        """Begin a run of a stage of `tiny` in its engine, and submit its job."""
        words = ("train", "tiny", "--stage", stage, "--site", "site.yaml", "--name", name, *words)
        done = workspaces.run(self.folder, *words, *workspaces.sets(settings))
        assert done.returncode == 0, done.stderr
        return Job(self.slurm, Path(done.stdout.strip()))

    def toy(
        self, name: str, steps: int = 3, nodes: int = 1, held: Sequence[int] = (), save: int = 0, **settings: object
    ) -> Run:
        """Make a run whose engine is the toy, with steps at which it waits to be told, and seconds for a save."""
        target = Site(time="1:00:00", shared=("/",))
        resolved = stages.resolve(systems.get("tiny"), "instruct", ["lora"], None, [])
        engine = {"toy_held": list(held), "toy_nodes": nodes, "toy_save": save}
        own = {"steps": steps, "nodes": nodes, "engine": engine, **settings}
        settings = {**msgspec.to_builtins(resolved.config), **own}
        run = made.make(
            self.folder, name, base=str(EMBEDDED_FOLDER), data=str(self.folder / "rows.json"), rows=0,
            python=str(self.engine), recipes=str(Path(virc.__file__).parents[1]), settings=settings, launcher="slurm",
            site=msgspec.to_builtins(target),
        )  # fmt: skip
        (run.folder / "environment.txt").write_text("")
        (run.folder / FILE_NAME).write_bytes((EMBEDDED_FOLDER / FILE_NAME).read_bytes())
        jobs.write(run, run.folder, runs.info(run), target, Reporter())
        return run

    def submit_toy(self, name: str, **fields: Any) -> Job:
        """Make such a run, and submit its job."""
        return self.resume(self.toy(name, **fields))

    def resume(self, run: Run) -> Job:
        """Submit a run's job, again if need be."""
        done = workspaces.run(self.folder, "train", "--resume", "--name", run.name)
        assert done.returncode == 0, done.stderr
        return Job(self.slurm, run.folder)


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
