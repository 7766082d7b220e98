"""Stages of systems that think and answer in one reply, in their real engines, from rows in their published layouts.

`tiny` is first taught how replies are written there, by right and wrong ones alike. The rewards of what it replies are
counted again, for replies that it was taught by hand. What ran is recorded.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
from recorded import recording
from support import published_rows, rows_of_thinkers, tested, workspaces

from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.data.rows.record import Record
from virc.models.chat_protocol import of_system
from virc.rewards import registry as rewards
from virc.stages.resolve import resolve
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(3600)]

SAMPLES, TAUGHT = 8, 80
TEACHING = recording.teaching(TAUGHT, cutoff_len=2304)
LEARNING: Mapping[str, Mapping[str, int]] = {
    "star-r1": {"steps": 160},
    "vicrit": {"steps": 240},
    "vla-r1": {"steps": 240},
    "internvl3.5": {"steps": 240},
    "reason-rft-transform-rl": {"steps": 160, "train_batch_size": 4, "micro_batch_size_per_device": 4},
}
"""How replies are learnt that take longer, or that stand behind a long prompt."""
RL = recording.rl(n=SAMPLES, prompt_length=1024, response_length=128, validation="null", test_freq="null")
LONG_PROMPTS = {"reason-rft-transform-rl": 2304}  # tokens of `tiny`
Write = Callable[[Path], Path]


def thought(answer: str, before: str = "") -> str:
    """A reply of OpenVLThinker, with a sentence before the answer or without."""
    return f"<think>Look.</think>\n{before}<answer>{answer}</answer>"


def numbers(right: str) -> dict[str, float]:
    """Replies of OpenVLThinker, and what they are worth: half where nothing stands before the answer."""
    said = {thought(each, "So.\n"): float(each == right) for each in published_rows.NUMBERS}
    return said | {thought(each): 0.5 * (each == right) for each in published_rows.NUMBERS}


def marked(right: str, wrong: str) -> dict[str, float]:
    """Replies of Reason-RFT, and what they are worth: 1 for the right answer, 1 where nothing stands before it."""
    return {
        thought(each, before): float(each == right) + (not before) for each in (right, wrong) for before in ("", "So ")
    }


def legs(*way: str) -> str:
    """A route, a leg for each line: `L1 B A` is from B to A on L1."""
    written = (each.split() for each in way)
    return "\n--\n".join(f"Route Name: {a}\nDeparture Stop: {b}\nArrival Stop: {c}" for a, b, c in written)


def held(said: str) -> str:
    """A reply of VLA-R1."""
    return f"<think>Look.</think>\n<output>{said}</output>"


FARTHEST = math.sqrt(2) + 0.25 * math.pi + 0.1 * math.log(10)
"""The distance from which a path of VLA-R1 is worth nothing."""
REPLIES: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "openvlthinker": tuple(map(numbers, published_rows.NUMBERS)),
    "rewardmap": (
        {"yes": 10, "no": 0},
        {"2": 15, "1": 0},  # 10 on a hard map, of weight 1.5
        {  # of weight 2; a leg too many costs 5, each line is worth 3, both ends 2, the change 1
            legs("L1 B A", "L2 A D"): 2 * (10 + 0.5 * (2 - 5 + 3 + 3 + 1)),
            legs("L2 B A", "L2 A D"): 2 * 0.5 * (2 - 5 + 3 + 3),
            legs("L1 B A"): 0,
        },
    ),
    "vlaa-thinking": (
        {thought("1"): 1, thought("2"): 0},
        {thought("[0.1, 0.2, 0.5, 0.6]"): 1, thought("[0.1, 0.2, 0.3, 0.6]"): 0.5, thought("no"): 0},
        {thought("A"): 1, thought("B"): 0},
    ),
    "star-r1": (
        {thought("2.color.red"): 6, thought("0.color.red"): 0},
        {thought("0.color.blue, 1.color.red"): 11, thought("1.color.red"): 5},
        {thought("1.color.blue"): 6, "1.color.blue": -1},
    ),
    "ssl4rl": (
        {thought("top-left"): 1, thought("top-right"): 0},
        {thought("3,1,2,4"): 1, thought("3,2,1,4"): 0.5, thought("1,2,3,4"): 0.25, "3,1,2,4": 0},
        {thought("90"): 1, thought("270"): 0},
    ),
    "internvl3.5": tuple(
        {
            f"{before}\\boxed{{{each}}}": 0.9 * (each == right) + 0.1 * bool(before)
            for each in published_rows.NUMBERS
            for before in ("<think>Look.</think>", "")
        }
        for right in published_rows.NUMBERS
    ),
    "vicrit": tuple(
        {  # the wrong phrase in a list; without a thought; and the true phrase
            f'<think>Look.</think> \\boxed{{["{wrong}"]}}': 1,
            f"\\boxed{{{wrong}}}": 0.9,
            f"<think>Look.</think> \\boxed{{{true}}}": 0.1,
        }
        for true, wrong in rows_of_thinkers.VICRIT.items()
    ),
    "reason-rft-count-rl": tuple(map(marked, ("1", "0", "1"), ("0", "1", "0"))),
    "reason-rft-structure-rl": tuple(map(marked, ("A", "2.5", "A"), ("B", "2", "B"))),
    "reason-rft-transform-rl": (
        marked("change_color(0, 'blue')", "change_color(0, 'red')"),
        {**marked("change_size(0, 'large'), change_color(0, 'blue')", "none"), thought("change_size(0, 'large')"): 1.5},
        marked("change_color(0, 'blue')", "change_size(0, 'blue')"),
    ),
    "vla-r1": (
        {  # a box of half the size within the right one; the same box without a thought; a path
            held('{"x":0.5,"y":0.5,"width":0.2,"height":0.2}'): 0.9 * (0.5 + 1) / 2 + 0.1,
            '<output>{"x":0.5,"y":0.5,"width":0.2,"height":0.4}</output>': 0.9,
            held("[[0.5, 0.9]]"): 0.1,
        },
        {  # the right one; the other way: 0.8 apart, and the directions by pi
            held("[[0.5, 0.9], [0.5, 0.1]]"): 1,
            held("[[0.5, 0.1], [0.5, 0.9]]"): 0.9 * (1 - (0.8 + 0.25 * math.pi) / FARTHEST) + 0.1,
            "up": 0,
        },
        {  # as far below as it is long; the right one
            held("[[0.1, 0.9], [0.5, 0.9], [0.9, 0.9]]"): 0.9 * (1 - 0.4 / FARTHEST) + 0.1,
            held("[[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]]"): 1,
            "<think>Look.</think>": 0,
        },
    ),
}
"""What `tiny` is taught to reply to each row of a system, or of its stage, and the reward of it, by hand."""
MIDDLES = {"rewardmap": {"difficulty": 1.4, "route": 2.0}}
STAGES: tuple[tuple[str, str, Write, int], ...] = (
    ("openvlthinker", "medium", published_rows.easy_r1, 2),
    ("openvlthinker", "hard", published_rows.easy_r1, 2),
    ("rewardmap", "rl", rows_of_thinkers.rewardmap, 1),
    ("vlaa-thinking", "rl", rows_of_thinkers.vlaa_thinking, 1),
    ("star-r1", "rl", rows_of_thinkers.star_r1, 1),
    ("vicrit", "rl", rows_of_thinkers.vicrit, 1),
    ("ssl4rl", "rl", published_rows.ssl4rl, 1),
    ("internvl3.5", "rl", published_rows.internvl3_5, 2),
    ("reason-rft", "count-rl", rows_of_thinkers.reason_rft_count, 2),
    ("reason-rft", "structure-rl", rows_of_thinkers.reason_rft_structure, 2),
    ("reason-rft", "transform-rl", rows_of_thinkers.reason_rft_transform, 2),
    ("vla-r1", "rl", rows_of_thinkers.vla_r1, 1),
)
"""System, stage, its published rows, and how many of the three a step takes."""


def converted(workspace: Path, system: str, form: str, write: Write) -> Path:
    """The rows that a stage takes, made of the published ones."""
    to = f"data/{system}-{write.__name__}-{form}"
    if not (workspace / to).exists():
        recording.converted(workspace, system, write(workspace / "published" / system), to, form)
    return only_source(workspace / to).file


def layout(workspace: Path, system: str, write: Write) -> str:
    """The layout of published rows."""
    found = only_source(write(workspace / "published" / system), systems.get(system)).laid_out
    assert found
    return found.name


def replies(system: str, stage: str) -> str:
    """The name of the replies to the rows of a stage."""
    return f"{system}-{stage}" if f"{system}-{stage}" in REPLIES else system


def records(file: Path) -> list[Record]:
    """The rows of a file."""
    source = only_source(file)
    return [row.record for row in formats.get(source.format).read(source) if row.record]


@pytest.fixture(scope="module")
def base(workspace: Path) -> Callable[[str, str, Path], Path]:
    """The run in which `tiny` learnt to reply to rows as a system does."""

    @cache
    def run(system: str, replies: str, rows: Path) -> Path:
        known = records(rows)
        taught = dict(zip((row.question or "" for row in known), map(list, REPLIES[replies]), strict=True))
        folder = workspace / "data" / f"{rows.parent.name}-taught"
        file = rows_of_thinkers.taught(folder, system, taught, [len(row.images) for row in known])
        words = ("--from", "tiny", "--data", file.relative_to(workspace))
        learning = {**TEACHING, **LEARNING.get(replies, {})}
        learning["save_steps"] = learning["steps"]
        return workspaces.trained(workspace, "tiny", "instruct", *map(str, words), **learning)

    return run


@pytest.mark.parametrize(
    ("system", "stage", "write"),
    [
        ("openvlthinker", "instruct", rows_of_thinkers.openvlthinker_sft),
        ("grip", "instruct", rows_of_thinkers.grip_sft),
        ("honeybee", "instruct", rows_of_thinkers.honeybee),
        *(
            ("reason-rft", f"{task}-sft", rows_of_thinkers.reason_rft_sft)
            for task in ("count", "structure", "transform")
        ),
    ],
)
def test_a_stage_learns_published_solutions(system: str, stage: str, write: Write, workspace: Path) -> None:
    rows = converted(workspace, system, "sft", write)
    words = ("--with", "cpu", "--from", "tiny", "--data", str(rows.relative_to(workspace)))
    run = workspaces.trained(workspace, system, stage, *words, **recording.SFT)
    recording.assert_learnt(run)
    tested.ran(run, "sft")


@pytest.mark.parametrize(("system", "stage", "write", "batch"), STAGES)
def test_a_stage_learns_from_its_published_reward(
    system: str, stage: str, write: Write, batch: int, workspace: Path, base: Callable[[str, str, Path], Path]
) -> None:
    form = "prompts" if systems.get(system).coordinates != "thousand" else "batch"  # `tiny` counts pixels
    rows = converted(workspace, system, form, write)
    start, known = base(system, replies(system, stage), rows), records(rows)
    words = ("--with", "cpu", "--from", start.name, "--data", str(rows.relative_to(workspace)))
    steps = len(known) // batch
    settings = {**RL, "prompt_length": LONG_PROMPTS.get(f"{system}-{stage}", RL["prompt_length"])}
    settings |= {"train_batch_size": batch, "ppo_mini_batch_size": batch, "steps": steps, "save_steps": steps}
    run = workspaces.trained(workspace, system, stage, *words, **settings)
    worth = {row.question: by_hand for row, by_hand in zip(known, REPLIES[replies(system, stage)], strict=True)}
    traces = recording.assert_rewarded(run, lambda question, said: worth[question].get(said[0]))
    assert len(traces) == steps * batch * SAMPLES
    assert {trace["protocol"]["first"] for trace in traces} == {of_system(systems.get(system)).protocol.first}
    folders = sorted((run / "rollouts").glob("step_*"))
    asked = [{json.loads(file.read_bytes())["question"] for file in each.glob("*/trace.json")} for each in folders]
    if system == "rewardmap":  # rows in their written order
        assert asked == [{record.question} for record in known]
    assert [each["step"] for each in recording.steps_of(run)] == list(range(1, steps + 1))
    taught = LEARNING.get(replies(system, stage), {}).get("steps", TAUGHT)
    recording.assert_weights_changed(start, taught, run, steps)
    total = rewards.of(resolve(systems.get(system), stage).config.reward)
    replayed = recording.assert_counted(total, known, REPLIES[replies(system, stage)])
    tested.ran(run, layout(workspace, system, write), replayed, MIDDLES.get(system, {}))
