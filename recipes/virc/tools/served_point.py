"""`served_point`: find where something is in an image, by a server of OpenThinkIMG (`virc.remote.tool_servers`)."""

from functools import partial

from virc.reasoning.calls import INDEX_SCHEMA, function_schema
from virc.remote import tool_servers

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

apply = partial(tool_servers.called, PUBLISHED)
