"""A trace as one self-contained page: no script, no network, every image embedded once.

All text that a model, a server or a user wrote is escaped, and characters that would hide or reorder it are
shown by their code point.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Protocol

import msgspec

from virc.core.text import duration, plain
from virc.core.web import html
from virc.reasoning.calls import Box, Call, Size
from virc.reasoning.trace import CallResult, FailureKind, ImageRecord, Trace, Unit
from virc.solving.traces.time_line import time_lines

LONG_TEXT = 160
"""Characters from which a question or answer is set small."""
_VERDICT, _VERDICT_END = b"<!-- verdict -->", b"<!-- end of verdict -->"  # text of others, which is escaped, has none
_HEADINGS = {True: ("right", "Right"), False: ("wrong", "Wrong"), None: ("undecided", "Undecided: the judge failed")}
_FAILURES: Mapping[FailureKind, str] = {
    "no_answer": "Cannot tell",
    "turns": "Out of turns",
    "tries": "No usable reply",
    "interrupted": "Interrupted",
    "network": "The server failed",
    "engine": "The model failed",
}

_MAX_WIDTH, _MAX_HEIGHT = 560, 420  # px on the page of a large picture, before the page narrows it
_SMALL, _MAX_ENLARGED = 240, 4  # px on the page of a small picture's longer side, and how far that may enlarge it
_TOGETHER = 16  # figures in the popover of a figure: all figures in each popover would be too large a page


class Pictured(Protocol):
    """An image as it is embedded in the page."""

    @property
    def size(self) -> Size:
        """(width, height) that boxes are counted in."""

    @property
    def original(self) -> Size | None:
        """(width, height) of the file of an input before it was resized."""

    @property
    def data_url(self) -> str:
        """Its file."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    image: int
    size: Size
    caption: str
    box: Box | None = None
    is_cut: bool = False

    @property
    def label(self) -> str:
        return self.caption + (f", box {corners(self.box)} marked" if self.box else "")

    @property
    def view_box(self) -> str:
        return f"0 0 {self.size[0]} {self.size[1]}"

    @property
    def shown(self) -> tuple[str, str]:
        width, height = self.size
        enlarged = min(max(1, _SMALL / max(width, height)), _MAX_ENLARGED)
        scale = min(enlarged, _MAX_WIDTH / width, _MAX_HEIGHT / height)
        return f"{width * scale:.0f}", f"{height * scale:.0f}"

    @property
    def outline(self) -> str:
        if self.box is None:
            return ""
        left, top, right, bottom = self.box
        return f"M{left} {top}H{right}V{bottom}H{left}Z"


class Gallery:
    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def add(
        self, record: ImageRecord, caption: str, box: Box | None = None, *, is_cut: bool = False, of_file: str = ""
    ) -> Figure:
        size = (record.width, record.height)
        said = f", {record.place.label}" if record.place else ""
        caption = f"{caption}{said}, {size[0]} × {size[1]} px{of_file}"
        number = len(self.figures)
        figure = Figure(number=number, image=record.index, size=size, caption=caption, box=box, is_cut=is_cut)
        self.figures.append(figure)
        return figure

    def together(self, figure: Figure) -> Sequence[Figure]:
        first = figure.number // _TOGETHER * _TOGETHER
        return self.figures[first : first + _TOGETHER]


def corners(box: Box) -> str:
    left, top, right, bottom = box
    return f"{left},{top}–{right},{bottom}"


def render_page(trace: Trace, images: Sequence[Pictured], meta: Mapping[str, object]) -> str:
    """Return the page of one trace as one HTML document; the `seconds` of `meta` are those of each unit."""
    gallery, seconds = Gallery(), _seconds(trace, meta)
    inputs = next((message.images for message in trace.messages if message.role == "user"), ())
    is_answered = bool(trace.turns) and trace.turns[-1].answer is not None
    asked = trace.questions if trace.earlier else {}
    return html.render(
        "solving/traces/page",
        pictures=True,
        long_text=LONG_TEXT,
        title=shortened(trace.question),
        trace=trace,
        images=images,
        failure=_FAILURES[trace.failure.kind] if trace.failure else None,
        byline=_byline(trace, meta, sum(filter(None, seconds))),
        inputs=[_input(trace.images[index], images[index], gallery) for index in inputs],
        units=[
            _unit(unit, trace, gallery, took) | {"asked": asked.get(number)}
            for number, (unit, took) in enumerate(zip_longest(trace.units, seconds))
        ],
        time_lines=time_lines(trace),
        is_pending=trace.failure is not None and not is_answered,
        facts=_facts(trace, meta),
        figures=gallery.figures,
        together=gallery.together,
    )


def shortened(question: str) -> str:
    return question if len(question) <= LONG_TEXT else question[:LONG_TEXT] + "…"


