"""Each stage in the pages can be planned, with the system, the reward and the tool that the pages write."""

import re
import shlex
from pathlib import Path

import pytest
from code_blocks import PAGES, blocks
from PIL import Image
from support.called import virc
from support.solving import call

from virc.models.chat_protocol import offering, read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Reply, Session, Unit
from virc.tools import registry as tools

ALL = [block for page in PAGES for block in blocks(page)]
FILES = {block.marks["file"]: block.text for block in ALL if "file" in block.marks}
SHELL = "".join(block.text for block in ALL if block.language == "sh").replace("\\\n", "")
TRAIN = re.compile(r"^virc train .*?(?= && |  #|$)", re.MULTILINE)
STAGES = sorted({line.strip() for line in TRAIN.findall(SHELL)})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the files of the pages; `own` holds the tool."""
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_PATH", str(tmp_path / "own"))
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    return tmp_path


def test_the_pages_have_stages() -> None:
    assert len(STAGES) >= 8


@pytest.mark.integration
@pytest.mark.parametrize("line", STAGES)
def test_a_stage_can_be_planned(line: str, own: Path) -> None:
    words = [word for word in shlex.split(line)[1:] if word != "--dry-run"]
    done = virc(*words, "--dry-run", "--json")
    assert done.code == 0, done.err
    lacking = [each["message"] for each in done.json["missing"] if "is not on this machine" not in each["message"]]
    assert not [each for each in lacking if "judge" in each], "weights may be lacking, a judge may not"


def test_the_tool_turns_an_image(own: Path) -> None:
    protocol = offering(read_protocol(EMBEDDED_FOLDER / FILE_NAME), ["rotate_image"])
    image = Image.radial_gradient("L").resize((112, 56)).convert("RGB")
    session = Session(protocol, "What is it?", [image], tools=tools.known())
    assert isinstance(session.feed(Reply(call("rotate_image", degrees=90, image_index=0))), Unit)
    assert [shown.size for shown in session.images] == [(112, 56), (56, 112)]


def test_the_reward_scores_rows(own: Path) -> None:
    pytest.importorskip("virc_extras")  # virc rewards try
    drawn = virc("data", "synth", "--to", "rows", "--count", 2, "--seed", 1, "--formats", "sft,rl")
    assert drawn.code == 0, drawn.err
    done = virc("rewards", "try", "mine.yaml", "--data", "rows/rl.parquet", "--json")
    assert done.code == 0, done.err
    assert done.json["scored"] == len(done.json["rows"]) > 2
    assert 0 < done.json["mean"] < 1
