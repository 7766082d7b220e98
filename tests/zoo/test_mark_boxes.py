"""`mark_boxes`: outlines in the pixels of the file, whatever size the image is shown at."""

import pytest
from PIL import Image
from support.tables import each_case
from support.tool_calls import RED, of_color

from virc.models.chat_protocol import of_system
from virc.reasoning.calls import ToolError, View
from virc.reasoning.checking import check_call
from virc.reasoning.history import History
from virc.reasoning.images import OpenedImage
from virc.reasoning.resize import QWEN2
from virc.systems import registry as systems
from virc.tools import registry as tools

FILE = (300, 200)  # px, shown at 308 x 196
tools.load(["mark_boxes"])
TOOL = tools.get("mark_boxes")


def outline(left: int, top: int, right: int, bottom: int, width: int = 3) -> set[tuple[int, int]]:
    inner = (range(left + width, right - width + 1), range(top + width, bottom - width + 1))
    return {
        (x, y) for x in range(left, right + 1) for y in range(top, bottom + 1) if x not in inner[0] or y not in inner[1]
    }


def marked(boxes: object) -> Image.Image:
    protocol = of_system(systems.get("vitar"))
    pictures = [OpenedImage(Image.new("RGB", size, "white")) for size in ((84, 56), FILE)]
    history = History(pictures, protocol, QWEN2, tools.known())
    call = check_call(TOOL, {"boxes": boxes, "image_index": 1}, history.view).call
    _, ((shown, _),) = history.run(call)
    assert shown.box == (0, 0, *history.sizes[1])
    return shown.full


def test_boxes_are_drawn_in_the_pixels_of_the_file() -> None:
    boxes = [[10, 20, 61, 97], [150, 99, 299, 199]]
    assert of_color(marked(boxes), RED) == outline(*boxes[0]) | outline(*boxes[1])


@each_case(
    ("boxes", "kind"),
    [
        ([[9, 9, 9, 20]], "no_width"), ([[9, 20, 30, 9]], "no_height"), ([[1, 2, 3, 4], [301, 9, 400, 30]], "no_width"),
        ([1, 2, 3, 4], "numbers"), ([[1, 2, 3]], "numbers"), ("[[1, 2, 3, 4]]", "arguments"),
        ([[1, 2, 3, 4]] * 65, "arguments"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(boxes: object, kind: str) -> None:
    with pytest.raises(ToolError) as caught:
        check_call(TOOL, {"boxes": boxes, "image_index": 0}, View([FILE]))
    assert caught.value.kind == kind
    if kind.startswith("no_"):  # what a chat protocol's own text may name
        numbers = dict(zip(("x0", "y0", "x1", "y1"), boxes[-1], strict=True))  # type: ignore[index]
        assert caught.value.values == {"box": boxes[-1], **numbers}  # type: ignore[index]
