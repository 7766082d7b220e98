"""Several calls in a reply of a row: held against what solve shows of them, those of the same reply included."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image
from rewards.prompts import call, crop, display, scale, tool

from virc.data.rows.record import MARK, Message, Picture, Record, content_of
from virc.reasoning.calls import Box, Call
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Reply, Session, Unit
from virc.rewards.sample import Prompt, _add_result, prompt_of, sample
from virc.tools import registry
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
SAYS = '''"""`say`: what an image is like."""

NAME = "say"
TEMPLATE = "after_image"
SCHEMA = {"type": "function", "function": {"name": NAME, "parameters": {
    "type": "object", "properties": {"image_index": {"type": "integer"}}, "required": ["image_index"]}}}


def apply(call, source):
    return source if source.getextrema()[0][1] else "black"
'''


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


def test_calls_of_the_turns_before_are_those_of_solve() -> None:
    prompt, _ = solved(spoken(), (280, 196), (NESTED,), several(display(2)))
    assert [each.fault for each in prompt.calls] == [None, None]
    assert prompt.made_by == [None, *(each.call for each in prompt.calls)]
    assert [each and each.index for each in prompt.made_by] == [None, 0, 1]


@pytest.mark.parametrize(
    ("more", "reply", "made"),
    [
        (SHORT, several(crop(0, 0, 140, 112), TINY, crop(0, 0, 84, 84)), [None, (0, 0, 140, 112), (0, 0, 84, 84)]),
        (SHORT, several(TINY, crop(0, 0, 84, 84)), [None, (0, 0, 84, 84)]),
        ({"results": "assistant"}, several(*(crop(0, 0, side, 84) for side in (56, 84, 112))),
         [None, (0, 0, 56, 84), (0, 0, 84, 84), (0, 0, 112, 84)]),
    ],
    ids=["refused_between", "refused_first", "results_apart"],
)  # fmt: skip
def test_images_are_those_of_the_calls_that_solve_carries_out(
    more: dict[str, Any], reply: str, made: Sequence[Box | None]
) -> None:
    prompt, _ = solved(spoken(**more), (280, 196), (reply,), several(display(0)))
    assert [each and each.box for each in prompt.made_by] == made
    assert [each.shown is None for each in prompt.calls] == [each.call is None for each in prompt.calls]


def test_images_too_many_are_those_of_the_last_call_that_makes_any() -> None:
    prompt, _ = solved(spoken(**SHORT), (280, 196), (several(crop(0, 0, 84, 84), TINY),), several(display(0)))
    record, last = prompt.record, prompt.record.messages[-1]
    more = (*record.messages[:-1], msgspec.structs.replace(last, content=last.content + MARK))
    record = msgspec.structs.replace(record, messages=more, images=(*record.images, record.images[-1]))
    again = prompt_of(record, protocol=spoken(**SHORT))
    assert [each and each.box for each in again.made_by] == [None, (0, 0, 84, 84), (0, 0, 84, 84)]


def test_a_call_that_leads_to_a_text_has_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CUSTOM", {})
    (tmp_path / "say.py").write_text(SAYS)
    registry.load([str(tmp_path / "say.py")])
    says = spoken(tools=(*OWN.tools, "say"))
    before = several(call("say", image_index=0), crop(0, 0, 84, 84))
    reply = several(display(1), call("say", image_index=1), crop(0, 0, 56, 56, index=2))
    prompt, unit = solved(says, (280, 196), (before,), reply)
    assert [each and each.name for each in prompt.made_by] == [None, "crop_image"]
    assert [*sample(reply, prompt).checked] == unit.calls


def test_calls_are_carried_out_without_pixels() -> None:
    """Of a file that ends behind its header the sizes are known, and calls of our tools need no more."""
    prompt, unit = solved(spoken(), (280, 196), (FIRST,), TWICE)
    images = tuple(msgspec.structs.replace(each, data=(each.data or b"")[:60]) for each in prompt.record.images)
    bare = prompt_of(msgspec.structs.replace(prompt.record, images=images), protocol=prompt.protocol)
    assert [*sample(TWICE, bare).checked] == unit.calls


@pytest.mark.parametrize("second", [crop(0, 0, 9, 9, index=2), crop(0, 0, 99, 99, index=1), call("none")])
def test_one_call_at_fault_is_that_of_the_reply(second: str) -> None:
    prompt, _ = solved(spoken(), (280, 196), (), NESTED)
    read = sample(several(crop(28, 28, 112, 112), second), prompt)
    assert (read.checked, bool(read.fault), len(read.calls)) == ((), True, 2)


def test_a_reply_that_answers_calls_nothing() -> None:
    prompt, _ = solved(spoken(), (280, 196), (), NESTED)
    read = sample("<think>so</think><answer>5</answer>", prompt)
    assert (read.kind, read.calls, read.checked) == ("answer", [], ())
    assert isinstance(sample(NESTED, prompt).call, Call)


def test_all_pictures_of_a_result_can_be_called_on_later() -> None:
    made, added = [("first", None), ("second", (0, "box"))], list[tuple[Any, ...]]()
    history: Any = SimpleNamespace(run=lambda _: ("", made), add=lambda *each: added.append(each))
    assert _add_result(Call("crop_image", {}), history) == [None, (0, "box")]
    assert added == made
