"""Sessions with models that write otherwise than in the three tags, to their end."""

import msgspec
import pytest
from support.replies import asked, finished, picture

from virc.models import chat_protocol
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply, Session
from virc.reasoning.trace import Message, Unit
from virc.systems import registry as systems
from virc.tools.registry import known


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
