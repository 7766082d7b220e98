"""What a call is checked for by the schema of its tool, and what it is resolved to."""

from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.errors import ConfigError
from virc.core.limits.bounded import CostlyError
from virc.reasoning.calls import Call, Checked, ToolError, View, find_tool, function_schema, numbers_schema
from virc.reasoning.checking import as_written, by_schema, check_call, takes, types

NUMBERS = {"type": "array"}
WHOLE = {**NUMBERS, "items": {"type": "integer"}}
"""What a model is told; the chat protocol says whether it counts in fractions."""


def tool(*required: str, properties: Any = None, **functions: Any) -> Any:
    parameters = {"type": "object", "properties": properties or {}, "required": list(required)}
    return SimpleNamespace(NAME="look", SCHEMA={"function": {"name": "look", "parameters": parameters}}, **functions)


KINDS = {
    "text": {"type": "string"},
    "count": {"type": ["integer", "null"]},
    "either": {"anyOf": [{"type": "string"}, {"oneOf": [{"type": "null"}, {"type": "boolean"}]}]},
    "choice": {"enum": ["a", 3]},
    "one": {"const": "x"},
    "number": {"enum": [1, 2]},
    "typed": {"type": "integer", "enum": [1, "a"]},
    "any": {},
    "true": True,
    "bbox_2d": NUMBERS,
    "image_index": {"type": "integer"},
}
VIEW = View([(100, 50), (40, 20)])


def test_the_types_of_a_schema_are_those_of_all_its_branches() -> None:
    assert types(tool(properties=KINDS)) == {
        "text": {"string"}, "count": {"integer", "null"}, "either": {"string", "null", "boolean"}, "choice": {"string"},
        "one": {"string"}, "number": set(), "typed": {"integer"}, "any": set(), "true": set(), "bbox_2d": {"array"},
        "image_index": {"integer"},
    }  # fmt: skip
    assert types(SimpleNamespace(SCHEMA={"function": {}})) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "taken"),
    [
        ({}, False),
        ({"text": "x"}, True),  # an image may be left out
        ({"text": 3}, False),
        ({"text": "x", "count": 2}, True),
        ({"text": "x", "count": None}, True),
        ({"text": "x", "count": 2.5}, False),
        ({"text": "x", "either": None}, True),
        ({"text": "x", "either": 3}, False),
        ({"text": "x", "choice": "b"}, True),
        ({"text": "x", "any": [], "true": 3, "other": {}}, True),
        *(({"text": "x", "bbox_2d": box}, True) for box in ([1, 2, 3, 4], [1, 2, 3, 4.5])),
        *(
            ({"text": "x", "bbox_2d": box}, False)
            for box in ([1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, True], "1234", None)
        ),
        ({"text": "x", "image_index": "first"}, False),
        ({"image_index": 0}, False),
    ],
)
def test_arguments_of_the_types_of_a_schema_are_taken(arguments: dict[str, Any], taken: bool) -> None:
    assert takes(tool("text", "image_index", properties=KINDS), arguments) is taken


def test_a_tool_that_is_told_nothing_but_an_image_is_told_one() -> None:
    only = tool("image_index", properties=KINDS)
    assert not takes(only, {})
    assert takes(only, {"image_index": 0})


PLACES = {name: KINDS[name] for name in ("image_index", "bbox_2d", "text")}


@pytest.mark.parametrize(
    ("properties", "arguments", "found", "deviations"),
    [
        (
            PLACES,
            {"bbox_2d": [0, 0, 10, 10], "text": "x"},
            Call("look", 1, (0, 0, 10, 10), arguments={"text": "x"}),
            (),
        ),
        (PLACES, {"bbox_2d": [0, 0, 60, 10], "image_index": 0}, Call("look", 0, (0, 0, 60, 10)), ()),
        (PLACES, {"bbox_2d": [0, 0, 60, 10]}, Call("look", 1, (0, 0, 40, 10)), ("box_clamped",)),
        (
            PLACES,
            {"bbox_2d": [0, 0, 60, 10], "image_index": -1},
            Call("look", 1, (0, 0, 40, 10)),
            ("index_negative", "box_clamped"),
        ),
        ({"bbox_2d": NUMBERS}, {"bbox_2d": [0, 0, 10, 10]}, Call("look", 1, (0, 0, 10, 10)), ()),
        ({"point_2d": NUMBERS}, {"point_2d": [3, 4]}, Call("look", 1, points=((3, 4),)), ()),
        ({"point_2d": WHOLE}, {"point_2d": [3.5, 4.2]}, Call("look", 1, points=((3, 4),)), ()),
        ({"points": {**NUMBERS, "items": WHOLE}}, {"points": [[3.5, 4.2]]}, Call("look", 1, points=((3, 4),)), ()),
        ({"points": NUMBERS}, {"points": [[3, 4], [40, 20]]}, Call("look", 1, points=((3, 4), (39, 19))), ()),
        ({"points": NUMBERS}, {}, Call("look", 1), ()),
        ({"text": KINDS["text"]}, {"text": "x"}, Call("look", arguments={"text": "x"}), ()),
        ({"image_index": KINDS["image_index"]}, {}, Call("look", 1), ()),  # the newest
        ({}, {}, Call("look"), ()),
    ],
)
def test_images_boxes_and_points_are_resolved(
    properties: Any, arguments: dict[str, Any], found: Call, deviations: tuple[str, ...]
) -> None:
    assert by_schema(tool(properties=properties), arguments, VIEW) == Checked(found, deviations)


