"""`served_subfigure`: show one plot of a figure alone, by a server of OpenThinkIMG."""

from functools import partial

from virc.reasoning.calls import INDEX_SCHEMA, function_schema
from virc_zoo.openthinkimg.tools import _servers

NAME = "served_subfigure"
PUBLISHED = "ZoomInSubfigure"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Show one plot of a figure alone.",
    ("param", "image_index"),
    param={"type": "string", "description": "the title or place of the plot"},
    image_index=INDEX_SCHEMA,
)

apply = partial(_servers.called, PUBLISHED)
