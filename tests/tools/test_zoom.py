"""`zoom_image`: the smaller the box, the more it is enlarged; what is read is what `crop_image` reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from virc.reasoning.calls import Box, Call, Checked, Size, ToolError, View
from virc.reasoning.resample import resampled
from virc.tools import registry as tools
from virc.tools.zoom import enlargement

VIEW = View([(400, 200)])
ZOOM = tools.get("zoom_image")


@pytest.mark.parametrize(
    ("box", "factor", "size"),
    [
        ((0, 0, 100, 50), 2, (200, 100)),  # a sixteenth of the area
        ((300, 100, 400, 200), 2, (200, 200)),  # an eighth
        ((0, 0, 200, 125), 1.5, (300, 187)),  # 0.3125, half the way from an eighth to a half
        ((0, 0, 200, 200), 1, (200, 200)),  # a half
        ((0, 0, 400, 200), 1, (400, 200)),
    ],
)
def test_sides_grow_as_the_share_of_the_area_falls(box: Box, factor: float, size: Size) -> None:
    assert enlargement(box, (400, 200)) == factor
    found = ZOOM.check({"bbox_2d": list(box), "image_index": 0}, VIEW)
    assert found == Checked(Call("zoom_image", 0, box=box))
    assert ZOOM.apply(found.call, Image.new("RGB", (400, 200))).size == size


def test_what_is_shown_is_what_stands_in_the_box() -> None:
    picture = Image.new("RGB", (400, 200), "white")
    picture.paste((255, 0, 0), (300, 100, 400, 200))
    shown = ZOOM.apply(Call("zoom_image", 0, box=(300, 100, 400, 200)), picture)
    assert resampled(shown, shown.size).getcolors() == [(200 * 200, (255, 0, 0))]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"bbox_2d": [1, 2, 3, 4]}, "the call has no image_index"),
        ({"bbox_2d": [5, 5, 5, 9], "image_index": 0}, "holds no pixel"),
        ({"bbox_2d": [0, 0, 400, 1], "image_index": 0}, "over 200 times"),
        ({"bbox_2d": [0, 0, 9, 9], "image_index": 1}, "the images are 0 to 0"),
    ],
)
def test_what_is_no_crop_is_no_zoom(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(ToolError, match=says):
        ZOOM.check(arguments, VIEW)


@given(st.tuples(st.integers(1, 500), st.integers(1, 500)), st.tuples(*[st.floats(0, 1)] * 4))
def test_nothing_shrinks_and_nothing_is_more_than_doubled(size: Size, parts: tuple[float, float, float, float]) -> None:
    across, down = sorted(parts[:2]), sorted(parts[2:])
    left, right = (int(part * (size[0] - 1)) for part in across)
    top, bottom = (int(part * (size[1] - 1)) for part in down)
    assert 1 <= enlargement((left, top, right + 1, bottom + 1), size) <= 2


def test_it_is_offered_where_a_system_names_it_alone() -> None:
    assert "zoom_image" in tools.discover()
    assert "zoom_image" not in tools.DEFAULT
    with pytest.raises(ToolError, match="there is no tool 'zoom_image'; there are: crop_image"):
        tools.get("zoom_image", tools.DEFAULT)
