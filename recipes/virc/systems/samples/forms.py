"""What the calls of sample replies mean by our names: tools, arguments, images and boxes. Each guess is a note."""

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
    found: dict[tuple[str, str, str | None], CallForm] = {}
    meant: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        if call.answers:
            form = _ending(call)
        else:
            tool = _tool(call, [each for each in calls if each.name == call.name], notes)
            form, arguments = _form(call, tool, notes)
            meant.setdefault(tool, []).append(arguments)
        place = (form.open, form.close, form.tool)
        found[place] = _both(found[place], form) if place in found else form
    return tuple(found.values()), meant


def boxes(calls: Sequence[WrittenCall], notes: list[str]) -> Boxes:
    values = [value for call in calls for value in call.arguments.values() if box_of(value)]
    found = [box for box in map(box_of, values) if box]
    if not found:
        notes += ["no reply has a box, so that nothing shows what boxes are counted in"] * bool(calls)
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
    """WxH of a picture that holds these boxes, where they are pixels that the usual one has not."""
    found = [box for call in calls for value in call.arguments.values() if (box := box_of(value))]
    corners = [corners_of(box, boxes.box) for box in found if boxes.coordinates == "pixel"]
    sides = [min(9999, max(least, *(math.ceil(box[at]) for box in corners), 0)) for at, least in ((2, 1024), (3, 768))]
    return "x".join(map(str, sides)) if sides != [1024, 768] else None


def _both(one: CallForm, other: CallForm) -> CallForm:
    return msgspec.structs.replace(
        one if one.unnamed else other,
        names={**one.names, **other.names},
        keys={**one.keys, **other.keys},
        given={**one.given, **other.given},
    )


def _ending(call: WrittenCall) -> CallForm:
    form = CallForm(call.open, call.close, call.body)
    if call.body == "actions":
        return form
    argument = next(iter(call.arguments))
    keys = {} if argument == ANSWER else {argument: ANSWER}
    return msgspec.structs.replace(form, names={call.name or "": ENDING}, keys=keys)


def _tool(call: WrittenCall, alike: Sequence[WrittenCall], notes: list[str]) -> str:
    """The tool that a call means, by our name, or a name that its file may have; `alike` are its other calls."""
    name = call.name or ""
    if tools.known_here(name):
        if name not in tools.discover():
            notes.append(f"{name} is a tool of a published system: that it is meant is a guess")
        return tools.load([name])[0]
    cuts = any(map(box_of, call.arguments.values()))
    if cuts and not _read_by_tool(alike):
        return "crop_image"
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    own = re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:40]
    return own if own.isidentifier() else "my_crop" if cuts else "my_tool"


def _read_by_tool(calls: Sequence[WrittenCall]) -> bool:
    """Whether images have names or are counted from 1, or boxes are texts or objects, so that a tool has to `read`
    them.
    """
    images = [value for call in calls for key, value in call.arguments.items() if _of_image(key)]
    boxes = (value for call in calls for value in call.arguments.values() if isinstance(value, str | dict))
    return from_one(images) or any(type(each) is str for each in images) or any(map(box_of, boxes))


def from_one(images: Sequence[Any]) -> bool:
    """Whether numbers of images are counted from 1, which is a guess: 1 is among them, and 0 is not."""
    numbers = [each for each in images if type(each) is int]
    return 1 in numbers and 0 not in numbers


def _form(call: WrittenCall, tool: str, notes: list[str]) -> tuple[CallForm, dict[str, Any]]:
    known = tools.known().get(tool)
    allowed: Iterable[str] = properties(known) if known else (INDEX, BOX)
    cuts = known is None and any(map(box_of, call.arguments.values()))
    if cuts:
        said = "images have names or are counted from 1, or boxes are texts or objects"
        notes.append(f"{said}: how {tool}.py, next to the YAML, reads them is a guess")
    elif known is None:
        lacks = f"virc has no tool {plain(call.name, 40)}" if call.name else "a call names no tool that virc knows"
        notes.append(f"{lacks}: {tool}.py, next to the YAML, begins one")
    meant: dict[str, str | None] = {}
    for key, value in call.arguments.items():
        name = _argument(key, value, allowed)
        own = None if known or cuts else key  # the arguments of another tool are what its file says
        meant[key] = own if name is None or name in meant.values() else name
    notes += [f"{plain(key, 40)} is read and not used" for key, name in meant.items() if name is None]
    given = {INDEX: 0} if (known or cuts) and INDEX in allowed and INDEX not in meant.values() else {}
    if given:
        notes.append(f"calls name no image: {INDEX} 0, the question's image, is a guess; `last` is the newest")
    unnamed, keys = _written_as(call, meant)
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
    return form, {name: call.arguments[key] for key, name in meant.items() if name}


def _written_as(call: WrittenCall, meant: Mapping[str, str | None]) -> tuple[tuple[str, ...], dict[str, str | None]]:
    if call.body not in ("list", "text", "function"):
        return (), {key: name for key, name in meant.items() if name != key}
    unnamed = tuple(name or key for key, name in meant.items())
    return unnamed, {key: None for key, name in meant.items() if name is None}


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
