"""Rewards, judges and tools that work for a step of the real verl and then fail: what becomes of the run."""

import subprocess
from pathlib import Path

import pytest
from support import workspaces
from support.servers import serve

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

SMALL = {"steps": 40, "save_steps": 1, "train_batch_size": 2, "ppo_mini_batch_size": 2, "n": 2,
         "micro_batch_size_per_device": 4, "rollouts": 1}  # fmt: skip
REWARD = '''"""One for a reply, until a file is there that says otherwise."""

import os
import time

TERMS = ("fine",)


def fine(sample, means):
    """One, or what FILE says."""
    if not os.path.exists("FILE"):
        return 1.0
    what = open("FILE").read()
    if what == "raise":
        raise ValueError("no such column")
    if what == "block":
        time.sleep(1e6)
    return float(what)


def total(t):
    return t.fine
'''
JUDGED = '''"""One where a judge says yes."""

from virc.rewards.question import Question, yes_no

TERMS = ("clear",)
clear = Question("Is this clear?\\n{reply}", yes_no)


def total(t):
    return t.clear
'''


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    workspaces.synth(folder, 8, "sft,rl,prompts")
    return folder


def system(workspace: Path, name: str, code: str) -> Path:
    """A system whose reward is that Python; returns the file that makes it fail."""
    failing = workspace / f"{name}-fails"
    (workspace / f"{name}.py").write_text(code.replace("FILE", str(failing)))
    workspaces.copy_of_tiny(workspace, name, "total: rules", f"total: ./{name}.py")
    return failing


def begun(workspace: Path, name: str, *words: str) -> "subprocess.Popen[str]":
    """A run of a system in its second step."""
    line = ("train", f"./{name}.yaml", "--stage", "rl", "--from", "tiny", "--name", name, *words)
    process = workspaces.start(workspace, *line, *workspaces.sets(SMALL))
    workspaces.until_step(process, workspace / "runs" / name, 1, "reward")
    return process


def ended(workspace: Path, name: str, process: "subprocess.Popen[str]") -> str:
    """What a run prints that ends by itself, as one that failed and can be resumed."""
    said = process.communicate(timeout=900)[1]
    assert (process.returncode, "Traceback" in said) == (7, False), said
    assert workspaces.state(workspace / "runs" / name)["progress"] == "failed"
    assert f"virc train --resume --name {name}" in workspaces.run(workspace, "runs", "show", name).stdout
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("raise", "line 15 of {file} fails: ValueError: no such column"),
        ("nan", "fine of {file} gives 'nan', which is no number"),
    ],
)
def test_a_reward_that_fails_in_mid_run_ends_it_with_the_cause(workspace: Path, how: str, cause: str) -> None:
    failing, run = system(workspace, how, REWARD), workspace / "runs" / how
    process = begun(workspace, how)
    failing.write_text(how)
    said = ended(workspace, how, process)
    (file,) = (run / "code").rglob(f"{how}.py")
    assert f"error: verl failed: {cause.format(file=file)}" in said
    failing.unlink()
    saved = max(workspaces.losses(run, "reward"))
    again = workspaces.start(workspace, "train", "--resume", "--name", how)
    workspaces.until_step(again, run, saved + 1, "reward")
    again.terminate()
    assert f"resuming from step {saved}" in again.communicate(timeout=300)[1]


def test_a_reward_that_blocks_ends_the_run_as_a_silent_engine(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_SILENT_MINUTES", "1.5")
    failing = system(workspace, "block", REWARD)
    process = begun(workspace, "block")
    failing.write_text("block")
    assert "error: verl has written no metrics, log line or checkpoint for " in ended(workspace, "block", process)


def test_a_judge_in_mid_run_is_counted_without_scores_and_ends_the_run_when_it_stays_away(workspace: Path) -> None:
    failing, run = system(workspace, "judged", JUDGED), workspace / "runs" / "judged"
    with serve(lambda body: "Hm." if failing.exists() else "yes") as judge:
        process = begun(workspace, "judged", "--judge-endpoint", judge.url, "--set", "reward.judge.patience=5")
        failing.touch()
        known = max(workspaces.losses(run, "reward"))
        workspaces.until_step(process, run, known + 2, "reward")
    assert workspaces.losses(run, "judge_failures")[known + 2] > 0
    assert workspaces.losses(run, "reward")[known + 2] == 0
    assert "error: verl failed: the judge gave no answer for 5 s: " in ended(workspace, "judged", process)
