"""A merged model keeps copies of the user's own tools, and its card says so."""

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from support import small_lora
from support.called import virc
from support.made import make

from virc.models.chat_protocol import offering, read_protocol, written
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.tools import registry as tools

TOOL = '''"""`spin`: turn an image by a half."""

NAME, TEMPLATE = "spin", "after_image"
SCHEMA = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Turn an image.",
        "parameters": {"type": "object", "properties": {"image_index": {"type": "integer"}}},
    },
}


def apply(call, source):
    return source.rotate(180)
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with an adapter that was trained with a tool of one's own, which it keeps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    folder = make(tmp_path, "mine", base=str(EMBEDDED_FOLDER)).folder
    (folder / "code").mkdir()
    (folder / "code/spin.py").write_text(TOOL)
    (folder / "code/reward.py").write_text("TERMS = ()\n")
    monkeypatch.setenv("VIRC_PATH", str(folder / "code"))
    (folder / FILE_NAME).write_bytes(written(offering(read_protocol(EMBEDDED_FOLDER / FILE_NAME), ["spin"])))
    small_lora.write(folder / "checkpoints/checkpoint-5")
    (folder / "checkpoints/checkpoint-5/trainer_state.json").write_bytes(msgspec.json.encode({"global_step": 5}))
    return folder


@pytest.mark.integration
def test_the_tools_of_a_run_come_with_its_merged_model(run: Path) -> None:
    done = virc("merge", "mine")
    assert done.code == 0, done.err
    folder = run.parents[1] / "models/mine"
    assert [file.name for file in (folder / "code").iterdir()] == ["spin.py"]
    card = (folder / "README.md").read_text()
    assert f"| code/spin.py | {sha256(TOOL.encode()).hexdigest()} |" in card
    assert "VIRC_PATH" in card
