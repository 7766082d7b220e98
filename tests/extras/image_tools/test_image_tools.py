"""Tools that draw, turn, enhance or measure: exact in pixels, in every unit that points are counted in."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from support.called import virc
from support.tables import each_case
from support.tool_calls import RED, SIZE, WHITE, checked, made, of_color, refused

from virc.reasoning.calls import Size, View
from virc.tools import registry as tools


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


def test_the_hint_of_try_draws(tmp_path: Path) -> None:
    file = tmp_path / "figure.png"
    Image.new("RGB", (560, 280), "white").save(file)
    hint = virc("tools", "try", "draw_on_image", file).err.partition("hint: ")[2]
    done = virc("tools", "try", "draw_on_image", file, *shlex.split(hint))
    assert (done.code, done.out.startswith("<image 1: ")) == (0, True)
