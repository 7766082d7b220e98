"""Points of calls in every unit that they are counted in, and the tool that cuts around one."""

import math
from typing import Any

import pytest
from support.tables import each_case
from support.tool_calls import SIZE, VIEW

from virc.reasoning.calls import Size, ToolError, View
from virc.reasoning.coordinates import resolve_point


@each_case(
    ("point", "coordinates", "pixel"),
    [
        ([0, 0], "pixel", (0, 0)), ([199, 99], "pixel", (199, 99)),
        ([200, 100], "pixel", (199, 99)),  # the far corner is the last pixel
        ([12.9, 3.2], "pixel", (12, 3)), ([500, 500], "thousand", (100, 50)), ([999, 0], "permille", (199, 0)),
        ([0.5, 0.25], "unit", (100, 25)), ([1000, 500], "original", (100, 50)),
    ],
)  # fmt: skip
def test_a_point_is_a_pixel_of_the_image_as_shown(point: list[float], coordinates: Any, pixel: Size) -> None:
    view = View([SIZE], coordinates, originals=[(2000, 1000)] if coordinates == "original" else [])
    assert resolve_point(point, view, 0) == pixel


@each_case("point", [[1], [1, 2, 3], "1, 2", [True, 1], [1, None], [math.nan, 1], [-1, 0], [0, 101], {}])
def test_what_is_no_point_of_the_image_is_refused(point: object) -> None:
    with pytest.raises(ToolError, match="the point"):
        resolve_point(point, VIEW, 0)
