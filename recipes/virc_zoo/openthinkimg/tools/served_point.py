"""`served_point`: find where something is in an image, by a server of OpenThinkIMG."""

from functools import partial

from virc.reasoning.calls import INDEX_SCHEMA, function_schema
from virc_zoo.openthinkimg.tools import _servers

NAME = "served_point"
PUBLISHED = "Point"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Find a thing in an image: x and y in percent of its sides.",
    ("param", "image_index"),
    param={"type": "string", "description": "what to find"},
    image_index=INDEX_SCHEMA,
)

apply = partial(_servers.called, PUBLISHED)
