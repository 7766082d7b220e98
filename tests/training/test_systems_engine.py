"""A stage of VLM-R3 in the real LLaMA-Factory, on `tiny`, over rows of every system."""

import json
from pathlib import Path
from typing import Any

import pytest
from support import system_rows, workspaces

from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system, read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

STEPS = 6


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def rows(workspace: Path) -> list[system_rows.Row]:
    return system_rows.trajectories(workspace / "data")


@pytest.fixture(scope="module")
def run(workspace: Path, rows: list[system_rows.Row]) -> Path:
    """The first stage of VLM-R3 on rows of every system."""
    words = ("--from", "tiny", "--data", "data/mixed.json", "--with", "cpu")
    return workspaces.trained(workspace, "vlm-r3", "instruct", *words, **system_rows.SFT, steps=STEPS, save_steps=STEPS)


def test_every_row_is_trained_on_and_of_each_what_the_model_says(run: Path, rows: list[system_rows.Row]) -> None:
    told: dict[str, Any] = json.loads((run / "run.json").read_bytes())
    assert told["rows"] == len(rows) == 32
    assert {tuple(row["images"]) for row in rows} > {()}
    log = (run / "logs" / "attempt_1" / "engine.log").read_text(errors="replace")
    learnt = log.partition("\nlabels:\n")[2]
    (reply,) = system_rows.replies(rows[0])
    said = f"{reply}<|im_end|>\n".split(MARK)
    assert len(said) == len(rows[0]["images"]) > 1  # every crop is in the assistant's message, and none is learnt
    assert learnt.startswith("".join(said)), learnt[:2000]
    assert "<|image_pad|>" in log.partition("\nlabels:\n")[0]


def test_the_chat_protocol_of_the_system_lies_beside_the_weights(run: Path) -> None:
    spoken = read_protocol(run / "checkpoints" / f"checkpoint-{STEPS}" / FILE_NAME)
    wanted = of_system(systems.get("vlm-r3"))
    assert (spoken.first, spoken.grammar, spoken.tools) == (wanted.first, wanted.grammar, wanted.tools)
