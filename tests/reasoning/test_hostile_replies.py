"""Replies nobody wants, fed to a Session as a driver feeds them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.replies import answer, asked, call, finished, picture
from support.tables import each_case

from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Ask, Done, Reply, Session
from virc.reasoning.trace import Failure, Rejected, Trace, Unit
from virc.tools.registry import known

FAULTS = {
    "no tags": (Reply("97"), "tags"),
    "two answers": (Reply("<think></think><answer>1</answer><answer>2</answer>"), "tags"),
    "cut": (Reply("<think>so I", finish="length"), "length"),
    "endless": (Reply("<think>a</think><answer>" + "x" * 200_000 + "</answer>"), "length"),
    "repetition": (Reply("<think>" + "no. " * 8 + "</think><answer>1</answer>"), "repetition"),
    "repetition, cut": (Reply("<think>" + "wait, " * 900, finish="length"), "repetition"),
    "broken JSON": (Reply('<think></think><tool_call>{"name": </tool_call>'), "json"),
    "NaN": (call("scale_image", scale_factor=float("nan")), "json"),
    "infinity": (call("scale_image", scale_factor=float("inf")), "json"),
    "huge integer": (call("crop_image", bbox_2d=[0, 0, 1234567890123456789, 9]), "json"),
    "deep": (Reply('<think></think><tool_call>{"name": ' + "[{" * 90_000 + "</tool_call>"), "repetition"),
    "deep without repetition": (
        Reply("<think></think><tool_call>" + "".join(f'{{"{n}":' for n in range(20_000)) + "</tool_call>"),
        "json",
    ),
    "unknown tool": (call("rotate_image"), "tool"), "private name": (call("__class__"), "tool"),
    "other keys": (call("display_image", angle=3), "tool"), "index too large": (call(image_index=1), "tool"),
    "index far below": (call(image_index=-2), "tool"), "index boolean": (call(image_index=False), "tool"),
    "index text": (call(image_index="0"), "tool"), "index negative": (call(image_index=-1), "deviation"),
    "empty box": (call("crop_image", bbox_2d=[9, 9, 9, 20]), "tool"),
    "inverted box": (call("crop_image", bbox_2d=[20, 9, 9, 20]), "tool"),
    "box outside": (call("crop_image", bbox_2d=[900, 0, 999, 99]), "tool"),
    "box too long": (call("crop_image", bbox_2d=[0, 0, 336, 1]), "tool"),
    "factor": (call("scale_image", scale_factor=5), "tool"),
}  # fmt: skip


@each_case("fault", FAULTS)
def test_a_faulty_reply_is_rejected_and_changes_nothing(own: Protocol, fault: str) -> None:
    reply, kind = FAULTS[fault]
    session = Session(own, "?", [picture()], tools=known())
    before = asked(session)
    rejected = session.feed(reply)
    assert isinstance(rejected, Rejected)
    assert rejected.kind == kind
    assert 0 < len(rejected.reason) < 200
    assert "\n" not in rejected.reason
    assert len(rejected.text) <= 200_000
    assert asked(session) == before
    assert session.trace().pending == (rejected,)

    unit = session.feed(answer("97"))
    assert isinstance(unit, Unit)
    assert unit.rejected == (rejected,)
    assert finished(session).pending == ()
    assert msgspec.json.decode(msgspec.json.encode(finished(session)), type=Trace) == finished(session)


def test_endless_tool_calls_end_without_an_answer(own: Protocol) -> None:
    session = Session(own, "?", [picture()], tools=known())
    for turn in range(16):
        assert isinstance(asked(session), Ask)
        assert isinstance(session.feed(call(image_index=turn)), Unit)
        assert isinstance(session.feed(Reply("?")), Rejected) if turn < 15 else True
    trace = finished(session)
    assert trace.failure == Failure("turns", "no answer after 16 turns")
    assert (trace.answer, len(trace.units), len(trace.images)) == (None, 16, 17)
    with pytest.raises(RuntimeError):
        session.feed(answer("97"))


pieces = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "<tool_call>", "</tool_call>", "unreadable", call().text]
)
replies = st.lists(pieces | st.text(st.characters(codec=None), max_size=6), max_size=7).map("".join)


@pytest.mark.integration
@given(st.lists(replies, max_size=6), st.sampled_from(["stop", "length"]))
def test_any_replies_leave_a_trace_that_can_be_written_and_read(own: Protocol, texts: list[str], finish: Any) -> None:
    session = Session(own, "?", [picture(56, 56)], max_turns=3, tools=known())
    fed = 0
    for text in texts:
        if isinstance(session.next(), Done):
            break
        session.feed(Reply(text, finish=finish))
        fed += 1
    trace = session.trace()
    assert len(trace.units) + len(trace.pending) + sum(len(unit.rejected) for unit in trace.units) == fed
    assert msgspec.json.decode(msgspec.json.encode(trace), type=Trace) == trace
