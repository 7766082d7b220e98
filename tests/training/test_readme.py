"""The README's examples: its reward and its tool run as they stand there, its stages are planned as it says."""

import re
import shlex
from pathlib import Path

import pytest
from called import virc
from house.entry import ROOT
from PIL import Image
from solve.solving import call

from virc.models.chat_protocol import offering, read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Reply, Session, Unit
from virc.tools import registry as tools

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SYSTEM = next(text for language, text in BLOCKS if language == "yaml")
PYTHON = [text for language, text in BLOCKS if language == "python" and "def " in text]
SHELL = "".join(text for language, text in BLOCKS if language == "sh").replace("\\\n", "")
STAGES = re.findall(r"^virc train .*?(?= && |$)", SHELL, re.MULTILINE)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the README's system, whose folder `own` holds its tool, as its commands have them."""
    (tmp_path / "deepeyes.yaml").write_text(SYSTEM)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "rotate_image.py").write_text(PYTHON[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_PATH", str(folder))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    return folder


def test_there_are_a_reward_and_a_tool() -> None:
    assert len(PYTHON) == 2
    assert len(STAGES) >= 8


def test_the_reward_scores_rows(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    drawn = virc("data", "synth", "--to", rows, "--count", 2, "--seed", 1, "--formats", "sft,rl")
    assert drawn.code == 0, drawn.err
    (tmp_path / "mine.py").write_text(PYTHON[0])
    (tmp_path / "mine.yaml").write_text("name: mine\nreward: {total: ./mine.py}\n")
    done = virc("rewards", "try", tmp_path / "mine.yaml", "--data", rows / "rl.parquet", "--json")
    assert done.code == 0, done.err
    assert done.json["scored"] == len(done.json["rows"]) > 2
    assert 0 < done.json["mean"] < 1


def test_the_tool_turns_an_image(own: Path) -> None:
    protocol = offering(read_protocol(EMBEDDED_FOLDER / FILE_NAME), ["rotate_image"])
    session = Session(
        protocol,
        "What is it?",
        [Image.radial_gradient("L").resize((112, 56)).convert("RGB")],
        tools=tools.known(),
    )
    assert isinstance(session.feed(Reply(call("rotate_image", degrees=90, image_index=0))), Unit)
    assert [shown.size for shown in session.images] == [(112, 56), (56, 112)]


@pytest.mark.integration
@pytest.mark.parametrize("line", STAGES)
def test_a_stage_can_be_planned_as_it_stands_there(line: str, own: Path) -> None:
    done = virc(*shlex.split(line)[1:], "--dry-run", "--json")
    assert done.code == 0, done.err
    assert not [each for each in done.json["missing"] if "judge" in each["message"]]
