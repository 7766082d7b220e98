"""Tools that look into frames, as the published programs carry their calls out."""

import json
from typing import Any

from PIL import Image
from support.tables import each_case

from virc.models.chat_protocol import of_system
from virc.reasoning.calls import Box, Size
from virc.reasoning.session import Rejected, Reply, Session
from virc.systems import registry as systems
from virc.tools.registry import known

SMALL, WIDE, LARGE = (560, 420), (784, 588), (2016, 1512)


def played(system: str, *calls: tuple[str, Any], count: int = 1, size: Size = (392, 280)) -> Session:
    """A session on equal pictures in which a model makes these calls."""
    pictures = [Image.new("RGB", size, (at, 0, 0)) for at in range(count)]
    session = Session(of_system(systems.get(system)), "What?", pictures, tools=known())
    for name, arguments in calls:
        written = json.dumps({"name": name, "arguments": arguments})
        assert not isinstance(session.feed(Reply(f"<tool_call>{written}</tool_call>")), Rejected)
    return session


# what crop_image_normalized and crop of the programs cut out of an image; None: it is refused
@each_case(
    ("box", "size", "pixel_reasoner", "verltool"),
    [
        ([0.25, 0.3, 0.5, 0.6], WIDE, (118, 118, 470, 412), (117, 117, 470, 411)),
        ([0.7, 0.8, 0.99, 0.99], WIDE, (470, 412, 784, 588), (470, 411, 784, 588)),
        ([100, 50, 400.5, 300], WIDE, (22, 0, 479, 359), (21, 0, 478, 358)),
        ([0.5, 0.5, 1.0, 1.0], WIDE, (0, 0, 79, 60), (0, 0, 79, 59)),  # pixels, since a number is 1
        ([700, 500, 9000, 9000], LARGE, (498, 349, 2016, 1512), (498, 348, 2016, 1512)),
        ([0.6, 0.6, 0.4, 0.4], WIDE, None, None),
        ([0.9, 0.1, 0.1, 0.9], WIDE, None, None),
    ],
)
def test_a_crop_has_a_margin_of_a_tenth_of_its_image(
    box: list[float], size: Size, pixel_reasoner: Box | None, verltool: Box | None
) -> None:
    for system, tool, cut in (
        ("pixel-reasoner", "crop_image_normalized", pixel_reasoner), ("verltool", "crop_image", verltool),
    ):  # fmt: skip
        session = played(system, (tool, {"bbox_2d": box, "target_image": 1}), size=size)
        assert [each.box for each in session.images[1:]] == ([cut] if cut else []), system


SELECT, CROP = "select_frames", "crop_image_normalized"
PART = [0.3, 0.3, 0.6, 0.6]


# the indices of the frames that are shown, and what is said of them, up to its end "|"; or of what image a part is
@each_case(
    ("system", "calls", "shown", "said"),
    [
        ("pixel-reasoner", [(SELECT, [2, 4])], [1, 3], "392x280, Numbered 1 to 2):|"),
        ("pixel-reasoner", [(SELECT, [2]), (SELECT, [3])], [1, 2], "392x280, Numbered 2 to 2"),
        ("pixel-reasoner", [(SELECT, [5])], [], "the frames are 1 to 4"),
        ("pixel-reasoner", [(SELECT, [2.0])], [], "there is no frame 2.0"),
        ("pixel-reasoner", [(CROP, 2.0)], [], "[1,4]"),
        ("pixel-reasoner", [(SELECT, [1] * 9)], [], "9 frames are named"),
        ("pixel-reasoner", [(CROP, 3)], [2], "196x140"),
        ("pixel-reasoner", [(SELECT, [4]), (CROP, 2)], [3, 3], "196x140"),
        ("pixel-reasoner", [(SELECT, [4]), (CROP, 1)], [3], "[2,2]"),
        ("verltool", [(SELECT, [2, 4]), (SELECT, [6])], [1, 3, 3], "392x280, Numbered 1 to 1):|"),
        ("verltool", [(SELECT, [1] * 9)], [0] * 9, "Numbered 1 to 9"),
        ("verltool", [(SELECT, [0])], [], "the frames are 1 to 4"),
        ("verltool", [(SELECT, [4]), (CROP, 5)], [3, 3], "196x140"),
        ("verltool", [(CROP, "3")], [2], "196x140"),
        ("verltool", [(CROP, "a")], [], "(4)"),
    ],
)
def test_frames_are_shown_again_by_their_numbers(
    system: str, calls: list[tuple[str, Any]], shown: list[int], said: str
) -> None:
    arguments = [
        (name, {"target_frames": of} if name == SELECT else {"bbox_2d": PART, "target_image": of}) for name, of in calls
    ]
    session = played(system, *arguments, count=4)
    assert [each.pixels.getpixel((9, 9))[0] for each in session.images[4:]] == shown
    assert said in f"{session.trace().messages[-1].text}|"


