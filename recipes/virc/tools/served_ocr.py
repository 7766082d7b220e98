"""`served_ocr`: read the text of an image, by a server of OpenThinkIMG (`virc.remote.tool_servers`)."""

from functools import partial

from virc.reasoning.calls import INDEX_SCHEMA, function_schema
from virc.remote import tool_servers

NAME = "served_ocr"
PUBLISHED = "OCR"
TEMPLATE = "after_image"
SCHEMA = function_schema(NAME, "Read the text of an image.", ("image_index",), image_index=INDEX_SCHEMA)

apply = partial(tool_servers.called, PUBLISHED)
