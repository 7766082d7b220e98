"""Smart-resize against a table, and what must hold for every size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.tables import each_case

from virc.reasoning.calls import Call
from virc.reasoning.resize import Grid, smart_resize, too_long
from virc.tools.registry import get

# Widths in units of 28 px after scaling an image of 1..40 x 16 units and showing the result. A side under a
# unit (the first of .25 and .5) is enlarged to one, the whole image with it, and ties go to the even unit.
TABLE = {
    0.25: "1 1 1 1 1 2 2 2 2 2 3 3 3 4 4 4 4 4 5 5 5 6 6 6 6 6 7 7 7 8 8 8 8 8 9 9 9 10 10 10",
    0.5: ("1 1 2 2 2 3 4 4 4 5 6 6 6 7 8 8 8 9 10 10 10 11 12 12 12 13 14 14 14 15 16 16 16 17 18 18 18 19 20 20"),
    1.5: (
        "2 3 4 6 8 9 10 12 14 15 16 18 20 21 22 24 26 27 28 30 32 33 34 36 38 39 40 42 44 45 46 48 50 51 "
        "52 54 56 57 58 60"
),
    2.0: (
        "2 4 6 8 10 12 14 16 18 20 22 24 26 28 30 32 34 36 38 40 42 44 46 48 50 52 54 56 58 60 62 64 66 "
        "68 70 72 74 76 78 80"
),
    2.5: (
        "2 5 8 10 12 15 18 20 22 25 28 30 32 35 38 40 42 45 48 50 52 55 58 60 62 65 68 70 72 75 78 80 82 "
        "85 88 90 92 95 98 100"
),
    4.0: (
        "4 8 12 16 20 24 28 32 36 40 44 48 52 56 60 64 68 72 76 80 84 88 92 96 100 104 108 112 116 120 "
        "124 128 132 136 140 144 148 152 156 160"
),
}  # fmt: skip
HEIGHTS = {0.25: (16, 8, 5, 4), 0.5: (16, 8), 1.5: (24,), 2.0: (32,), 2.5: (40,), 4.0: (64,)}


@each_case("factor", TABLE)
def test_scaled_sizes_are_those_of_the_table(factor: float) -> None:
    widths = [int(width) for width in TABLE[factor].split()]
    assert len(widths) == 40
    for units, width in enumerate(widths, start=1):
        source = Image.new("1", (28 * units, 448))  # one bit a pixel: only sizes matter here
        scaled = get("scale_image").apply(Call("scale_image", 0, factor=factor), source)
        heights = HEIGHTS[factor]
        height = heights[min(units, len(heights)) - 1]
        assert smart_resize(*scaled.size) == (28 * width, 28 * height)


@each_case(
    ("size", "grid", "shown"),
    [
        ((126, 280), Grid(), (112, 280)),  # 4.5 units: the even four
        ((98, 280), Grid(), (112, 280)),  # 3.5 units: the even four
        ((322, 245), Grid(), (336, 252)),
        ((300, 10), Grid(), (840, 28)),  # first enlarged to 840 x 28
        ((1, 1), Grid(), (56, 56)),
        ((56, 56), Grid(min_pixels=3136, max_pixels=3136), (56, 56)),  # as small and as large as it may be
        ((20, 600), Grid(max_pixels=784 * 20), (28, 672)),  # 28 x 840 by the root of 1.5
        ((56, 28), Grid(), (84, 56)),  # 1,568 px grow to at least 3,136
        ((8000, 6000), Grid(), (4116, 3080)), ((2000, 1000), Grid(max_pixels=100 * 784), (392, 196)),
        ((5600, 28), Grid(max_pixels=4 * 784), (784, 28)),  # no side goes under one unit
        ((96, 144), Grid(32, 4 * 1024, 16384 * 1024), (96, 128)),  # 4.5 units of 32
    ],
)  # fmt: skip
def test_known_sizes(size: tuple[int, int], grid: Grid, shown: tuple[int, int]) -> None:
    assert smart_resize(*size, grid) == shown


@each_case(
    ("size", "why"),
    [
        ((201, 1), "one side of 201 x 1 px is over 200 times the other"),
        ((28, 5601), "one side of 28 x 5601 px is over 200 times the other"),
        ((0, 5), "an image of 0 x 5 px has nothing to show"), ((5, -3), "an image of 5 x -3 px has nothing to show"),
    ],
)  # fmt: skip
def test_sizes_nobody_can_show_are_refused(size: tuple[int, int], why: str) -> None:
    with pytest.raises(ValueError, match="px") as raised:
        smart_resize(*size)
    assert str(raised.value) == why
    assert not any(too_long(*each) for each in ((200, 1), (1, 200), (28, 5600)))


sides = st.integers(1, 12_000)
grids = st.sampled_from([Grid(), Grid(32, 4 * 1024, 16384 * 1024), Grid(28, 784, 300 * 300 * 28)])


@given(sides, sides, grids)
def test_what_is_shown_lies_on_the_grid_within_the_limits_and_stays(width: int, height: int, grid: Grid) -> None:
    if max(width, height) > 200 * min(width, height):
        width = height
    shown = smart_resize(width, height, grid)
    assert shown[0] % grid.factor == shown[1] % grid.factor == 0
    assert grid.min_pixels <= shown[0] * shown[1] <= grid.max_pixels
    assert smart_resize(height, width, grid) == shown[::-1]
    if max(shown) <= 200 * min(shown):
        assert smart_resize(*shown, grid) == shown
