"""Tools behind servers in OpenThinkIMG's form, and the lines that are drawn here."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from support import tool_rows

from virc.core.errors import SetupError
from virc.reasoning.calls import Result, View
from virc.reasoning.checking import check_call
from virc.remote import failures
from virc.tools import registry as tools
from virc_zoo.openthinkimg.tools._servers import CONTROLLER

SIZE = (200, 100)
WHITE, RED = (255, 255, 255), (0xE6, 0x19, 0x4B)
PAGE = Image.new("RGB", SIZE, WHITE)
CUT = Image.new("RGB", (60, 40), (0, 0, 255))
REPLIES: dict[str, Any] = {
    "OCR": {"text": "['12', '47']", "error_code": 0},
    "ZoomInSubfigure": {"text": "Done.", "edited_image": [tool_rows.encoded(each) for each in (CUT, PAGE)]},
    "SegmentRegionAroundPoint": {"text": "No valid points extracted.", "edited_image": None},
}
NAMES = {
    "OCR": "served_ocr",
    "Point": "served_point",
    "ZoomInSubfigure": "served_subfigure",
    "SegmentRegionAroundPoint": "served_region",
    "DrawHorizontalLineByY": "horizontal_line",
    "DrawVerticalLineByX": "vertical_line",
}


def made(name: str, **arguments: str) -> Result:
    tools.load([NAMES[name]])
    tool = tools.get(NAMES[name])
    call = check_call(tool, {"image_index": 0, **arguments}, View([SIZE])).call
    result = tool.apply(call, PAGE)
    assert isinstance(result, Result)
    return result


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tool_rows.Tools]:
    with tool_rows.tool_servers(dict(REPLIES)) as server:
        monkeypatch.setenv(CONTROLLER, server.address)
        yield server


def test_a_server_is_sent_the_image_and_its_text_comes_back(server: tool_rows.Tools) -> None:
    result = made("OCR")
    assert result.text == "OCR model outputs: ['12', '47']"
    assert list(result.images) == [PAGE]  # the newest image is shown again
    asked, sent = server.asked
    assert (asked, sent.keys()) == ({"model": "OCR"}, {"image"})
    assert Image.open(io.BytesIO(base64.b64decode(sent["image"]))).convert("RGB") == PAGE


def test_an_image_that_a_server_made_is_shown(server: tool_rows.Tools) -> None:
    result = made("ZoomInSubfigure", param="upper plot")
    (image,) = result.images
    assert isinstance(image, Image.Image)
    assert (image.size, image.getpixel((5, 5))) == ((60, 40), (0, 0, 255))
    assert server.asked[-1]["param"] == "upper plot"
    assert made("SegmentRegionAroundPoint", param="none").images == [PAGE]
    server.replies["OCR"] = {"text": "", "edited_image": f"data:image/png;base64,{tool_rows.encoded(CUT)}"}
    assert [each.size for each in made("OCR").images if isinstance(each, Image.Image)] == [CUT.size]


def test_a_tool_without_a_server_is_not_found(server: tool_rows.Tools) -> None:
    with failures.noted() as noted:
        assert made("Point", param="x").text == "Point model outputs: Tool Point not found."
    assert noted == [f"the controller {server.address} knows no server of Point"]
    server.replies["Point"] = {"text": 'x="3" y="4"'}  # it comes later
    assert made("Point", param="x").text == 'Point model outputs: x="3" y="4"'


@pytest.mark.parametrize(
    "reply",
    [
        b"no json",
        (404, {"text": "not found"}),
        [],
        {"text": "x", "edited_image": "!!"},
        {"edited_image": 7},
        {"edited_image": tool_rows.encoded(PAGE)[:90]},
        {"edited_image": tool_rows.encoded(Image.new("RGB", (30, 9000)))},
    ],
)
def test_what_a_server_does_wrong_is_a_text(server: tool_rows.Tools, reply: object) -> None:
    server.replies = {"OCR": reply}
    with failures.noted() as noted:
        result = made("OCR")
    assert [f"OCR model outputs: Failed to call tool OCR: {each}" for each in noted] == [result.text]
    assert result.text.startswith("OCR model outputs: Failed to call tool OCR: ")
    assert list(result.images) == [PAGE]


def test_a_dead_server_is_a_text_and_none_at_all_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTROLLER, "http://127.0.0.1:9")
    assert "Failed to call tool OCR" in made("OCR").text
    monkeypatch.setenv(CONTROLLER, "file:///etc")
    assert "Failed to call tool OCR" in made("OCR").text
    monkeypatch.delenv(CONTROLLER)
    with pytest.raises(SetupError, match="the tool OCR needs a server"):
        made("OCR")


@pytest.mark.parametrize(
    ("name", "param", "columns", "rows"),
    [
        ("DrawVerticalLineByX", "x=25", {50, 51}, set(range(100))),
        ("DrawVerticalLineByX", 'x="25" y="80"', {50, 51}, set(range(100))),
        ("DrawVerticalLineByX", "x=100", set(), set()),  # beyond the last pixel, as the published program does
        ("DrawHorizontalLineByY", "y=50", set(range(200)), {50, 51}),
        ("DrawHorizontalLineByY", "x1=3 y1=20 x2=4 y2=60", set(range(200)), {20, 21, 60, 61}),
        (
            "DrawHorizontalLineByY",
            "y=40 x2=4 y10=70",
            set(range(200)),
            {40, 41, 70, 71},
        ),  # 2 has the y without a number
    ],
)
def test_lines_are_dashed_at_their_percent(name: str, param: str, columns: set[int], rows: set[int]) -> None:
    result = made(name, param=param)
    (image,) = result.images
    assert isinstance(image, Image.Image)
    assert result.text == f"{name} model outputs: Line drawn successfully."
    red = {(x, y) for x in range(SIZE[0]) for y in range(SIZE[1]) if image.getpixel((x, y)) == RED}
    along = 0 if name.startswith("DrawH") else 1
    assert {place[1 - along] for place in red} == (rows, columns)[along]
    assert {place[along] for place in red} == {at for at in (columns, rows)[along] if at % 10 < 7}
