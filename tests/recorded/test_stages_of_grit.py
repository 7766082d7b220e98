"""The stage of GRIT in its real engine, from rows in their published layout, with a scripted judge.

`tiny` is first taught how replies are written there, by right and wrong ones alike. The rewards of those that it writes
are held against what they are worth by hand. What ran is recorded.
"""

import json
import re
from pathlib import Path

import pytest
from engines.verl.rl_engine import child
from support import rows_of_thinkers, tested, workspaces
from support.called import virc
from support.servers import Body, serve

from virc.data.formats.registry import only_source
from virc.models.chat_protocol import of_system
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

ROWS, SAMPLES, TAUGHT = 3, 8, 160
TEACHING = {"steps": TAUGHT, "save_steps": TAUGHT, "train_batch_size": 8, "micro_batch_size_per_device": 8,
            "warmup_ratio": 0, "cutoff_len": 2304, "learning_rate": 2e-3}  # fmt: skip
RL = {"steps": ROWS, "save_steps": ROWS, "train_batch_size": 1, "ppo_mini_batch_size": 1, "n": SAMPLES,
      "micro_batch_size_per_device": 1, "rollouts": 1, "prompt_length": 1024, "response_length": 160,
      "trackers": "[]", "validation": "null", "test_freq": "null"}  # fmt: skip
ALL = 0.5 + 0.5 + 0.5
"""What one <answer>, all tags in order and no repetition are worth."""
ANSWERED = 0.1 / 2
"""What words are worth where the right one stands beside `</answer>`, which counts as one."""
REPLIES = {
    "How many squares are there?": {
        "<think>At [1, 2, 30, 40].</think><rethink>So.</rethink><answer>1</answer>": 1 + ANSWERED + ALL + 0.5 + 1,
        "<think>Look</think><rethink>So.</rethink><answer>2</answer>": ALL - 0.1,  # a thought of one word
        "2": 0.5,
    },
    "How many numbers are there?": {
        "<think>[1, 2, 30, 40] [5, 6, 70, 80]</think><rethink>So.</rethink><answer>2</answer>": (
            1 + ANSWERED + ALL + 0.5 + 1
        ),
        "<think>At [1, 2, 30, 40].</think><rethink>So.</rethink><answer>2</answer>": 1 + ANSWERED + ALL + 0.5,
        "<rethink>So.</rethink>": 0.5 + 0.5 * 2 / 5,
    },
    "Is the square left of the number?": {
        "<think>At [1, 2, 30, 40].</think><rethink>So.</rethink><answer>yes</answer>": 1 + ANSWERED + ALL + 0.5,
        "<answer>no</answer>": 0.5 + 0.5,
        "<answer>yes": 1 + 0.1 + 0.5 + 0.5,
    },
}
"""What `tiny` is taught to reply to each row, and what it is worth, by hand."""


def verdict(asked: Body) -> str:
    """The judge's reply: whether both answers are the same text."""
    said = asked["messages"][-1]["content"]
    found = re.search(r"\nStandard answer: (.*) \nModel’s answer: (.*)\Z", said, re.DOTALL)
    assert found, said
    return f'{{"score": {0.5 if found[1] == found[2] else 0}}}'


def test_the_stage_learns_from_its_published_reward(tmp_path: Path) -> None:
    to = tmp_path / "data" / "grit"
    words = ("--system", "grit", "--to", to, "--format", "prompts", "--name", "train", "--workers", 1)
    done = virc("data", "convert", rows_of_thinkers.grit(tmp_path / "published"), *words)
    assert done.code == 0, done.err
    taught = rows_of_thinkers.taught(
        tmp_path / "data" / "taught", "grit", {question: [*said] for question, said in REPLIES.items()}
    )
    lessons = ("--from", "tiny", "--data", str(taught.relative_to(tmp_path)))
    start = workspaces.trained(tmp_path, "tiny", "instruct", *lessons, **TEACHING)
    rows = str(only_source(to).file.relative_to(tmp_path))
    with serve(verdict) as judge:
        words = ("--with", "cpu", "--from", start.name, "--data", rows, "--judge-endpoint", judge.url)
        run = workspaces.trained(tmp_path, "grit", "rl", *words, **RL)
        assert judge.chats()
    traces, seen = tested.traces(run), 0
    assert len(traces) == ROWS * SAMPLES
    for trace in traces:
        (said,) = [each["text"] for each in (*trace["units"], *trace["pending"])]
        assert trace["protocol"]["first"] == of_system(systems.get("grit")).protocol.first
        if said in REPLIES[trace["question"]]:
            seen += 1
            assert trace["reward"] == pytest.approx(REPLIES[trace["question"]][said]), said
    assert seen >= len(traces) / 4  # it has learnt how to reply
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [each["step"] for each in told] == [*range(1, ROWS + 1)]
    assert max(each["grad_norm"] for each in told) > 0
    changed = child("weights_child.py", start / "checkpoints" / f"checkpoint-{TAUGHT}",
                    run / "checkpoints" / f"global_step_{ROWS}")  # fmt: skip
    assert changed["parts"]["language"]["change"] > 0
    tested.ran(run, "train")
