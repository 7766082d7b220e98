"""Stages of DeepEyes, Mini-o3 and Chain-of-Focus in their real engines, on `tiny` and rows as they are published.

A supervised stage learns rows in its authors' layout, and RL goes on from it, that of DeepEyes from `tiny`; a scripted
judge says what is right. All else is as `--with cpu` has it. What ran is recorded. The supervised stage of
Chain-of-Focus leaves an adapter, which is merged before RL goes on.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from recorded import recording
from support import published_crops, tested, workspaces
from support.servers import Body, serve

from virc.models.chat_protocol import of_system
from virc.runs.metrics import metrics
from virc.runs.run import Run
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

STEPS, BATCH, SAMPLES = 1, 2, 4
RL = recording.rl(STEPS, BATCH, micro_batch_size_per_device=BATCH, n=SAMPLES, prompt_length=1536, response_length=512)
SUPERVISED = {"mini-o3": "cold-start", "chain-of-focus": "instruct"}
SOLUTIONS = {
    "mini-o3": ("cold-start", published_crops.mini_o3_cold_start),
    "chain-of-focus": ("sft", published_crops.chain_of_focus_sft),
}
"""Layout of a supervised stage, and what writes three published rows in it."""
PROBLEMS = {
    "deepeyes": ("train", published_crops.deepeyes),
    "mini-o3": ("rl", published_crops.mini_o3_figures),
    "chain-of-focus": ("rl", published_crops.chain_of_focus_rl),
}
"""The same of RL."""
WITHOUT: Mapping[str, Mapping[str, object]] = {"mini-o3": {"validation": "null", "test_freq": "null"}}
"""There are no rows to validate with."""


def verdict(asked: Body) -> str:
    """Both judges' replies in one: about half of all answers are right."""
    said = zlib.crc32(asked["messages"][-1]["content"].encode()) % 2
    return f"Judgement: {said}\nScore: {said}"


def of_deepeyes(right: float, said: Sequence[str], viewed: bool) -> float:
    """0.8 * right - 0.2 where marks are not in pairs + 1.2 where an image came back and the answer is right."""
    answered = said[-1].split("</think>")[-1]
    paired = even("".join(said), "think") and even(answered, "answer")
    return 0.8 * right - 0.2 * (not paired) + 1.2 * right * viewed


def of_mini_o3(right: float, said: Sequence[str], viewed: bool) -> float:
    """Whether the answer is right."""
    return right


def of_chain_of_focus(right: float, said: Sequence[str], viewed: bool) -> float:
    """0.9 * right + 0.1 where marks are in pairs, before rewards of a group are compared."""
    text = "\n".join(said)
    return 0.9 * right + 0.1 * all(mark in text and even(text, mark) for mark in ("think", "answer"))


def agar(rewards: Mapping[str, float], looked: Mapping[str, bool]) -> dict[str, float]:
    """The rewards as they are compared: more for not looking, where a rollout of the prompt is right without."""
    groups = {at: at.partition("-")[0] for at in rewards}
    direct = {groups[at] for at, reward in rewards.items() if reward > 0.5 and not looked[at]}

    def worth(at: str) -> float:
        if rewards[at] > 0.5:
            return 0.8 if looked[at] and groups[at] in direct else 1.0
        return 0.5 if looked[at] else 0.1 if rewards[at] == 0.1 else 0.0

    return {at: worth(at) for at in rewards}


def even(text: str, mark: str) -> bool:
    """Whether a mark is opened as often as closed."""
    return text.count(f"<{mark}>") == text.count(f"</{mark}>")


REWARDS = {"deepeyes": of_deepeyes, "mini-o3": of_mini_o3, "chain-of-focus": of_chain_of_focus}


@pytest.fixture(scope="module")
def learnt(workspace: Path) -> Callable[[str], Path]:
    """The run of a system's supervised stage."""

    @cache
    def run(system: str) -> Path:
        file = SOLUTIONS[system][1](workspace / "published" / system / "sft")
        rows = recording.converted(workspace, system, file, f"data/{system}-sft", "sft")
        words = ("--with", "cpu", "--from", "tiny", "--data", rows)
        return workspaces.trained(workspace, system, SUPERVISED[system], *words, **recording.SFT)

    return run


@pytest.mark.parametrize("system", SUPERVISED)
def test_a_supervised_stage_runs_to_its_last_step(system: str, learnt: Callable[[str], Path]) -> None:
    recording.assert_learnt(learnt(system))
    tested.ran(learnt(system), SOLUTIONS[system][0])


@pytest.mark.parametrize("system", REWARDS)
def test_rl_asks_the_judge_and_rewards_as_published(
    system: str, workspace: Path, learnt: Callable[[str], Path]
) -> None:
    start = learnt(system).name if system in SUPERVISED else "tiny"
    layout, write = PROBLEMS[system]
    file = write(workspace / "published" / system / "prompts")
    rows = recording.converted(workspace, system, file, f"data/{system}-prompts", "prompts")
    words = ("--with", "cpu", "--from", start, "--data", rows, "--judge-endpoint")
    if system == "chain-of-focus":
        refused = workspaces.run(workspace, "train", system, "--stage", "rl", *words, "http://127.0.0.1:9/v1")
        assert (refused.returncode, f"virc merge {start}" in refused.stderr) == (3, True), refused.stderr
        merged = workspaces.run(workspace, "merge", start)
        assert merged.returncode == 0, merged.stderr
    with serve(verdict) as judge:
        run = workspaces.trained(workspace, system, "rl", *words, judge.url, **RL, **WITHOUT.get(system, {}))
    steps = list(metrics(Run(run)))
    assert [each.step for each in steps] == list(range(1, STEPS + 1))
    assert workspaces.state(run)["progress"] == "finished"
    traces = {
        file.parent.name: json.loads(file.read_bytes()) for file in (run / "rollouts").glob("step_*/*/trace.json")
    }
    assert len(traces) >= STEPS * BATCH * SAMPLES
    spoken = of_system(systems.get(system)).protocol.first
    said = {at: recording.said_in(trace) for at, trace in traces.items()}
    wanted = {}
    for at, trace in traces.items():
        assert trace["protocol"]["first"] == spoken
        viewed = any(each["images"] for unit in trace["units"] for each in unit["results"])
        wanted[at] = REWARDS[system](trace["terms"].get("judged") or 0.0, said[at], viewed)
    if system == "chain-of-focus":
        wanted = agar(wanted, {at: "<tool_call>" in "".join(texts) for at, texts in said.items()})
    assert {at: trace["reward"] for at, trace in traces.items()} == pytest.approx(wanted), (wanted, said)
    judged = ["judged" in trace["terms"] for trace in traces.values()]
    assert bool(judge.chats()) == any(judged)
    tested.ran(run, layout, middles={"orderly": -0.5 if system == "deepeyes" else 0.5})
