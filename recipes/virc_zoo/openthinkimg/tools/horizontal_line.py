"""`horizontal_line`: a dashed line across an image at a height in percent of it.

How points are read, the texts and the colour are those of OpenThinkIMG (zhaochen0110/OpenThinkIMG@45d295f,
tool_server/tool_workers/online_workers/DrawHorizontalLineByY_worker.py), which draws with matplotlib, at the size of
its figure; here the image keeps its size.
"""

import re
from collections.abc import Sequence
from itertools import count, takewhile

from PIL import Image, ImageDraw

from virc.reasoning.calls import Call, Result
from virc_zoo.openthinkimg.tools._servers import outputs, schema_of

NAME = "horizontal_line"
TEMPLATE = "after_image"
SCHEMA = schema_of(NAME, "Draw a horizontal line on an image.", "where, in percent of the height: y=28.5")
_COLOR = "#e6194b"
_WIDTH, _DASH, _GAP = 2, 7, 3  # px: matplotlib's dashes are 3.7 and 1.6 times as long as the line is wide
_COORDINATE = re.compile(r'([xy])(\d*)=\s*"?(\d+(?:\.\d+)?)"?', re.ASCII)


def apply(call: Call, source: Image.Image) -> Result:
    """The image with a line for each point of `param`."""
    return drawn("DrawHorizontalLineByY", call, source, 1)


def drawn(name: str, call: Call, source: Image.Image, axis: int) -> Result:
    """An image with lines through the points of a call: at their x (axis 0) or their y (axis 1)."""
    points = points_of(call.arguments["param"])
    if not points:
        return outputs(name, "No valid points extracted.", source)
    image = source.convert("RGB")
    draw, length = ImageDraw.Draw(image), image.size[1 - axis]
    for point in points:
        at = point[axis] / 100 * image.size[axis]
        for start in takewhile(lambda start: start < length, count(0, _DASH + _GAP)):
            ends = [(start, at), (start + _DASH - 1, at)]
            draw.line([end if axis else end[::-1] for end in ends], _COLOR, _WIDTH)
    return outputs(name, "Line drawn successfully.", image)


def points_of(text: str) -> Sequence[tuple[float, float]]:
    """The points of a text such as `x="21.5" y="28.5"` or `x1=3 y1=4 x2=5 y2=6`, in percent of the sides.

    What is missing of one is 0, or that without a number; points with over 100 percent are none.
    """
    found = {axis + number: float(value) for axis, number, value in _COORDINATE.findall(text)}
    numbers = sorted({int(key[1:]) for key in found if key[1:]}) or [0] * bool(found)
    points = [tuple(found.get(f"{axis}{number}", found.get(axis, 0.0)) for axis in "xy") for number in numbers]
    return [(x, y) for x, y in points if max(x, y) <= 100]
