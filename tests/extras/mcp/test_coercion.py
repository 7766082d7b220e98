"""Arguments as text, as some hosts and models write them."""

from typing import Any

import msgspec
import pytest
from support.tables import each_case

from virc_extras.mcp.coercion import converted
from virc_extras.mcp.messages import Ask, Crop, Evaluate, Scale, Show


@each_case(
    ("kind", "given", "name", "value"),
    [
        (Crop, {"box": "[0, 0, 100, 100]"}, "box", [0, 0, 100, 100]),
        (Crop, {"box": ["0", "0", "1e2", 100]}, "box", [0, 0, 100, 100]),
        (Crop, {"box": [0, 0, 1, 1], "max_side": "500"}, "max_side", 500),
        (Ask, {"question": "?", "samples": "2"}, "samples", 2),
        (Ask, {"question": "?", "samples": 2.0}, "samples", 2),
        (Ask, {"question": "?", "samples": "2.0"}, "samples", 2),
        (Ask, {"question": "?", "more_images": '["b.png", "c.png"]'}, "more_images", ["b.png", "c.png"]),
        (Ask, {"question": "?", "more_images": "b.png"}, "more_images", ["b.png"]),
        (Ask, {"question": "2"}, "question", "2"),
        (Scale, {"factor": "1.5"}, "factor", 1.5),
        (Show, {"max_side": 800.0}, "max_side", 800),
        (Evaluate, {"answer": "2", "reference": "2", "decimals": "1"}, "decimals", 1),
        (Evaluate, {"answer": "2", "reference": "2", "tolerance": "null"}, "tolerance", None),
        *((Crop, {"box": [0, 0, 1, 1], "unit": each}, "unit", "pixel") for each in (None, "", "null")),
        *((Ask, {"question": "?", "more_images": each}, "more_images", []) for each in (None, "")),
    ],
)
def test_text_is_read_as_what_the_schema_has(kind: Any, given: dict[str, Any], name: str, value: object) -> None:
    given = given if kind is Evaluate else {"image": "a.png", **given}
    assert getattr(converted(given, kind), name) == value


@each_case(
    ("given", "said"),
    [
        ({"box": "left"}, "Expected"),
        ({"box": "[0, 0, 1]"}, "got `str`"),
        ({"box": ["a", 0, 1, 1]}, "got `str`"),
        ({"box": [0, 0, 1, 1], "max_side": "1.5"}, "got `str`"),
        ({"box": [0, 0, 1, 1], "max_side": "5"}, "got `str`"),
        ({"box": [0, 0, 1, 1], "max_side": True}, "got `bool`"),
        ({"box": [0, 0, 1, 1], "side": "500"}, "unknown field"),
        ({"box": "[" * 9000}, "got `str`"),
        ({"box": None}, "got `null`"),
    ],
)
def test_what_fits_in_no_reading_is_refused(given: dict[str, Any], said: str) -> None:
    before = repr(given)
    with pytest.raises(msgspec.ValidationError) as refused:
        converted({"image": "a.png", **given}, Crop)
    assert said in str(refused.value)
    assert repr(given) == before
