"""The stages of Curr-ReFT in their real engines, from rows in their published layout, with its published sentences.

`tiny` is first taught right and wrong replies alike. The rewards of what it replies are counted again, for replies
whose reward was found by hand. What ran is recorded.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from recorded import recording
from support import rows_of_thinkers, tested, workspaces

from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.rewards import registry as rewards
from virc.stages.resolve import resolve
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

SAMPLES, TAUGHT = 8, 240
TEACHING = recording.teaching(TAUGHT, cutoff_len=1024)
RL = recording.rl(3, n=SAMPLES, prompt_length=1024, response_length=128)


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


@pytest.mark.parametrize("stage", REPLIES)
def test_a_stage_learns_from_its_published_reward(stage: str, workspace: Path) -> None:
    file = rows_of_thinkers.curr_reft(workspace / "published", stage)
    rows = recording.converted(workspace, "curr-reft", file, f"data/curr-reft-{stage}", "batch")
    source = only_source(workspace / rows)
    known = [row.record for row in formats.get(source.format).read(source) if row.record]
    taught = {record.question or "": [*replies] for record, replies in zip(known, REPLIES[stage], strict=True)}
    file = rows_of_thinkers.taught(workspace / "data" / f"{stage}-taught", "curr-reft", taught)
    words = ("--from", "tiny", "--data", str(file.relative_to(workspace)))
    start = workspaces.trained(workspace, "tiny", "instruct", *words, **TEACHING)
    words = ("--with", "cpu", "--from", start.name, "--data", rows)
    run = workspaces.trained(workspace, "curr-reft", stage, *words, **RL)
    worth = {record.question: by_hand for record, by_hand in zip(known, REPLIES[stage], strict=True)}
    traces = recording.assert_rewarded(run, lambda question, said: worth[question].get(said[0]))
    assert len(traces) == 3 * SAMPLES
    recording.assert_weights_changed(start, TAUGHT, run, 3)
    total = rewards.of(resolve(systems.get("curr-reft"), stage).config.reward)
    tested.ran(run, "problems", recording.assert_counted(total, known, REPLIES[stage]))


def test_it_learns_its_own_best_replies(workspace: Path) -> None:
    file = rows_of_thinkers.curr_reft_reject(workspace / "published")
    rows = recording.converted(workspace, "curr-reft", file, "data/curr-reft-reject", "sft")
    words = ("--with", "cpu", "--from", "tiny", "--data", rows)
    run = workspaces.trained(workspace, "curr-reft", "reject", *words, **recording.SFT)
    recording.assert_learnt(run)
    tested.ran(run, "reject")