@pytest.mark.parametrize(
    ("properties", "arguments", "kind"),
    [
        (PLACES, {"other": 1}, "arguments"),
        (PLACES, {"text": 3}, "arguments"),
        ({}, {"image_index": 0}, "arguments"),
        ({"points": {**NUMBERS, "maxItems": 1}}, {"points": [[1, 2], [3, 4]]}, "arguments"),
        ({"points": {}}, {"points": 3}, "numbers"),
        ({"point_2d": NUMBERS}, {"point_2d": [1]}, "numbers"),
        ({"point_2d": NUMBERS}, {"point_2d": [41, 0]}, None),
    ],
)
def test_what_a_schema_does_not_allow_is_an_error_of_the_call(
    properties: Any, arguments: dict[str, Any], kind: str | None
) -> None:
    with pytest.raises(ToolError) as raised:
        by_schema(tool(properties=properties), arguments, VIEW)
    assert raised.value.kind == kind


def test_a_schema_that_is_none_is_an_error_of_the_tool() -> None:
    with pytest.raises(ConfigError, match="the schema of the tool look is no JSON schema: "):
        by_schema(tool(properties={"text": {"type": "words"}}), {}, VIEW)


def test_what_a_model_is_told_of_a_tool_and_of_one_that_is_not_there() -> None:
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2, "description": "x, y"}
    found = function_schema("look", "Looks.", ["at"], at=numbers_schema(2, "x, y"), why={"type": "string"})
    parameters = {"type": "object", "properties": {"at": numbers, "why": {"type": "string"}}, "required": ["at"]}
    assert found["function"] == {"name": "look", "description": "Looks.", "parameters": parameters}
    with pytest.raises(ToolError) as raised:
        find_tool({"b": tool(), "a": tool(), "c": tool()}, "y" * 99, ["a", "b"])
    assert str(raised.value) == f"there is no tool {'y' * 40!r}; there are: a, b"
    assert (View([(9, 9)], inputs=3).given, View([(9, 9)] * 3).given) == (1, 1)


def test_a_region_is_that_of_the_box_before_it_was_rounded() -> None:
    thousand = View([(100, 50), (40, 20)], coordinates="thousand")
    call = check_call(tool(properties=PLACES), {"bbox_2d": [125, 0, 375, 1000]}, thousand).call
    assert (call.box, call.region) == ((5, 0, 15, 20), (0.125, 0.0, 0.375, 1.0))
    pixels = {"bbox_2d": [10, 5, 20, 10], "image_index": 0}
    assert check_call(tool(properties=PLACES), pixels, VIEW).call.region == (0.1, 0.1, 0.2, 0.2)


def test_a_call_that_cannot_be_validated_in_time_is_an_error_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def misfit(*_: object) -> Any:
        raise CostlyError("it takes over 1 s")

    monkeypatch.setattr("virc.reasoning.checking.bounded.misfit", misfit)
    with pytest.raises(ToolError, match="cannot be validated against the schema of look: it takes over 1 s"):
        by_schema(tool(properties=PLACES), {"text": "x"}, VIEW)


def fails(*_: object) -> Any:
    raise LookupError("the camera is gone")


@pytest.mark.parametrize("function", ["read", "check", "write"])
def test_a_function_of_a_tool_that_fails_is_named_with_its_line(function: str) -> None:
    broken = tool(properties=PLACES, **{function: fails})
    with pytest.raises(ConfigError) as raised:
        as_written(broken, {}, VIEW) if function == "write" else check_call(broken, {}, VIEW)
    line = fails.__code__.co_firstlineno + 1
    reason = "LookupError: the camera is gone"
    assert raised.value.message == f"the {function} of the tool look fails in line {line} of {__file__}: {reason}"
    assert raised.value.hint == "it raises ToolError for a call that cannot be carried out"


@pytest.mark.parametrize("error", [ToolError("there is none", "index"), ConfigError("no key")])
def test_what_a_tool_says_itself_is_passed_on(error: Exception) -> None:
    def check(*_: object) -> Any:
        raise error

    with pytest.raises(type(error)) as raised:
        check_call(tool(check=check), {}, VIEW)
    assert raised.value is error


def test_what_a_tool_reads_is_checked_and_what_it_writes_is_written() -> None:
    own = tool(
        properties=PLACES, read=lambda given, view: {"text": given["said"]}, write=lambda given, view: {"said": 1}
    )
    assert check_call(own, {"said": "x"}, VIEW).call.arguments == {"text": "x"}
    assert as_written(own, {"text": "x"}, VIEW) == {"said": 1}
    assert as_written(tool(), {"text": "x"}, VIEW) == {"text": "x"}
