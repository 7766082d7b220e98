"""A trace as one self-contained page: no script, no network, every image embedded once.

All text that a model, a server or a user wrote is escaped, and characters that would hide or reorder it are
shown by their code point.
"""

from collections.abc import Mapping, Sequence

import msgspec

from virc.core.web.html import fill, in_line, key_name, safe
from virc.reasoning.calls import Box, Call
from virc.reasoning.images import Shown
from virc.reasoning.trace import CallResult, FailureKind, ImageRecord, Rejected, Trace, Unit

_LONG_TEXT = 160  # characters from which a question or answer is set small
_WIDEST, _TALLEST = 560, 420  # px on the page of a large picture, before the page narrows it
_SMALL, _MOST_ENLARGED = (240, 4)  # px on the page of a small picture's longer side, and how far that may enlarge it
_VERDICT, _VERDICT_END = b"<!-- verdict -->", b"<!-- end of verdict -->"  # text of others, which is escaped, has none
_HEADINGS = {
    True: ("verdict right", "Right"),
    False: ("verdict wrong", "Wrong"),
    None: ("verdict undecided", "Undecided: the judge failed"),
}
_FAILURES: Mapping[FailureKind, str] = {
    "no_answer": "Cannot tell",
    "turns": "Out of turns",
    "tries": "No usable reply",
    "interrupted": "Interrupted",
    "network": "The server failed",
    "engine": "The model failed",
}


def render_page(trace: Trace, images: Sequence[Shown], meta: Mapping[str, object]) -> str:
    """The page of one trace, finished or not, as one HTML document, with what `meta` says of it."""
    inputs = next((message.images for message in trace.messages if message.role == "user"), ())
    title = trace.question if len(trace.question) <= _LONG_TEXT else trace.question[:_LONG_TEXT] + "…"
    return fill(
        "solving/trace_page",
        pictures=True,
        title=safe(title, "[{}]"),
        store="\n".join(
            f'<image id="image-{at}" width="{image.width}" height="{image.height}" href="{image.data_url}"/>'
            for at, image in enumerate(images)
        ),
        question=safe(trace.question),
        question_class=_long(trace.question),
        outcome=_outcome(trace),
        byline=_byline(trace, meta),
        inputs="\n".join(_input(trace.images[index], images[index]) for index in inputs),
        units="\n".join(_unit(number, unit, trace) for number, unit in enumerate(trace.units, 1)),
        pending=_pending(trace),
        facts=_facts(trace, meta),
        chat_protocol="\n".join(
            f'<p class="reason">{message.role}</p><pre dir="auto">{safe(message.text)}</pre>'
            for message in trace.messages
            if message.role != "assistant"
        ),
    )


def with_verdict(page: bytes, right: bool | None, reference: str, reward: str = "") -> bytes | None:
    """A page with the verdict of an evaluation in place of a former one; None where it has no place for one.

    Args:
        page: in UTF-8; its beginning with the question and the answer is enough.
        right: None where the answer is undecided.
        reference: the right answer; empty where none is known.
        reward: what a reward gives the answer, as a sentence.
    """
    before, begin, rest = page.partition(_VERDICT)
    _, end, after = rest.partition(_VERDICT_END)
    if not end:
        return None
    css, heading = _HEADINGS[right]
    if right is None and not reference:
        heading = "Undecided: no right answer is known"
    known = f'<p>Reference: <b dir="auto">{safe(reference)}</b></p>' if reference else ""
    given = f'<p dir="auto">{safe(reward)}</p>' if reward else ""
    verdict = f'<div class="{css}"><span>Verdict</span><strong>{heading}</strong>{known}{given}</div>'
    return before + begin + verdict.encode() + end + after


def in_words(call: Call) -> str:
    """A call as a phrase, such as `crop 140,56–224,140 of image 0`."""
    verb = call.name.removesuffix("_image").replace("_", " ")
    if call.index is None:
        return verb
    where = f"image {call.index}"
    if call.box is not None:
        where = f"{_corners(call.box)} of {where}"
    return f"{verb} {where}" + (f" by {call.factor:g}" if call.factor is not None else "")