def test_a_picture_has_no_frames() -> None:
    session = played("pixel-reasoner", (SELECT, {"target_frames": [1]}))
    assert "there is a picture, and no video" in session.trace().messages[-1].text


def drawn(*calls: list[dict[str, Any]]) -> Session:
    """A session on two grey pictures in which a model of ViLaSR draws."""
    session = Session(of_system(systems.get("vilasr")), "What?", [Image.new("RGB", SMALL, "gray")] * 2, tools=known())
    for marks in calls:
        session.feed(Reply(f"<think> So. </think> Action: Object Mapper\n```json\n{json.dumps(marks)}\n```"))
    return session


BOX, MOVED = ({"index": 2, "bbox_2d": [x, 60, 20, 150], "label": "a"} for x in (100, 200))
OTHER = {"index": 3, "bbox_2d": [300, 60, 400, 150], "label": "b"}
LINE = {"index": 3, "start_point_2d": [50, 300], "end_point_2d": [250, 300.9], "label": "c"}
RED, GREEN, BLUE, BLACK, GREY = (255, 0, 0), (0, 128, 0), (0, 0, 255), (0, 0, 0), (128, 128, 128)


# pixels of the last picture, which verl/utils/edit_image_video.py draws the same
@each_case(
    ("calls", "count", "pixels"),
    [
        ([[BOX]], 3, {(20, 100): RED, (99, 61): RED, (60, 140): GREY}),
        ([[BOX], [OTHER, LINE]], 4, {(20, 100): RED, (301, 61): GREEN, (50, 300): RED, (250, 300): BLUE}),
        ([[LINE | {"index": 1}]], 3, {(150, 300): BLACK}),
        ([[BOX], [{**MOVED, "index": 3}]], 4, {(99, 100): RED, (199, 100): RED}),  # the former one stays in the pixels
        ([[BOX, {**OTHER, "index": 1}]], 4, {(20, 100): GREY, (301, 61): RED}),  # one picture for each index
        ([[BOX, MOVED]], 3, {(99, 100): GREY, (199, 100): RED}),  # of one label the last is drawn
    ],
)  # fmt: skip
def test_vilasr_draws_on_a_copy_of_the_picture_of_an_index(
    calls: list[list[dict[str, Any]]], count: int, pixels: dict[tuple[int, int], tuple[int, int, int]]
) -> None:
    session = drawn(*calls)
    assert len(session.images) == count
    assert {at: session.images[-1].pixels.getpixel(at) for at in pixels} == pixels
    assert session.images[1].pixels.getcolors() == [(SMALL[0] * SMALL[1], GREY)]


@each_case(
    "mark",
    [
        *(
            {**BOX, "index": 4},
            {**BOX, "index": 0},
            {"bbox_2d": [1, 2, 3, 4], "label": "a"},
            {"index": 1, "label": "a"},
        ),
        *({**BOX, "bbox_2d": [1, 2]}, {**BOX, "bbox_2d": [1, 2, 3, 10**6]}, {**BOX, "label": 5}),
    ],
)
def test_a_mark_that_cannot_be_drawn_ends_a_rollout_of_vilasr(mark: dict[str, Any]) -> None:
    trace = drawn([mark]).trace()
    assert trace.failure
    assert len(trace.images) == 2
