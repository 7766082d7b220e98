"""`vertical_line`: a dashed line down an image at a place in percent of its width, as `horizontal_line`.

Source: zhaochen0110/OpenThinkIMG@45d295f, tool_server/tool_workers/online_workers/DrawVerticalLineByX_worker.py.
"""

from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Result, function_schema
from virc_zoo.openthinkimg.tools import horizontal_line

NAME = "vertical_line"
PUBLISHED = "DrawVerticalLineByX"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Draw a vertical line on an image.",
    ("param", "image_index"),
    param={"type": "string", "description": "where, in percent of the width: x=21.5"},
    image_index=INDEX_SCHEMA,
)


def apply(call: Call, source: Image.Image) -> Result:
    """The image with a line for each point of `param`."""
    return horizontal_line.drawn(PUBLISHED, call, source, 0)
