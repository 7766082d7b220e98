"""`virc tools try`: one call of a tool, and what the model would be sent."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from virc.core.errors import UsageError, errors_as
from virc.core.text import plain
from virc_cli.console import output
from virc_cli.console.options import CoordinatesName, Json, System, argument, choice, named_system, option
from virc_extras.authoring.commands.sample_replies import call_line

if TYPE_CHECKING:
    from PIL import Image

_MARK = re.compile(r"<image \d+: \d+ x \d+>(?=[^\n])")
"""What stands for an image, before a text that the model gets as a part of its own."""

FAILURE: dict[str, object] = {"reply": None, "call": None, "sent": None, "images": None, "seconds": None}


def command(
    tool: Annotated[str, argument("NAME|FILE", "A tool, or its file.")],
    picture: Annotated[Path, argument("IMAGE", "The picture, clip or document it is about.")],
    arguments: Annotated[str, option("JSON", "Arguments, as a model writes them.")] = "{}",
    system: System = None,
    coordinates: Annotated[
        CoordinatesName | None, choice("Unit of boxes and points; default: the chat protocol's.")
    ] = None,
    to: Annotated[Path | None, option("DIR", "New folder for the images that it makes.")] = None,
    as_json: Json = False,
) -> None:
    """Carry out one call on a picture, as if a model wrote it.

    Printed is what the model would be sent, for the question "What does the picture show?". The call is written and
    read in the chat protocol of --system, else in that of virc.

    Exit code 5: the call cannot be carried out; the hint is one that can. 3: the tool or its server fails.
    """
    from virc.core.module_files import warn_not_copied
    from virc_extras.authoring import tool_trial

    tried = tool_trial.try_call(tool, str(picture), _read(arguments), named_system(system), coordinates)
    warn_not_copied(output.warn)
    files = _saved(tried.images, to) if to else []
    if as_json:
        import msgspec

        fields = {
            "reply": tried.reply,
            "call": msgspec.to_builtins(tried.call),
            "sent": msgspec.to_builtins(tried.sent),
            "images": [
                {"width": image.width, "height": image.height, "file": str(files[at]) if files else None}
                for at, image in enumerate(tried.images)
            ],
            "seconds": tried.seconds,
        }
        output.emit("virc.tools.try/1", fields)
        return
    output.note(call_line(tried.call), dim=True)
    for each in tried.sent:
        output.line(_MARK.sub(r"\g<0>\n", each.text))
    for file in files:
        output.note(str(file))
    output.note(f"{tried.seconds:.3f} s")


def _read(arguments: str) -> Mapping[str, Any]:
    import json

    with errors_as(UsageError, f"--arguments {plain(arguments, 60)!r} is no JSON", caught=(ValueError, RecursionError)):
        read = json.loads(arguments)
    if not isinstance(read, dict):
        raise UsageError(
            f"--arguments {plain(arguments, 60)!r} is no JSON object", """--arguments '{"image_index": 0}'"""
        )
    return read


def _saved(images: "tuple[Image.Image, ...]", to: Path) -> list[Path]:
    from virc.core.files import expanded, fresh_folder

    to = expanded(to)
    with fresh_folder(to) as folder:
        for number, image in enumerate(images, 1):
            image.save(folder / f"image-{number}.png")
    return [to / f"image-{number}.png" for number in range(1, len(images) + 1)]
