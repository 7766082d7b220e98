"""A run's way into the queue and back into it, and what is said of it before."""

import os
import signal
import socket
from pathlib import Path
from threading import Timer

import msgspec
import pytest
import slurm_cases
import slurm_cluster
from support import made
from support.called import virc

from virc.cluster import jobs, slurm
from virc.cluster.site import Site
from virc.core.errors import ConfigError, EngineError
from virc.core.events import Event, Reporter
from virc.runs import attempts
from virc.runs import run as runs
from virc.runs.attempts import Attempt
from virc.runs.run import Run
from virc.training import attempt

SETTINGS = {**slurm_cases.SMALL, "data": "rows", "learning_rate": 1e-5}


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The jobs of a cluster on this machine."""
    folder = tmp_path / "spool"
    folder.mkdir()
    for name, value in slurm_cluster.environment(folder).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that is to be a job; its script waits until it is told to end."""
    monkeypatch.chdir(tmp_path)
    found = Run(tmp_path / "runs" / "mine")
    (found.folder / slurm.LOGS).mkdir(parents=True)
    site = tmp_path / "slurm.yaml"
    site.write_text("setup: trap - USR1; exec sleep 60\n")
    info = slurm_cases.info(Site(), name="mine", settings=SETTINGS, site_file=str(site))
    (found.folder / "run.json").write_bytes(msgspec.json.encode(info))
    script = slurm.job_script(found, slurm_cases.SMALL, tmp_path, Site(), "unused")
    (found.folder / slurm.SCRIPT).write_text(script)
    return found


def test_a_cluster_without_slurm_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = virc("train", "--resume", "--name", "mine")
    assert done.code == 4
    assert "sbatch cannot be started" in done.err


def test_a_job_that_slurm_starts_again_after_its_run_has_finished_ends_well(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.write_state(run, progress="finished", job="7")
    for name in ("VIRC_JOB", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setattr("virc_cli.commands.train._plot", lambda run: None)
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as the script leaves it
    try:
        done = virc("train", "--resume", "--name", "mine")
        assert signal.getsignal(signal.SIGUSR1) != signal.SIG_IGN  # a notice is kept from here on
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert done.code == 0, done.err
    assert "the run mine has finished" in done.err


def test_a_job_that_came_no_further_for_three_times_does_not(run: Run, spool: Path) -> None:
    for number in range(1, 5):
        attempts.write(run, Attempt(number=number, saved=5))
    with pytest.raises(EngineError, match="3 times the job's time was over before it passed step 5"):
        jobs.requeue(run, "7", Reporter())
    assert not list(spool.iterdir())


@pytest.mark.integration
@pytest.mark.parametrize(("patience", "error"), [(0.2, "still trains mine"), (60.0, "which is gone")])
def test_a_job_that_slurm_starts_anew_waits_for_its_former_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, error: str
) -> None:
    monkeypatch.setattr(attempt, "_FORMER_JOB", patience)
    monkeypatch.setattr(attempt, "_POLL", 0.05)
    run, events = made.make(tmp_path, "mine"), list[Event]()
    with made.running(run) as former:
        if patience > 1:
            Timer(0.3, former.terminate).start()
        with pytest.raises(ConfigError, match=error):  # then it begins: the model of this run is not there
            attempt.attempt(run, Reporter(events.append), job="7")
    assert events[0].text == f"waiting for process {former.pid} on {socket.gethostname()}, which still trains mine"


def test_a_notice_before_an_attempt_is_kept_for_it_and_one_after_it_kills_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempt, "_notices", [])
    missed: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: missed.append(number))  # by itself it kills
    try:
        attempt.hold_notice()
        os.kill(os.getpid(), signal.SIGUSR1)
        with attempt._signals() as asked:
            assert asked == [signal.SIGUSR1]
        os.kill(os.getpid(), signal.SIGUSR1)
        assert missed == []
    finally:
        signal.signal(signal.SIGUSR1, before)
