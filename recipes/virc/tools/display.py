"""`display_image`: show an image again."""

from collections.abc import Mapping

from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Checked, View, function_schema, require_keys
from virc.reasoning.coordinates import resolve_index

NAME = "display_image"
TEMPLATE = "after_image"
SCHEMA = function_schema(NAME, "Show an image again.", ("image_index",), image_index=INDEX_SCHEMA)


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a display call.

    Returns:
        The call, and `index_negative` where it had to be forgiven.

    Raises:
        ToolError: wrong keys or types, or no such image.
    """
    require_keys(arguments, "image_index")
    index, deviations = resolve_index(arguments["image_index"], view)
    return Checked(Call(NAME, index), deviations)


def apply(call: Call, source: Image.Image) -> Image.Image:
    """The image itself."""
    return source
