"""A pipeline's trace as one self-contained page: no script, no network. Text that others wrote is escaped."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from virc.core.web.html import asset, fill, in_line, key_name, safe
from virc.reasoning.images import OpenedImage
from virc.solving.pipelines.values import Value

_LONG_TEXT = 160  # characters from which a question or answer is set small


def render(
    content: Mapping[str, Any],
    inputs: Mapping[str, bytes],
    made: Sequence[Mapping[str, bytes]],
    values: Sequence[Value],
    images: Sequence[OpenedImage],
) -> str:
    """The page as one HTML document.

    Args:
        content: of `steps.json`.
        inputs: the problem's images, as PNG by their names.
        made: of each step, the images that it made.
        values: of each step, its output.
        images: the same as `inputs`.
    """
    question = content["question"]
    known = {id(image): data for image, data in zip(images, inputs.values(), strict=True)}
    for value, files in zip(values, made, strict=True):
        known |= {id(image): data for image, data in zip(value.pictures, files.values(), strict=True)}
    steps = zip(content["steps"], made, values, strict=True)
    title = question if len(question) <= _LONG_TEXT else question[:_LONG_TEXT] + "…"
    facts = {name: content.get(name) for name in ("pipeline", "roles", "replies", "tokens", "loops")}
    return fill(
        "solving/pipelines/page",
        asset("solving/trace_page.css"),
        pictures=True,
        title=safe(title, "[{}]"),
        question=safe(question),
        question_class=_long(question),
        outcome=_outcome(content),
        byline=safe(f"{content['pipeline']} · {len(content['steps'])} steps"),
        inputs="\n".join(
            _figure(f"Image {number}", image, data)
            for number, (image, data) in enumerate(zip(images, inputs.values(), strict=True))
        ),
        steps="\n".join(_step(number, *each, known) for number, each in enumerate(steps, 1)),
        facts="\n".join(
            f'<dt>{safe(key_name(key).capitalize())}</dt><dd dir="auto">{safe(in_line(value))}</dd>'
            for key, value in facts.items()
            if value is not None
        ),
    )


def _long(text: str) -> str:
    return ' class="long"' if len(text) > _LONG_TEXT else ""


def _outcome(content: Mapping[str, Any]) -> str:
    if (answer := content["answer"]) is not None:
        text = f'<strong dir="auto"{_long(answer)}>{safe(answer)}</strong>'
        return f'<div class="outcome"><span>Answer</span>{text}</div>'
    message = (content["error"] or {}).get("message", "")
    return (
        '<div class="outcome failed"><span>No answer</span><strong>A step failed</strong>'
        f'<p dir="auto">{safe(message)}</p></div>'
    )


def _figure(caption: str, image: OpenedImage, data: bytes, boxes: Iterable[Sequence[int]] = ()) -> str:
    """A picture with its caption, and boxes drawn on it in its own pixels."""
    width, height = image.size
    label = f"{caption}, {width} × {height} px"
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    frames = "".join(
        f'<path class="{css}" d="M{left} {top}H{right}V{bottom}H{left}Z"/>'
        for left, top, right, bottom in boxes
        for css in ("halo", "box")
    )
    shown = min(560, max(width, 240))
    return (
        f'<figure><svg class="picture" role="img" aria-label="{label}" width="{shown}" '
        f'height="{shown * height / width:.0f}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="{url}"/>{frames}</svg>'
        f"<figcaption>{label}</figcaption></figure>"
    )


def _step(
    number: int, ran: Mapping[str, Any], files: Mapping[str, bytes], value: Value, known: Mapping[int, bytes]
) -> str:
    tokens = (("prompt", ran["prompt_tokens"]), ("new", ran["completion_tokens"]))
    cost = " + ".join(f"{count:,} {name}" for name, count in tokens if count is not None)
    costs = [f"{cost} tokens" if cost else "", f"{ran['seconds']:.2f} s" if ran["role"] or ran["prompt"] else ""]
    by = f", by {ran['role']}" if ran["role"] else ""
    what = "Sent to the role" if ran["role"] else "Code that ran"
    sent = "" if ran["prompt"] is None else f"<details><summary>{what}</summary>{_text(ran['prompt'])}</details>"
    texts = "".join(_text(text, ' class="given"') for text in ran["output"]) or (
        "" if value.pictures else '<p class="note">It gave nothing.</p>'
    )
    return (
        f'<article class="unit" aria-labelledby="step-{number}"><header>'
        f'<h3 id="step-{number}"><span class="number">{number}</span>{safe(ran["name"] + by)}</h3>'
        f'<p class="cost">{" · ".join(filter(None, costs))}</p></header>\n'
        f'<div>{texts}{_grades(ran)}{_calls(ran)}<div class="folds">{sent}</div></div>\n'
        f'<div class="results"><div class="pictures">{_pictures(value, files, known)}</div></div></article>'
    )


def _text(text: str, css: str = "") -> str:
    return f'<pre{css} dir="auto">{safe(text)}</pre>'


def _pictures(value: Value, files: Mapping[str, bytes], known: Mapping[int, bytes]) -> str:
    """The pictures that a step made, and those that its boxes are about."""
    made = [_figure(name, image, data) for (name, data), image in zip(files.items(), value.pictures, strict=True)]
    marked = {id(each.picture): each.picture for each in value.boxes}
    return "".join(
        [
            *made,
            *(
                _figure("Boxes", picture, known[key], [each.box for each in value.boxes if id(each.picture) == key])
                for key, picture in marked.items()
                if key in known
            ),
        ]
    )


def _grades(ran: Mapping[str, Any]) -> str:
    if not ran["grades"]:
        return ""
    rows = "".join(
        f'<tr><td>{"not read" if score is None else f"{score:g}"}</td><td dir="auto">{safe(grade)}</td></tr>'
        for score, grade in zip(ran["scores"], ran["grades"], strict=True)
    )
    return f'<table class="graded"><tr><th>Grade</th><th>Reply</th></tr>{rows}</table>'


def _calls(ran: Mapping[str, Any]) -> str:
    """The calls of functions by the code of a step."""
    rows = "".join(
        f'<tr><td dir="auto"><strong>{safe(call["function"])}</strong>, by {safe(call["by"])}: '
        f"{safe(' '.join([*map(_sized, call['pictures']), call['prompt']]))}</td>"
        f'<td dir="auto">{safe(call["error"] or call["output"])}</td></tr>'
        for call in ran["calls"]
    )
    return f'<table class="called"><tr><th>Called</th><th>Gave</th></tr>{rows}</table>' if rows else ""


def _sized(size: Sequence[int]) -> str:
    return f"[{size[0]} × {size[1]} px]"
