"""Jobs on a real Ray cluster, a toy in place of verl: what reaches the workers, how a job ends, what is refused."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray_cluster

from virc.cluster.ray import job as ray_job
from virc.core import processes
from virc.core.files import write_whole
from virc.core.plan import Plan, Step
from virc.runs.run import Run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

TOY = Path(__file__).with_name("ray_toy_engine.py")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ray_cluster.Cluster]:
    with ray_cluster.running() as found:
        yield found


@pytest.fixture
def head(cluster: ray_cluster.Cluster) -> str:
    return cluster.address


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose folder has code of its user."""
    found = Run(tmp_path / "it's mine" / "runs" / "toy")
    (found.folder / "code").mkdir(parents=True)
    (found.folder / "code" / "mine.py").write_text("")
    return found


def planned(run: Run, head: str, steps: int, number: int = 1, **asked: Any) -> Step:
    """The process here of a job that does so many steps; its files are written."""
    python = str(ray_cluster.python())
    paths = os.pathsep.join((str(ray_cluster.recipes()), str(run.folder / "code")))
    engine = Step(
        (python, str(TOY), str(run.folder), str(steps), "0.1"), "train", {"PYTHONPATH": paths, "NOTE": "it's mine"}
    )
    needs = {"nodes": 1, "gpus": 1, "paths": {"the run": str(run.folder)}, "versions": {}} | asked
    plan = ray_job.checked(Plan(engine, {}), run.attempt(number), needs)
    plan = ray_job.on_cluster(plan, run, number, ray_job.cluster(head))
    for path, text in plan.files.items():
        write_whole(Path(path), text.encode())
    return plan.step


def ended(step: Step, log: Path) -> int:
    with processes.started(step, log) as process:
        code = process.wait(480)
    assert code is not None, log.read_text()
    return code


def test_workers_get_the_plans_code_interpreter_and_variables(
    head: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_PAGES", "/srv/pages")
    monkeypatch.setenv("VIRC_TOOL_CONTROLLER", "http://tools:20001")
    step = planned(run, head, 3)
    assert ended(step, run.log(1)) == 0, run.log(1).read_text()
    assert "from step 0\ndone" in run.log(1).read_text()
    (seen,) = json.loads((run.folder / "seen.json").read_text())
    assert seen["python"] == str(ray_cluster.python())
    assert seen["note"] == "it's mine"
    assert seen["mine"] == str(run.folder / "code" / "mine.py")
    job = json.loads((run.attempt(1) / ray_job.JOB).read_text())
    ours, _ = job["runtime_env"]["env_vars"]["PYTHONPATH"].split(os.pathsep)
    assert seen["recipes"] == str(Path(ours) / "virc")
    assert (seen["pages"], seen["controller"]) == ("/srv/pages", "http://tools:20001")
    assert not list(run.folder.rglob("credentials.json"))


def test_keys_reach_driver_task_and_actor_and_no_page_or_log_of_ray_shows_them(
    cluster: ray_cluster.Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"VIRC_JUDGE_KEY": "judges-secret", "DETECTOR_KEY": "detectors-secret"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    (run.folder / "code" / "find.yaml").write_text('http: {url: "http://x", headers: {X-Key: "${DETECTOR_KEY}"}}')
    (held := run.folder / "held").touch()
    with processes.started(planned(run, cluster.address, 3), run.log(1)) as process:
        _until(run, process, "from step 0")
        (file,) = run.folder.rglob("credentials.json")
        assert file.stat().st_mode & 0o777 == 0o600
        shown = [_shown(cluster, run)]
        held.unlink()
        assert process.wait(480) == 0, run.log(1).read_text()
    assert json.loads((run.folder / "keys").read_text()) == [list(given.values())] * 3
    assert not file.exists()
    for text in (*shown, _shown(cluster, run)):
        assert str(file) in text  # the pages that tell what the job was given are among them
        assert not any(secret in text for secret in given.values())


def _shown(cluster: ray_cluster.Cluster, run: Run) -> str:
    """All that Ray, the log and the files of an attempt show, but for the keys' own file."""
    files = (file for file in (*run.attempt(1).glob("*.json"), run.log(1)) if file.name != "credentials.json")
    return cluster.shown() + "".join(file.read_text() for file in files)


def test_a_job_is_stopped_with_the_process_that_handed_it_over_and_goes_on_in_the_next(head: str, run: Run) -> None:
    (run.folder / "held").touch()
    step = planned(run, head, 600)
    with processes.started(step, run.log(1)) as process:
        _until(run, process, "from step 0")
        process.ask_to_save()
        assert process.wait(120) == 128 + signal.SIGTERM, run.log(1).read_text()
    assert {job["status"] for job in _of(run, head)} == {"STOPPED"}
    assert (run.folder / "saved").read_text() == "1"
    assert ended(planned(run, head, 4, 2), run.log(2)) == 0, run.log(2).read_text()
    assert "from step 1\ndone" in run.log(2).read_text()


def test_a_job_left_behind_is_ended_before_the_next_begins(head: str, run: Run) -> None:
    """The process here is killed together with all that could have stopped the job, as when a machine goes down."""
    (run.folder / "held").touch()
    step = planned(run, head, 6000)
    log = run.log(1)
    with processes.started(step, log) as process:
        _until(run, process, "from step 0")
        os.kill(process.pid, signal.SIGKILL)
    assert [job["status"] for job in _of(run, head)] == ["RUNNING"]
    assert ended(planned(run, head, 4, 2), run.log(2)) == 0, run.log(2).read_text()
    assert sorted(job["status"] for job in _of(run, head)) == ["STOPPED", "SUCCEEDED"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"paths": {"the data": "/no/such/rows"}}, "does not see the data: /no/such/rows"),
        (
            {"versions": {"ray": "1.0.0", "verl-of-mars": "2"}},
            "instead of 1.0.0; has verl-of-mars missing instead of 2",
        ),
    ],
)
def test_a_node_that_lacks_something_is_named_and_nothing_starts(
    head: str, run: Run, asked: dict[str, Any], said: str
) -> None:
    assert ended(planned(run, head, 3, **asked), run.log(1)) == 1
    text = run.log(1).read_text()
    assert "virc: SetupError: the node 127.0.0.1" in text or "virc: SetupError: the node " in text
    assert said in text
    assert "from step" not in text


def test_a_cluster_that_wants_another_token_is_one_sentence(
    head: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ray_cluster.TOKEN, "of another cluster")
    assert ended(planned(run, head, 3), run.log(1)) == 1
    last = run.log(1).read_text().strip().splitlines()[-1]
    assert last == f"virc: SetupError: the Ray cluster at {head} wants its token: RAY_AUTH_TOKEN"


def test_a_cluster_that_is_not_there_is_one_sentence(run: Run) -> None:
    assert ended(planned(run, "http://127.0.0.1:9", 3), run.log(1)) == 1
    last = run.log(1).read_text().strip().splitlines()[-1]
    assert last.startswith("virc: SetupError: no Ray cluster answers at http://127.0.0.1:9: ")


def _until(run: Run, process: processes.Process, text: str) -> None:
    for _ in range(600):
        if run.log(1).exists() and text in run.log(1).read_text() and (run.folder / "saved").exists():
            return
        assert process.wait(0.2) is None, run.log(1).read_text()
    raise AssertionError(run.log(1).read_text())


def _of(run: Run, head: str) -> list[dict[str, Any]]:
    return [
        job
        for job in ray_cluster.answer(f"{head}/api/jobs/")
        if (job.get("metadata") or {}).get("virc_run") == str(run.folder)
    ]
