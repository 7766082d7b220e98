"""A conversation in the layout of the published sample: `conversation.json`, its picture, and the images it was shown.

Drawn for where the published one is not at hand. The images are made by Pillow alone.
"""

import json
from pathlib import Path

from PIL import Image, ImageDraw

_QUESTION = "Find $m\\angle H$ Choices: 97 102 107 122"
_TASK = (
    "Think step by step, call a **tool** where you need one, then answer. Write <think>...</think> "
    "<tool_call>...</tool_call> (for a tool) <answer>...</answer> (at the end)."
)
_GO_ON = "Use the tools and what they show. Go on."
_CORNERS = {"E": (60, 60), "F": (160, 20), "G": (270, 70), "H": (230, 200), "J": (80, 205)}
_ANGLES = {"E": "x", "F": "x + 20", "G": "x + 5", "H": "x - 5", "J": "x + 10"}
_WHOLE, _PART = (0, 0, 336, 252), (168, 101, 336, 151)
_SIZES = ((336, 252), (336, 252), (168, 56))


def draw(folder: Path) -> Path:
    """Write the sample into a folder, and return that."""
    picture = Image.new("RGB", (322, 245), "white")
    pen = ImageDraw.Draw(picture)
    pen.polygon([*_CORNERS.values()], outline="black")
    for name, (x, y) in _CORNERS.items():
        pen.text((x + 6, y + 6), f"{name}: {_ANGLES[name]}", fill="black")
    shown = picture.resize(_SIZES[0], Image.Resampling.LANCZOS)
    part = shown.crop(_PART).resize(_SIZES[2], Image.Resampling.LANCZOS)
    for name, image in zip(("image", "image-0", "image-1", "image-2"), (picture, shown, shown, part), strict=True):
        image.save(folder / f"{name}.png")
    (folder / "conversation.json").write_text(json.dumps(_turns(), indent=4), encoding="utf-8")
    return folder


def _turns() -> list[dict[str, str]]:
    replies = (
        f"<think>\nThe angles of a pentagon add up to 540.\n</think>\n\n{_call(_WHOLE, 0)}",
        f"<think>\nSo 5x + 30 = 540, and x = 102.\n</think>\n\n{_call(_PART, 1)}",
        "<think>\nH is 102 - 5.\n</think>\n\n<answer>\n97\n</answer>",
    )
    asked = (f"\nQuestion: {_QUESTION}\n\n{_TASK}", f" {_GO_ON}", f" {_GO_ON}")
    found = []
    for number, ((width, height), text, reply) in enumerate(zip(_SIZES, asked, replies, strict=True)):
        content = f"Image {number}: {width} x {height}.{text}"
        found += [
            {"role": "user", "content": content, "image": f"image-{number}.png of another machine"},
            {"role": "assistant", "content": reply},
        ]
    return found


def _call(box: tuple[int, ...], index: int) -> str:
    call = {"name": "crop_image", "arguments": {"bbox_2d": box, "image_index": index}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
