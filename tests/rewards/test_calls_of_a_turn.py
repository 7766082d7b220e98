"""Several calls in a reply of a row: held against what solve shows of them, those of the same reply included."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from PIL import Image
from rewards.prompts import crop, display, scale, tool

from virc.data.rows.record import Message, Picture, Record, content_of
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Reply, Session, Unit
from virc.rewards.sample import Prompt, prompt_of, sample
from virc.tools.registry import DEFAULT, known, schemas

OWN = own_protocol(schemas([*DEFAULT, "zoom_image"]))
FIRST = tool(crop(0, 0, 140, 112))


def spoken(**more: Any) -> Protocol:
    """Our chat protocol with three calls a turn."""
    return msgspec.structs.replace(OWN, grammar=msgspec.structs.replace(OWN.grammar, most_calls=3), **more)


def several(*calls: str) -> str:
    return "<think>look</think>" + "\n".join(f"<tool_call>{each}</tool_call>" for each in calls)


def solved(protocol: Protocol, size: tuple[int, int], before: Sequence[str], reply: str) -> tuple[Prompt, Unit]:
    """The row of a conversation as its images were shown, and what solve makes of the reply."""
    session = Session(protocol, "Where?", [Image.new("RGB", size)], tolerate=(), tools=known())
    for each in before:
        assert isinstance(session.feed(Reply(each)), Unit)
    said = session.trace().messages
    messages = tuple(Message("user" if each.inserted else each.role, content_of(each)) for each in said)
    images = tuple(Picture("", data=each.png) for each in session.images)
    record = Record(messages, images, question="Where?", answer="5", extra={"file_sizes": [[*size]]})
    unit = session.feed(Reply(reply))
    assert isinstance(unit, Unit), unit
    return prompt_of(record, protocol.coordinates, protocol=protocol), unit


NESTED = several(crop(28, 28, 112, 112), crop(0, 0, 56, 56, index=1))
TWICE = several(crop(0, 0, 84, 84, index=1), crop(14, 14, 70, 70, index=2), display(3))
FAR = {"crops": "file", "crop_pixels": (3136, 50_176)}

SHORT = {"errors": "show", "short_boxes": "refuse", "float_boxes": True, "edges": "floor"}
TINY = crop(10.2, 10, 10.8, 50)


@pytest.mark.parametrize(
    ("more", "size", "before", "reply"),
    [
        ({}, (280, 196), (), NESTED),
        ({}, (280, 196), (FIRST,), TWICE),
        ({}, (280, 196), (NESTED,), several(crop(0, 0, 28, 28, index=2), crop(0, 0, 9, 9, index=3))),
        (FAR | {"input_pixels": (3136, 54_880)}, (2800, 1960), (), NESTED),
        (FAR | {"input_pixels": (3136, 54_880)}, (2800, 1960), (FIRST,), TWICE),
        (FAR | {"coordinates": "thousand"}, (2800, 1960), (FIRST,), several(crop(1, 2, 999, 998, index=1), display(2))),
        ({"errors": "show"}, (280, 196), (), several(crop(0, 0, 56, 56), crop(0, 0, 9, 9, index=4), display(1))),
        ({}, (280, 196), (), several(scale(0.5), crop(0, 0, 56, 56, index=1), scale(2, index=2))),
        (SHORT, (280, 196), (several(TINY, crop(0, 0, 84, 84)),), TWICE),
        (SHORT | {"results": "assistant"}, (280, 196), (several(*[crop(0, 0, 84, 84)] * 3),), TWICE),
    ],
    ids=[
        "nested",
        "after_one",
        "after_two",
        "of_the_file",
        "of_the_file_after_one",
        "thousandths",
        "errors_shown",
        "shrunk",
        "refused_before",
        "results_apart",
    ],
)
def test_calls_of_a_reply_are_those_of_solve(
    more: dict[str, Any], size: tuple[int, int], before: Sequence[str], reply: str
) -> None:
    prompt, unit = solved(spoken(**more), size, before, reply)
    read = sample(reply, prompt)
    assert [each.call for each in read.calls[-len(unit.results) :]] == [each.call for each in unit.results]
    assert [*read.checked] == unit.calls
    assert bool(read.fault) == any(each.error for each in unit.results)
