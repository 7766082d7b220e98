"""What a call is checked for by the schema of its tool, and what it is resolved to."""

from types import SimpleNamespace
from typing import Any

from support.tables import each_case

from virc.reasoning.calls import Call, Checked, View
from virc.reasoning.checking import by_schema

NUMBERS = {"type": "array"}
WHOLE = {**NUMBERS, "items": {"type": "integer"}}
"""What a model is told; the chat protocol says whether it counts in fractions."""


def tool(*required: str, properties: Any = None, **functions: Any) -> Any:
    parameters = {"type": "object", "properties": properties or {}, "required": list(required)}
    return SimpleNamespace(NAME="look", SCHEMA={"function": {"name": "look", "parameters": parameters}}, **functions)


KINDS = {
    "text": {"type": "string"}, "count": {"type": ["integer", "null"]},
    "either": {"anyOf": [{"type": "string"}, {"oneOf": [{"type": "null"}, {"type": "boolean"}]}]},
    "choice": {"enum": ["a", 3]}, "one": {"const": "x"}, "number": {"enum": [1, 2]},
    "typed": {"type": "integer", "enum": [1, "a"]}, "any": {}, "true": True, "bbox_2d": NUMBERS,
    "image_index": {"type": "integer"},
}  # fmt: skip
VIEW = View([(100, 50), (40, 20)])


PLACES = {name: KINDS[name] for name in ("image_index", "bbox_2d", "text")}


@each_case(
    ("properties", "arguments", "found", "deviations"),
    [
        (PLACES, {"bbox_2d": [0, 0, 10, 10], "text": "x"}, Call("look", 1, (0, 0, 10, 10), arguments={"text": "x"}),
            ()),
        (PLACES, {"bbox_2d": [0, 0, 60, 10], "image_index": 0}, Call("look", 0, (0, 0, 60, 10)), ()),
        (PLACES, {"bbox_2d": [0, 0, 60, 10]}, Call("look", 1, (0, 0, 40, 10)), ("box_clamped",)),
        (PLACES, {"bbox_2d": [0, 0, 60, 10], "image_index": -1}, Call("look", 1, (0, 0, 40, 10)),
            ("index_negative", "box_clamped")),
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
)  # fmt: skip
def test_images_boxes_and_points_are_resolved(
    properties: Any, arguments: dict[str, Any], found: Call, deviations: tuple[str, ...]
) -> None:
    assert by_schema(tool(properties=properties), arguments, VIEW) == Checked(found, deviations)
