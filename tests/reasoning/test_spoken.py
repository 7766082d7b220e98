"""Sessions with models that write otherwise than in the three tags, to their end."""

import msgspec
import pytest
from PIL import Image
from support.replies import asked, finished, picture
from support.tables import each_case

from virc.models import chat_protocol
from virc.reasoning.calls import Box
from virc.reasoning.protocol import BoxForm, Coordinates, Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Reply, Session
from virc.reasoning.trace import Message, Unit
from virc.systems import registry as systems
from virc.tools.registry import known

SMALL = Grid(max_pixels=336 * 252)


@pytest.fixture(scope="module")
def vlm_r3() -> Protocol:
    return chat_protocol.of_system(systems.get("vlm-r3"))


def taken(session: Session, text: str, **more: object) -> Unit:
    unit = session.feed(msgspec.convert({"text": text, **more}, Reply))
    assert isinstance(unit, Unit), unit
    return unit


def test_a_bare_box_is_zoomed_into_and_the_reply_ends_there(vlm_r3: Protocol) -> None:
    session = Session(vlm_r3, "How many?", [picture()], tools=known())
    assert asked(session).stop == ("]}", "]\n}", "] }", "</answer>")
    box = 'The left half.\n{"bbox_2d": [0, 0, 84, 84]}'
    unit = taken(session, f"{box}\nIt shows 3.\n<answer>3</answer>", token_ids=[1, 2, 3])
    assert (unit.text, unit.think, unit.token_ids) == (box, "The left half.", None)
    assert unit.call
    assert (unit.call.name, unit.call.index, unit.call.box) == ("zoom_image", 0, (0, 0, 84, 84))
    assert session.images[1].size == (168, 168)  # a twelfth of the area: twice as long
    shown = Message("assistant", "\n\n", (1,), at=(1,), inserted="inline")
    assert asked(session).messages[-2:] == (Message("assistant", box), shown)
    assert asked(session).continues
    assert taken(session, "It shows 2.\n<answer>2</answer>").think == "It shows 2."
    assert finished(session).answer == "2"


def speaking(own: Protocol, coordinates: Coordinates, box: BoxForm = "corners") -> Protocol:
    return msgspec.structs.replace(own, coordinates=coordinates, box=box)


@each_case(
    ("coordinates", "form", "written", "box"),
    [
        ("original", "corners", [500, 0, 1000, 375], (168, 0, 336, 126)),
        ("pixel", "corners", [168, 0, 336, 126], (168, 0, 336, 126)),
        ("thousand", "corners", [500, 0, 1000, 500], (168, 0, 336, 126)),
        ("unit", "corners", [0.5, 0, 1, 0.5], (168, 0, 336, 126)),
        ("unit", "center", [0.75, 0.25, 0.5, 0.5], (168, 0, 336, 126)),
    ],
)
def test_the_same_quarter_is_cut_whatever_it_is_counted_in(
    own: Protocol, coordinates: Coordinates, form: BoxForm, written: list[float], box: Box
) -> None:
    """The file has 1000 x 750 px and is shown with 336 x 252."""
    image = Image.new("RGB", (1000, 750), "white")
    image.paste((0, 0, 255), (500, 0, 1000, 375))
    session = Session(speaking(own, coordinates, form), "?", [image], SMALL, tools=known())
    assert session.images[0].size == (336, 252)
    call = f'{{"name": "crop_image", "arguments": {{"bbox_2d": {written}, "image_index": 0}}}}'
    unit = taken(session, f"<think></think><tool_call>{call}</tool_call>")
    assert unit.call
    assert (unit.call.box, unit.deviations) == (box, ())
    assert session.images[1].pixels.getpixel((100, 60)) == (0, 0, 255)
