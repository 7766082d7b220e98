"""What becomes of a job that is handed to a Ray cluster, against a cluster that is scripted."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from virc.cluster.ray import submit


class RefusedError(Exception):
    """As Ray's, where a cluster wants a token."""


class Cluster:
    """A cluster: how the job that it gets ends, and jobs that it has already."""

    def __init__(self) -> None:
        self.status, self.code, self.message, self.log = "SUCCEEDED", 0, "", "step 1\n"
        self.jobs: dict[str, tuple[Mapping[str, str], str]] = {}
        self.asked: list[Mapping[str, Any]] = []
        self.stopped: list[str] = []
        self.nodes: Sequence[Mapping[str, Any]] = ()
        self.actors: Sequence[Mapping[str, str]] = ()
        self.fault: Exception | None = None
        self.refuses: Exception | None = None

    def __call__(self, address: str) -> "Cluster":
        self.address = address
        if self.fault:
            raise self.fault
        return self

    def list_jobs(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(metadata=metadata, submission_id=name, status=_status(status))
            for name, (metadata, status) in self.jobs.items()
        ]

    def stop_job(self, job: str) -> None:
        self.stopped.append(job)
        if job == "stuck":
            return
        self.jobs[job] = (self.jobs.get(job, ({}, ""))[0], "STOPPED")

    def get_job_status(self, job: str) -> SimpleNamespace:
        return _status(self.jobs[job][1]) if job in self.jobs else _status(self.status)

    def submit_job(self, **how: Any) -> str:
        self.asked.append(how)
        if self.refuses:
            raise self.refuses
        return "new"

    def get_job_info(self, job: str) -> SimpleNamespace:
        return SimpleNamespace(status=self.status, driver_exit_code=self.code, message=self.message, job_id="01")

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield self.log


def _status(name: str) -> SimpleNamespace:
    return SimpleNamespace(is_terminal=lambda: name in ("SUCCEEDED", "FAILED", "STOPPED"))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster()
    modules = {name: ModuleType(name) for name in ("ray", "ray.exceptions", "ray.job_submission", "ray.util.state")}
    modules["ray.exceptions"].AuthenticationError = RefusedError  # type: ignore[attr-defined]
    modules["ray.job_submission"].JobSubmissionClient = found  # type: ignore[attr-defined]
    modules["ray.util.state"].list_nodes = lambda **_: found.nodes  # type: ignore[attr-defined]
    modules["ray.util.state"].list_actors = lambda **_: found.actors  # type: ignore[attr-defined]
    for name, module in (*modules.items(), ("ray.util", ModuleType("ray.util"))):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(submit, "end_with_parent", lambda: None)
    for name, seconds in {"_LOOK": 0.0, "_STOPPING": 0.0, "_PATIENCE": 0.0}.items():
        monkeypatch.setattr(submit, name, seconds)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def run(folder: Path) -> int:
    place = folder / "attempt_2"
    place.mkdir(exist_ok=True)
    job = {
        "address": "http://head:8265", "run": str(folder / "run"), "entrypoint": "python -m engine",
        "runtime_env": {"env_vars": {"A": "1"}},
    }  # fmt: skip
    (place / "ray_job.json").write_text(json.dumps(job))
    return submit.main(str(place / "ray_job.json"))


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 3, 3),
        ("FAILED", -9, 137),  # killed, as a shell says it
        ("FAILED", 0, 128),
        ("FAILED", None, 1),  # its process never began
    ],
)
def test_a_job_ends_with_the_code_of_its_process(
    cluster: Cluster, status: str, code: int | None, ends: int, tmp_path: Path
) -> None:
    cluster.status, cluster.code = status, code  # type: ignore[assignment]
    assert run(tmp_path) == ends


def test_only_jobs_of_this_run_that_go_on_are_ended_first(cluster: Cluster, tmp_path: Path) -> None:
    own = {"virc_run": str(tmp_path / "run")}
    cluster.jobs = {
        "stuck": (own, "RUNNING"), "left": (own, "RUNNING"), "waiting": (own, "PENDING"), "over": (own, "FAILED"),
        "another's": ({"virc_run": "/w/runs/another"}, "RUNNING"), "a stranger's": ({}, "RUNNING"),
    }  # fmt: skip
    assert run(tmp_path) == 0
    assert cluster.stopped == ["stuck", "left", "waiting"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (RefusedError("no"), "wants its token: RAY_AUTH_TOKEN"),
        (ConnectionError("refused"), "no Ray cluster answers at http://head:8265: refused"),
    ],
)
def test_a_cluster_that_takes_no_jobs_is_named(
    cluster: Cluster, fault: Exception, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.fault = fault
    assert run(tmp_path) == 1
    assert said in capsys.readouterr().err


def node(name: str, state: str, message: str = "") -> dict[str, str]:
    return {"node_id": name * 8 + "0" * 8, "node_ip": f"10.0.0.{name}", "state": state, "state_message": message}


@pytest.mark.parametrize(
    ("code", "nodes", "said"),
    [
        (
            1,
            [node("1", "ALIVE"), node("2", "DEAD", "Unexpected termination: no heartbeat")],
            "10.0.0.2 (Ray's 22222222)",
        ),
        (1, [node("1", "ALIVE"), node("3", "DEAD")], None),  # none of this job
        (0, [node("2", "DEAD")], None),  # it has done its work
    ],
)
def test_a_node_that_a_failed_job_lost_is_named(
    cluster: Cluster, code: int, nodes: Sequence[Mapping[str, Any]], said: str | None, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    cluster.status, cluster.code = ("FAILED" if code else "SUCCEEDED"), code
    cluster.nodes, cluster.actors = nodes, [{"node_id": name * 8 + "0" * 8} for name in "12"]
    run(tmp_path)
    error = capsys.readouterr().err
    assert (f"the cluster lost the node {said}: no heartbeat" in error) == (said is not None)
    assert ("the cluster lost" in error) == (said is not None)


def test_keys_reach_the_job_by_a_file_that_is_gone_afterwards(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_JUDGE_KEY", "s3cret")
    monkeypatch.setenv("VIRC_PAGES", "/w/pages")
    killed = tmp_path / "attempt_1" / "credentials.json"
    killed.parent.mkdir()
    killed.write_text("{}")
    assert run(tmp_path) == 0
    variables = cluster.asked[0]["runtime_env"]["env_vars"]
    assert (variables["A"], variables["VIRC_PAGES"]) == ("1", "/w/pages")
    assert "s3cret" not in json.dumps(cluster.asked[0])
    assert cluster.asked[0]["runtime_env"]["worker_process_setup_hook"] == "virc.core.credentials.load"
    assert list(tmp_path.rglob("credentials.json")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_ends_its_job(
    number: int, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "follow", lambda client, job: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as ended:
        run(tmp_path)
    assert (ended.value.code, cluster.stopped) == (128 + number, ["new"])
    assert {signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)} == {signal.SIG_IGN}, "one is enough"
