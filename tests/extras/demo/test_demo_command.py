"""`virc demo`: what it prints, what it refuses before anything is made, and how it ends when a step does not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import finished
import msgspec
import pytest
from support.called import virc

from virc_extras.demo import plan as demo
from virc_extras.demo.plan import Demo

ROOT = Path(__file__).resolve().parents[2]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_dry_run_is_a_script_and_makes_nothing(workspace: Path) -> None:
    done = virc("demo", "--dry-run", "--to", "my demo", "--problems", 7)
    assert (done.code, done.err, files(workspace)) == (0, "", [])
    first, *script = done.out.splitlines()
    assert first == "mkdir -p 'my demo' && cd 'my demo'"
    assert script[0].startswith("# ")
    assert [line for line in script if not line.startswith(("# ", "virc "))] == []
    assert str(workspace) not in done.out
    assert "--counterfactuals --formats batch --drawing 1 --count 7 --seed 4" in done.out
    assert subprocess.run(["bash", "-n"], input=done.out, text=True).returncode == 0


def test_a_folder_of_something_else_is_left_alone(workspace: Path) -> None:
    (workspace / "demo").mkdir()
    (workspace / "demo" / "mine").touch()
    done = virc("demo", "--quick")
    assert (done.code, done.out, files(workspace / "demo")) == (3, "", ["mine"])
    assert done.err == "error: demo is not empty and holds no demo\nhint: another folder: --to DIR\n"


def test_a_demo_of_other_settings_is_not_gone_on_with(workspace: Path) -> None:
    finished.finish(workspace / "demo")
    before = (workspace / "demo" / "demo.json").read_bytes()
    done = virc("demo", "--quick", "--seed", 1, "--problems", 30)
    assert (done.code, done.out) == (3, "")
    sentence = "demo holds a demo of other settings: problems 20, not 30; seed 0, not 1"
    assert done.err.splitlines()[0] == f"error: {sentence}"
    assert (workspace / "demo" / "demo.json").read_bytes() == before


@pytest.mark.integration
def test_a_step_that_fails_is_told_once_and_its_exit_code_is_the_demos(
    workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = workspace / "demo"
    demo.begin(folder, finished.QUICK)
    (folder / "data" / "instruct").mkdir(parents=True)
    (folder / "data" / "instruct" / "trajectories.json").write_text("{}")
    done = virc("demo", "--quick")
    said = capfd.readouterr().err
    assert done.code == 5
    assert said.count("error: ") == 1
    assert "trajectories.json" in said
    (sentence, hint) = done.err.splitlines()[-2:]
    assert sentence == "error: step 2 of 17, instruct, failed: exit code 5"
    assert hint == "hint: the same command continues from there"
    assert "step 1 of 17, instruct data: done before\n" in done.err
    assert "\n$ cd demo && virc train tiny --stage instruct " in done.err
    (tried,) = demo.took(folder)
    assert (tried.name, tried.code, tried.seconds > 0) == ("instruct", 5, True)


@pytest.mark.integration
def test_ctrl_c_reaches_the_step_that_is_at_work(workspace: Path) -> None:
    begun = Demo(full=False, seed=0, size=msgspec.structs.replace(demo.QUICK, problems=9000))
    folder, partial = workspace / "demo", workspace / "demo" / "data" / ".heldout.drawn"
    finished.finish(folder, begun)
    shutil.rmtree(folder / "data" / "heldout")
    words = [sys.executable, "-m", "virc_cli", "demo", "--quick", "--problems", "9000", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environment(), stdout=pipe, stderr=pipe, text=True) as child:
        end = time.monotonic() + 240
        while not partial.is_dir() and time.monotonic() < end:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        printed, said = child.communicate(timeout=240)
    assert child.returncode == 130, said
    assert json.loads(printed)["error"]["code"] == 130
    assert "step 10 of 17, heldout data: draw 9000 problems, after " in said
    assert said.count("error: ") == 1
    assert said.endswith("\nstopped; the same command continues from there\n")
    assert [each.name for each in (folder / "data").glob("*heldout*")] == [".heldout.drawn"]
    assert [each.code for each in demo.took(folder) if each.name == "heldout data"] == [0, 130]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "recipes")))}
