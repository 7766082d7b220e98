"""Which pictures and texts are the same, or nearly: small copies of pictures, and the words of texts."""

import re

from PIL import Image, ImageChops

MAX_DIFFERENCE = 0.36
"""The most by which a part of a picture may be darker or lighter in a copy of it, as a share of the picture's contrast.

Copies in half the size or with a quarter of the quality of JPEG differ by up to 0.30, tables with other digits by 0.44
and more, and charts, figures and pages of text by 0.70 and more.
"""
EDGE = 48
"""Parts of a side of a fingerprint."""


def fingerprint(picture: Image.Image) -> Image.Image:
    """The mean grey of 48 x 48 parts of a picture."""
    return picture.convert("L").resize((EDGE, EDGE), Image.Resampling.HAMMING)


def are_copies(one: Image.Image, other: Image.Image) -> bool:
    contrast = max(lightest - darkest for darkest, lightest in map(_extremes, (one, other)))
    return _extremes(ImageChops.difference(one, other))[1] <= MAX_DIFFERENCE * contrast


def _extremes(grey: Image.Image) -> tuple[int, int]:
    darkest, lightest = grey.getextrema()
    return int(darkest), int(lightest)  # type: ignore[arg-type]  # of a picture with one channel


def words(text: str) -> str:
    found = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(found)} "
