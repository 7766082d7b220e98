"""What a written box means: in every count of the field, by its corners or by its centre."""

import pytest
from support.tables import each_case

from virc.reasoning.calls import Size, ToolError, View
from virc.reasoning.coordinates import UnitError, resolve_box, settled_box
from virc.reasoning.protocol import BoxForm, Coordinates

SIZE = (336, 252)


def view(coordinates: Coordinates, box: BoxForm = "corners", size: Size = SIZE) -> View:
    return View([size], coordinates, box, [(1000, 750)])


@each_case(
    ("written", "seen", "pixels"),
    [
        ([500, 500, 1000, 1000], view("thousand"), (168, 126, 336, 252)),
        ([125, 0, 375, 1000], view("thousand", size=(84, 84)), (10, 0, 32, 84)),  # 10.5 and 31.5: ties to even
        ([45, 0, 1000, 1000], view("thousand", size=(100, 100)), (4, 0, 100, 100)),  # 4.5, where c / 1000 * 100 is less
        ([0.25, 0.5, 1, 1.0], view("unit"), (84, 126, 336, 252)),
        ([0, 0.1, 0.5, 0.9], view("unit"), (0, 25, 168, 227)),  # 25.2 and 226.8
        ([168, 126, 100, 50], view("pixel", "center"), (118, 101, 218, 151)),
        ([10, 10, 5, 5], view("pixel", "center"), (8, 8, 12, 12)),  # 7.5 to 12.5
        ([500, 500, 1000, 1000], view("thousand", "center"), (0, 0, 336, 252)),
        ([500, 500, 999, 999], view("permille"), (168, 126, 336, 252)),
        ([600, 0, 999, 998], view("permille"), (202, 0, 336, 252)),  # to the nearest pixel
        ([335, 251, 336, 252], view("pixel"), (335, 251, 336, 252)),
        ([10, 20, 30, 40], view("pixel", "corners_yx"), (20, 10, 40, 30)),
    ],
)
def test_a_box_is_read_in_its_count(written: list[float], seen: View, pixels: tuple[int, int, int, int]) -> None:
    assert resolve_box(written, seen, 0) == (pixels, ())


@each_case(
    ("written", "seen", "pixels"),
    [
        ([-0.1, 0, 1.5, 1], view("unit"), (0, 0, 336, 252)), ([0, 0, 1001, 9], view("thousand"), (0, 0, 336, 2)),
        ([0, 0, 1001, 750], view("original"), (0, 0, 336, 252)), ([-5, 3, 400, 9], view("pixel"), (0, 3, 336, 9)),
        ([0, 0, 20, 20], view("pixel", "center"), (0, 0, 10, 10)),
        ([168, 126, 10**18, 10], view("pixel", "center"), (0, 121, 336, 131)),
        ([0.5, 0.5, 1e300, 1], view("unit", "center"), (0, 0, 336, 252)),
    ],
)  # fmt: skip
def test_a_box_that_reaches_out_is_clamped_by_name(
    written: list[float], seen: View, pixels: tuple[int, int, int, int]
) -> None:
    assert resolve_box(written, seen, 0) == (pixels, ("box_clamped",))


@each_case(
    ("written", "seen", "says"),
    [
        ([0.5, 0, 9, 9], view("thousand"), "not four whole numbers"), ([0, 0, 0.5], view("unit"), "not four numbers"),
        ([0, 0, 0.5, True], view("unit"), "not four numbers"),
        ([0, 0, 0.5, float("nan")], view("unit"), "not four numbers"),
        ([0, 0, 0.001, 1], view("unit"), "holds no pixel"), ([9, 9, -4, 4], view("pixel", "center"), "holds no pixel"),
        ({"a": 1}, view("unit"), "not four numbers"),
        *((box, view(count), "holds no pixel") for count in ("pixel", "permille")
          for box in ([10, 10, 10, 20], [20, 10, 10, 20], [999, 0, 1400, 999], [-9, -9, 0, 0])),
        *((box, view(count), "not four whole numbers") for count in ("pixel", "permille")
          for box in ([0, 0, 9], [0, 0, 9, 9, 1], [], "0, 0, 9, 9", [0, 0, 9, "9"], [0, 0, 9.0, 9], [False, 0, 9, 9],
                      [[0, 0], [9, 9]], [None] * 4, None)),
        ([0, 0, 336, 1], view("pixel"), "one side of the box of 336 x 1 px is over 200 times the other"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_refused(written: object, seen: View, says: str) -> None:
    with pytest.raises(ToolError, match=says):
        resolve_box(written, seen, 0)


@each_case(
    ("written", "coordinates", "says"),
    [
        ([0, 0, 350, 260], "pixel", ""),  # a little outside, as boxes in pixels often are
        ([0, 0, 0, 1], "pixel", "in fractions of the image, not in pixel"),
        ([0.1, 0.2, 0.5, 0.9], "thousand", "in fractions of the image, not in thousand"),
        ([0, 0, 900, 900], "pixel", "reaches far outside of image 1 as counted in pixel: 336 x 252"),
        ([340, 10, 350, 20], "pixel", "reaches far outside"),  # all of it
        ([10, 255, 20, 270], "pixel", "reaches far outside"), ([0, 0, 336, 281], "pixel", "reaches far outside"),
        ([0, 0, 9, 9], "unit", ""), ([0, 0, 1040, 900], "thousand", ""),
        ([0, 0, 1100, 900], "thousand", "counted in thousand: 1000 x 1000"),
    ],
)  # fmt: skip
def test_a_box_in_another_unit_is_not_cut_out(written: list[float], coordinates: Coordinates, says: str) -> None:
    seen = View([(28, 28), SIZE], coordinates)
    if says:
        with pytest.raises(UnitError, match=says):
            settled_box(written, seen, 1)
    else:
        assert settled_box(written, seen, 1) == written


def test_fractions_of_a_pixel_are_rounded() -> None:
    assert settled_box([10.6, 20.4, 50.5, 60], View([SIZE], "pixel"), 0) == [11, 20, 50, 60]
