"""`scale_image`: enlarge or shrink an image shown before."""

import math
from collections.abc import Mapping

from PIL import Image

from virc.reasoning.calls import INDEX_SCHEMA, Call, Checked, ToolError, View, function_schema, require_keys
from virc.reasoning.coordinates import resolve_index
from virc.reasoning.resample import Rescaled

FACTORS = (0.25, 0.5, 1.5, 2.0, 2.5, 4.0)

NAME = "scale_image"
TEMPLATE = "after_scale"
SCHEMA = function_schema(
    NAME,
    "Enlarge or shrink an image.",
    ("scale_factor", "image_index"),
    scale_factor={"type": "number", "description": "from 0.25 to 4"},
    image_index=INDEX_SCHEMA,
)


def check(arguments: Mapping[str, object], view: View) -> Checked:
    """Read a scale call; its factor becomes the nearest that is offered, of two equally near the smaller.

    Returns:
        The call with the offered factor (the one asked for stands in `arguments`), and of `index_negative`
        and `factor_snapped` those that had to be forgiven.

    Raises:
        ToolError: wrong keys or types, no such image, or a factor outside 0.25 to 4.
    """
    require_keys(arguments, "scale_factor", "image_index")
    index, deviations = resolve_index(arguments["image_index"], view)
    asked = arguments["scale_factor"]
    if type(asked) is not int and (type(asked) is not float or not math.isfinite(asked)):
        raise ToolError("scale_factor is not a number")
    if not FACTORS[0] <= asked <= FACTORS[-1]:
        raise ToolError(f"scale_factor is outside {FACTORS[0]} to {FACTORS[-1]:g}")
    factor = min(FACTORS, key=lambda offered: abs(offered - asked))
    return Checked(Call(NAME, index, factor=factor), deviations + ("factor_snapped",) * (factor != asked))


def apply(call: Call, source: Image.Image) -> Rescaled:
    """The image at int(side * factor)."""
    assert call.factor is not None
    width, height = (max(1, int(side * call.factor)) for side in source.size)
    return Rescaled(source, (width, height))
