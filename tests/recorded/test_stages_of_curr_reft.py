"""The stages of Curr-ReFT in their real engines, from rows in their published layout, with its published sentences.

`tiny` is first taught right and wrong replies alike. The rewards of what it replies are counted again, for replies
whose reward was found by hand. What ran is recorded.
"""

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from engines.verl.rl_engine import child
from support import rows_of_thinkers, tested, workspaces
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.data.rows.record import Record
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.means import Means
from virc.rewards.sample import Prompt, sample
from virc.stages.resolve import resolve
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 240
TEACHING = {"steps": TAUGHT, "save_steps": TAUGHT, "train_batch_size": 8, "micro_batch_size_per_device": 8,
            "warmup_ratio": 0, "cutoff_len": 1024, "learning_rate": 2e-3}  # fmt: skip
RL = {"train_batch_size": 1, "ppo_mini_batch_size": 1, "micro_batch_size_per_device": 1, "n": SAMPLES, "rollouts": 1,
      "prompt_length": 1024, "response_length": 128, "trackers": "[]", "steps": 3, "save_steps": 3}  # fmt: skip
SFT = {"steps": 2, "save_steps": 2, "train_batch_size": 2, "micro_batch_size_per_device": 1, "log_every": 1,
       "trackers": "[]"}  # fmt: skip


def thought(answer: str) -> str:
    return f"<think>Look.</think><answer>{answer}</answer>"


RIGHT_BOX, OTHER_BOX = "{'Position': [14, 14, 98, 98]}", "{'Position': [14, 14, 40, 40]}"
REPLIES: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "judge": (
        {thought("{[14, 14, 98, 98]} yes"): 2, thought("yes"): 1, "no": 0},  # of detection, with a box in braces
        {thought("no"): 2, thought("yes"): 1},
        {thought("yes"): 2, thought("no"): 1, "<answer>yes</answer>": 1},
    ),
    "choice": (
        {thought("{[1, 1, 9, 9]} A"): 2, thought("A"): 1, thought("B"): 0},
        {thought("A, C"): 2, thought("A"): 1},
        {thought("B"): 2, thought("A"): 1, "B": 0},
    ),
    "open": (
        {thought(RIGHT_BOX): 2, thought(OTHER_BOX): 1, "no box": 0},
        {thought("square, number"): 2, thought("square"): 1.5, thought("a dog"): 1},
        {thought("B"): 2, thought("A"): 1, "<answer>B</answer>": 1},
    ),
}
"""What `tiny` is taught to reply to each problem of a stage, and the reward of it, by hand."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


def asked(workspace: Path, stage: str) -> tuple[Path, list[Record]]:
    """The rows of a stage of RL, as its note makes them of the published ones."""
    to = workspace / "data" / f"curr-reft-{stage}"
    words = ("--system", "curr-reft", "--to", to, "--format", "batch", "--name", "rows", "--workers", 1)
    done = virc("data", "convert", rows_of_thinkers.curr_reft(workspace / "published", stage), *words)
    assert done.code == 0, done.err
    source = only_source(to / "rows.jsonl")
    return source.file, [row.record for row in formats.get(source.format).read(source) if row.record]


def counted(stage: str, record: Record, reply: str) -> tuple[float | None, Mapping[str, float | None]]:
    """The reward of a reply, and its terms."""
    total = rewards.of(resolve(systems.get("curr-reft"), stage).config.reward)
    read = sample(reply, Prompt(record))
    found = asyncio.run(rollouts.score([read], rollouts.ends(read), total, Means()))
    return found.total, found.terms


@pytest.mark.parametrize("stage", REPLIES)
def test_a_stage_learns_from_its_published_reward(stage: str, workspace: Path) -> None:
    rows, known = asked(workspace, stage)
    taught = {record.question or "": [*replies] for record, replies in zip(known, REPLIES[stage], strict=True)}
    file = rows_of_thinkers.taught(workspace / "data" / f"{stage}-taught", "curr-reft", taught)
    words = ("--from", "tiny", "--data", str(file.relative_to(workspace)))
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **TEACHING)
    words = ("--with", "cpu", "--from", start.name, "--data", str(rows.relative_to(workspace)))
    run = workspaces.trained(workspace, "curr-reft", stage, *words, **RL)
    worth = {record.question: by_hand for record, by_hand in zip(known, REPLIES[stage], strict=True)}
    traces, seen = tested.traces(run), 0
    assert len(traces) == 3 * SAMPLES
    for trace in traces:
        (said,) = [each["text"] for each in (*trace["units"], *trace["pending"])]
        if said in worth[trace["question"]]:
            seen += 1
            assert trace["reward"] == pytest.approx(worth[trace["question"]][said]), said
    assert seen >= len(traces) / 4  # it has learnt how to reply
    changed = child("weights_child.py", start / "checkpoints" / f"checkpoint-{TAUGHT}",
                    run / "checkpoints" / "global_step_3")  # fmt: skip
    assert changed["parts"]["language"]["change"] > 0
    replayed = [(by_hand, counted(stage, record, said))
                for record in known for said, by_hand in worth[record.question].items()]  # fmt: skip
    assert [found[0] for _, found in replayed] == pytest.approx([by_hand for by_hand, _ in replayed])
    tested.ran(run, "problems", [found[1] for _, found in replayed])


def test_it_learns_its_own_best_replies(workspace: Path) -> None:
    to = workspace / "data" / "curr-reft-reject"
    file = rows_of_thinkers.curr_reft_reject(workspace / "published")
    done = virc("data", "convert", file, "--system", "curr-reft", "--to", to, "--format", "sft", "--workers", 1)
    assert done.code == 0, done.err
    rows = only_source(to).file
    words = ("--with", "cpu", "--from", "tiny", "--data", str(rows.relative_to(workspace)))
    run = workspaces.trained(workspace, "curr-reft", "reject", *words, **SFT)
    losses = workspaces.losses(run)
    assert list(losses) == [1, 2]
    assert all(map(math.isfinite, losses.values()))
    tested.ran(run, "reject")