def with_verdict(page: bytes, right: bool | None, reference: str) -> bytes | None:
    """A page, or its beginning, with another verdict; None if it has no place for one. `right` None: undecided."""
    before, begin, rest = page.partition(_VERDICT)
    _, end, after = rest.partition(_VERDICT_END)
    if not end:
        return None
    css, heading = _HEADINGS[right]
    if right is None and not reference:
        heading = "Undecided: no right answer is known"
    verdict = html.part("solving/traces/verdict", css=css, heading=heading, reference=reference)
    return before + begin + verdict.encode() + end + after


def in_words(call: Call) -> str:
    """A call as a phrase, such as `crop 140,56–224,140 of image 0`, with other arguments behind their names."""
    rest = "".join(f", {name} {plain(value, 60)}" for name, value in call.arguments.items())
    verb = call.name.removesuffix("_image")
    if call.index is None:
        return verb + rest
    where = f"image {call.index}"
    if call.box is not None:
        where = f"{corners(call.box)} of {where}"
    return f"{verb} {where}" + (f" by {call.factor:g}" if call.factor is not None else "") + rest


def _seconds(trace: Trace, meta: Mapping[str, object]) -> Sequence[float | None]:
    """The time for the replies of each unit, None before the last question; empty if it is not known."""
    seconds = meta.get("seconds")
    if not isinstance(seconds, list | tuple) or len(seconds) != len(trace.turns):
        return ()
    is_known = all(isinstance(each, int | float) for each in seconds)
    return [*[None] * (len(trace.units) - len(seconds)), *seconds] if is_known else ()


def _time(seconds: float) -> str:
    return f"{seconds:.1f}\u00a0s" if seconds < 100 else duration(seconds)


def _input(record: ImageRecord, shown: Pictured, gallery: Gallery) -> Figure:
    width, height = shown.original or shown.size
    of_file = "" if (width, height) == shown.size else f"; its file has {width} × {height} px"
    return gallery.add(record, f"Image {record.index}", of_file=of_file)


def _part_of_file(record: ImageRecord, trace: Trace) -> str:
    if record.region is None:
        return ""
    root = record
    while root.parent is not None:
        root = trace.images[root.parent]
    return f"; {corners(record.region)} of the file of image {root.index}"


def _unit(unit: Unit, trace: Trace, gallery: Gallery, seconds: float | None) -> dict[str, object]:
    counts = (("prompt", unit.prompt_tokens), ("new", unit.completion_tokens))
    known = [f"{count:,} {name}" for name, count in counts if count is not None]
    cost = [" + ".join(known) + " tokens"] if known else []
    if seconds is not None:
        cost.append(_time(seconds))
    is_refused = any(result.error is not None for result in unit.results)
    is_unusable = not unit.calls and unit.answer is None and not is_refused  # only in data that others made
    calls = ", ".join(map(in_words, unit.calls))
    return {
        "heading": calls or ("not usable" if is_unusable else "error" if is_refused else "answer"),
        "cost": ", ".join(cost),
        "think": unit.think,
        "deviations": unit.deviations,
        "answer": unit.answer,
        "results": [_result(result, trace, gallery) for result in unit.results] if unit.answer is None else (),
        "rejected": unit.rejected,
        "is_unusable": is_unusable,
        "text": unit.text,
    }


def _result(result: CallResult, trace: Trace, gallery: Gallery) -> dict[str, object]:
    call, figures = result.call, []
    source = trace.images[call.index] if call and call.index is not None else None
    if call and source and (call.box is not None or call.factor is not None):
        figures.append(gallery.add(source, f"From image {call.index}", call.box))
    for index in result.images:
        made = ""
        if call and source and call.box is None:
            made = f": image {call.index} " + ("again" if call.factor is None else f"scaled by {call.factor:g}")
        record = trace.images[index]
        of_file = _part_of_file(record, trace)
        figures.append(gallery.add(record, f"Image {index}{made}", is_cut=True, of_file=of_file))
    text = result.text
    if result.error is not None:
        text = result.reason or result.error
        if result.reason not in (None, result.error):
            text += f"\nTold to the model: {result.error or 'nothing'}"
    return {"figures": figures, "text": text, "is_failed": result.error is not None}


def _byline(trace: Trace, meta: Mapping[str, object], seconds: float) -> str:
    counts = [unit.completion_tokens for unit in trace.turns if unit.completion_tokens is not None]
    parts = [
        str(meta.get("model") or meta.get("row") or "model not stated"),
        f"{sum(counts):,} new tokens" if counts else "",
        _time(seconds) if seconds else "",
        f"reward {meta['reward']:.3g}" if isinstance(meta.get("reward"), int | float) else "",
    ]
    return " · ".join(filter(None, parts))


def _facts(trace: Trace, meta: Mapping[str, object]) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(meta, enc_hook=str)
    if isinstance(sampling := plain.get("sampling"), dict):  # each try's is in trace.json, as are the versions
        plain["sampling"] = {key: value for key, value in sampling.items() if key != "tries"}
    facts = {"chat_protocol": trace.protocol.name, "coordinates": trace.protocol.coordinates} | plain
    left_out = ("model", "row", "seconds", "versions", "pictures")
    return {key: value for key, value in facts.items() if value is not None and key not in left_out}
