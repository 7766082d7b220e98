"""What the commands show and do of runs whose jobs wait or run in Slurm; here `squeue` prints a file."""

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.called import virc
from support.made import make

from virc.runs import queue
from virc.runs import run as runs
from virc.runs.queue import Watch
from virc.runs.run import Run

Says = Callable[..., None]


@pytest.fixture
def says(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Sets what `squeue` prints; `scancel` takes the job of its last argument out of that."""
    folder = workspace / "bin"
    folder.mkdir()
    jobs = folder / "jobs"
    jobs.touch()
    program(folder / "squeue", f'echo "$*" >> {folder}/asked; cat {jobs}')
    program(folder / "scancel", f'echo "$*" >> {folder}/cancelled; for job; do :; done; sed -i "/^$job|/d" {jobs}')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda *lines: jobs.write_text("".join(f"{line}\n" for line in lines)) and None


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def submitted(workspace: Path, name: str = "a", job: str = "5", **state: object) -> Run:
    run = make(workspace, name, launcher="slurm")
    runs.write_state(run, job=job, **state)
    return run


def row(name: str = "a") -> dict[str, object]:
    """The run in `virc runs ls --json`."""
    return next(row for row in virc("runs", "ls", "--json").json["runs"] if row["name"] == name)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("5|PENDING|N/A||Resources", "job 5 waits: not enough nodes are free"),
        ("5|PENDING|N/A||Priority", "job 5 waits: jobs with a higher priority come first"),
        ("5|PENDING|N/A||JobHeldUser", "job 5 waits: its user holds it; scontrol release 5 lets it start"),
        ("5|PENDING|N/A||QOSMaxGRESPerUser", "job 5 waits: a limit of the QOS is reached (QOSMaxGRESPerUser)"),
        ("5|PENDING|N/A||AssocGrpGRES", "job 5 waits: a limit of the account is reached (AssocGrpGRES)"),
        ("5|PENDING|N/A||ReqNodeNotAvail, UnavailableNodes:n1", "job 5 waits: nodes that it needs are not available"),
        (
            "5|PENDING|N/A||Nodes required for job are DOWN, DRAINED or reserved for others",
            "job 5 waits: nodes that it needs are down, drained or reserved",
        ),
        (
            "5|PENDING|N/A||launch failed requeued held",
            "job 5 waits: launch failed requeued held; scontrol release 5 lets it start",
        ),
        ("5|PENDING|N/A||SomethingNew", "job 5 waits: SomethingNew"),
        ("5|PENDING|N/A||BeginTime", "job 5 waits: BeginTime"),  # when that is Slurm does not say
        ("5|PENDING|N/A||one|another", "job 5 waits: one|another"),
        ("5|PENDING|50000000000||None", "job 5 waits: Slurm has not looked for nodes yet"),
        ("5|REQUEUED|N/A||None", "job 5 waits: Slurm has not looked for nodes yet"),
        ("5|REQUEUE_HOLD|N/A||JobHoldMaxRequeue",
         "job 5 waits: it was requeued too often, and Slurm holds it; scontrol release 5 lets it start"),
        ("5|SPECIAL_EXIT|N/A||SomethingNew", "job 5 waits: SomethingNew"),
        ("5|RESIZING|1000|n1|None", "job 5 runs on n1"),
        ("5|CONFIGURING|N/A|n[1-2]|None", "job 5 waits until its nodes n[1-2] are ready"),
        ("5|RUNNING|1000|n[1-2,7]|None", "job 5 runs on n[1-2,7]"),
        ("5|SUSPENDED|1000|n1|None", "job 5 runs on n1, suspended"),
        ("5|COMPLETING|1000|n1|None", "job 5 is ending"),
        ("5|TIMEOUT|1000|n1|None", "job 5 ran out of time"),
        ("5|CANCELLED|1000||None", "job 5 was cancelled"),
        ("", "job 5 has ended"),
        ("a site's own notice\n7|RUNNING|1000|n1|None", "job 5 has ended"),
    ],
)  # fmt: skip
def test_a_job_in_words(says: Says, workspace: Path, line: str, text: str) -> None:
    says(line)
    run = submitted(workspace)
    job, error = queue.job_of(run, runs.state(run))
    assert error is None
    assert job is not None
    assert job.text == text


def test_a_requeued_run_is_queued_and_not_stopped(says: Says, workspace: Path) -> None:
    begin = int(time.time()) + 600
    says(f"5|PENDING|{begin}||BeginTime")
    submitted(workspace, progress="stopped", attempt=1, step=7)
    when = f"{datetime.fromtimestamp(begin):%H:%M} (in 10 min)"
    listed = virc("runs", "ls").out
    assert "queued" in listed
    assert when in listed
    found = row()
    assert (found["progress"], found["job"]) == ("queued", "5")
    assert isinstance(found["queue"], dict)
    assert (found["queue"]["phase"], found["queue"]["reason"]) == ("queued", "BeginTime")
    assert found["queue"]["start"] == datetime.fromtimestamp(begin, UTC).isoformat()
    shown = virc("runs", "show", "a")
    assert "5 is held until" in shown.out
    assert "a, queued" in shown.out
    assert "was stopped" not in shown.out
    assert virc("runs", "show", "a", "--json").json["state"]["progress"] == "queued"


def test_a_start_on_another_day_has_its_date(says: Says, workspace: Path) -> None:
    now = datetime.now()
    of_that_number = next(days for days in range(28, 63) if (now + timedelta(days)).day == now.day)
    begin = int((now + timedelta(of_that_number)).timestamp())
    says(f"5|PENDING|{begin}||BeginTime")
    job, _ = queue.job_of(run := submitted(workspace), runs.state(run))
    assert job is not None
    assert f"held until {datetime.fromtimestamp(begin):%Y-%m-%d %H:%M} (in " in job.text


def test_a_finished_run_whose_job_is_gone_has_none(says: Says, workspace: Path) -> None:
    says("")
    run = submitted(workspace, progress="finished")
    assert queue.job_of(run, runs.state(run)) == (None, None)


def test_the_site_file_that_a_resumed_run_reads_again_is_shown(says: Says, workspace: Path) -> None:
    run = make(workspace, "a", launcher="slurm", site_file="/home/ann/slurm.yaml")
    assert "\nsite     /home/ann/slurm.yaml\n" in virc("runs", "show", run.name).out
    make(workspace, "b")
    assert "\nsite" not in virc("runs", "show", "b").out


def test_a_run_that_failed_and_was_submitted_again_is_queued(says: Says, workspace: Path) -> None:
    says("5|PENDING|N/A||Priority")
    submitted(workspace, progress="failed", attempt=1, error="the disk is full")
    assert row()["progress"] == "queued"


def test_a_job_that_has_started_before_virc_is_starting(says: Says, workspace: Path) -> None:
    run = submitted(workspace, progress="stopped", attempt=1)
    says(f"5|RUNNING|{time.time() + 3:.0f}|n2|None")
    assert row()["progress"] == "starting"
    assert "5 runs on n2" in virc("runs", "show", "a").out
    later = time.time() + 60
    os.utime(run.folder / "state.json", (later, later))  # it has begun, and stopped: its job is about to end
    assert row()["progress"] == "stopped"
    says("5|RUNNING|1000|n2|None")
    os.utime(run.folder / "state.json", (1000.5, 1000.5))  # Slurm counts in whole seconds
    assert row()["progress"] == "starting"


def test_slurm_is_asked_once_for_all_runs_and_not_for_finished_ones(says: Says, workspace: Path) -> None:
    says("5|PENDING|N/A||Priority", "6|RUNNING|1000|n1|None")
    for name, job in (("a", "5"), ("b", "6"), ("c", "7")):
        submitted(workspace, name, job)
    virc("runs", "ls")
    asked = (workspace / "bin" / "asked").read_text().splitlines()
    assert asked == [f"--all --user={os.getuid()} --noheader --states=all --format=%A|%T|%S|%N|%r"]
    long_ago = time.time() - 1000
    for name in "abc":
        run = Run(workspace / "runs" / name)
        runs.write_state(run, progress="finished")
        os.utime(run.folder / "state.json", (long_ago, long_ago))
    virc("runs", "ls")
    assert len((workspace / "bin" / "asked").read_text().splitlines()) == 1


def test_a_run_that_has_just_finished_is_not_removed_under_its_job(says: Says, workspace: Path) -> None:
    says("5|RUNNING|1000|n1|None")
    submitted(workspace, progress="finished", attempt=1)
    assert row()["progress"] == "finished"
    assert "a has a job in Slurm: job 5 runs on n1" in virc("runs", "rm", "a", "--yes").err
    says("5|COMPLETED|1000|n1|None")
    assert virc("runs", "rm", "a", "--yes").code == 0


def test_a_job_that_failed_before_the_run_began_is_named(says: Says, workspace: Path) -> None:
    says("5|FAILED|1000|n1|None")
    run = submitted(workspace)
    assert "5 failed" in virc("runs", "ls").out
    (run.folder / "logs").mkdir()
    (run.folder / "logs" / "slurm-5.log").touch()
    done = virc("runs", "tail", "a")
    assert done.code == 7
    assert "a has not started, and job 5 failed" in done.err
    assert "see " in done.err
    assert "slurm-5.log; virc train --resume --name a submits it again" in done.err


def test_without_squeue_one_clause_says_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(workspace, progress="stopped", attempt=1)
    monkeypatch.setenv("PATH", str(workspace))
    for words in (("ls",), ("show", "a"), ("tail", "a")):
        done = virc("runs", *words)
        assert done.code == 0
        assert done.err.count("whether jobs wait or run is not known: squeue is not on this machine") == 1
    assert virc("runs", "ls", "--json").json["slurm"].endswith("squeue is not on this machine")
    assert (row()["progress"], row()["queue"], row()["job"]) == ("stopped", None, "5")


@pytest.mark.parametrize(
    ("text", "why"),
    [("exec sleep 60", "squeue did not answer in 0.2 s"), ("echo down >&2; exit 1", "exit code 1, down")],
)
def test_a_controller_that_does_not_answer_is_one_clause(
    says: Says, workspace: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setattr(queue, "PATIENCE", 0.2)
    program(workspace / "bin" / "squeue", text)
    submitted(workspace)
    done = virc("runs", "ls")
    assert (done.code, done.err) == (0, f"warning: whether jobs wait or run is not known: could not ask Slurm: {why}\n")


def test_a_run_with_a_job_is_not_removed(says: Says, workspace: Path) -> None:
    says("5|PENDING|N/A||Priority")
    run = submitted(workspace)
    done = virc("runs", "rm", "a", "--yes")
    assert done.code == 3
    assert "a has a job in Slurm: job 5 waits" in done.err
    assert "hint: virc runs stop a ends it" in done.err
    assert run.folder.exists()
    says("5|CANCELLED|N/A||None")
    assert virc("runs", "rm", "a", "--yes").code == 0
    assert not run.folder.exists()


def test_a_run_is_removed_where_slurm_does_not_answer(says: Says, workspace: Path) -> None:
    program(workspace / "bin" / "squeue", "exit 1")
    run = submitted(workspace)
    done = virc("runs", "rm", "a", "--yes")
    assert done.code == 0
    assert "whether jobs wait or run is not known" in done.err
    assert not run.folder.exists()


def test_a_job_that_waits_is_cancelled(says: Says, workspace: Path) -> None:
    says("5|PENDING|N/A||Priority")
    submitted(workspace, progress="stopped", attempt=1, step=7)
    done = virc("runs", "stop", "a")
    assert (done.code, done.out) == (0, "a is out of the queue: its job 5 was cancelled\n")
    assert (workspace / "bin" / "cancelled").read_text() == "--state=PENDING 5\n"
    assert "nothing to stop: a was stopped at step 7" in virc("runs", "stop", "a").err


def test_a_run_is_stopped_from_another_machine_and_its_job_waited_for(says: Says, workspace: Path) -> None:
    says("5|RUNNING|1000|n2|None")
    run = submitted(workspace, progress="running", attempt=1, host="n2", pid=1, started=1)
    write = f"sed -i s/running/stopped/ {run.folder}/state.json"
    program(workspace / "bin" / "scancel", f'echo "$*" > {workspace}/bin/cancelled; {write}; : > {workspace}/bin/jobs')
    done = virc("runs", "stop", "a")
    assert done.code == 0, done.err
    assert "a was stopped at step 0" in done.out
    assert (workspace / "bin" / "cancelled").read_text() == "--batch --signal=TERM 5\n"


def test_a_job_that_goes_back_while_it_is_stopped_is_cancelled(says: Says, workspace: Path) -> None:
    """Its time was over, and Slurm notified it, just before."""
    says("5|RUNNING|1000|n2|None")
    run = submitted(workspace, progress="running", attempt=1, host="n2", pid=1, started=1)
    jobs = workspace / "bin" / "jobs"
    back = f"sed -i s/running/stopped/ {run.folder}/state.json; echo '5|PENDING|N/A||BeginTime' > {jobs}"
    program(workspace / "bin" / "scancel", f"if [ $# = 1 ]; then : > {jobs}; else {back}; fi")
    assert "a was stopped at step 0" in virc("runs", "stop", "a").out
    assert jobs.read_text() == ""


def test_a_run_whose_job_ends_without_a_record_has_died(
    says: Says, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virc.runs.stopping._ASK_EVERY", 0.1)
    says("5|RUNNING|1000|n2|None")
    submitted(workspace, progress="running", attempt=1, host="n2", pid=1, started=1)
    done = virc("runs", "stop", "a")
    assert done.code == 7
    assert "a died at step 0" in done.err


@pytest.mark.parametrize("progress", ["finished", "stopped"])
def test_a_run_that_is_removed_while_others_are_listed_is_passed_over(
    says: Says, workspace: Path, progress: runs.Progress
) -> None:
    says("5|RUNNING|1000|n2|None")
    run = submitted(workspace, progress=progress)
    state = runs.state(run)
    shutil.rmtree(run.folder)
    assert queue.ask([(run, state)]) == queue.Queue()


@pytest.mark.parametrize("age", [0, 1000], ids=["alive", "silent"])
def test_now_ends_a_job_and_the_run_is_stopped(says: Says, workspace: Path, age: int) -> None:
    says("5|RUNNING|1000|n2|None")
    run = submitted(workspace, progress="running", attempt=1, host="n2", pid=1, started=1)
    written = time.time() - age  # when it last gave a sign of life
    os.utime(run.folder / "state.json", (written, written))
    assert virc("runs", "stop", "a", "--now").code == 0
    assert (workspace / "bin" / "cancelled").read_text() == "5\n"
    assert runs.state(run).progress == "stopped"


def test_the_follower_waits_through_the_queue(says: Says, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = submitted(workspace, progress="stopped", attempt=1)
    monkeypatch.setattr(queue, "_SOON", 0.0)
    watch = Watch(run, every=0.0)
    says("5|RUNNING|1000|n1|None")  # of the first attempt: it may go back into the queue
    assert (watch.look(runs.state(run)), watch.over) == ("job 5 runs on n1", False)
    says("5|COMPLETING|1000|n1|None")
    assert (watch.look(runs.state(run)), watch.over) == (None, False)
    says("5|PENDING|N/A||Priority")
    assert watch.look(runs.state(run)) == "job 5 waits: jobs with a higher priority come first"
    assert (watch.look(runs.state(run)), watch.over) == (None, False)  # nothing new
    runs.write_state(run, progress="running", **runs.this_process())
    assert (watch.look(runs.state(run)), watch.over) == (None, False)
    before = runs.state(run)
    runs.write_state(run, progress="stopped")
    says("5|COMPLETED|1000|n1|None")
    watch.look(msgspec.structs.replace(before, progress="stopped", step=1))  # it went on since that was read
    assert not watch.over
    runs.write_state(run, progress="finished")
    assert (watch.look(runs.state(run)), watch.over) == (None, True)


def test_the_follower_outlasts_a_controller_that_is_away(
    says: Says, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_SOON", 0.0)
    run = submitted(workspace, progress="stopped", attempt=1)
    watch = Watch(run, every=0.0)
    says("5|PENDING|N/A||Priority")
    watch.look(runs.state(run))
    program(workspace / "bin" / "squeue", "exit 1")
    assert "whether jobs wait or run is not known" in (watch.look(runs.state(run)) or "")
    assert not watch.over
    monkeypatch.setattr(queue, "_OUTAGE", -1.0)
    watch.look(runs.state(run))
    assert watch.over
    newcomer = Watch(run)  # Slurm has never answered: its job is not waited for
    newcomer.look(runs.state(run))
    assert newcomer.over


def test_the_newest_run_that_waits_is_followed_by_default(says: Says, workspace: Path) -> None:
    says("5|PENDING|N/A||Priority")
    submitted(workspace)
    from virc_cli.commands.runs.tail import _newest_running

    assert _newest_running(workspace).name == "a"


def test_a_failed_run_is_not_followed_where_slurm_does_not_answer(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "job_of", lambda *_: (None, "no answer"))
    for progress, over in (("failed", True), ("stopped", False), ("new", False)):
        watch = Watch(submitted(workspace, progress))
        watch.look(runs.State(progress="running", job="5"))
        watch.look(runs.State(progress=progress, job="5"))  # type: ignore[arg-type]
        assert watch.over is over, progress


def test_a_run_whose_state_is_gone_starts_with_its_job(workspace: Path) -> None:
    job = queue.Job("5", "running", start=1.0)
    assert queue.shown(Run(workspace / "gone"), runs.State(job="5"), job) == "starting"


def test_a_new_reason_or_start_of_a_waiting_job_is_said(workspace: Path) -> None:
    watch = queue.Watch(submitted(workspace))
    job = queue.Job("5", "queued", "PENDING", "Priority")
    said = [watch._news(each, None) for each in (job, job, msgspec.structs.replace(job, reason="Resources"))]
    assert [each is None for each in said] == [False, True, False]
    later = msgspec.structs.replace(job, reason="Resources", start=time.time() + 3600)
    assert watch._news(later, None)
    assert watch._news(later, None) is None
