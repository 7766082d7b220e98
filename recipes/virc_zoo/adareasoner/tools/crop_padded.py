"""`crop_padded`: cut a box out of an image that is called img_1, img_2 ...; sides under 32 px are filled up with white.

Source: ssmisya/AdaReasoner@19c799d, tool_server/tool_workers/online_workers/crop_worker_prompt.py.
"""

import re

from PIL import Image

from virc.reasoning.calls import Call, Conversation, Result, ToolError, function_schema

NAME, TEMPLATE, _SIDES = "crop_padded", "after_image", ("width", "height")
SCHEMA = function_schema(NAME, "Cut a box out.", ("image", "coordinates"), image={}, coordinates={})
_BOX = re.compile(r"\[" + ",".join([r"\s*(\d+\.?\d*|\.\d+)\s*"] * 4) + r"\]", re.ASCII)


def apply_to_all(call: Call, conversation: Conversation) -> Result:
    """The pixels in the box, and width and height. Raises ToolError: there is no such image, or no such box in it."""
    name, written = str(call.arguments["image"]), str(call.arguments["coordinates"])
    images = {f"img_{number}": each for number, each in enumerate(conversation.images, 1)}
    if name not in images:
        raise ToolError(f"there is no image {name[:60]!r}; there are: {', '.join(images)}", "image", image=name[:200])
    image, found = images[name](), _BOX.match(written)
    box = [*map(float, found.groups())] if found else [0.0]
    size = dict(zip(_SIDES, image.size, strict=True))
    if max(box) <= 1:
        raise ToolError(f"{written[:60]!r} is no box in pixels", "numbers", box=written[:200], **size)
    left, top, right, bottom = map(int, box)
    if not (left <= right <= image.width and top <= bottom <= image.height):
        raise ToolError(f"the box {box} leaves the image of {image.width} x {image.height}", "outside", **size)
    cut = image.crop((left, top, right, bottom))
    shown = Image.new("RGB", (max(cut.width, 32), max(cut.height, 32)), "white")
    shown.paste(cut, ((shown.width - cut.width) // 2, (shown.height - cut.height) // 2))
    return Result(str(dict(zip(_SIDES, shown.size, strict=True))), [shown])
