"""The stages of VLM-R3 in their real engines, on `tiny` and rows as they are published; the judge is scripted.

What ran is recorded.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded import recording
from support import published_rows, tested, workspaces
from support.called import virc
from support.servers import Body, serve

from virc.data.rows.record import MARK

pytestmark = [pytest.mark.record, pytest.mark.timeout(1800)]

BATCH, SAMPLES = 2, 4
RL = recording.rl(batch=BATCH, micro_batch_size_per_device=BATCH, n=SAMPLES, prompt_length=1024, response_length=512)
REPLIES = (
    "<think>So.</think>\n<answer> 99 </answer>",
    "It cannot be seen well in this picture.",
    "<think>It is the number in the square, which has two digits.</think>\n<answer> 99 </answer>",
)
"""Rewarded beside those of the rows, so that each term is seen high and low."""


def verdict(asked: Body) -> str:
    """About half of all answers that are another text are right."""
    return f"{zlib.crc32(asked['messages'][-1]['content'].encode()) % 2}.0"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    for write, form in ((published_rows.vlm_r3_sft, "sft"), (published_rows.vlm_r3_rl, "batch")):
        file = write(folder / "published")
        words = ("--system", "vlm-r3", "--to", f"data/{form}", "--format", form, "--name", "rows")
        done = workspaces.run(folder, "data", "convert", file, *words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def learnt(workspace: Path) -> Path:
    """The run of the supervised stage."""
    words = ("--with", "cpu", "--from", "tiny", "--data", "data/sft/rows.json")
    return workspaces.trained(workspace, "vlm-r3", "instruct", *words, **recording.SFT)


def replayed(workspace: Path, judge: str) -> Iterator[tested.Seen]:
    """The terms of the rows' own replies, and of `REPLIES` in their place."""
    rows: list[dict[str, Any]] = json.loads((workspace / "data" / "sft" / "rows.json").read_bytes())
    for row, number, reply in zip(list(rows), published_rows.NUMBERS, REPLIES, strict=True):
        row["answer"] = number
        told = [*row["messages"][:-1], {"role": "assistant", "content": reply}]
        rows.append(row | {"messages": told, "images": row["images"][: told[1]["content"].count(MARK)]})
    file = workspace / "data" / "sft" / "tried.json"
    file.write_text(json.dumps(rows))
    done = virc("rewards", "try", "vlm-r3", "--data", file, "--judge-endpoint", judge, "--json")
    assert done.code == 0, done.err
    yield from (row["terms"] for row in done.json["rows"])


def test_the_supervised_stage_runs_to_its_last_step(learnt: Path) -> None:
    recording.assert_learnt(learnt)
    tested.ran(learnt, "sft")


def test_rl_rewards_its_rollouts(workspace: Path, learnt: Path) -> None:
    """1 for a right answer, 0.5 for one at the end and for a look where that is right, up to 0.1 for text between."""
    words = ("--with", "cpu", "--from", learnt.name, "--data", "data/batch/rows.jsonl", "--judge-endpoint")
    with serve(verdict) as judge:
        run = workspaces.trained(workspace, "vlm-r3", "rl", *words, judge.url, **RL)
        seen = [*replayed(workspace, judge.url)]
    traces = tested.traces(run)
    assert len(traces) == BATCH * SAMPLES
    for trace in traces:
        terms = {name: value or 0.0 for name, value in trace["terms"].items()}
        right = terms.get("answer", 0.0)
        wanted = right + 0.5 * terms["closed"] + 0.5 * terms["looked"] * (right == 1) + terms["shortest"]
        assert trace["reward"] == pytest.approx(wanted)
        assert trace["messages"][1]["text"].endswith("<answer> </answer> tags respectively.")
    tested.ran(run, "rl", seen, middles={"shortest": 0.05})
