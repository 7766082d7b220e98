"""The program steps of a pipeline: code that a role wrote, run in the sandbox of the tool `python`."""

from collections.abc import Sequence
from functools import partial

from PIL import Image

from virc.reasoning.calls import Conversation, ToolError, View
from virc.reasoning.images import OpenedImage
from virc.reasoning.protocol import own_protocol
from virc.solving.pipelines.values import Value
from virc.tools import python


def run_code(code: str, images: Sequence[OpenedImage]) -> Value:
    """What code prints, its error included, and the images that it saves or shows.

    Args:
        images: the variables image_0, image_1 … of the code.

    Raises:
        SetupError: code cannot be isolated here.
    """
    given = [partial(_pixels, image) for image in images]
    try:
        call = python.check({"code": code}, View([])).call
        result = python.apply_to_all(call, Conversation(own_protocol(()), given, len(given), {}))
    except ToolError as error:  # a loop may have it corrected, as any other error of the code
        return Value((str(error),))
    pictures = tuple(OpenedImage(each.convert("RGB")) for each in result.images if isinstance(each, Image.Image))
    return Value((result.text,), pictures)


def _pixels(image: OpenedImage) -> Image.Image:
    return image.pixels
