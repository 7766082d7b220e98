"""What a model is shown of an environment: images and a text."""

import json
import re
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from virc.reasoning.calls import Result

_MARGIN = 16  # pixels around a text that is drawn
_COLOURED = re.compile(r"\x1b\[[0-9;]+m(.*?)\x1b\[0m", re.DOTALL)


def seen(environment: Any, observation: Any) -> Result:
    """What there is to see after an action.

    Args:
        environment: its `render` gives an image with the render mode "rgb_array", a text with "ansi".
        observation: images in it are arrays of uint8, (height, width), or with 1 or 3 channels. Texts in it are shown;
            where there is nothing else to see, it is written as JSON.

    Raises:
        TypeError, ValueError: what the environment gives cannot be shown.
    """
    rendered = environment.render() if environment.render_mode in ("rgb_array", "ansi") else None
    if environment.render_mode == "rgb_array" and not _is_image(rendered):
        raise TypeError(f"render() gives {type(rendered).__name__}, and not an image")
    inner = observation.values() if isinstance(observation, dict) else observation
    parts = [rendered, *(inner if isinstance(observation, dict | tuple) else [observation])]
    images = [Image.fromarray(np.squeeze(each)).convert("RGB") for each in parts if _is_image(each)]
    texts = [_plain(each) for each in parts if isinstance(each, str)]
    if not images and not texts:
        texts = [json.dumps(observation, default=lambda part: part.tolist())]
    return Result("\n".join(texts), images)


def as_image(result: Result) -> Image.Image:
    """The first image of what is seen; where there is only a text, that text, drawn."""
    if result.images:
        first = result.images[0]
        assert isinstance(first, Image.Image)
        return first
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), result.text)
    made = Image.new("RGB", (int(right - left) + 2 * _MARGIN, int(bottom - top) + 2 * _MARGIN), "white")
    ImageDraw.Draw(made).multiline_text((_MARGIN - left, _MARGIN - top), result.text, "black")
    return made


def _is_image(part: Any) -> bool:
    if not isinstance(part, np.ndarray) or part.dtype != np.uint8 or 0 in part.shape:
        return False
    return part.ndim == 2 or (part.ndim == 3 and part.shape[2] in (1, 3))


def _plain(text: str) -> str:
    """A text in which what a terminal would show in colour, such as the place of the player, is in brackets."""
    return _COLOURED.sub(r"[\1]", text).strip("\n")
