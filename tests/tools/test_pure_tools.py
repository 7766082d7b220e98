"""Tools that draw, turn, enhance or measure: exact in pixels, in every unit that points are counted in."""

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.tables import each_case

from virc.reasoning.calls import Call, Checked, Size, ToolError, View
from virc.reasoning.checking import check_call
from virc.reasoning.coordinates import resolve_point
from virc.reasoning.resample import Rescaled, resampled
from virc.tools import registry as tools

SIZE = (200, 100)
VIEW = View([SIZE])
RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)


def checked(name: str, view: View = VIEW, /, **arguments: object) -> Checked:
    return check_call(tools.get(name), {"image_index": 0, **arguments}, view)


def made(name: str, image: Image.Image | None = None, /, **arguments: object) -> Any:
    image = image or Image.new("RGB", SIZE, WHITE)
    result = tools.get(name).apply(checked(name, View([image.size]), **arguments).call, image)
    return resampled(result, result.size) if isinstance(result, Rescaled) else result


def refused(name: str, **arguments: object) -> str:
    with pytest.raises(ToolError) as caught:
        made(name, **arguments)
    return str(caught.value)


def of_color(image: Image.Image, color: tuple[int, int, int]) -> set[tuple[int, int]]:
    return {(int(x), int(y)) for y, x in np.argwhere((np.asarray(image) == color).all(axis=2))}


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


def test_a_box_is_its_outline_and_nothing_else_changes() -> None:
    image = Image.new("RGB", SIZE, WHITE)
    found = made("draw_on_image", image, shape="box", points=[[50, 40], [20, 10]], width=1)
    outline = {(x, y) for x in range(20, 51) for y in range(10, 41) if x in (20, 50) or y in (10, 40)}
    assert of_color(found, RED) == outline
    assert len(of_color(made("draw_on_image", shape="box", points=[[50, 40], [20, 10]]), RED)) > 2 * len(outline)
    assert image.getcolors() == [(200 * 100, WHITE)], "the source is left as it is"


