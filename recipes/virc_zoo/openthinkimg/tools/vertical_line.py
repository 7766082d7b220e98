"""`vertical_line`: a dashed line down an image at a place in percent of its width, as `horizontal_line`.

Source: zhaochen0110/OpenThinkIMG@45d295f, tool_server/tool_workers/online_workers/DrawVerticalLineByX_worker.py.
"""

from PIL import Image

from virc.reasoning.calls import Call, Result
from virc_zoo.openthinkimg.tools import horizontal_line
from virc_zoo.openthinkimg.tools._servers import schema_of

NAME = "vertical_line"
TEMPLATE = "after_image"
SCHEMA = schema_of(NAME, "Draw a vertical line on an image.", "where, in percent of the width: x=21.5")


def apply(call: Call, source: Image.Image) -> Result:
    """The image with a line for each point of `param`."""
    return horizontal_line.drawn("DrawVerticalLineByX", call, source, 0)
