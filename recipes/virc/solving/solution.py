"""What a Python caller gets of a problem, and how a notebook shows it."""

import base64
import html
import io
import math
from collections.abc import Mapping
from pathlib import Path

import msgspec
from PIL import Image

from virc.core.errors import VircError
from virc.core.text import plain
from virc.reasoning.calls import Size
from virc.reasoning.images import Shown
from virc.reasoning.trace import Trace
from virc.solving.one import Attempt
from virc.solving.outcome import Fields
from virc.solving.traces.page import render_page

_MAX_SIDE = 1024  # px of a picture in a notebook
_MAX_PIXELS = 16 * _MAX_SIDE**2  # of all pictures of a solution together
_QUALITY = 85  # of JPEG
_SMALL = 2**16  # pixels up to which a picture is kept without loss
_MAX_SHOWN = 80  # characters of an answer or an error on one line


class Preview(msgspec.Struct, frozen=True):
    """A picture that was shown to the model, of bounded size: (width, height) px as shown, and of the file if other."""

    size: Size
    original: Size | None
    data_url: str


class View(msgspec.Struct, frozen=True):
    trace: Trace
    pictures: tuple[Preview, ...]
    meta: Mapping[str, object]


class Solution(msgspec.Struct, frozen=True):
    """Result of one problem. A notebook shows its trace.

    Args:
        answer: None if the model gave none.
        fields: of `virc.solve/1`: model, protocol, turns, tool calls, tokens, settings …
        error: why there is no answer, or why the trace could not be written.
        trace: the folder of the trace, if one was written.
        seconds: from the opening of the pictures to the answer, without the loading of the model.
        row: of a batch, as it was given.
        view: what a notebook shows; None of a pipeline, and if nothing was asked.
    """

    answer: str | None
    fields: Fields
    error: BaseException | None = None
    trace: Path | None = None
    seconds: float | None = None
    row: object = None
    view: View | None = None

    def __repr__(self) -> str:
        said = [repr(plain(self.answer, _MAX_SHOWN)) if self.answer is not None else "None"]
        if self.error is not None:
            message = self.error.message if isinstance(self.error, VircError) else str(self.error)
            said.append(f"error={type(self.error).__name__}({plain(message, _MAX_SHOWN)!r})")
        known = {
            "model": plain(str(self.fields.get("model") or ""), _MAX_SHOWN) or None,
            "turns": self.fields.get("turns"),
        }
        said += [f"{name}={value!r}" for name, value in known.items() if value is not None]
        if self.seconds is not None:
            said.append(f"seconds={self.seconds:.2f}")
        return f"Solution({', '.join(said)})"

    def _repr_html_(self) -> str | None:
        if self.view is None:
            return None
        page = render_page(self.view.trace, self.view.pictures, self.view.meta)
        style = "border: 1px solid #8884; box-sizing: border-box; height: 40rem; resize: vertical; width: 100%"
        return f'<iframe sandbox title="Trace" style="{style}" srcdoc="{html.escape(page)}"></iframe>'


def view_of(attempt: Attempt, known: Fields) -> View:
    side = min(_MAX_SIDE, math.isqrt(_MAX_PIXELS // max(1, len(attempt.images))))
    pictures = tuple(_preview(each, side) for each in attempt.images)
    meta = {"model": known["model"], "device": known["device"], "sampling": known["settings"]}
    return View(attempt.trace, pictures, meta | {"seconds": attempt.seconds})


def _preview(shown: Shown, side: int) -> Preview:
    pixels, file = shown.pixels, io.BytesIO()
    if max(pixels.size) > side:
        scale = side / max(pixels.size)
        width, height = (max(1, round(length * scale)) for length in pixels.size)
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    kind = "png" if math.prod(pixels.size) <= _SMALL else "jpeg"  # lines and digits stay sharp in a small crop
    pixels.save(file, kind, quality=_QUALITY)
    url = f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
    return Preview(shown.size, shown.original, url)