@each_case(
    ("arguments", "says"),
    [
        ({"shape": "box", "points": [[1, 1]]}, "a box has 2 points, and the call has 1"),
        ({"shape": "box", "points": [[1, 1], [2, 2], [3, 3]]}, "a box has 2 points, and the call has 3"),
        ({"shape": "arrow", "points": [[1, 1], [2, 2], [3, 3]]}, "a arrow has 2 points, and the call has 3"),
        ({"shape": "line", "points": [[1, 1]]}, "2 points, and the call has 1"),
        ({"shape": "arrow", "points": [[1, 1], [1, 1]]}, "ends where it begins"),
        ({"shape": "text", "points": [[1, 1]]}, "no text"),
        ({"shape": "star", "points": [[1, 1]]}, "shape: 'star' is not one of"),
        ({"shape": "line", "points": [[1, 1], [300, 1]]}, "outside of the image of 200 x 100"),
        ({"shape": "line", "points": []}, "points: "), ({"shape": "line", "points": [[1, 1]] * 65}, "points: "),
        ({"shape": "line", "points": {"x": 1}}, "points: "),
        ({"shape": "line", "points": [[1, 1], [2, 2]], "width": 900}, "width: 900"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, object], says: str) -> None:
    assert says in refused("draw_on_image", **arguments)


@each_case(
    ("change", "corner"),
    [
        ("turn_90", (99, 0)), ("turn_180", (199, 99)), ("turn_270", (0, 199)),
        ("mirror_left_right", (199, 0)), ("mirror_top_bottom", (0, 99)),
    ],
)  # fmt: skip
def test_every_pixel_turns(change: str, corner: Size) -> None:
    image = Image.new("RGB", SIZE, WHITE)
    image.putpixel((0, 0), RED)
    assert of_color(made("orient_image", image, change=change), RED) == {corner}


@each_case(
    ("arguments", "tones"),
    [
        ({"change": "threshold"}, [0, 255, 255]), ({"change": "threshold", "amount": 201}, [0, 0, 0]),
        ({"change": "invert"}, [155, 127, 55]), ({"change": "brightness", "amount": 0.5}, [50, 64, 100]),
        ({"change": "brightness", "amount": 0}, [0, 0, 0]), ({"change": "brightness", "amount": 20}, [255, 255, 255]),
        ({"change": "threshold", "amount": 0}, [255, 255, 255]), ({"change": "gray"}, [100, 128, 200]),
        ({"change": "equalize"}, [0, 128, 255]), ({"change": "contrast", "amount": 0}, [143, 143, 143]),
        ({"change": "sharpness", "amount": 0}, [100, 128, 200]),
    ],
)  # fmt: skip
def test_tones_change_as_named(arguments: dict[str, object], tones: list[int]) -> None:
    image = Image.new("RGB", (90, 34))  # twelve times as many pixels as tones, which `equalize` needs
    for part, tone in enumerate((100, 128, 200)):
        image.paste((tone,) * 3, (30 * part, 0, 30 * part + 30, 34))
    found = made("enhance_image", image, **arguments)
    assert [found.getpixel((x, 5)) for x in (15, 45, 75)] == [(tone,) * 3 for tone in tones]


def test_measures_are_said_in_words() -> None:
    image = Image.new("RGB", SIZE, WHITE)
    image.putpixel((7, 8), (16, 32, 48))
    assert made("measure", image, points=[[7, 8]]) == "The colour is #102030: red 16, green 32, blue 48 of 255."
    grey = "The colour is #1d1d1d: red 29, green 29, blue 29 of 255."  # 0.299 * 16 + 0.587 * 32 + 0.114 * 48
    assert made("measure", image.convert("L"), points=[[7, 8]]) == grey
    assert made("measure", points=[[0, 0], [30, 40]]).startswith("The distance is 50.0 pixels; the image is 200 x 100")
    assert made("measure", points=[[50, 0], [0, 0], [50, 50]]) == "The angle is 45.0 degrees."
    assert made("measure", points=[[0, 1], [9, 9], [18, 17]]) == "The angle is 180.0 degrees."
    for points in ([[1, 1], [1, 1], [5, 5]], [[5, 5], [1, 1], [1, 1]]):
        assert "no size" in refused("measure", points=points)


@each_case(
    ("coordinates", "labels"),
    [
        ("pixel", "40 20 80 40"), ("permille", "200 200 400 400"), ("unit", "0.2 0.2 0.4 0.4"),
        ("thousand", "200 200 400 400"), ("original", "400 200 800 400"),
    ],
)  # fmt: skip
def test_a_grid_says_its_coordinates_in_the_unit_of_the_calls(
    coordinates: Any, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    plain = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, at, text, *more: (written.append(text), plain(self, at, text, *more))
    )
    view = View([(56, 84), SIZE], coordinates, originals=[(560, 840), (2000, 1000)])
    call = checked("show_grid", view, parts=5, image_index=1).call
    found = tools.get("show_grid").apply(call, Image.new("RGB", SIZE, WHITE))
    assert written[:4] == labels.split()
    assert isinstance(found, Image.Image)
    assert {found.getpixel((x, 95)) for x in (40, 80, 120, 160)} == {RED}
    assert {found.getpixel((x, 50)) for x in (39, 41, 199)} == {WHITE}
    assert {found.getpixel((199, y)) for y in (20, 40, 60, 80)} == {RED}


# ViGoRL's own function (Gabesarch/grounded-rl, 2025), run on a picture of 200 x 100: point -> its crop, dot at.
WINDOWS = [([100, 50], (50, 0, 150, 100)), ([3, 98], (0, 48, 53, 100)), ([199, 0], (149, 0, 200, 50))]


@each_case(("point", "box"), WINDOWS)
def test_the_window_is_that_of_vigorl(point: list[int], box: tuple[int, int, int, int]) -> None:
    assert checked("crop_around_point", point_2d=point).call == Call(
        "crop_around_point", 0, box=box, points=((point[0], point[1]),)
    )
    image = Image.new("RGB", SIZE, BLUE)
    assert made("crop_around_point", image, point_2d=point).size == (box[2] - box[0], box[3] - box[1])
    assert not of_color(made("crop_around_point", image, point_2d=point, dot=False), RED)
    dotted = made("crop_around_point", image, point_2d=point, dot=True)
    assert dotted.getpixel((point[0] - box[0], point[1] - box[1])) == RED
    assert made("crop_around_point", image, point_2d=point, size=392).size == (392, 392)
