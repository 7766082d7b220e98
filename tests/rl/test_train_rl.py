"""Stage `rl` of `tiny` in the real verl, through `virc train`: rewards, weights and processes, not exit codes."""

import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from training import workspaces

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TINY = ("train", "tiny", "--stage", "rl", "--from", "tiny")
SHORT = '''"""Shorter thoughts are better."""

TERMS = ("short",)


def short(sample, means):
    """One for no thought at all, a half for one of 25 characters."""
    return 1 / (1 + len(sample.turn.think) / 25) if sample.turn else 0.0


def total(t):
    return t.short
'''
PICTURE = Path(__file__).parents[1] / "pictures" / "triangle.png"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    words = ("--to", "data/polygons", "--count", "24", "--seed", "3", "--layouts", "sft,rl,prompts")
    done = workspaces.run(folder, "data", "synth", *words)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def cru(workspace: Path) -> Path:
    """Two steps on single units, with rollouts by vLLM."""
    words = ("--with", "vllm", "--set", "steps=2", "--set", "save=2", "--name", "cru")
    done = workspaces.run(workspace, *TINY, *words)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def solved(workspace: Path) -> Path:
    """Four steps on whole problems, with tools; killed in the third, and resumed."""
    run = workspace / "runs" / "solved"
    words = ("--with", "multi-turn", "--set", "steps=4", "--set", "save=2", "--set", "rollouts=1")
    first = workspaces.start(workspace, *TINY, *words, "--name", "solved")
    workspaces.until_step(first, run, 3, "reward")
    workspaces.kill_all(first, run)
    done = workspaces.run(workspace, "train", "--resume", "--name", "solved")
    assert done.returncode == 0, done.stderr
    assert "going on from step 2" in done.stderr
    return run


@pytest.fixture(scope="module")
def bandit(workspace: Path) -> Path:
    """Twenty steps for shorter thoughts, by a reward outside the package, in two processes."""
    from pyarrow import parquet

    file = workspace / "data" / "polygons" / "rl.parquet"
    rows = parquet.read_table(file)
    last = [at for at, row in enumerate(rows.to_pylist()) if "answer>" in row["extra_info"]["reference"]]
    parquet.write_table(rows.take(last[:4]), workspace / "data" / "last.parquet")
    (workspace / "short.py").write_text(SHORT)
    system = workspaces.run(workspace, "systems", "cp", "tiny", "bandit.yaml")
    assert system.returncode == 0, system.stderr
    text = (workspace / "bandit.yaml").read_text()
    (workspace / "bandit.yaml").write_text(text.replace("total: rules", "total: ./short.py", 1))
    settings = {"steps": 20, "save": 20, "batch": 4, "mini_batch": 4, "samples": 8, "learning_rate": 1e-3,
                "temperature": 1.3}  # fmt: skip
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    given = ("--from", "tiny", "--data", "data/last.parquet", "--with", "2x", "--name", "bandit")
    done = workspaces.run(workspace, "train", "./bandit.yaml", "--stage", "rl", *given, *words)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def steps(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def left_of(run: Path) -> list[str]:
    """Command lines of processes that still know of the run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(run).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def merged(workspace: Path, run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    done = workspaces.run(workspace, "merge", run.name)
    assert done.returncode == 0, done.stderr
    return dict(load_file(workspace / done.stdout.strip() / "model.safetensors"))


def test_every_step_of_a_run_that_was_killed_is_there_once(solved: Path) -> None:
    found = steps(solved)
    assert [each["step"] for each in found] == [1, 2, 3, 4]
    assert [each.get("attempt", 1) for each in found] == [1, 1, 2, 2]


def test_rollouts_are_drawn_from_the_weights_that_learn(cru: Path, solved: Path, bandit: Path) -> None:
    assert all(each["correlation"] > 0.99 for run in (cru, solved, bandit) for each in steps(run))


def test_terms_of_the_reward_are_logged(cru: Path, bandit: Path) -> None:
    for each in steps(cru):
        assert {"format", "tool_choice"} <= each["terms"].keys()
        assert -1 <= each["reward"] <= 0.8
        assert each["response_length"] > 0
        assert each["entropy"] >= 0
    assert all(each["terms"]["short"] == pytest.approx(each["reward"]) for each in steps(bandit))


def test_nothing_of_ray_is_left(cru: Path, solved: Path, bandit: Path) -> None:
    for run in (cru, solved, bandit):
        assert not left_of(run)


def test_whole_problems_by_vllm_and_nothing_left_of_virc_when_it_is_killed(workspace: Path) -> None:
    run, before = workspace / "runs" / "killed", set(Path("/tmp").glob("virc-ray-*"))
    process = workspaces.start(workspace, *TINY, "--with", "vllm,multi-turn", "--name", "killed")
    workspaces.until_step(process, run, 1, "reward")
    assert left_of(run)
    process.kill()
    process.communicate()
    end = time.monotonic() + 120
    while left_of(run) or set(Path("/tmp").glob("virc-ray-*")) - before:
        assert time.monotonic() < end, left_of(run)
        time.sleep(0.5)
    (first, *_) = steps(run)
    assert first["correlation"] > 0.99
    assert first["turns"] > 1
    assert "died" in workspaces.run(workspace, "runs", "ls").stdout


def test_rollouts_with_tools_have_several_turns_and_can_be_looked_at(solved: Path) -> None:
    for each in steps(solved):
        assert each["turns"] > 1
        assert each["tool_calls"] > 0
    pages = list((solved / "rollouts").glob("step_*/*/index.html"))
    assert pages
    traces = [json.loads((page.parent / "trace.json").read_bytes()) for page in pages]
    assert any(len(trace["images"]) > 1 for trace in traces)


def test_the_merged_model_is_another_one_and_answers(cru: Path, workspace: Path) -> None:
    from safetensors.torch import load_file

    from virc_recipes.models import EMBEDDED_FOLDER

    base, weights = load_file(EMBEDDED_FOLDER / "model.safetensors"), merged(workspace, cru)
    assert base.keys() == weights.keys()
    assert any((base[name] != weights[name]).any() for name in base)
    done = workspaces.run(
        workspace, "solve", "--json", "--model", "cru", str(PICTURE), "What is m∠B in triangle MBH?"
    )
    said = json.loads(done.stdout)
    assert said["protocol"] == "trained"
    assert said["answer"].isdecimal()


def test_a_reward_outside_the_package_rises(bandit: Path) -> None:
    """By more than five standard errors, from the first four steps to the last four."""
    found = steps(bandit)
    first, last = found[:4], found[-4:]

    def error(part: list[dict[str, Any]]) -> float:
        """Standard error of the mean over 4 prompts x 8 samples a step."""
        return math.sqrt(sum(each["reward_std"] ** 2 / 32 for each in part)) / len(part)

    rise = statistics.fmean(each["reward"] for each in last) - statistics.fmean(
        each["reward"] for each in first
    )
    assert rise > 5 * math.hypot(error(first), error(last))


def test_the_own_reward_is_kept_with_the_run(bandit: Path) -> None:
    (kept,) = (bandit / "code").rglob("short.py")
    assert kept.read_text() == SHORT


def test_two_processes_merge_into_one_model(bandit: Path, workspace: Path) -> None:
    shards = list((bandit / "checkpoints" / "global_step_20" / "actor").glob("model_world_size_2_rank_*.pt"))
    assert len(shards) == 2
    assert merged(workspace, bandit)
