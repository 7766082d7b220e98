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
from virc.reasoning.grammar import CallForm
from virc.reasoning.lenient import ALIASES
from virc.reasoning.protocol import BoxForm, Coordinates, ImageNames
from virc.systems.samples.parts import NAMED, WrittenCall, box_of
from virc.tools import registry as tools

_IMAGE = re.compile(r"image|img|picture|source|frame", re.IGNORECASE)
_NUMBERED = re.compile(r"(.*\D)\d+")


class Boxes(msgspec.Struct, frozen=True):
    """What boxes are, as in `Protocol`."""

    coordinates: Coordinates = "pixel"
    box: BoxForm = "corners"
    float_boxes: bool = False
    text_boxes: bool = False


def forms(
    calls: Sequence[WrittenCall], notes: list[str]
) -> tuple[tuple[CallForm, ...], Mapping[str, Sequence[Mapping[str, Any]]]]:
    """The ways to write these calls, and the tools that they mean, each with the arguments of its calls."""
    found: dict[tuple[str, str, str | None], CallForm] = {}
    meant: dict[str, list[Mapping[str, Any]]] = {}
    for call in calls:
        if call.answers:
            form = _ending(call)
        else:
            tool = _tool(call)
            form, arguments = _form(call, tool, notes)
            meant.setdefault(tool, []).append(arguments)
        place = (form.open, form.close, form.tool)
        found[place] = _both(found[place], form) if place in found else form
    return tuple(found.values()), meant


def boxes(calls: Sequence[WrittenCall], notes: list[str]) -> Boxes:
    """What the boxes of these calls are counted in, and in which order."""
    values = [value for call in calls for value in call.arguments.values() if box_of(value)]
    found = [box for box in map(box_of, values) if box]
    in_text = any(isinstance(value, str) for value in values)
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
        return Boxes("unit", form, text_boxes=in_text)
    if most <= 1000:
        notes.append(
            "boxes are within 0..1000: that they are pixels of the image as shown is a guess; `original` are those of "
            "the file, `thousand` thousandths of its sides"
        )
    else:
        notes.append("boxes go over 1000: that they are pixels as shown is a guess; `original` are those of the file")
    return Boxes("pixel", form, any(isinstance(number, float) for box in found for number in box), in_text)


def size(calls: Sequence[WrittenCall], boxes: Boxes) -> str | None:
    """WxH of a picture that holds these boxes, where they are pixels that the usual one has not."""
    found = [box for call in calls for value in call.arguments.values() if (box := box_of(value))]
    corners = [corners_of(box, boxes.box) for box in found if boxes.coordinates == "pixel"]
    sides = [min(9999, max(least, *(math.ceil(box[at]) for box in corners), 0)) for at, least in ((2, 1024), (3, 768))]
    return "x".join(map(str, sides)) if sides != [1024, 768] else None


def image_names(calls: Sequence[WrittenCall], notes: list[str]) -> ImageNames | None:
    """How these calls name images, where they do not number them."""
    for name in dict.fromkeys(
        value for call in calls for key, value in call.arguments.items() if _of_image(key) and type(value) is str
    ):
        if not name or len(name) > 60 or "{" in name or box_of(name):
            continue
        numbered = _NUMBERED.fullmatch(name)
        rest = "go on counting" if numbered else "are called observation_1, observation_2"
        notes.append(f"images are named, as {plain(name, 60)}: that those of tools {rest} is a guess")
        return ImageNames(f"{numbered[1]}{{number}}") if numbered else ImageNames(name, "observation_{number}")
    return None


def _both(one: CallForm, other: CallForm) -> CallForm:
    """A form that reads the calls of two replies."""
    return msgspec.structs.replace(
        one if one.unnamed else other,
        names={**one.names, **other.names},
        keys={**one.keys, **other.keys},
        given={**one.given, **other.given},
        index_from=max(one.index_from, other.index_from),
        end=one.end if one.end != CallForm().end else other.end,
        corners=one.corners or other.corners,
    )


def _ending(call: WrittenCall) -> CallForm:
    """The form of an action that answers."""
    form = CallForm(call.open, call.close, call.body)
    if call.body == "actions":
        return form
    return msgspec.structs.replace(form, end=(call.name or "", next(iter(call.arguments))), fields=_fields(call))


def _fields(call: WrittenCall) -> tuple[str, str, str]:
    return call.fields or CallForm().fields


def _tool(call: WrittenCall) -> str:
    """The tool that a call means, by our name; one that there is not, by a name that its file may have."""
    name = call.name or ""
    if name in tools.discover():
        return name
    if any(map(box_of, call.arguments.values())):
        return "crop_image"
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    own = re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:40]
    return own if own.isidentifier() else "my_tool"


def _form(call: WrittenCall, tool: str, notes: list[str]) -> tuple[CallForm, dict[str, Any]]:
    """The form of a call, by the names of a tool's arguments; and the arguments by these names."""
    known = tools.discover().get(tool)
    allowed: Iterable[str] = properties(known) if known else (INDEX, BOX)
    if known is None:
        lacks = f"virc has no tool {plain(call.name, 40)}" if call.name else "a call names no tool that virc knows"
        notes.append(f"{lacks}: {tool}.py, beside the YAML, begins one")
    meant: dict[str, str | None] = {}
    for key, value in call.arguments.items():
        name = _argument(key, value, allowed)
        own = None if known else key  # the arguments of another tool are what its file says
        meant[key] = own if name is None or name in meant.values() else name
    notes += [f"{plain(key, 40)} is read and not used" for key, name in meant.items() if name is None]
    given = {INDEX: 0} if known and INDEX in allowed and INDEX not in meant.values() else {}
    if given:
        notes.append(f"calls name no image: {INDEX} 0, the question's image, is a guess; `last` is the newest")
    first = next((key for key, name in meant.items() if name == INDEX and call.arguments[key] == 1), None)
    if first is not None:
        notes.append(f"{plain(first, 40)} is 1: that images are counted from 1 is a guess")
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
        index_from=0 if first is None else 1,
        fields=_fields(call),
        corners=call.corners,
    )
    return form, {name: call.arguments[key] for key, name in meant.items() if name}


def _written_as(call: WrittenCall, meant: Mapping[str, str | None]) -> tuple[tuple[str, ...], dict[str, str | None]]:
    """The arguments that a form writes without a name, and the names of the others."""
    if call.body not in ("list", "text", "function"):
        return (), {key: name for key, name in meant.items() if name != key}
    unnamed = tuple(name or key for key, name in meant.items())
    return unnamed, {key: None for key, name in meant.items() if name is None}


def _of_image(key: str) -> bool:
    return bool(_IMAGE.search(key)) or ALIASES.get(key.lower()) == INDEX


def _argument(key: str, value: Any, allowed: Iterable[str]) -> str | None:
    """Our name of an argument; None where a tool has none."""
    if box_of(value) and BOX in allowed:
        return BOX
    if key in allowed:
        return key
    name = ALIASES.get(key.lower(), key.lower())
    if name in allowed and name != BOX:
        return name
    return INDEX if _of_image(key) and type(value) in (int, str) and INDEX in allowed else None
