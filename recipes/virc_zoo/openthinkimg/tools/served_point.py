"""`served_point`: find where something is in an image, by a server of OpenThinkIMG."""

from virc_zoo.openthinkimg.tools import _servers

NAME = "served_point"
TEMPLATE = "after_image"
SCHEMA = _servers.schema_of(NAME, "Find a thing in an image: x and y in percent of its sides.", "what to find")

apply = _servers.called("Point")
