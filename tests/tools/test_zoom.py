"""`zoom_image`: the smaller the box, the more it is enlarged; what is read is what `crop_image` reads."""

from PIL import Image

from virc.reasoning.calls import Call
from virc.reasoning.resample import resampled
from virc.tools import registry as tools

ZOOM = tools.get("zoom_image")


def test_what_is_shown_is_what_stands_in_the_box() -> None:
    picture = Image.new("RGB", (400, 200), "white")
    picture.paste((255, 0, 0), (300, 100, 400, 200))
    shown = ZOOM.apply(Call("zoom_image", 0, box=(300, 100, 400, 200)), picture)
    assert resampled(shown, shown.size).getcolors() == [(200 * 200, (255, 0, 0))]
