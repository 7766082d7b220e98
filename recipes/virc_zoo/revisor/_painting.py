"""What REVISOR reads on its clips: the time of each frame in seconds, red, in the lower left corner.

Source: SeerRay-Lab/REVISOR@7bc36fa, verl/utils/watermark.py. What differs: the font, and that the time is that of the
frame, where the program spreads times evenly from the start of a clip to its end.
"""

from PIL import Image

from virc_zoo.painted_frames import Paint, written

_CAPITAL, _MARGIN = 0.073, 0.05  # of the height of the frame: a capital letter of a font of a tenth of it


def painter(count: int, seconds: float) -> Paint:
    """What paints the frames of a clip."""

    def paint(image: Image.Image, number: int, seconds: float) -> None:
        capital, margin = image.height * _CAPITAL, int(image.height * _MARGIN)
        written(image, f"{seconds:.1f}", (margin, image.height - 1.4 * capital - margin), capital, "red")

    return paint
