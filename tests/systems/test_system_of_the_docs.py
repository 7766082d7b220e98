"""The system in docs/systems.md, which the package does not know, works as written: checked, asked, planned."""

import json
import re
from pathlib import Path

import field_table
import pytest
from PIL import Image
from support.called import virc
from support.servers import serve

PAGE = field_table.PAGE.read_text(encoding="utf-8")
(YAML,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
BOX = {"bbox_2d": [1400, 700, 1960, 980], "label": "sign"}
CALL = json.dumps({"name": "image_zoom_in_tool", "arguments": BOX})
LOOK = f"<think>The sign is small.</think>\n<tool_call>{CALL}</tool_call>"
ANSWER = "<think>Now it can be read.</think><answer>97</answer>"


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that holds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "street.yaml"
    file.write_text(YAML)
    return file


def test_it_is_asked_in_its_words_and_its_boxes_are_pixels_of_the_file(street: Path) -> None:
    Image.radial_gradient("L").resize((2800, 1400)).convert("RGB").save("street.png")
    few = ("--max-pixels", 28 * 28 * 200, "--trace", "trace")  # shown at about 560 x 280
    with serve([LOOK, ANSWER]) as server:
        words = ("street.png", "What does it say?", "--endpoint", server.url, "--system", street)
        done = virc("solve", *words, *few, "--json")
    assert done.code == 0, done.err
    assert (done.json["answer"], done.json["calls"]) == ("97", {"crop_image": 1})
    first, second = server.chats()
    assert "image_zoom_in_tool" in json.dumps(first["messages"][0])
    assert "Go on; look again wherever that helps." in json.dumps(second["messages"][-1])
    shown = [Image.open(file).size for file in sorted(Path("trace").rglob("*image-*.png"))]
    assert shown[0][0] < 700
    # a fifth of each side, 1400..1960 of 2800 and 700..980 of 1400, with as many pixels as the file has of it
    assert shown[1][0] == pytest.approx(560, abs=28)
