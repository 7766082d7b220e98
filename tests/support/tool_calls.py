"""Calls of image tools, as a model writes them, and what they make of a white picture of 200 x 100."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from virc.reasoning.calls import Checked, ToolError, View
from virc.reasoning.checking import check_call
from virc.reasoning.resample import Rescaled, resampled
from virc.tools import registry as tools

SIZE = (200, 100)
VIEW = View([SIZE])
RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)


def checked(name: str, view: View = VIEW, /, **arguments: object) -> Checked:
    return check_call(tools.get(name), {"image_index": 0, **arguments}, view)


def made(name: str, image: Image.Image | None = None, /, **arguments: object) -> Any:
    image = image or Image.new("RGB", SIZE, WHITE)
    result = tools.get(name).apply(checked(name, View([image.size]), **arguments).call, image)
    return resampled(result, result.size) if isinstance(result, Rescaled) else result


def refused(name: str, **arguments: object) -> str:
    with pytest.raises(ToolError) as caught:
        made(name, **arguments)
    return str(caught.value)


def of_color(image: Image.Image, color: tuple[int, int, int]) -> set[tuple[int, int]]:
    return {(int(x), int(y)) for y, x in np.argwhere((np.asarray(image) == color).all(axis=2))}
