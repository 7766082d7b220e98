"""An adapter is added to its base by the real command; the model answers."""

import shutil
from pathlib import Path

import pytest
from support import small_lora
from support.called import virc

from virc.models.registry import EMBEDDED_FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PICTURE = Path(__file__).parents[1] / "pictures" / "triangle.png"
QUESTION = "What is m∠B in triangle MBH?"


def answer(model: str) -> tuple[str, list[str]]:
    """What `virc solve` says, and its thoughts, without how long it expects to take."""
    done = virc("solve", "--device", "cpu", "--model", model, PICTURE, QUESTION)
    return done.out, [line for line in done.err.splitlines() if model not in line and "image tokens" not in line]


def test_a_merged_model_says_what_the_adapter_says(workspace: Path) -> None:
    small_lora.write(workspace / "lora", lora_alpha=1)
    shutil.copyfile(EMBEDDED_FOLDER / "virc_protocol.json", workspace / "lora" / "virc_protocol.json")
    done = virc("merge", "lora", "--to", "models/merged")
    assert done.code == 0, done.err
    assert done.out == "models/merged\n"
    assert "asked about a drawn diagram" in done.err
    assert "virc push models/merged USER/merged" in done.err
    said = answer("merged")
    assert said[0].strip().isdecimal()
    assert said == answer("lora")
