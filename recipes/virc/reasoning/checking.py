"""The one check of a tool call, for inference, rewards and data: by the tool's own `check`, or by its JSON schema."""

import json
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from virc.core.errors import ConfigError, VircError
from virc.core.limits import bounded
from virc.core.text import clause, plain
from virc.reasoning.bodies import BOX, INDEX, POINT, POINTS, ToolText
from virc.reasoning.calls import Call, Checked, Point, Size, Tool, ToolError, View, find_tool
from virc.reasoning.coordinates import resolve_box, resolve_index, resolve_point, resolve_region
from virc.reasoning.grammar import Index

_SCHEMAS = 256  # that are kept, once they have been checked
DEVIATIONS = {
    "box_clamped": "the box leaves the image",
    "factor_snapped": "the factor is none of those offered",
    "index_negative": "image_index counts from the end",
}
"""What is forgiven in a call -> a clause that says so."""
_RESOLVED = (INDEX, BOX, POINT, POINTS)
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "number": (int, float), "integer": int, "boolean": bool, "array": list, "object": dict,
    "null": type(None),
}  # fmt: skip


def check_call(tool: Tool, arguments: Mapping[str, Any], view: View) -> Checked:
    """Raises ToolError: no reading of the call makes sense; ConfigError: the tool's own check fails."""
    arguments = _by_itself(tool, "read", arguments, view) if hasattr(tool, "read") else arguments
    own = hasattr(tool, "check")
    checked: Checked = _by_itself(tool, "check", arguments, view) if own else by_schema(tool, arguments, view)
    call = checked.call
    if call.box is None or call.index is None or BOX not in arguments or call.region:
        return checked
    exact = msgspec.structs.replace(call, region=resolve_region(arguments[BOX], view, call.index))
    return msgspec.structs.replace(checked, call=exact)


def units_of_box(
    tools: Mapping[str, Tool], tool: ToolText | None, sizes: Sequence[Size | None]
) -> Iterator[tuple[bool, bool]]:
    """Of a call with a box: whether it can be carried out, and the box is inside, in pixels; and whether in permille.

    Args:
        sizes: (width, height) in px of the images before it; where one is not known (None), nothing is yielded.
    """
    if tool and BOX in tool.arguments and all(sizes):
        known = [size for size in sizes if size]
        yield _fits(tools, tool, View(known, "pixel")), _fits(tools, tool, View(known, "permille"))


def _fits(tools: Mapping[str, Tool], tool: ToolText, view: View) -> bool:
    try:
        return "box_clamped" not in check_call(find_tool(tools, tool.name), tool.arguments, view).deviations
    except ToolError:
        return False


def inexact(call: Call, deviations: Collection[str], arguments: Mapping[str, Any], view: View) -> str:
    """What of a call was forgiven, for an error: with the box as it is written, and the size of its image as shown."""
    said = ", ".join(DEVIATIONS.get(name, name) for name in deviations)
    if "box_clamped" in deviations and call.index is not None:
        width, height = view.sizes[call.index]
        said += f", box {plain(arguments.get(BOX), 60)} of image {call.index}, {width} x {height}"
    return f"the call is not exact: {said}"


def as_written(tool: Tool, arguments: dict[str, Any], view: View) -> dict[str, Any]:
    written: dict[str, Any] = _by_itself(tool, "write", arguments, view) if hasattr(tool, "write") else arguments
    return written


def _by_itself(tool: Tool, function: str, arguments: Mapping[str, Any], view: View) -> Any:
    try:
        return getattr(tool, function)(arguments, view)
    except (ToolError, VircError):
        raise
    except Exception as error:  # a function of a tool of one's own may fail in any way
        kind, reason = type(error).__name__, clause(error)
        fault = f"the {function} of the tool {tool.NAME} fails{place_of(error)}: {kind}: {reason}"
        raise ConfigError(fault, "it raises ToolError for a call that cannot be carried out") from error


