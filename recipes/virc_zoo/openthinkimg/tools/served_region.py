"""`served_region`: mark the region around a point, by a server of OpenThinkIMG."""

from virc_zoo.openthinkimg.tools import _servers

NAME = "served_region"
TEMPLATE = "after_image"
SCHEMA = _servers.schema_of(
    NAME, "Mark the region around a point of an image.", 'the point in percent of the sides, x="21.5" y="28.5"'
)

apply = _servers.called("SegmentRegionAroundPoint")
