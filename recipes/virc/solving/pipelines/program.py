"""The program steps of a pipeline: code that a role wrote, run in the sandbox of the tool `python`."""

from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image

from virc.reasoning.calls import Conversation, ToolError, View
from virc.reasoning.images import OpenedImage
from virc.reasoning.protocol import own_protocol
from virc.tools import python


def runner(images: Sequence[OpenedImage]) -> Callable[[str, bool], str]:
    """What runs code and returns what it prints, its error included; the flag says whether it is given the images.

    They are the variables image_0, image_1 … of the code. Its result raises a SetupError where code cannot be isolated.
    """

    def run(code: str, with_images: bool) -> str:
        given = [partial(_pixels, image) for image in images] if with_images else []
        try:
            call = python.check({"code": code}, View([])).call
            return python.apply_to_all(call, Conversation(own_protocol(()), given, len(given), {})).text
        except ToolError as error:  # a loop may have it corrected, as any other error of the code
            return str(error)

    return run


def _pixels(image: OpenedImage) -> Image.Image:
    return image.pixels
