"""How a file of pictures says that it is to be seen: a closed list, of which every reader answers every entry.

`ANSWERS` of `appearance` are those of pictures; readers of other files have their own.
"""

from typing import Literal

Aspect = Literal[
    "turn", "pixel shape", "range", "primaries", "transfer", "transparency", "interlacing", "further frames", "tracks",
    "parts", "clock", "layers", "form", "enclosed files", "missing fonts",
]  # fmt: skip
Answer = Literal["shown", "said", "cannot be there"]
"""What a reader does about an aspect: it shows pictures accordingly, says it in a sentence, or no file of it has it."""

NOTES: dict[str, tuple[Aspect, str]] = {
    "profile": ("primaries", "has a colour profile that cannot be read, and is shown as if its colours were sRGB"),
    "hdr": ("transfer", "is an HDR picture, and is shown without its brightest and darkest shades"),
    "shape": (
        "pixel shape",
        "has pixels that are not square: it is shown with square ones, in which its size and boxes are counted",
    ),
    "alpha": ("transparency", "is transparent everywhere: it is shown as if nothing were transparent"),
    "empty": ("transparency", "is transparent everywhere and has a single colour: it is shown as white"),
}
"""What is said of a picture that is shown otherwise than its numbers alone: sentences behind its name."""
