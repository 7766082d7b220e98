"""What stands in a tool call, by the form it is written in: text becomes the name of a tool and its arguments."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

import msgspec

from virc.reasoning.grammar import ENDING, CallForm, Index

INDEX = "image_index"
"""The argument that names an image, of every tool."""

BOX = "bbox_2d"
"""The argument that names a part of an image."""

POINT, POINTS = "point_2d", "points"
"""The arguments that name a place of an image, x and y, and a list of such places."""

_MAX_DIGITS = 18
_MAX_QUOTED = 2_000
_OBJECT = re.compile(r"\{\s*\"")


class FormatError(ValueError):
    """The turn is not in the format; `kind` says whether its tags or its JSON are wrong, or its length.

    `values` are what a chat protocol's own text for it may name.
    """

    def __init__(self, kind: Literal["tags", "json", "length"], message: str, **values: object) -> None:
        super().__init__(message)
        self.kind, self.values = kind, values


class ToolText(msgspec.Struct, frozen=True):
    """A tool call as written: nothing about it is checked but that it is well-formed."""

    name: str
    arguments: dict[str, Any]


class Called(msgspec.Struct, frozen=True):
    """A tool call that a server took out of a reply, or that a stock model wrote: by names that may not be ours, its
    arguments an object or JSON text.
    """

    name: str
    arguments: dict[str, Any] | str


class Turn(msgspec.Struct, frozen=True):
    """A well-formed turn: the thought, and either tool calls or an answer; surrounding space is cut off."""

    think: str
    calls: tuple[ToolText, ...] = ()
    answer: str | None = None

    @property
    def tool(self) -> ToolText | None:
        return self.calls[0] if self.calls else None


def tools_of(text: str, form: CallForm, most: int = 1) -> tuple[ToolText, ...]:
    """The calls between the marks of a form. Raises FormatError: it is written otherwise, or has over `most` calls."""
    try:
        if form.body != "objects":
            return (_tool_of(text, form),)
        calls = _of_objects(_json(text), form)
        if len(calls) > most:
            raise FormatError("tags", f"the list of objects is {len(calls)} calls, and a reply may have {most}")
        return calls
    except FormatError as error:
        error.values = {"body": text[:_MAX_QUOTED], "parser": error, **error.values}
        raise


def _tool_of(text: str, form: CallForm) -> ToolText:
    match form.body:
        case "call":
            return _named(_json(text), form)
        case "arguments":
            arguments = _object_of(_json(text))
        case "list":
            values = _json(text)
            if not isinstance(values, list):
                raise FormatError("json", "the tool call is not a JSON list")
            arguments = {form.unnamed[0]: values}
        case "function":
            arguments = _in_order(text, form.unnamed)
        case _:
            arguments = {form.unnamed[0]: text}
    return ToolText(form.tool or "", _translated(arguments, form))


def _of_objects(value: object, form: CallForm) -> tuple[ToolText, ...]:
    if not isinstance(value, list) or not value:
        raise FormatError("json", "the tool call is not a JSON list of objects")
    read = [_translated(_object_of(each), form) for each in value]
    if not form.unnamed:
        return tuple(ToolText(form.tool or "", each) for each in read)
    listed: dict[Any, list[dict[str, Any]]] = {}
    for each in read:
        image = each.pop(INDEX, None)
        if not isinstance(image, int | str | None):
            raise FormatError("json", f"the number of an image is {json.dumps(image)}")
        listed.setdefault(image, []).append(each)
    calls = [({} if image is None else {INDEX: image}) | {form.unnamed[0]: each} for image, each in listed.items()]
    return tuple(ToolText(form.tool or "", call) for call in calls)


def actions_of(text: str, form: CallForm, most: int = 1) -> Turn:
    value = _object_of(_json(text))
    listed, think = _step(value) if form.body == "step" else _listed(value)
    if not 1 <= len(listed) <= most:
        raise FormatError("json", f"there are {len(listed)} actions, not {'one' if most == 1 else f'1 to {most}'}")
    action = listed[0]
    name = action.get("name") if isinstance(action, dict) else None
    if len(listed) == 1 and isinstance(name, str) and form.names.get(name, name) == ENDING:
        arguments = action.get("arguments")
        if not isinstance(arguments, dict) or len(arguments) != 1:
            raise FormatError("json", f"{name} has not exactly one argument, the answer")
        (answer,) = arguments.values()
        return Turn(think.strip(), answer=answer.strip() if isinstance(answer, str) else json.dumps(answer))
    return Turn(think.strip(), tuple(_named(action, form) for action in listed))


def _listed(value: Mapping[str, Any]) -> tuple[list[Any], str]:
    listed, think = value.get("actions"), value.get("thought", "")
    if set(value) - {"thought"} != {"actions"} or not isinstance(listed, list) or not isinstance(think, str):
        raise FormatError("json", "the reply is not an object of a thought and a list of actions")
    return listed, think


def _step(value: Mapping[str, Any]) -> tuple[list[Any], str]:
    think = value.get("thought", "")
    if "action_name" not in value or "action" not in value or not isinstance(think, str):
        raise FormatError("json", "the reply is not an object with thought, action_name and action")
    return [{"name": value["action_name"], "arguments": value["action"]}], think


def bare_start(text: str, behind: int) -> int | None:
    found = _OBJECT.search(text, behind)
    return found.start() if found else None


def bare_end(text: str, start: int) -> int:
    end: int = _decoded(lambda: _DECODER.raw_decode(text, start))[1]
    return end


def decoded(text: str, *, whole: bool = False, strict: bool = True) -> Any:
    """The JSON value at the beginning of a text, or with `whole` the one that all of it is; unless it is `strict`, its
    texts may have line breaks.

    Raises:
        FormatError: there is none; or it holds NaN, infinities or huge numbers.
    """
    decoder = _DECODER if strict else _LOOSE
    return _json(text) if whole else _decoded(lambda: decoder.raw_decode(text))[0]


def _json(text: str) -> Any:
    return _decoded(lambda: _DECODER.decode(text))


def _decoded(decode: Callable[[], Any]) -> Any:
    try:
        return decode()
    except RecursionError:
        raise FormatError("json", "the tool call is nested too deeply") from None
    except json.JSONDecodeError as error:
        reason = f"the tool call is not JSON: {error.msg} at character {error.pos}"
        raise FormatError("json", reason, parser=error) from None


def _named(value: object, form: CallForm) -> ToolText:
    held = form.envelope
    if not isinstance(value, dict) or set(value) != {"name", held}:
        raise FormatError("json", f"the tool call is not an object with exactly name and {held}")
    if not isinstance(value["name"], str) or not isinstance(value[held], dict):
        raise FormatError("json", f"in the tool call, name must be a string and {held} an object")
    return ToolText(form.names.get(value["name"], value["name"]), _translated(value[held], form))


def _object_of(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError("json", "the tool call is not a JSON object")
    return value


def _in_order(text: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The values of `a, b`, `a, b)` or `a) = b`, by the names of the arguments; what is no JSON is text."""
    inner, closed, behind = text.rpartition(")")
    if not closed:
        inner, behind = behind, ""
    if behind.strip() and not behind.lstrip().startswith("="):
        raise FormatError("json", "the call continues after its closing bracket with something other than `=`")
    last = [behind.lstrip()[1:]] if behind.strip() else []
    count = len(names) - len(last)
    listed = _value(f"[{inner}]")
    if not isinstance(listed, list) or len(listed) != count:  # the last piece of text keeps its commas
        listed = [_value(piece) for piece in inner.split(",", max(0, count - 1))]
    values = [*listed, *map(_value, last)]
    if len(values) != len(names):
        raise FormatError("json", f"the values of the call are not {' and '.join(names)}")
    return dict(zip(names, values, strict=True))


def _value(text: str) -> Any:
    try:
        return _json(text)
    except FormatError:
        return text.strip()


def _translated(arguments: dict[str, Any], form: CallForm) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for key, value in arguments.items():
        name = form.keys.get(key, key)
        if name is None:
            continue
        if name in read or name in form.given:
            raise FormatError("json", f"the tool call repeats {key}, or nobody writes it")
        read[name] = value
    given = {name: Index.LAST if name == INDEX and value == Index.LAST else value for name, value in form.given.items()}
    return read | given


def _refuse(constant: str) -> NoReturn:
    raise FormatError("json", f"the tool call contains {constant}, which is not valid JSON")


def _whole(digits: str) -> int:
    if (count := len(digits.removeprefix("-"))) > _MAX_DIGITS:
        raise FormatError("json", f"the tool call holds a number of {count} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise FormatError("json", "the tool call holds a number that is too large")
    return value


_HOOKS: Mapping[str, Any] = {"parse_constant": _refuse, "parse_int": _whole, "parse_float": _finite}
_DECODER, _LOOSE = json.JSONDecoder(**_HOOKS), json.JSONDecoder(**_HOOKS, strict=False)
