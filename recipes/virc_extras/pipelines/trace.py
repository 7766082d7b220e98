"""The trace of a pipeline as a folder: `steps.json`, the images, and one page to look at.

steps.json            each step with what its role was sent, what it gave and what that cost
input-N.png           the images of the problem
step-N-image-M.png    those that step N made
index.html            all of it to read
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import VircError, fields_of
from virc.core.web import html
from virc.reasoning.calls import Box, Size
from virc.reasoning.encoded import as_png
from virc.reasoning.images import OpenedImage
from virc.solving.traces import files as trace_files
from virc.solving.traces.files import Kind
from virc.solving.traces.page import LONG_TEXT, shortened
from virc_extras.pipelines.steps import Made, Ran


def render(
    content: Mapping[str, Any],
    inputs: Mapping[str, bytes],
    made: Sequence[Mapping[str, bytes]],
    values: Sequence[Made],
    images: Sequence[OpenedImage],
) -> str:
    urls = {id(image): _url(data) for image, data in zip(images, inputs.values(), strict=True)}
    for value, files in zip(values, made, strict=True):
        urls |= {id(image): _url(data) for image, data in zip(value.pictures, files.values(), strict=True)}
    steps = zip(content["steps"], made, values, strict=True)
    return html.render(
        "virc_extras:pipelines/page",
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
    for name, image in zip(files, value.pictures, strict=True):
        yield name, image.size, urls[id(image)], ()
    if not value.pictures:
        for key, picture in {id(each.picture): each.picture for each in value.boxes}.items():
            if key in urls:
                boxes = [each.box for each in value.boxes if id(each.picture) == key]
                yield "Boxes", picture.size, urls[key], boxes


_STEPS = "steps.json"
_KIND = Kind(
    re.compile(r"steps\.json|index\.html|input-\d+\.png|step-\d+-image-\d+\.png"),
    _STEPS,
    lambda record: {"pipeline", "steps"} <= record.keys(),
)


def check_folder(folder: Path) -> None:
    trace_files.check_folder(folder, _KIND)


def write(
    folder: Path,
    known: Mapping[str, Any],
    images: Sequence[OpenedImage],
    steps: Sequence[tuple[Ran, Made]],
    error: VircError | None = None,
) -> VircError | None:
    """Write the trace; returns the error of the disk, as an answer is worth more than its trace."""
    inputs = {f"input-{number}.png": as_png(each.pixels).data for number, each in enumerate(images)}
    made = [
        {f"step-{number}-image-{at}.png": as_png(each.pixels).data for at, each in enumerate(step.pictures)}
        for number, (_, step) in enumerate(steps, 1)
    ]
    listed = [msgspec.to_builtins(ran) | {"images": list(each)} for (ran, _), each in zip(steps, made, strict=True)]
    content = {"answer": None, **known, "images": list(inputs), "steps": listed}
    content["error"] = fields_of(error) if error else None
    page = render(content, inputs, made, [step for _, step in steps], images)
    record = msgspec.json.format(msgspec.json.encode(content)) + b"\n"
    written = inputs | {name: data for each in made for name, data in each.items()}
    written |= {"index.html": page.encode("utf-8", "backslashreplace"), _STEPS: record}
    try:
        trace_files.write_folder(folder, written, _KIND)
    except VircError as refused:
        return refused
    return None
