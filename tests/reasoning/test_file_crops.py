"""Crops that are cut from the picture's file: the pixels of the file reach the model, through crops of crops too."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.solving import call as look
from support.tables import each_case

from virc.reasoning.calls import Call, Size
from virc.reasoning.history import History, boxed
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.resize import QWEN2, smart_resize
from virc.reasoning.session import Reply, Session, Unit
from virc.tools.registry import DEFAULT, known, schemas

PAGE = (4000, 3000)
LIMIT = (3136, 10**6)
FILE = msgspec.structs.replace(own_protocol(schemas(DEFAULT)), crops="file", input_pixels=LIMIT)


def checker(size: Size) -> Image.Image:
    """Black and white pixels in turn, that any average makes grey."""
    across, down = (np.arange(side, dtype=np.uint16) for side in size)
    return Image.fromarray(((across + down[:, None]) % 2 * 255).astype(np.uint8)).convert("RGB")


def numbered(size: Size) -> Image.Image:
    """Every pixel tells where it is: columns in red and green, rows in blue."""
    across, down = np.arange(size[0]), np.arange(size[1])[:, None]
    pixels = np.empty((size[1], size[0], 3), np.uint8)  # twelve million numbers of eight bytes would take seconds
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = across % 256, across // 256 * 16 + down // 256, down % 256
    return Image.fromarray(pixels)


def session(page: Image.Image, protocol: Protocol = FILE) -> Session:
    return Session(protocol, "?", [page], tools=known())


def crop(talk: Session, box: list[float], index: int = 0) -> Image.Image:
    taken = talk.feed(Reply(look("crop_image", bbox_2d=box, image_index=index)))
    assert isinstance(taken, Unit), taken
    return talk.images[-1].pixels


def test_a_checker_reaches_the_model_with_its_full_range_from_the_file_alone() -> None:
    page = checker(PAGE)
    shown = session(page).images[0].size
    assert shown[0] * shown[1] <= LIMIT[1]
    box = [round(side * part) for part, side in zip((0.25, 0.25, 0.278, 0.2873333), shown * 2, strict=True)]
    cut = crop(session(page), box)
    assert cut.getextrema() == ((0, 255),) * 3
    grey = crop(session(page, msgspec.structs.replace(FILE, crops="shown")), box)
    low, high = grey.convert("L").getextrema()
    assert (low, high) != (0, 255)


def test_a_box_of_the_file_on_the_grid_is_shown_pixel_for_pixel() -> None:
    page = numbered(PAGE)
    protocol = msgspec.structs.replace(FILE, coordinates="original")
    cut = crop(session(page, protocol), [1001, 777, 1001 + 280, 777 + 168])
    assert cut.tobytes() == page.crop((1001, 777, 1281, 945)).tobytes()


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=4))
def test_crops_of_crops_lie_within_a_pixel_of_the_file(parts: list[tuple[float, ...]]) -> None:
    protocol = msgspec.structs.replace(FILE, coordinates="unit")
    history = History([Image.new("RGB", (1000, 750), "white")], protocol, QWEN2, known())
    left, top, right, bottom = 0.0, 0.0, 1000.0, 750.0
    for number, (x1, y1, x2, y2) in enumerate(parts):
        box = (min(x1, x2) * 0.6, min(y1, y2) * 0.6, 0.6 + 0.4 * max(x1, x2), 0.6 + 0.4 * max(y1, y2))
        width, height = history.sizes[number]
        shown = (round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height))
        _, [(image, place)] = history.run(Call("crop_image", number, shown, region=box))
        history.add(image, place)
        left, right = left + box[0] * (right - left), left + box[2] * (right - left)
        top, bottom = top + box[1] * (bottom - top), top + box[3] * (bottom - top)
        region = history.region(number + 1)
        assert region is not None
        # each crop rounds its edges once, and the next is measured on what was cut
        assert region == pytest.approx((left, top, right, bottom), abs=0.51 * (number + 1) + 0.01)
        left, top, right, bottom = map(float, region)


def test_a_crop_of_a_crop_has_the_pixels_of_the_file_whatever_the_first_was_shown_at() -> None:
    page = numbered(PAGE)
    protocol = msgspec.structs.replace(FILE, coordinates="unit")
    talk = session(page, protocol)
    crop(talk, [0.0, 0.0, 0.05025, 0.05])  # 201 x 150 px, shown at 196 x 140
    assert talk.images[1].size == (196, 140)
    cut = crop(talk, [0.0, 0.0, 140 / 201, 84 / 150], index=1)
    assert cut.tobytes() == page.crop((0, 0, 140, 84)).tobytes()
    small = crop(talk, [0.0, 0.0, 0.02525, 0.0336])  # 101 x 101 px, shown enlarged at 112 x 112
    assert small.size == (112, 112)
    again = crop(talk, [0.0, 0.0, 84 / 101, 56 / 101], index=3)
    assert again.tobytes() == page.crop((0, 0, 84, 56)).tobytes()


def test_a_scaled_image_is_cut_from_the_file_too() -> None:
    page = numbered((840, 840))
    talk = session(page)
    talk.feed(Reply(look("scale_image", scale_factor=0.25, image_index=0)))
    assert talk.images[1].size == (224, 224)
    cut = crop(talk, [0, 0, 112, 112], index=1)
    assert cut.size == (420, 420)
    assert cut.tobytes() == page.crop((0, 0, 420, 420)).tobytes()
    talk.feed(Reply(look("scale_image", scale_factor=4.0, image_index=3 - 1)))
    enlarged = talk.images[-1].size
    assert crop(talk, [0, 0, enlarged[0] // 2, enlarged[1] // 2], index=3).size == smart_resize(
        enlarged[0] // 2, enlarged[1] // 2
    )


@each_case(
    ("settings_of", "box", "expected"),
    [
        ({"least_side": 32}, (100, 100, 115, 131), (91, 81, 124, 150)),  # both sides grow by as much
        ({"least_side": 32}, (100, 765, 115, 796), (91, 746, 124, 800)),  # as far as the picture goes
        ({"least_side": 32}, (5, 100, 36, 115), (0, 91, 55, 124)),
        ({"least_side": 32}, (0, 0, 16, 16), (0, 0, 16, 16)),  # the edge of the picture leaves it short
        ({"edges": "floor", "float_boxes": True}, (10.9, 10.2, 20.9, 20.2), (10, 10, 20, 20)),
        ({"edges": "round", "float_boxes": True}, (10.9, 10.2, 20.9, 20.2), (11, 10, 21, 20)),
        ({"edges": "inclusive", "float_boxes": True}, (10.9, 10.2, 20.9, 20.2), (10, 10, 21, 21)),
        ({"edges": "exclusive", "float_boxes": True}, (10.9, 10.2, 1000, 800), (10, 10, 999, 799)),
        ({"edges": "floor"}, (0, 0, 322, 238), (0, 0, 322, 238)),  # 322 / 1000 * 1000 is a little less
    ],
)
def test_boxes_are_made_as_long_as_the_system_says(
    settings_of: dict[str, object], box: tuple[float, ...], expected: tuple[int, ...]
) -> None:
    size = (1000, 800)
    parts = tuple(number / side for number, side in zip(box, size * 2, strict=True))
    call = Call("crop_image", 0, tuple(map(round, box)), region=parts)  # type: ignore[arg-type]
    assert boxed(call, size, size, msgspec.structs.replace(FILE, **settings_of)) == expected  # type: ignore[arg-type]
