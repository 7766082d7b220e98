"""Reads the calls of sample replies: which of virc's tools, arguments, images and boxes they mean. Guesses are noted.

`forms` gives the grammar's form of each kind of call, `boxes` what boxes are counted in, `size` a picture to try them.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from virc.core.text import plain
from virc.reasoning.bodies import BOX, INDEX
from virc.reasoning.checking import properties
from virc.reasoning.coordinates import corners_of
from virc.reasoning.grammar import ANSWER, ENDING, CallForm
from virc.reasoning.lenient import ALIASES
from virc.reasoning.protocol import BoxForm, Coordinates
from virc.systems.samples.parts import NAMED, WrittenCall, box_of
from virc.tools import registry as tools

_IMAGE = re.compile(r"image|img|picture|source|frame", re.IGNORECASE)


class Boxes(msgspec.Struct, frozen=True):
    coordinates: Coordinates = "pixel"
    box: BoxForm = "corners"
    float_boxes: bool = False


def forms(
    calls: Sequence[WrittenCall], notes: list[str]
) -> tuple[tuple[CallForm, ...], Mapping[str, Sequence[Mapping[str, Any]]]]:
    """The forms of all calls, one for each pair of marks and tool; and tool -> the arguments of its calls, renamed."""
    by_marks: dict[tuple[str, str, str | None], CallForm] = {}
    arguments_of: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        if call.answers:
            form = _ending_form(call)
        else:
            tool = _tool_name(call, [each for each in calls if each.name == call.name], notes)
            form, arguments = _tool_form(call, tool, notes)
            arguments_of.setdefault(tool, []).append(arguments)
        key = (form.open, form.close, form.tool)
        by_marks[key] = _joined(by_marks[key], form) if key in by_marks else form
    return tuple(by_marks.values()), arguments_of


def boxes(calls: Sequence[WrittenCall], notes: list[str]) -> Boxes:
    """What the boxes of calls are counted in, and how they are written."""
    found = [box for call in calls for value in call.arguments.values() if (box := box_of(value))]
    if not found:
        if calls:
            notes.append("no reply has a box, so that nothing shows what boxes are counted in")
        return Boxes()
    most = max(abs(number) for box in found for number in box)
    form: BoxForm = "corners"
    if any(box[2] <= box[0] or box[3] <= box[1] for box in found):
        form = "center"
        notes.append("a box is no left, top, right, bottom: that it is centre, width and height is a guess")
    if most <= 1:
        notes.append("boxes are within 0..1, so that `coordinates` is unit")
        return Boxes("unit", form)
    if most <= 1000:
        notes.append(
            "boxes are within 0..1000: that they are pixels of the image as shown is a guess; `original` are those of "
            "the file, `thousand` thousandths of its sides"
        )
    else:
        notes.append("boxes go over 1000: that they are pixels as shown is a guess; `original` are those of the file")
    return Boxes("pixel", form, any(isinstance(number, float) for box in found for number in box))


def size(calls: Sequence[WrittenCall], boxes: Boxes) -> str | None:
    """WxH of a picture that contains these boxes; None where the usual 1024x768 does, or boxes are not in pixels."""
    if boxes.coordinates != "pixel":
        return None
    found = [box for call in calls for value in call.arguments.values() if (box := box_of(value))]
    corners = [corners_of(box, boxes.box) for box in found]
    width = min(9999, max(1024, *(math.ceil(right) for _, _, right, _ in corners), 0))
    height = min(9999, max(768, *(math.ceil(bottom) for *_, bottom in corners), 0))
    return f"{width}x{height}" if (width, height) != (1024, 768) else None


def _joined(one: CallForm, other: CallForm) -> CallForm:
    return msgspec.structs.replace(
        one if one.unnamed else other,
        names={**one.names, **other.names},
        keys={**one.keys, **other.keys},
        given={**one.given, **other.given},
    )


def _ending_form(call: WrittenCall) -> CallForm:
    """The form of a call that gives the answer."""
    form = CallForm(call.open, call.close, call.body)
    if call.body == "actions":
        return form
    argument = next(iter(call.arguments))
    keys = {} if argument == ANSWER else {argument: ANSWER}
    return msgspec.structs.replace(form, names={call.name or "": ENDING}, keys=keys)


def _tool_name(call: WrittenCall, same_name: Sequence[WrittenCall], notes: list[str]) -> str:
    """The tool of virc that a call means, else a name for the file of a new one; `same_name`: its other calls."""
    name = call.name or ""
    if tools.known_here(name):
        if name not in tools.discover():
            notes.append(f"{name} is a tool of a published system: that it is meant is a guess")
        return tools.load([name])[0]
    cuts = any(map(box_of, call.arguments.values()))
    if cuts and not _needs_reading(same_name):
        return "crop_image"
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    identifier = re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:40]
    if identifier.isidentifier():
        return identifier
    return "my_crop" if cuts else "my_tool"


def _needs_reading(calls: Sequence[WrittenCall]) -> bool:
    """Whether the tool needs a function `read`: images have names or count from 1, or boxes are texts or objects."""
    images = [value for call in calls for key, value in call.arguments.items() if _of_image(key)]
    boxes = (value for call in calls for value in call.arguments.values() if isinstance(value, str | dict))
    return from_one(images) or any(type(each) is str for each in images) or any(map(box_of, boxes))


def from_one(images: Sequence[Any]) -> bool:
    """Whether numbers of images seem to count from 1: 1 is among them, and 0 is not."""
    numbers = [each for each in images if type(each) is int]
    return 1 in numbers and 0 not in numbers


def _tool_form(call: WrittenCall, tool: str, notes: list[str]) -> tuple[CallForm, dict[str, Any]]:
    """The form of a call of a tool, and its arguments by the names that the tool has for them."""
    known = tools.known().get(tool)
    allowed: Iterable[str] = properties(known) if known else (INDEX, BOX)
    cuts = known is None and any(map(box_of, call.arguments.values()))
    if cuts:
        why = "images have names or are counted from 1, or boxes are texts or objects"
        notes.append(f"{why}: how {tool}.py, next to the YAML, reads them is a guess")
    elif known is None:
        lacks = f"virc has no tool {plain(call.name, 40)}" if call.name else "a call names no tool that virc knows"
        notes.append(f"{lacks}: {tool}.py, next to the YAML, begins one")
    names: dict[str, str | None] = {}  # key as written -> the tool's argument; None: it is not used
    for key, value in call.arguments.items():
        name = _argument(key, value, allowed)
        otherwise = None if known or cuts else key  # the file of a new tool may name its arguments as they are written
        names[key] = otherwise if name is None or name in names.values() else name
    notes += [f"{plain(key, 40)} is read and not used" for key, name in names.items() if name is None]
    given = {INDEX: 0} if (known or cuts) and INDEX in allowed and INDEX not in names.values() else {}
    if given:
        notes.append(f"calls name no image: {INDEX} 0, the question's image, is a guess; `last` is the newest")
    unnamed, keys = _unnamed_and_keys(call, names)
    form = CallForm(
        call.open,
        call.close,
        call.body,
        None if call.body in NAMED else tool,
        {call.name: tool} if call.body in NAMED and call.name not in (None, tool) else {},
        keys,
        unnamed,
        given,
    )
    return form, {name: call.arguments[key] for key, name in names.items() if name}


def _unnamed_and_keys(
    call: WrittenCall, names: Mapping[str, str | None]
) -> tuple[tuple[str, ...], dict[str, str | None]]:
    """The fields `unnamed` and `keys` of a call's form: arguments by their order, and renamed or unused ones."""
    if call.body not in ("list", "text", "function"):
        return (), {key: name for key, name in names.items() if name != key}
    unnamed = tuple(name or key for key, name in names.items())
    return unnamed, {key: None for key, name in names.items() if name is None}


def _of_image(key: str) -> bool:
    return bool(_IMAGE.search(key)) or ALIASES.get(key.lower()) == INDEX


def _argument(key: str, value: Any, allowed: Iterable[str]) -> str | None:
    if box_of(value) and BOX in allowed:
        return BOX
    if key in allowed:
        return key
    name = ALIASES.get(key.lower(), key.lower())
    if name in allowed and name != BOX:
        return name
    return INDEX if _of_image(key) and type(value) in (int, str) and INDEX in allowed else None