def place_of(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" in line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""


def properties(tool: Tool) -> Mapping[str, Any]:
    found: Mapping[str, Any] = tool.SCHEMA["function"].get("parameters", {}).get("properties", {})
    return found


def types(tool: Tool) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(_types(each)) for name, each in properties(tool).items()}


def _types(schema: Any) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    said = schema.get("type", [])
    yield from [said] if isinstance(said, str) else said
    for union in ("anyOf", "oneOf"):
        for each in schema.get(union, ()):
            yield from _types(each)
    if not said and any(isinstance(each, str) for each in (*schema.get("enum", ()), schema.get("const"))):
        yield "string"


def takes(tool: Tool, arguments: Mapping[str, Any]) -> bool:
    """Whether arguments have the types of a tool's schema and lack none but an image; others are not looked at."""
    required = {*tool.SCHEMA["function"].get("parameters", {}).get("required", ())}
    box = arguments.get(BOX, [0] * 4)
    is_box = isinstance(box, list) and len(box) == 4 and all(type(side) in (int, float) for side in box)
    given = ((arguments[name], kinds) for name, kinds in types(tool).items() if name in arguments and kinds)
    fit = all(any(isinstance(value, _TYPES.get(kind, object)) for kind in kinds) for value, kinds in given)
    return is_box and fit and (required - {INDEX} or required) <= arguments.keys()


def by_schema(tool: Tool, arguments: Mapping[str, Any], view: View) -> Checked:
    """A call as a tool's schema allows it, with the image, the box and the points resolved.

    A tool that knows images by number is about the newest where a call names none, if its schema allows that.
    """
    known = properties(tool)
    _validate(tool, arguments)
    index: int | None = None
    deviations: tuple[str, ...] = ()
    if INDEX in arguments or INDEX in known:
        index, deviations = resolve_index(arguments.get(INDEX, Index.LAST), view)
    elif {BOX, POINT, POINTS} & known.keys():
        index, _ = resolve_index(Index.LAST, view)
    box = None
    if BOX in arguments and index is not None:
        box, odd = resolve_box(arguments[BOX], view, index)
        deviations += odd
    points = _points(arguments, view, index) if index is not None else ()
    rest = {key: value for key, value in arguments.items() if key not in _RESOLVED}
    return Checked(Call(tool.NAME, index, box, arguments=rest, points=points), deviations)


def _points(arguments: Mapping[str, Any], view: View, index: int) -> tuple[Point, ...]:
    written = [arguments[POINT]] if POINT in arguments else arguments.get(POINTS, [])
    if not isinstance(written, list):
        raise ToolError(f"{POINTS} is no list of points", "numbers")
    return tuple(resolve_point(each, view, index) for each in written)


@lru_cache(maxsize=_SCHEMAS)
def _fault(schema: str) -> str | None:
    return bounded.schema_fault(json.loads(schema))


def _validate(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raise ToolError where the arguments are not what the tool's schema allows; an image and a box are resolved by the
    chat protocol, whatever their types there.
    """
    schema = dict(tool.SCHEMA["function"].get("parameters", {}))
    resolved: dict[str, Any] = {name: {} for name in (INDEX, BOX, POINT) if name in schema.get("properties", {})}
    if POINTS in schema.get("properties", {}):  # how many there may be is for the schema
        resolved[POINTS] = {**schema["properties"][POINTS], "items": {}}
    schema["properties"] = {**schema.get("properties", {}), **resolved}
    schema.setdefault("additionalProperties", False)
    if fault := _fault(json.dumps(schema)):
        raise ConfigError(f"the schema of the tool {tool.NAME} is no JSON schema: {fault}")
    try:
        misfit = bounded.misfit(schema, dict(arguments))
    except bounded.CostlyError as error:
        misfit = f"the arguments cannot be validated against the schema of {tool.NAME}: {error.message}"
    if misfit:
        raise ToolError(misfit, "arguments")
