"""The stages of Visual-RFT in the real verl on rows as they are published, each with its own reward, counted again.

`tiny` is first taught how answers are written there, by right and wrong ones alike. What ran is recorded.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from recorded import recording
from support import published_rows, tested, workspaces

from virc.models.chat_protocol import of_system
from virc.reasoning.protocol import FILE_NAME
from virc.scoring.boxes import giou, iou
from virc.systems import registry as systems

pytestmark = [pytest.mark.record, pytest.mark.timeout(900)]

STEPS, BATCH, SAMPLES = 1, 2, 8
TAUGHT = 120  # steps: most replies are in the format then
SFT = recording.teaching(TAUGHT, cutoff_len=1024)
RL = recording.rl(STEPS, BATCH, n=SAMPLES, response_length=96)
NAME = "visual-rft"
WRITERS = {
    "detect": published_rows.visual_rft_detect,
    "classify": published_rows.visual_rft_classify,
    "ground": published_rows.visual_rft_ground,
}
LAYOUTS = {"detect": "problems", "classify": "problems", "ground": "lisa"}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published rows of each stage, converted; all of them with every answer that there could be."""
    folder = tmp_path_factory.mktemp("workspace")
    for stage, write in WRITERS.items():
        file = write(folder / "published" / stage)
        words = ("--system", NAME, "--to", f"data/{stage}", "--format", "batch", "--name", "rows")
        done = workspaces.run(folder, "data", "convert", file, *words)
        assert done.returncode == 0, done.stderr
    taught = [row for stage in WRITERS for each in rows(folder, stage) for row in _taught(stage, each)]
    (folder / "data" / "taught.json").write_text(json.dumps(taught))
    (folder / "data" / FILE_NAME).write_bytes(msgspec.json.encode(of_system(systems.get(NAME)).protocol))
    return folder


@pytest.fixture(scope="module")
def base(workspace: Path) -> Path:
    """`tiny` that answers in the chat protocol of Visual-RFT."""
    return workspaces.trained(workspace, "tiny", "instruct", "--from", "tiny", "--data", "data/taught.json", **SFT)


def rows(folder: Path, stage: str) -> list[Row]:
    return [json.loads(line) for line in (folder / "data" / stage / "rows.jsonl").read_text().splitlines()]


def _taught(stage: str, row: Row) -> Iterator[Row]:
    """A row with every answer of its stage, in the chat protocol of Visual-RFT: it teaches the format alone."""
    spoken = of_system(systems.get(NAME)).protocol
    answers = published_rows.COLOURS if stage == "classify" else [each["answer"] for each in _answers(stage)]
    for answer in answers:
        told = {
            "system": spoken.system,
            "user": "<image>" + spoken.first_around(row["question"]).replace("{question}", row["question"]),
            "assistant": f"<think>Look.</think>\n<answer>{answer}</answer>",
        }
        messages = [{"role": role, "content": content} for role, content in told.items()]
        yield {"id": f"{stage}-{row['id']}-{answer}", "messages": messages, "images": [f"{stage}/{row['image']}"]}


def _answers(stage: str) -> Iterator[Row]:
    """The answer of each row of a stage, as published."""
    for at in range(len(published_rows.NUMBERS)):
        left, top, right, bottom = published_rows.thousandths(at)
        box = f"[{{'Position': [{left}, {top}, {right}, {bottom}], 'Confidence': 1}}]"
        yield {"answer": box if stage == "detect" else f"({left},{top}),({right},{bottom})"}


def wanted(stage: str, said: str, row: Row, size: tuple[int, int]) -> Mapping[str, float]:
    """The terms of a stage for a reply; its answer is a name, or one box in thousandths of the sides."""
    framed = {"framed": float(bool(re.fullmatch(r"<think>.*</think>\s*<answer>.*</answer>", said, re.DOTALL)))}
    answer = said.rpartition("<answer>")[2].partition("</answer>")[0].strip()
    if stage == "classify":
        return framed | {"named": float(row["answer"] in answer or answer in row["answer"])}
    form = r"\[{'Position': \[(\d+), (\d+), (\d+), (\d+)\], 'Confidence': (\d+)}\]"
    found = re.fullmatch(form if stage == "detect" else r"\((\d+),(\d+)\),\((\d+),(\d+)\)", answer)
    box = [int(n) * side / 1000 for n, side in zip(found.groups()[:4], size * 2, strict=True)] if found else None
    if stage == "ground":
        worth = 2.0 if answer == row["answer"] else giou(box, row["boxes"][0]) + 1 if box else 0.0
        return framed | {"generalized": worth}
    overlap = iou(box, row["boxes"][0]) if box else 0.0
    sure = min(1, int(found[5])) if found else 0
    matched = overlap if overlap > 0.5 else 0.0
    return framed | {"matching": matched, "confidence": float(sure if matched else bool(found) - sure)}


@pytest.mark.parametrize("stage", WRITERS)
def test_a_stage_learns_from_its_own_reward(stage: str, workspace: Path, base: Path) -> None:
    """The reward is the sum of its terms, each of the text of the reply."""
    words = ("--with", "cpu", "--from", base.name, "--data", f"data/{stage}/rows.jsonl")
    run = workspaces.trained(workspace, NAME, stage, *words, **RL)
    traces = tested.traces(run)
    assert len(traces) == STEPS * BATCH * SAMPLES
    asked = {row["question"]: row for row in rows(workspace, stage)}
    for trace in traces:
        said = recording.said_in(trace)
        prompt = next(each["text"] for each in trace["messages"] if each["role"] == "user")
        assert prompt.startswith(trace["question"])
        assert (prompt == trace["question"]) == (stage != "ground")  # published problems are whole prompts
        assert "<answer>" in prompt
        row = asked[trace["question"]]
        size = Image.open(workspace / "data" / stage / row["image"]).size
        terms = wanted(stage, said[0], row, size)
        assert trace["terms"] == pytest.approx(terms, abs=5e-3), said
        assert trace["reward"] == pytest.approx(sum(trace["terms"].values())), said
    assert len({trace["reward"] for trace in traces}) > 1  # or there is nothing to learn
    (step,) = recording.steps_of(run)
    assert all(math.isfinite(value) for value in step.values() if isinstance(value, float))
    recording.assert_weights_changed(base, TAUGHT, run, STEPS)
    tested.ran(run, LAYOUTS[stage], middles={"generalized": 1})
