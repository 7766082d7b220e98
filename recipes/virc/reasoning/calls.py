"""What every tool speaks: a call, the view it is checked against, and the verdict."""

from collections.abc import Mapping, Sequence

import msgspec

from virc.reasoning.protocol import BoxForm, Coordinates

Size = tuple[int, int]
Box = tuple[int, int, int, int]


class ToolError(ValueError):
    """The call cannot be carried out under any reading; the message says why in one clause."""


class View(msgspec.Struct, frozen=True):
    """What the model has seen, and what its boxes mean.

    Args:
        sizes: (width, height) in pixels of every image as shown, oldest first.
        coordinates, box: as in `Protocol`.
        originals: (width, height) in pixels of the files of the inputs, which come first; none: they were shown as
            they are.
    """

    sizes: Sequence[Size]
    coordinates: Coordinates = "pixel"
    box: BoxForm = "corners"
    originals: Sequence[Size] = ()


class Call(msgspec.Struct, frozen=True):
    """A checked call: `index` >= 0 into the history, `box` in pixels of that image as shown."""

    name: str
    index: int
    box: Box | None = None
    factor: float | None = None


class Checked(msgspec.Struct, frozen=True):
    """The call and the names of what was forgiven to read it so (`box_clamped`, `factor_snapped`)."""

    call: Call
    deviations: tuple[str, ...] = ()


def require_keys(arguments: Mapping[str, object], *names: str) -> None:
    """Raise ToolError unless the arguments are exactly those named."""
    if set(arguments) != set(names):
        raise ToolError(f"the arguments must be exactly {' and '.join(names)}")
