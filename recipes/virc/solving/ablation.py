"""Ablations: a model is shown something else than the image, to measure whether it looks and reads its crops.

A model that reads its crops gives the counterfactual's answer when they are cut from the counterfactual, the same
figure with other values, and can only guess when they are blank, blurred or those of another problem. In all of these
the image as a whole stays as it is.
"""

import re
from typing import Any, Literal

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.reasoning.images import Shown
from virc.reasoning.protocol import Protocol
from virc.solving.rows import ProblemRow

CropAblation = Literal["none", "blank", "counterfactual", "swapped", "blurred", "no-picture", "no-tools"]
"""Crops are cut from the image itself, from white paper, from the picture of its counterfactual, from that of another
row, or from the image blurred; the image itself is white; or there are no tools."""
_BLURRED = 48  # pixels of the longer side that a blurred image is left with
_LISTED = re.compile(r"(?<=<tools>\n).*?(?=</tools>)", re.DOTALL)
_HINT = "`virc data synth --counterfactuals` draws problems that have one"


class Counterfactual(msgspec.Struct, frozen=True):
    """The same figure with other values: a picture of the same size (path or URL), and its right answer."""

    image: str
    answer: str | int | float


def counterfactual_of(row: ProblemRow) -> Counterfactual:
    if "counterfactual" not in row.passed:
        raise DataError("it has no counterfactual from which crops could be cut", _HINT)
    try:
        counterfactual = msgspec.convert(row.passed["counterfactual"], Counterfactual)
    except msgspec.ValidationError:
        raise DataError("its counterfactual is no object with an image and an answer", _HINT) from None
    if len(row.images) > 1:
        raise DataError("it has a counterfactual, which only a row of one image can have")
    return counterfactual


def ablated_fields(row: ProblemRow, ablation: CropAblation) -> dict[str, Any]:
    if ablation == "counterfactual":
        return row.passed | {"answer": counterfactual_of(row).answer, "answers": None}
    return row.passed


def ablated(shown: Shown, ablation: CropAblation, other: Shown) -> Shown:
    """The image as it is shown; what `other` shows is in its crops if those are of another picture."""
    match ablation:
        case "none" | "no-tools":
            return shown
        case "no-picture":
            return Shown(_white(shown), original=shown.original)
        case "blank":
            placeholder = _white(shown)
        case "blurred":
            placeholder = _blurred(shown.pixels)
        case "counterfactual" | "swapped":
            placeholder = other.full
    if ablation == "counterfactual" and other.size != shown.size:
        sizes = " and ".join(f"{width} x {height} px" for width, height in (shown.size, other.size))
        raise DataError(f"the image and its counterfactual differ in size: {sizes}")
    changed = shown.with_placeholder(placeholder)
    changed.cut_from(shown.full)  # crops are as large as without an ablation
    return changed


def without_tools(protocol: Protocol) -> Protocol:
    return msgspec.structs.replace(protocol, tools=(), schemas=(), system=_LISTED.sub("", protocol.system))


def _white(shown: Shown) -> Image.Image:
    return Image.new("RGB", shown.size, "white")


def _blurred(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((_BLURRED, _BLURRED))
    return small.resize(image.size, Image.Resampling.BICUBIC)
