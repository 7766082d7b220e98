"""One check per tool: what it refuses, what it forgives by name, and what the call then does."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.tables import each_case

from virc.reasoning.calls import Call, Checked, ToolError, View
from virc.reasoning.resample import Rescaled
from virc.tools import registry as tools

PIXELS = View(((336, 252), (168, 56)))


def checked(name: str, view: View = PIXELS, /, **arguments: object) -> Checked:
    result = tools.get(name).check(arguments, view)
    assert isinstance(result, Checked)
    return result


def refused(name: str, view: View = PIXELS, /, **arguments: object) -> str:
    with pytest.raises(ToolError) as caught:
        tools.get(name).check(arguments, view)
    message = str(caught.value)
    assert message
    assert len(message) < 150
    assert "\n" not in message
    return message


@each_case(("name", "more"), [("display_image", {}), ("scale_image", {"scale_factor": 2})])
@each_case("index", [2, -3, True, False, 0.0, 1.0, "0", None, [0], float("nan")])
def test_an_index_that_names_no_image_is_refused(name: str, more: Mapping[str, Any], index: object) -> None:
    assert "image_index" in refused(name, image_index=index, **more)


@each_case(
    ("asked", "factor"),
    [
        (0.25, 0.25), (0.3, 0.25),
        (0.375, 0.25),  # of two equally near the smaller
        (0.5, 0.5), (1, 0.5), (1.01, 1.5), (1.5, 1.5), (2, 2.0), (2.0, 2.0), (2.3, 2.5), (3.25, 2.5), (3.3, 4.0),
        (4, 4.0),
    ],
)  # fmt: skip
def test_factors_snap_to_the_nearest_offered(asked: float, factor: float) -> None:
    deviations = () if asked == factor else ("factor_snapped",)
    assert checked("scale_image", scale_factor=asked, image_index=0) == Checked(
        Call("scale_image", 0, factor=factor), deviations
    )


@each_case("factor", [0, 0.2499, 4.0001, -2, float("nan"), float("inf"), True, "2", None, [2], 2 + 0j])
def test_factors_out_of_reach_are_refused(factor: object) -> None:
    assert "scale_factor" in refused("scale_image", scale_factor=factor, image_index=0)


GOOD: Mapping[str, Mapping[str, object]] = {
    "crop_image": {"bbox_2d": [0, 0, 9, 9], "image_index": 0},
    "scale_image": {"scale_factor": 2, "image_index": 0},
    "display_image": {"image_index": 0},
}


@each_case("name", sorted(GOOD))
def test_the_arguments_are_exactly_those_of_the_schema(name: str) -> None:
    schema = tools.get(name).SCHEMA["function"]["parameters"]
    assert set(GOOD[name]) == set(schema["properties"]) == set(schema["required"])
    checked(name, PIXELS, **GOOD[name])
    for key in GOOD[name]:
        others = {other: value for other, value in GOOD[name].items() if other != key}
        assert refused(name, PIXELS, **others) == f"the call has no {key}"
    assert refused(name, PIXELS, **GOOD[name], label="x") == "the tool takes no label"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(GOOD)),
    st.dictionaries(st.sampled_from(["bbox_2d", "image_index", "scale_factor", "x"]), junk, max_size=4),
)
def test_any_arguments_are_a_call_or_a_tool_error(name: str, arguments: dict[str, object]) -> None:
    try:
        checked(name, PIXELS, **arguments)
    except ToolError as error:
        message = str(error)
    else:
        return
    assert 0 < len(message) < 150


def test_a_crop_holds_the_pixels_of_its_box() -> None:
    source = Image.new("RGB", (40, 30), "white")
    source.paste("red", (10, 5, 20, 15))
    cut = tools.get("crop_image").apply(Call("crop_image", 0, box=(10, 5, 20, 15)), source)
    assert isinstance(cut, Rescaled)
    assert cut.cut.getcolors() == [(100, (255, 0, 0))]
    assert tools.get("display_image").apply(Call("display_image", 0), source).tobytes() == source.tobytes()
