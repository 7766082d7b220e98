"""Problems on pages that were turned by quarters, as a scanner or a phone does: the pattern `orient`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from PIL import Image

from virc.data.synth.problem import Label
from virc.reasoning.calls import Box, Size
from virc.tools.orient import CHANGES

BACK: Mapping[str, str] = {"turn_90": "turn_270", "turn_180": "turn_180", "turn_270": "turn_90"}
"""How a page may be turned, and the change of `orient_image` that makes it upright again."""


class Turn(msgspec.Struct, frozen=True):
    """How a page is turned, clockwise.

    Args:
        change: one of `BACK`.
        upright: (width, height) in px of the page before.
    """

    change: str
    upright: Size

    @property
    def back(self) -> str:
        """The change of `orient_image` that makes the page upright again."""
        return BACK[self.change]

    def picture(self, page: Image.Image) -> Image.Image:
        """The page as it is turned."""
        return page.transpose(CHANGES[self.change])

    def box(self, box: Box) -> Box:
        """Where a box of the upright page is then, px."""
        left, top, right, bottom = box
        width, height = self.upright
        match self.change:
            case "turn_90":
                return height - bottom, left, height - top, right
            case "turn_180":
                return width - right, height - bottom, width - left, height - top
        return top, width - right, bottom, width - left


def about(fields: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """The fields of a row with the boxes of its labels and of its looks where they are on the turned page."""
    labels: Sequence[Mapping[str, Any]] = fields["labels"]
    turned = [msgspec.to_builtins(Label(each["text"], turn.box(each["box"]))) for each in labels]
    return {**fields, "labels": turned, "looks": [turn.box(box) for box in fields["looks"]], "turned": turn.change}
