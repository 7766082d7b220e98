"""`enhance_image`: make faint or noisy parts of an image readable; with a box, of that part alone."""

from PIL import Image, ImageEnhance, ImageOps

from virc.reasoning.calls import INDEX_SCHEMA, Call, ToolError, function_schema, numbers_schema

NAME = "enhance_image"
TEMPLATE = "after_image"
SCHEMA = function_schema(
    NAME,
    "Change the contrast, brightness or colours of an image or of a part of it.",
    ("change", "image_index"),
    change={
        "type": "string",
        "enum": ["contrast", "brightness", "sharpness", "threshold", "gray", "invert", "equalize"],
        "description": "threshold: black below `amount` of 0 to 255, else white; equalize: all tones alike"
        " often; contrast, brightness, sharpness: `amount` times as much",
    },
    amount={"type": "number", "minimum": 0, "maximum": 255},
    bbox_2d=numbers_schema(4, "left, top, right, bottom in {unit}; all of the image where it is left out"),
    image_index=INDEX_SCHEMA,
)
_FACTORS = {
    "contrast": ImageEnhance.Contrast,
    "brightness": ImageEnhance.Brightness,
    "sharpness": ImageEnhance.Sharpness,
}
_DEFAULT_FACTOR, _MAX_FACTOR = 2.0, 20.0
_MIDDLE = 128


def apply(call: Call, source: Image.Image) -> Image.Image:
    """The changed part; ToolError: `amount` is none that the change has."""
    part = (source.crop(call.box) if call.box else source).convert("RGB")
    change, amount = call.arguments["change"], call.arguments.get("amount")
    if change in _FACTORS:
        factor = _DEFAULT_FACTOR if amount is None else amount
        if factor > _MAX_FACTOR:
            raise ToolError(f"an amount of {factor:g} is over {_MAX_FACTOR:g}, the most for {change}", "arguments")
        return _FACTORS[change](part).enhance(factor)
    if change == "threshold":
        least = _MIDDLE if amount is None else amount
        return part.convert("L").point([255 * (tone >= least) for tone in range(256)]).convert("RGB")
    if change == "gray":
        return part.convert("L").convert("RGB")
    return ImageOps.invert(part) if change == "invert" else ImageOps.equalize(part)