def _corners(box: Box) -> str:
    left, top, right, bottom = box
    return f"{left},{top}–{right},{bottom}"


def _long(text: str) -> str:
    return ' class="long"' if len(text) > _LONG_TEXT else ""


def _outcome(trace: Trace) -> str:
    if trace.answer is not None:
        answer = f'<strong dir="auto"{_long(trace.answer)}>{safe(trace.answer)}</strong>'
        return f'<div class="outcome"><span>Answer</span>{answer}</div>'
    heading, message = "Unfinished", ""
    if trace.failure is not None:
        heading, message = _FAILURES[trace.failure.kind], trace.failure.message
    return (
        f'<div class="outcome failed"><span>No answer</span><strong>{heading}</strong>'
        f'<p dir="auto">{safe(message)}</p></div>'
    )


def _input(record: ImageRecord, shown: Shown) -> str:
    """A picture of the question, and the size of its file where it was shown at another."""
    width, height = shown.original or shown.size
    of_file = "" if (width, height) == shown.size else f"; its file has {width} × {height} px"
    return _figure(record, f"Image {record.index}", of_file=of_file)


def _part_of_file(record: ImageRecord, trace: Trace) -> str:
    """What a crop shows in pixels of the file of an input, where it was cut from that."""
    if record.region is None:
        return ""
    root = record
    while root.parent is not None:
        root = trace.images[root.parent]
    return f"; {_corners(record.region)} of the file of image {root.index}"


def _figure(record: ImageRecord, caption: str, box: Box | None = None, css: str = "", of_file: str = "") -> str:
    """One picture with its caption in words, and the box drawn on it in the picture's own pixels."""
    width, height = record.width, record.height
    enlarged = min(max(1, _SMALL / max(width, height)), _MOST_ENLARGED)
    size = min(enlarged, _WIDEST / width, _TALLEST / height)
    label = f"{caption}, {width} × {height} px{of_file}"
    marked = f", box {_corners(box)} marked" if box else ""
    return (
        f'<figure{css}><svg class="picture" role="img" aria-label="{label}{marked}" '
        f'width="{width * size:.0f}" height="{height * size:.0f}" viewBox="0 0 {width} {height}">'
        f'<use href="#image-{record.index}"/>{_frame(box, width, height) if box else ""}</svg>'
        f"<figcaption>{label}</figcaption></figure>"
    )


def _frame(box: Box, width: int, height: int) -> str:
    """A box that stands out on any picture: a coloured line inside a white one, the rest dimmed a little."""
    left, top, right, bottom = box
    inner = f"M{left} {top}H{right}V{bottom}H{left}Z"
    return (
        f'<path class="veil" fill-rule="evenodd" d="M0 0H{width}V{height}H0Z{inner}"/>'
        f'<path class="halo" d="{inner}"/><path class="box" d="{inner}"/>'
    )


def _unit(number: int, unit: Unit, trace: Trace) -> str:
    counts = (("prompt", unit.prompt_tokens), ("new", unit.completion_tokens))
    known = [f"{count:,} {name}" for name, count in counts if count is not None]
    refused = any(result.error is not None for result in unit.results)
    unusable = not unit.calls and unit.answer is None and not refused  # only in data that others made
    names = ", ".join(f"<code>{safe(name)}</code>" for name in unit.deviations)
    note = f'<p class="note">Read with a correction: {names}</p>'
    heading = ", ".join(map(in_words, unit.calls)) or ("not usable" if unusable else "error" if refused else "answer")
    return (
        f'<article class="unit" aria-labelledby="unit-{number}"><header>'
        f'<h3 id="unit-{number}"><span class="number">{number}</span>{safe(heading.capitalize())}</h3>'
        f'<p class="cost">{" + ".join(known) + " tokens" if known else ""}</p></header>\n'
        f'<div><div class="thought" dir="auto">{safe(unit.think)}</div>{note if names else ""}</div>\n'
        f"{_look(unit, trace)}\n"
        f'<div class="folds">{_tries(unit.rejected, " open" * unusable)}'
        f'<details><summary>Reply as written</summary><pre dir="auto">{safe(unit.text)}</pre></details>'
        "</div></article>"
    )


