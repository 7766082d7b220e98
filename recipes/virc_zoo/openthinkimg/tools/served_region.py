"""`served_region`: mark the region around a point, by a server of OpenThinkIMG."""

from functools import partial

from virc.reasoning.calls import INDEX_SCHEMA, function_schema
from virc_zoo.openthinkimg.tools import _servers

NAME = "served_region"
PUBLISHED = "SegmentRegionAroundPoint"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Mark the region around a point of an image.",
    ("param", "image_index"),
    param={"type": "string", "description": 'the point in percent of the sides, x="21.5" y="28.5"'},
    image_index=INDEX_SCHEMA,
)

apply = partial(_servers.called, PUBLISHED)
