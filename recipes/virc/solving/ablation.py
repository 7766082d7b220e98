"""What the crops of an evaluation show: whether a model really looks shows when they are cut from something else (D16).

A model that reads its crops gives the answer of a twin, the same figure with other values, when they are cut from that
one's picture, and can only guess when they are white. The overview stays as it is.
"""

from typing import Any, Literal

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.reasoning.images import Shown
from virc.solving.rows import Row

Crops = Literal["shown", "blank", "twin"]
"""Cut from the picture itself, from white paper, or from the picture of its twin."""


class Twin(msgspec.Struct, frozen=True):
    """The twin of a problem, as the field `twin` of its row has it.

    Args:
        image: a picture of the same size, named as `image` is.
        answer: what is right there.
    """

    image: str
    answer: str | int | float


def twin_of(row: Row) -> Twin:
    """The twin of a row.

    Raises:
        DataError: it has none, or several images of which nobody says whose it is.
    """
    hint = "virc data synth --counterfactuals draws problems that have one"
    if "twin" not in row.passed:
        raise DataError("it has no twin from which crops could be cut", hint)
    try:
        twin = msgspec.convert(row.passed["twin"], Twin)
    except msgspec.ValidationError:
        raise DataError("its twin is no object with an image and an answer", hint) from None
    if len(row.images) > 1:
        raise DataError("it has a twin, which only a row of one image can have")
    return twin


def fields_of(row: Row, crops: Crops) -> dict[str, Any]:
    """The fields by which an answer to the row is scored.

    Raises:
        DataError: as `twin_of`, where crops are the twin's.
    """
    return row.passed | {"answer": twin_of(row).answer} if crops == "twin" else row.passed


def cut_from_white(shown: Shown) -> Shown:
    """The image, with white paper in every crop of it."""
    return shown.over(Image.new("RGB", shown.size, "white"))


def cut_from_twin(shown: Shown, twin: Shown) -> Shown:
    """The image, with what its twin has there in every crop of it.

    Raises:
        DataError: they differ in size.
    """
    if twin.size != shown.size:
        sizes = " and ".join(f"{width} x {height} px" for width, height in (shown.size, twin.size))
        raise DataError(f"the image and its twin differ in size: {sizes}")
    return shown.over(twin.pixels)
