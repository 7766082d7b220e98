"""What is made worse on purpose: the pictures that a model is shown, or one step of a right solution."""

import re
from collections.abc import Sequence
from random import Random

from PIL import Image

from virc.reasoning.calls import Size
from virc.reasoning.images import Shown
from virc.scoring.boxes import Box, iou

NOISE = 0.5
"""The share of noise in a corrupted picture."""
MAX_OVERLAP = 0.3
"""The largest IoU of a moved box with the box that it was."""
_TRIES = 30
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_BOX = re.compile(rf"[\[(]{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])]")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")


def noisy(shown: Shown, random: Random) -> Shown:
    """The picture, and what crops of it are cut from, with `NOISE` of each pixel drawn at random."""
    full = _noisy(shown.full, random) if shown.full_size != shown.size else None
    return Shown(_noisy(shown.pixels, random), original=shown.original, is_jpeg=shown.is_jpeg, full=full)


def _noisy(picture: Image.Image, random: Random) -> Image.Image:
    noise = Image.frombytes("RGB", picture.size, random.randbytes(3 * picture.width * picture.height))
    return Image.blend(picture, noise, NOISE)


def moved_box(text: str, sides: Size, random: Random) -> tuple[str, float] | None:
    """The text with its first box moved elsewhere in the picture, and 1 less their IoU; None where none can be.

    Args:
        sides: how much the text's coordinates count along each side of the picture.
    """
    found = _BOX.search(text)
    if found is None:
        return None
    written = found.groups()
    decimals = max(len(each.partition(".")[2]) for each in written)
    left, top, right, bottom = box = _floats(written)
    room = (sides[0] - (right - left), sides[1] - (bottom - top))
    if right <= left or bottom <= top or min(room) < 0:
        return None
    for _ in range(_TRIES):
        x, y = (round(random.uniform(0, side), decimals) for side in room)
        moved = (x, y, round(x + right - left, decimals), round(y + bottom - top, decimals))
        if (shared := iou(box, moved)) <= MAX_OVERLAP:
            return _replaced(text, found, [f"{each:.{decimals}f}" for each in moved]), 1 - shared
    return None


def _floats(written: Sequence[str]) -> Box:
    left, top, right, bottom = map(float, written)
    return left, top, right, bottom


def _replaced(text: str, found: re.Match[str], numbers: Sequence[str]) -> str:
    """The text with other numbers in place of the groups of a match."""
    for group in range(len(numbers), 0, -1):
        text = text[: found.start(group)] + numbers[group - 1] + text[found.end(group) :]
    return text


def other_number(text: str, answer: str, random: Random) -> tuple[str, str] | None:
    """The text and the answer with another number of as many digits in place of the answer's first, wherever it stands.

    None where the answer has no number.
    """
    found = _DIGITS.search(answer)
    if found is None:
        return None
    number = found[0]
    for _ in range(_TRIES):
        at = random.randrange(len(number))
        digits = "123456789" if at == 0 else "0123456789"
        other = number[:at] + random.choice(digits) + number[at + 1 :]
        if other != number and number[at].isdigit():
            alone = re.compile(rf"(?<![\d.]){re.escape(number)}(?!\d|\.\d)")
            return alone.sub(other, text), alone.sub(other, answer)
    return None
