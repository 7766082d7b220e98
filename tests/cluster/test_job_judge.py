"""The judge of a Slurm job: its server is waited for, its death is an error, and the reward gets its address."""

import os
import socket
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import slurm_cases
from support.loopback import Connection, Loopback, free_port

from virc.cluster import judge as judges
from virc.cluster.site import IN_JOB, JobJudge, Site
from virc.core.errors import EngineError
from virc.core.events import Reporter
from virc.core.files import write_json, write_whole
from virc.core.plan import Plan, Step, write_files
from virc.rewards.means import JUDGE_KEY
from virc.rewards.verl import Settings
from virc.runs.run import Info, Run
from virc.systems.registry import Judging, Reward

SERVER = """\
import http.server, os, sys, threading
class Models(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["Authorization"] == "Bearer " + os.environ["VIRC_SERVE_KEY"]
        self.send_response(200 if known and self.path == "/v1/models" else 401)
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["VIRC_JUDGE_PORT"])), Models)
"""
JOB = "7"
SETTINGS = {"nodes": 1, "devices": 1, "device": "cpu", "reward": {"judge": {"endpoint": IN_JOB}}}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run in a job, on one node that is this machine."""
    found = Run(tmp_path / "runs" / "toy")
    found.attempt(1).mkdir(parents=True)
    reward = Reward(judge=Judging(endpoint=IN_JOB, model="m"))
    for file in (found.folder / "reward.json", found.folder / "sources" / "other" / "reward.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, Settings(reward=reward, folder="/w"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node")
    monkeypatch.setattr(judges, "_LOOK", 0.02)
    monkeypatch.setattr(judges, "_PORTS", free_port() - int(JOB))
    _program(tmp_path / "bin" / "scontrol", "print('127.0.0.1')")
    return found


def _program(file: Path, text: str) -> None:
    write_whole(file, f"#!{sys.executable}\n{text}".encode())
    file.chmod(0o755)


def _planned(run: Run, srun: str, **judge: Any) -> Info:
    """A run whose job has a judge; `srun` is what its step does."""
    _program(run.folder.parents[1] / "bin" / "srun", srun)
    site = Site(judge=JobJudge(model="judge-7b", **judge))
    plan = judges.with_script(Plan(Step(("engine",), "train"), {}), run.attempt(1), SETTINGS, site, sys.executable)
    write_files(plan)
    return slurm_cases.info(site, kind="rl", settings=SETTINGS)


def test_the_reward_gets_the_address_and_the_engine_the_key_once_it_answers(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JUDGE_KEY, "of another judge")
    info = _planned(run, f"{SERVER}\nserver.serve_forever()")
    with judges.served(run, info, 1, JOB, [], Reporter()) as serving:
        assert serving
        serving.check()
        assert len(os.environ[JUDGE_KEY]) == 64
        for file in (run.folder / "reward.json", run.folder / "sources" / "other" / "reward.json"):
            judge = msgspec.json.decode(file.read_bytes(), type=Settings).reward.judge
            assert (judge.endpoint, judge.model) == (f"http://127.0.0.1:{judges._PORTS + int(JOB)}/v1", "m")
        written = [file.read_text() for file in run.folder.rglob("*") if file.is_file()]
        assert not any(os.environ[JUDGE_KEY] in text for text in written)
    assert os.environ[JUDGE_KEY] == "of another judge"


def test_a_judge_that_ends_is_an_error_with_its_last_words(run: Run) -> None:
    info = _planned(run, "import sys\nsys.exit('no GPU has room')")
    with pytest.raises(EngineError, match="the judge judge-7b of the job ended: exit code 1, no GPU has room") as ended:
        _watched(run, info)
    assert ended.value.hint == f"see {run.attempt(1) / judges.LOG}"


def test_a_judge_that_ends_while_training_is_an_error(run: Run) -> None:
    info = _planned(run, f"{SERVER}\nserver.handle_request()\nsys.exit('out of memory')")
    with pytest.raises(EngineError, match="exit code 1, out of memory"):
        _watched(run, info)


def test_a_judge_that_never_answers_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    info = _planned(run, "import time\ntime.sleep(60)", minutes=1)
    monkeypatch.setattr(judges, "_MINUTE", 0.01)
    with pytest.raises(EngineError, match=r"the judge judge-7b of the job has not answered at http://.* in 1 minute$"):
        _watched(run, info)


def test_what_speaks_no_http_at_its_port_is_not_the_judge() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-server\r\n")

        threading.Thread(target=greet, daemon=True).start()
        assert not judges._answers(f"http://127.0.0.1:{other.getsockname()[1]}/v1", "key")


class _Models(Connection):
    def get(self) -> None:
        self.send_body(b"", 200 if self.headers["Authorization"] == "Bearer key" else 401)


@pytest.mark.usefixtures("no_proxies")
def test_no_proxy_stands_before_the_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    server, proxy = Loopback(_Models), Loopback(Connection)
    monkeypatch.setenv("http_proxy", proxy.address)
    with server.running(), proxy.running():
        assert judges._answers(f"{server.address}/v1", "key")
        assert not judges._answers(f"{server.address}/v1", "key of another")  # it is another's server
        assert (server.accepted, proxy.accepted) == (2, 0)


@pytest.mark.parametrize(("code", "ends"), [(0, True), (-9, True), (None, False)])
def test_a_judge_has_ended_whatever_its_exit_code(code: int | None, ends: bool, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    process: Any = SimpleNamespace(wait=lambda seconds: code)
    with pytest.raises(EngineError, match="the judge m of the job ended") if ends else nullcontext():
        judges.Serving(process, "m", tmp_path / "log").check()


def test_a_judge_beside_training_gets_the_gpus_after_those_of_the_run(run: Run) -> None:
    settings = {**SETTINGS, "devices": 4, "device": "cuda"}
    site = Site(judge=JobJudge(model="m", gpus=2))
    plan = judges.with_script(Plan(Step(("engine",), "train"), {}), run.attempt(1), settings, site, "python")
    (script,) = plan.files.values()
    assert "serve m --tensor-parallel-size=2 --gpus=4,5 --host=0.0.0.0 --port=" in script
    assert " --relative 0 " in script


def _watched(run: Run, info: Info) -> None:
    """Look after a judge for ever, as if a run trained."""
    with judges.served(run, info, 1, JOB, [], Reporter()) as serving:
        while serving:
            serving.check()


def test_a_run_that_is_asked_to_end_waits_for_no_judge_and_leaves_no_key(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(JUDGE_KEY, raising=False)
    info = _planned(run, "import time\ntime.sleep(60)")
    with judges.served(run, info, 1, JOB, [10], Reporter()) as serving:
        assert serving
        assert JUDGE_KEY in os.environ
    assert JUDGE_KEY not in os.environ


@pytest.mark.parametrize("settings", [{**SETTINGS, "reward": {"judge": {"endpoint": "http://other/v1"}}}, {"nodes": 1}])
def test_a_run_with_another_judge_or_none_serves_none(run: Run, settings: dict[str, Any]) -> None:
    info = slurm_cases.info(Site(judge=JobJudge(model="judge-7b")), settings=settings)
    with judges.served(run, info, 1, JOB, [], Reporter()) as serving:
        assert serving is None
