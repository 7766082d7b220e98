"""The trace of a pipeline as a folder: `steps.json`, the images, and one page to look at.

steps.json            each step with what its role was sent, what it gave and what that cost
input-N.png           the images of the problem
step-N-image-M.png    those that step N made
index.html            all of it to read
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import VircError, fields_of
from virc.reasoning.encoded import as_png
from virc.reasoning.images import OpenedImage
from virc.solving.pipelines.page import render
from virc.solving.pipelines.steps import Made, Ran
from virc.solving.traces import files
from virc.solving.traces.files import Kind

_STEPS = "steps.json"
_KIND = Kind(
    re.compile(r"steps\.json|index\.html|input-\d+\.png|step-\d+-image-\d+\.png"),
    _STEPS,
    lambda record: {"pipeline", "steps"} <= record.keys(),
)


def check_folder(folder: Path) -> None:
    """Refuse a folder of something else than a former trace of a pipeline."""
    files.check_folder(folder, _KIND)


def write(
    folder: Path,
    known: Mapping[str, Any],
    images: Sequence[OpenedImage],
    steps: Sequence[tuple[Ran, Made]],
    error: VircError | None = None,
) -> VircError | None:
    """Write the trace; returns the error of the disk, as an answer is worth more than its trace.

    Args:
        known: the fields of `virc.solve/1` that are known, and the question; of a problem that failed, no answer.
    """
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
        files.write_folder(folder, written, _KIND)
    except VircError as refused:
        return refused
    return None
