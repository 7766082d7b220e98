"""Stages of ThinkLite-VL, Vision-G1 and Actial in their real engines, on rows as their authors publish them.

`tiny` is first taught how replies are written there, right and wrong ones alike, and some in no good form. Each reward
is counted again by hand.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from recorded import recording
from support import published_rows, tested, workspaces
from support.published_rows import NUMBERS

from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

STEPS, BATCH, SAMPLES, TAUGHT = 2, 3, 5, 60
KEPT = 2  # prompts of a step whose rollouts a run keeps
SFT = recording.teaching(TAUGHT)
RL = recording.rl(STEPS, BATCH, micro_batch_size_per_device=BATCH, n=SAMPLES, prompt_length=1024, response_length=64)
FAR = [200, 150, 240, 190]  # px; a box beside the right one
Terms = Mapping[str, float]
Row = Mapping[str, Any]


class Case(NamedTuple):
    """How rows of a system are written, answered, and rewarded: its weights of the terms that a reply has.

    `answers` are those that a question is taught with, `forms` the replies with one.
    """

    write: Callable[[Path], Path]
    forms: tuple[str, ...]
    answers: Callable[[Row], tuple[str, ...]]
    terms: Callable[[str, str], Terms]
    weights: Mapping[str, float]
    settings: Mapping[str, object] = {}


def of_easy_r1(said: str, answer: str) -> Terms:
    """Whether the last box holds the number, and whether a thought begins the reply that has a box behind it."""
    boxes = re.findall(r"\\boxed\{([^{}]*)\}", said)
    formed = re.match(r"<think>.*?</think>.*?\\boxed\{.*?\}", re.sub(r"\s*([<>/])\s*", r"\1", said), re.DOTALL)
    return {"right": float(bool(boxes) and boxes[-1].strip() == answer), "formed": float(formed is not None)}


def of_vision_g1(said: str, answer: str) -> Terms:
    """Whether the box, or else the last number, is right; of a box of pixels what it shares with the right one."""
    held = (re.findall(r"\\boxed\{([^{}]*)\}", said) or [""])[-1]
    if not answer.startswith("["):
        last = held.strip() if r"\boxed" in said else (re.findall(r"\d+", said) or [""])[-1]
        return {"right": float(last == answer)}
    found = re.search(r"\[(\d+), (\d+), (\d+), (\d+)\]", held)
    return {"overlap": shared([*map(int, found.groups())], json.loads(answer)) if found else 0.0}


def shared(one: list[int], other: list[int]) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, width) * max(0, height)
    areas = [max(0, box[2] - box[0]) * max(0, box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both) if both else 0.0


def of_actial(said: str, answer: str) -> Terms:
    """Whether the first answer is the right text, and whether thought and answer are all there is."""
    first = re.search(r"<answer>(.*?)</answer>", said, re.DOTALL)
    formed = re.fullmatch(r"<think>.*</think>\s*<answer>.*</answer>", said.strip(), re.DOTALL)
    return {"right": float(bool(first) and first[1].strip() == answer), "formed": float(formed is not None)}  # type: ignore[index]


def numbers(row: Row) -> tuple[str, ...]:
    return NUMBERS


def numbers_or_boxes(row: Row) -> tuple[str, ...]:
    """The numbers; or the right box, half of it, and another."""
    if not row["answer"].startswith("["):
        return NUMBERS
    left, top, right, bottom = json.loads(row["answer"])
    return tuple(map(json.dumps, ([left, top, right, bottom], [left, top, right, (top + bottom) // 2], FAR)))


CASES = {
    "thinklite-vl": Case(
        published_rows.thinklite_vl,
        (r"<think>Look.</think> \boxed{ANSWER}",),
        numbers,
        of_easy_r1,
        {"right": 0.9, "formed": 0.1},
    ),
    "vision-g1": Case(
        published_rows.vision_g1,
        (r"<think>Look.</think> \boxed{ANSWER}",),
        numbers_or_boxes,
        of_vision_g1,
        {"right": 1, "overlap": 1},
    ),
    "actial": Case(
        published_rows.actial_rl,
        ("<think>Look.</think>\n<answer>ANSWER</answer>", "<answer>ANSWER</answer>"),
        lambda row: ("A", "B") if row["answer"] == "B" else NUMBERS,
        of_actial,
        {"right": 0.5, "formed": 0.5},
        {"validation": "null", "test_freq": "null"},
    ),
}


@pytest.fixture(scope="module")
def rows(workspace: Path) -> Callable[[str], dict[str, Row]]:
    """The problems of a system by their questions, as rows of its own; its prompts are in `data/NAME/prompts`."""

    @cache
    def convert(name: str) -> dict[str, Row]:
        file = CASES[name].write(workspace / "published" / name)
        for form in ("prompts", "batch"):
            words = ("--system", name, "--to", f"data/{name}/{form}", "--format", form, "--name", "rows")
            done = workspaces.run(workspace, "data", "convert", str(file), *words)
            assert done.returncode == 0, done.stderr
        lines = (workspace / "data" / name / "batch" / "rows.jsonl").read_text().splitlines()
        return {row["question"]: row for row in map(json.loads, lines)}

    return convert


def told(name: str, row: Row, reply: str) -> dict[str, Any]:
    """A row with a reply, in the words of a system."""
    spoken = of_system(systems.get(name)).protocol
    images = row.get("images") or [row["image"]]
    asked = spoken.first.replace("{images}", "\n".join([MARK] * len(images))).replace("{question}", row["question"])
    texts = {"system": spoken.system, "user": asked, "assistant": reply}
    return {"messages": [{"role": role, "content": text} for role, text in texts.items()],
            "images": [f"batch/{image}" for image in images]}  # fmt: skip


def taught(name: str, problems: Mapping[str, Row]) -> Iterator[dict[str, Any]]:
    case = CASES[name]
    for row in problems.values():
        for answer in case.answers(row):
            yield from (told(name, row, form.replace("ANSWER", answer)) for form in case.forms)


@pytest.fixture(scope="module")
def base(workspace: Path, rows: Callable[[str], dict[str, Row]]) -> Callable[[str], Path]:
    """`tiny` that replies as a system is to."""

    @cache
    def train(name: str) -> Path:
        found, folder = [*taught(name, rows(name))], workspace / "data" / name
        (folder / "taught.json").write_text(json.dumps(found))
        (folder / FILE_NAME).write_bytes(msgspec.json.encode(of_system(systems.get(name)).protocol))
        words = ("--from", "tiny", "--data", f"data/{name}/taught.json", "--name", f"taught-{name}")
        return workspaces.trained(workspace, "tiny", "instruct", *words, **SFT)

    return train


def rewarded(workspace: Path, name: str, stage: str, start: Path, problems: Mapping[str, Row]) -> Path:
    """The run of a stage of RL, whose rewards are those counted by hand."""
    case = CASES[name]
    words = ("--with", "cpu", "--from", start.name, "--data", f"data/{name}/prompts/rows.parquet")
    run = workspaces.trained(workspace, name, stage, *words, **RL, **case.settings)
    traces = tested.traces(run)
    assert len(traces) == STEPS * KEPT * SAMPLES
    for trace in traces:
        (said,) = recording.said_in(trace)
        terms = case.terms(said, problems[trace["question"]]["answer"])
        assert {term: value for term, value in trace["terms"].items() if value is not None} == pytest.approx(terms), (
            said
        )
        assert trace["reward"] == pytest.approx(sum(case.weights[term] * value for term, value in terms.items())), said
    assert len({trace["reward"] for trace in traces}) > 1  # or there is nothing to learn
    steps = recording.steps_of(run)
    assert [each["step"] for each in steps] == list(range(1, STEPS + 1))
    assert all(step["grad_norm"] > 0 for step in steps)
    assert all(math.isfinite(value) for step in steps for value in step.values() if isinstance(value, float))
    return run


@pytest.mark.parametrize(("name", "layout"), [("thinklite-vl", "hard-11k"), ("actial", "sat")])
def test_rl_rewards_as_published(
    name: str, layout: str, workspace: Path, rows: Callable[[str], dict[str, Row]], base: Callable[[str], Path]
) -> None:
    problems = rows(name)
    tested.ran(rewarded(workspace, name, "rl", base(name), problems), layout)


def test_each_round_of_vision_g1_goes_on_from_the_one_before(
    workspace: Path, rows: Callable[[str], dict[str, Row]], base: Callable[[str], Path]
) -> None:
    problems = rows("vision-g1")
    first = rewarded(workspace, "vision-g1", "round-1", base("vision-g1"), problems)
    merged = workspaces.run(workspace, "merge", first.name)
    assert merged.returncode == 0, merged.stderr
    second = rewarded(workspace, "vision-g1", "round-2", first, problems)
    assert first.name in (second / "run.json").read_text()
    tested.ran(first, "verl")
    tested.ran(second, "verl")


def test_knowledge_is_injected_by_rows_of_two_pictures(workspace: Path, rows: Callable[[str], dict[str, Row]]) -> None:
    """Rows of ours, as the published layout is not known."""
    problems, folder = rows("actial"), workspace / "data" / "actial"
    found = [
        told("actial", row, f"<think>Look.</think>\n<answer>{row['answer']}</answer>") for row in problems.values()
    ]
    assert max(len(row["images"]) for row in found) == 2
    (folder / "viewpoints.json").write_text(json.dumps(found))
    (folder / FILE_NAME).write_bytes(msgspec.json.encode(of_system(systems.get("actial")).protocol))
    few = {"steps": 2, "save_steps": 2, "train_batch_size": 3, "micro_batch_size_per_device": 3, "log_every": 1}
    words = ("--with", "cpu", "--from", "tiny", "--data", "data/actial/viewpoints.json")
    run = workspaces.trained(workspace, "actial", "inject", *words, **few)
    losses = workspaces.losses(run)
    assert list(losses) == [1, 2]
    assert all(map(math.isfinite, losses.values()))
    tested.ran(run, "sft")
