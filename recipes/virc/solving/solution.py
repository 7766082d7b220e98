"""What a Python caller gets of a problem, and how a notebook shows it."""

import base64
import html
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from PIL import Image

from virc.core.errors import NoAnswerError, UsageError, VircError
from virc.core.text import plain
from virc.reasoning.calls import Size
from virc.reasoning.images import Shown
from virc.reasoning.trace import Trace
from virc.solving.one import Attempt, OnEvent
from virc.solving.outcome import Fields
from virc.solving.traces.continuing import Conversation
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
        conversation: what a further question goes on from; None of a row, of a pipeline, and without an answer.
        asked_on: asks one; a copy in another process has none.
    """

    answer: str | None
    fields: Fields
    error: BaseException | None = None
    trace: Path | None = None
    seconds: float | None = None
    row: object = None
    view: View | None = None
    conversation: Conversation | None = None
    asked_on: Callable[[str, str | Path | None, OnEvent], "Solution"] | None = None

    def ask(self, question: str, *, trace: str | Path | None = None, on_event: OnEvent = lambda _: None) -> "Solution":
        """Ask a further question about the same pictures; the model sees the whole conversation before it.

        Tools are called again. A model that `solve` opened is opened again: `load` one to keep it.

        Args:
            trace: folder for the whole conversation, its images and a page.
            on_event: as of `solve`.

        Returns:
            The answer; if the model gave none, `error` is a `NoAnswerError`.

        Raises:
            UsageError: there is no answer to go on from, or it is that of a row, a pipeline or another process.
            DataError: a picture has changed, or a tool returns something else.
            NetworkError, EngineError: the model failed.
        """
        if self.asked_on is None:
            sentence = "no question can follow: the answer is none, or one of a row, a pipeline or another process"
            raise UsageError(sentence, "virc.solve(...).ask(...)")
        return replied(self.asked_on(question, trace, on_event))

    def __reduce__(self) -> tuple[type["Solution"], tuple[object, ...]]:
        return Solution, (*msgspec.structs.astuple(self)[:-1], None)  # an open model stays in its process

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


def replied(solution: Solution) -> Solution:
    """The same solution. Raises VircError: its error, unless the model replied and gave no answer."""
    if solution.answer is None and not isinstance(solution.error, NoAnswerError):
        assert solution.error
        raise solution.error
    return solution
