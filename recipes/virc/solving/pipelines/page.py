"""A pipeline's trace as one self-contained page: no script, no network. Text that others wrote is escaped."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from virc.core.web import html
from virc.reasoning.calls import Box, Size
from virc.reasoning.images import OpenedImage
from virc.solving.pipelines.steps import Made
from virc.solving.traces.page import LONG_TEXT, shortened


def render(
    content: Mapping[str, Any],
    inputs: Mapping[str, bytes],
    made: Sequence[Mapping[str, bytes]],
    values: Sequence[Made],
    images: Sequence[OpenedImage],
) -> str:
    """Return the page as one HTML document.

    Args:
        content: of `steps.json`.
        inputs: the problem's images, as PNG by their names.
        made: of each step, the images that it made.
        values: of each step, its output.
        images: the same as `inputs`.
    """
    urls = {id(image): _url(data) for image, data in zip(images, inputs.values(), strict=True)}
    for value, files in zip(values, made, strict=True):
        urls |= {id(image): _url(data) for image, data in zip(value.pictures, files.values(), strict=True)}
    steps = zip(content["steps"], made, values, strict=True)
    return html.render(
        "solving/pipelines/page",
        html.asset("solving/traces/page.css"),
        pictures=True,
        long_text=LONG_TEXT,
        title=shortened(content["question"]),
        question=content["question"],
        answer=content["answer"],
        error=content["error"],
        pipeline=content["pipeline"],
        inputs=[(image.size, urls[id(image)]) for image in images],
        steps=[(ran, list(_pictures(files, value, urls))) for ran, files, value in steps],
        facts={name: content.get(name) for name in ("pipeline", "roles", "replies", "tokens")},
    )


def _url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _pictures(
    files: Mapping[str, bytes], value: Made, urls: Mapping[int, str]
) -> Iterator[tuple[str, Size, str, Sequence[Box]]]:
    """Yield the pictures that a step made, or those that its boxes are about: caption, size, URL and boxes."""
    for name, image in zip(files, value.pictures, strict=True):
        yield name, image.size, urls[id(image)], ()
    if not value.pictures:
        for key, picture in {id(each.picture): each.picture for each in value.boxes}.items():
            if key in urls:
                boxes = [each.box for each in value.boxes if id(each.picture) == key]
                yield "Boxes", picture.size, urls[key], boxes
