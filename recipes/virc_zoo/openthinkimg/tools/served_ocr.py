"""`served_ocr`: read the text of an image, by a server of OpenThinkIMG."""

from virc.reasoning.calls import INDEX_SCHEMA, function_schema
from virc_zoo.openthinkimg.tools import _servers

NAME = "served_ocr"
TEMPLATE = "after_image"
SCHEMA = function_schema(NAME, "Read the text of an image.", ("image_index",), image_index=INDEX_SCHEMA)

apply = _servers.called("OCR")
