"""Which pictures and texts are the same, or nearly: small copies of pictures, and the words of texts."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Generic, TypeVar

from PIL import Image, ImageChops

from virc.core.errors import VircError
from virc.data.rows.record import Picture
from virc.reasoning.opening.pictures import opened_all

MAX_DIFFERENCE = 0.27
"""The most by which a part of a picture may be darker or lighter in a copy of it, as a share of the picture's contrast.

Of 500 drawn figures of 200 x 250 px, copies in half the size, with a quarter of the quality of JPEG, or both, differ
by up to 0.25; tables with other small digits differ by 0.28 and more, the same figures with other numbers by 0.41 and
more, two figures by 0.73 and more. Perceptual hashes of 64 to 256 bits (pHash, dHash, PDQ) do not tell figures with
other numbers from copies.
"""
EDGE = 56
"""Parts of a side of a fingerprint."""
_Place = TypeVar("_Place")
_BANDS, _PARTS = 4, 8  # of the hash by which copies are looked for, and of its side
_LEVELS = 2  # of grey by which a part is lighter than the next where it is not for the noise of JPEG


class Copies(Generic[_Place]):
    """Fingerprints of pictures, each with a place; finds those of which a picture is nearly a copy: 4 KB for each."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[Image.Image, _Place]]] = {}

    def add(self, own: Image.Image, place: _Place) -> None:
        for band in bands(own):
            self._known.setdefault(band, []).append((own, place))

    def of(self, picture: Image.Image) -> Iterator[_Place]:
        near = (each for band in bands(picture) for each in self._known.get(band, ()))
        for known, place in {id(each[0]): each for each in near}.values():
            if are_copies(known, picture):
                yield place


def fingerprint(picture: Image.Image) -> Image.Image:
    """The mean grey of 56 x 56 parts of a picture."""
    return picture.convert("L").resize((EDGE, EDGE), Image.Resampling.HAMMING)


def fingerprint_of(picture: Picture) -> Image.Image | None:
    """As `fingerprint`; None where the picture cannot be read."""
    with suppress(VircError, OSError), opened_all([(picture.read(), picture.name or "an image")]) as opened:
        return fingerprint(opened[0].pixels)
    return None


def bands(own: Image.Image) -> list[str]:
    """Parts of a hash of a fingerprint; copies have at least one in common."""
    small = own.resize((_PARTS + 1, _PARTS), Image.Resampling.BOX).tobytes()
    rows = (small[at * (_PARTS + 1) : (at + 1) * (_PARTS + 1)] for at in range(_PARTS))
    bits = "".join("01"[left + _LEVELS < right] for row in rows for left, right in pairwise(row))
    size = len(bits) // _BANDS
    return [f"{at} {bits[at * size : (at + 1) * size]}" for at in range(_BANDS)]


def are_copies(one: Image.Image, other: Image.Image) -> bool:
    contrast = max(lightest - darkest for darkest, lightest in map(_extremes, (one, other)))
    return _extremes(ImageChops.difference(one, other))[1] <= MAX_DIFFERENCE * contrast


def _extremes(grey: Image.Image) -> tuple[int, int]:
    darkest, lightest = grey.getextrema()
    return int(darkest), int(lightest)  # type: ignore[arg-type]  # of a picture with one channel


def words(text: str) -> str:
    found = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(found)} "
