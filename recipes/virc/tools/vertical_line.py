"""`vertical_line`: a dashed line down an image at a place in percent of its width, as `horizontal_line`.

Source: zhaochen0110/OpenThinkIMG@45d295f, tool_server/tool_workers/online_workers/DrawVerticalLineByX_worker.py.
"""

from typing import Any

from PIL import Image

from virc.reasoning.calls import Call, Result
from virc.tools import horizontal_line

NAME = "vertical_line"
PUBLISHED = "DrawVerticalLineByX"
TEMPLATE = "after_image"
SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Draw a vertical line on an image.",
        "parameters": {
            "type": "object",
            "properties": {
                "param": {"type": "string", "description": "where, in percent of the width: x=21.5"},
                "image_index": {"type": "integer", "description": "which image, 0 is the first"},
            },
            "required": ["param", "image_index"],
        },
    },
}


def apply(call: Call, source: Image.Image) -> Result:
    """The image with a line for each point of `param`."""
    return horizontal_line.drawn(PUBLISHED, call, source, 0)
