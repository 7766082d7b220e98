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

from virc.core.errors import UsageError, VircError, fields_of
from virc.core.files import write_json, write_whole
from virc.core.text import clause
from virc.reasoning.encoded import as_png
from virc.reasoning.images import OpenedImage
from virc.solving.pipelines.page import render
from virc.solving.pipelines.run import Ran
from virc.solving.pipelines.values import Value

STEPS, PAGE = "steps.json", "index.html"
_OURS = re.compile(r"steps\.json|index\.html|input-\d+\.png|step-\d+-image-\d+\.png")


class Step(msgspec.Struct, frozen=True):
    """A step that ran, with its output."""

    ran: Ran
    value: Value


def check_folder(folder: Path) -> None:
    """Refuse a folder of something else than a former trace."""
    hint = "name a new folder: --trace NEW_FOLDER"
    try:
        if folder.exists() and not all(_OURS.fullmatch(each.name) for each in folder.iterdir()):
            raise UsageError(f"{folder} holds other files", hint)
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} cannot be used: {clause(error)}", hint) from error


def write(
    folder: Path,
    known: Mapping[str, Any],
    images: Sequence[OpenedImage],
    steps: Sequence[Step],
    error: VircError | None = None,
) -> VircError | None:
    """Write the trace; returns the error of the disk, as an answer is worth more than its trace.

    Args:
        known: the fields of `virc.solve/1` that are known, and the question; of a problem that failed, no answer.
    """
    inputs = {f"input-{number}.png": as_png(each.pixels).data for number, each in enumerate(images)}
    made = [
        {f"step-{number}-image-{at}.png": as_png(each.pixels).data for at, each in enumerate(step.value.pictures)}
        for number, step in enumerate(steps, 1)
    ]
    listed = [msgspec.to_builtins(step.ran) | {"images": list(files)} for step, files in zip(steps, made, strict=True)]
    content = {"answer": None, **known, "images": list(inputs), "steps": listed}
    content["error"] = fields_of(error) if error else None
    page = render(content, inputs, made, [step.value for step in steps], images)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for former in folder.iterdir():
            if former.suffix == ".png" and _OURS.fullmatch(former.name):
                former.unlink()
        for name, data in [*inputs.items(), *(each for files in made for each in files.items())]:
            write_whole(folder / name, data)
        write_whole(folder / PAGE, page.encode("utf-8", "backslashreplace"))
        write_json(folder / STEPS, content)
    except OSError as refused:
        return VircError(f"cannot write the trace to {folder}: {clause(refused)}")
    return None
