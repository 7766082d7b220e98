"""Crop ablation: crops show something else than the image, to measure whether a model reads them.

A model that reads its crops gives the counterfactual's answer when they are cut from the counterfactual, the same
figure with other values, and can only guess when they are blank. The image as a whole stays as it is.
"""

from typing import Any, Literal

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.reasoning.images import Shown
from virc.solving.rows import Row

CropAblation = Literal["none", "blank", "counterfactual"]
"""Crops are cut from the image itself, from white paper, or from the picture of its counterfactual."""
_HINT = "`virc data synth --counterfactuals` draws problems that have one"


class Counterfactual(msgspec.Struct, frozen=True):
    """The same figure with other values: a picture of the same size (path or URL), and its right answer."""

    image: str
    answer: str | int | float


def counterfactual_of(row: Row) -> Counterfactual:
    """The counterfactual of a row; a DataError where it has none, or several images."""
    if "twin" in row.passed:
        raise DataError("the field `twin` is called `counterfactual` now", _HINT)
    if "counterfactual" not in row.passed:
        raise DataError("it has no counterfactual from which crops could be cut", _HINT)
    try:
        counterfactual = msgspec.convert(row.passed["counterfactual"], Counterfactual)
    except msgspec.ValidationError:
        raise DataError("its counterfactual is no object with an image and an answer", _HINT) from None
    if len(row.images) > 1:
        raise DataError("it has a counterfactual, which only a row of one image can have")
    return counterfactual


def ablated_fields(row: Row, ablation: CropAblation) -> dict[str, Any]:
    """The fields by which an answer to the row is scored."""
    if ablation == "counterfactual":
        return row.passed | {"answer": counterfactual_of(row).answer}
    return row.passed


def with_blank_crops(shown: Shown) -> Shown:
    """The image; every crop of it is white."""
    return shown.over(Image.new("RGB", shown.size, "white"))


def with_counterfactual_crops(shown: Shown, counterfactual: Shown) -> Shown:
    """The image; every crop of it is cut from its counterfactual, which must have the same size."""
    if counterfactual.size != shown.size:
        sizes = " and ".join(f"{width} x {height} px" for width, height in (shown.size, counterfactual.size))
        raise DataError(f"the image and its counterfactual differ in size: {sizes}")
    return shown.over(counterfactual.pixels)