def _look(unit: Unit, trace: Trace) -> str:
    """What the unit looked at beside what it got, or its answer."""
    if unit.answer is not None:
        css = "final" if trace.answer is not None else "final failed"
        return f'<p class="{css}" dir="auto">{safe(unit.answer)}</p>'
    return f'<div class="results">{"".join(_result(result, trace) for result in unit.results)}</div>'


def _result(result: CallResult, trace: Trace) -> str:
    """What one call looked at beside what it made, or what it said."""
    call, pictures = result.call, []
    source = trace.images[call.index] if call and call.index is not None else None
    if call and source and (call.box is not None or call.factor is not None):
        pictures.append(_figure(source, f"From image {call.index}", call.box))
    for index in result.images:
        made = ""
        if call and source and call.box is None:
            made = f": image {call.index} " + ("again" if call.factor is None else f"scaled by {call.factor:g}")
        record = trace.images[index]
        of_file = _part_of_file(record, trace)
        pictures.append(_figure(record, f"Image {index}{made}", css=' class="cut"', of_file=of_file))
    shown = f'<div class="pictures pair">{"".join(pictures)}</div>' if pictures else ""
    if result.error is None:
        return shown + (f'<pre class="said" dir="auto">{safe(result.text)}</pre>' if result.text else "")
    told = "" if result.reason in (None, result.error) else f"\nTold to the model: {result.error or 'nothing'}"
    return f'{shown}<pre class="said failed" dir="auto">{safe((result.reason or result.error) + told)}</pre>'


def _tries(rejected: Sequence[Rejected], opened: str = "") -> str:
    if not rejected:
        return ""
    count = "1 rejected try" if len(rejected) == 1 else f"{len(rejected)} rejected tries"
    tries = "".join(
        f'<p class="reason" dir="auto"><code>{safe(each.kind)}</code> {safe(each.reason)}</p>'
        f'<pre dir="auto">{safe(each.text)}</pre>'
        for each in rejected
    )
    return f"<details{opened}><summary>{count}</summary>{tries}</details>"


def _pending(trace: Trace) -> str:
    """The unit that never came: why, and what was tried for it."""
    answered = bool(trace.units) and trace.units[-1].answer is not None
    if trace.failure is None or answered:
        return ""
    number = len(trace.units) + 1
    return (
        f'<article class="unit" aria-labelledby="unit-{number}"><header><h3 id="unit-{number}">'
        f'<span class="number">{number}</span>{safe(_FAILURES[trace.failure.kind])}</h3></header>'
        f'<div><p dir="auto">{safe(trace.failure.message)}</p>{_tries(trace.pending, " open")}</div>'
        "</article>"
    )


def _byline(trace: Trace, meta: Mapping[str, object]) -> str:
    counts = [unit.completion_tokens for unit in trace.units if unit.completion_tokens is not None]
    parts = [
        str(meta.get("model") or meta.get("row") or "model not stated"),
        f"{sum(counts):,} new tokens" if counts else "",
        f"reward {meta['reward']:.3g}" if isinstance(meta.get("reward"), int | float) else "",
    ]
    return safe(" · ".join(filter(None, parts)))


def _facts(trace: Trace, meta: Mapping[str, object]) -> str:
    plain: dict[str, object] = msgspec.to_builtins(meta, enc_hook=str)
    if isinstance(sampling := plain.get("sampling"), dict):  # each try's is in trace.json, as are the versions
        plain["sampling"] = {key: value for key, value in sampling.items() if key != "tries"}
    facts = {"chat_protocol": trace.protocol.name, "coordinates": trace.protocol.coordinates} | plain
    return "\n".join(
        f'<dt>{safe(key_name(key).capitalize())}</dt><dd dir="auto">{safe(in_line(value))}</dd>'
        for key, value in facts.items()
        if value is not None and key not in ("model", "row", "versions")
    )
