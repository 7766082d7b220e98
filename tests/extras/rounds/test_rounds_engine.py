"""Two rounds of `tiny` in the real LLaMA-Factory: killed while it samples, stopped while it trains, and done once."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from support import held_engine, workspaces

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

WORDS = ("train", "./mine.yaml", "--rounds", "2", "--from", "tiny", "--data", "data/drawn/problems.jsonl")
STEPS = 8
SETTINGS = {"steps": STEPS, "train_batch_size": 4, "save_steps": 4}
HOOK = """
import os
import sys
import threading
import time
from pathlib import Path

looking = threading.local()


def hold(event, arguments):
    if event != "open" or getattr(looking, "busy", False):
        return
    looking.busy = True
    while os.path.exists("held") and any(file.read_bytes().count(b"\\n") >= 2 for file in Path().glob(LEDGERS)):
        time.sleep(0.02)
    looking.busy = False


LEDGERS = "data/*-sample/trajectories.progress"
if os.path.exists("held"):
    sys.addaudithook(hold)
"""
"""Has a process that samples wait, where it opens any file, once it has sampled two problems, while `held` is there."""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    drawn = ("--to", "data/drawn", "--count", "8", "--seed", "5", "--formats", "batch")
    done = workspaces.run(tmp_path, "data", "synth", *drawn)
    assert done.returncode == 0, done.stderr
    workspaces.copy_of_tiny(tmp_path, "mine", "samples: 8, keep: 2", "samples: 4, keep: 2")
    return tmp_path


def ledger(workspace: Path, number: int) -> list[int]:
    """Ids of the problems that a round has sampled, in order."""
    file = workspace / "data" / f"mine-r{number}-sample" / "trajectories.progress"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line)["id"] for line in lines if line.endswith("\n")]


def until(condition: "object", patience: float = 600) -> None:
    end = time.monotonic() + patience
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_rounds_go_on_where_they_stopped_and_repeat_nothing(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, hook = (*WORDS, *workspaces.sets(SETTINGS)), tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(HOOK)
    (held := workspace / "held").touch()
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH")))))
        killed = workspaces.start(workspace, *words)
    until(lambda: len(ledger(workspace, 1)) >= 2)
    killed.kill()
    killed.wait()
    before = ledger(workspace, 1)
    assert 2 <= len(before) < 8

    hold = held_engine.hold_at("os.mkdir:checkpoint-4", tmp_path_factory.mktemp("hold"), monkeypatch)
    stopped = workspaces.start(workspace, *words)  # while the step that the kernel has told still holds its rows
    held.unlink()
    killed.communicate()  # and ends
    run = workspace / "runs" / "mine-r1-practice"
    workspaces.until_step(stopped, run, 4)
    assert ledger(workspace, 1)[: len(before)] == before
    assert len(set(ledger(workspace, 1))) == len(ledger(workspace, 1)) == 8
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=600)
    hold.off()
    assert stopped.returncode == 130, said
    assert "the same command continues from there" in said
    assert "Traceback" not in said

    done = workspaces.run(workspace, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "runs/mine-r2-practice\n"
    assert "$ virc train --resume --name mine-r1-practice" in done.stderr
    assert "resuming from step 5" in done.stderr
    assert "data/mine-r1-sample --system" not in done.stderr
    second = workspace / "runs" / "mine-r2-practice"
    assert [workspaces.state(each)["attempt"] for each in (run, second)] == [2, 1]
    assert [sorted(workspaces.losses(each)) for each in (run, second)] == 2 * [[*range(1, STEPS + 1)]]
    assert sorted(ledger(workspace, 2)) == sorted(ledger(workspace, 1))
    assert json.loads((second / "run.json").read_bytes())["base"].startswith(str(run / "checkpoints"))
    again = workspaces.run(workspace, *words, "--json")
    assert json.loads(again.stdout)["progress"] == "done", again.stderr
    assert "$ virc" not in again.stderr
