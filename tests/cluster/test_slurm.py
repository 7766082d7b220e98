"""Slurm: the scripts, the site file, and a job on two nodes that saves, goes back into the queue, and finishes."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import slurm_cases
import slurm_cluster
from hypothesis import example, given
from hypothesis import strategies as st

from virc.cluster import slurm
from virc.cluster.site import Site
from virc.core.errors import EngineError
from virc.core.plan import Step
from virc.envs.hardware import VISIBLE
from virc.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]
LINE = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), min_size=1)


def _options(script: str) -> list[str]:
    """The options of a script, read as sbatch reads them."""
    lines = [line.removeprefix("#SBATCH") for line in script.split("\n") if line.startswith("#SBATCH")]
    return [word for line in lines for word in shlex.split(line, comments=True)]


def test_the_golden_files_are_the_scripts_of_the_cases_and_bash_reads_them() -> None:
    assert {
        path: path.read_text(encoding="utf-8") for path in slurm_cases.GOLDEN.glob("slurm-*")
    } == slurm_cases.golden()
    for path in slurm_cases.GOLDEN.glob("slurm-*.sh"):
        subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize(
    ("time", "notice"), [(None, 300), ("UNLIMITED", 300), ("2-00:00:00", 300), ("20", 300), ("10", 150), ("4", 60)]
)
def test_a_job_saves_five_minutes_before_its_end_or_in_the_last_quarter(time: str | None, notice: int) -> None:
    script = slurm.job_script(Run(Path("/w/runs/a")), slurm_cases.SETTINGS, Path("/w"), Site(time=time), "python")
    assert f"--signal=B:USR1@{notice}" in _options(script)


@given(LINE)
@example("x\"; rm -rf '$(id)' # \\")
@example("hetjob")
def test_values_reach_sbatch_as_they_are(value: str) -> None:
    run = Run(Path("/w/runs/a"))
    script = slurm.job_script(run, slurm_cases.SETTINGS, Path("/w"), Site(account=value), "python")
    assert f"--account={value}" in _options(script)


@given(LINE, LINE)
@example("$HOME `id` $(id) 'x' \"y\" \\", "!!")
def test_a_node_runs_arguments_and_variables_as_they_are(argument: str, value: str) -> None:
    step = Step((sys.executable, argument), "x", {"KEPT": value, "GONE": ""})
    head = slurm.node_script(step).split("\n\n")[0]
    shown = 'printf "%s\\0" "${engine[@]}" "$KEPT" "${GONE-unset}"'
    done = subprocess.run(
        ["bash"], input=f"{head}\n{shown}", env={"GONE": "here", "LC_ALL": "C.UTF-8"}, capture_output=True, text=True
    )
    assert done.stdout.split("\0")[:-1] == [sys.executable, argument, value, "unset"]


@pytest.mark.parametrize(
    ("wanted", "given", "taken"),
    [
        ("0,1", None, "0,1"), ("2,3", None, "2,3"), ("0,1", "4,5,6", "4,5"), ("2,0", "4,5,6", "6,4"),
        ("1", "GPU-a,GPU-b", "GPU-b"), ("0", "MIG-a", "MIG-a"), ("-1", "4,5", "-1"), ("-1,-1", "4", "-1,-1"),
    ],
)  # fmt: skip
def test_numbers_of_gpus_are_of_those_that_the_job_was_given(wanted: str, given: str | None, taken: str) -> None:
    head = slurm.node_script(Step(("x",), "x", {VISIBLE: wanted})).split("\n\n")[0]
    env = {} if given is None else {VISIBLE: given}
    shown = subprocess.run(["bash"], input=f"{head}\nprintenv {VISIBLE}", env=env, capture_output=True, text=True)
    assert shown.stdout.strip() == taken


@pytest.mark.parametrize("printed", ["", "Submitted batch job 1234", "12 34"])
def test_other_answers_of_sbatch_are_errors(printed: str) -> None:
    with pytest.raises(EngineError, match="sbatch named no job"):
        slurm.job_id(printed)


class Cluster:
    """A cluster of this machine's loopback addresses, and a workspace with the run `toy`."""

    def __init__(self, folder: Path, **toy: object) -> None:
        self.folder, self.spool = folder / "it's mine", folder / "spool"
        self.spool.mkdir()
        self.nodes = toy["nodes"]
        self.run = Run(self.folder / "runs" / "toy")
        (self.run.folder / slurm.LOGS).mkdir(parents=True)
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "recipes", Path(__file__).parent)))
        self.env: Mapping[str, str] = {
            **os.environ, **slurm_cluster.environment(self.spool), "PYTHONPATH": paths,
            **{f"TOY_{name.upper()}": str(value) for name, value in toy.items()},
        }  # fmt: skip

    def submit(self) -> str:
        """Hand the run's script over; its program is the toy in place of virc."""
        virc = self.folder / "python"
        virc.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("slurm_toy_virc.py")} "$@"\n')
        virc.chmod(0o755)
        settings, site = {**slurm_cases.SMALL, "nodes": self.nodes}, Site(setup=("export SITE=loopback",))
        script = slurm.job_script(self.run, settings, self.folder, site, str(virc))
        (self.run.folder / slurm.SCRIPT).write_text(script)
        argv = slurm.submit_step(self.run).argv
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=True)
        return slurm.job_id(done.stdout)

    def ended(self, job: str) -> int:
        """The job's exit code."""
        return slurm_cluster.ended(self.spool, job, lambda: self.log)

    @property
    def log(self) -> str:
        """What the job's script and the engine wrote."""
        files = [*(self.run.folder / slurm.LOGS).glob("slurm-*.log"), self.run.log(1)]
        return "".join(path.read_text() for path in files if path.exists())

    def counts(self) -> list[int]:
        """Steps that each node has done."""
        return [int(path.read_text()) for path in sorted(self.folder.glob("node-*"))]


@pytest.mark.integration
def test_a_job_told_to_end_saves_on_every_node_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where slurm is set to signal all that a task started (SignalChildrenProcesses)."""
    monkeypatch.setenv("STUB_OF_SLURM_SIGNALS", "everything")
    cluster = Cluster(tmp_path, nodes=2, steps=10, each=0.02)
    (cluster.folder / "held").touch()
    job = cluster.submit()
    for node in range(2):
        slurm_cluster.until((cluster.folder / f"began-{node}").exists, lambda: cluster.log)
    slurm_cluster.tell(cluster.spool, job)
    assert cluster.ended(job) == 0, cluster.log
    assert cluster.counts() == [10, 10]
    begun = [int(line.split()[-1]) for line in cluster.log.splitlines() if line.startswith("from step")]
    assert len(begun) == 4, cluster.log  # two nodes, twice
    assert begun == [0, 0, 1, 1]
    assert cluster.log.count("exit code 0 on loopback") == 2  # of both times


@pytest.mark.integration
def test_a_node_that_fails_fails_the_job(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, nodes=2, steps=600, each=0.1, broken=1)
    (cluster.folder / "held").touch()
    job = cluster.submit()
    assert cluster.ended(job) == 3, cluster.log
    assert cluster.counts()[0] == 1
