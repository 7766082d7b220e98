"""The Session: chat protocol, images, tolerance, and how it ends."""

import msgspec
import pytest
from PIL import Image
from support.replies import answer, asked, call, finished, picture
from support.tables import each_case

from virc.reasoning.protocol import Protocol
from virc.reasoning.session import SOLVE, Reply, Session
from virc.reasoning.trace import Failure, ImageRecord, Rejected, Unit
from virc.solving.shortening import without
from virc.tools.registry import known, schemas

QUESTION = "What is {index}, and what is {question}?"


def test_a_problem_runs_from_question_to_answer(own: Protocol) -> None:
    session = Session(own, QUESTION, [picture()], tools=known())
    first = asked(session)
    assert [message.role for message in first.messages] == ["system", "user"]
    assert first.messages[0].text == own.system
    assert first.messages[1].images == (0,)
    assert first.messages[1].text.startswith(f"Image 0: 336 x 252.\nQuestion: {QUESTION}\n\nReason")

    cut = session.feed(call("crop_image", bbox_2d=[0, 0, 100, 60]))
    assert isinstance(cut, Unit)
    assert (cut.think, cut.shown, cut.answer) == ("look", [1], None)
    second = asked(session)
    assert second.messages[3].text.startswith("Image 1: 112 x 56. Go on;")
    assert second.images[1].size == (112, 56)

    grown = session.feed(call("scale_image", scale_factor=2, image_index=1))
    assert isinstance(grown, Unit)
    assert asked(session).messages[5].text.startswith(f"Image 2: 224 x 112. The question was: {QUESTION} Go on;")
    session.feed(call("display_image", image_index=0))
    assert asked(session).images[3].pixels.tobytes() == first.images[0].pixels.tobytes()

    assert isinstance(session.feed(answer("\n 97\n")), Unit)
    trace = finished(session)
    assert (trace.answer, trace.failure, trace.question) == ("97", None, QUESTION)
    assert [message.images for message in trace.messages] == [(), (0,), (), (1,), (), (2,), (), (3,), ()]
    assert trace.images == [
        ImageRecord(0, 336, 252, "image-0.png"),
        ImageRecord(1, 112, 56, "image-1.png", 0, (0, 0, 100, 60)),
        ImageRecord(2, 224, 112, "image-2.png", 1),
        ImageRecord(3, 336, 252, "image-3.png", 0),
    ]


def test_what_is_tolerated_is_named_and_the_rest_rejected(own: Protocol) -> None:
    clamped = call("crop_image", bbox_2d=[-9, 0, 400, 252])
    snapped = call("scale_image", scale_factor=1.9)
    session = Session(own, "?", [picture()], tools=known())
    for reply, name in ((clamped, "box_clamped"), (snapped, "factor_snapped")):
        unit = session.feed(reply)
        assert isinstance(unit, Unit)
        assert unit.deviations == (name,)
    strict = Session(own, "?", [picture()], tolerate=(), tools=known())
    left = "the box leaves the image, box [-9, 0, 400, 252] of image 0, 336 x 252"
    for reply, why in ((clamped, left), (snapped, "the factor is none of those offered")):
        rejected = strict.feed(reply)
        assert isinstance(rejected, Rejected)
        assert (rejected.kind, rejected.reason) == ("deviation", f"the call is not exact: {why}")
    lenient = Session(own, "?", [picture()], tolerate=SOLVE | {"index_negative"}, tools=known())
    last = lenient.feed(call(image_index=-1))
    assert isinstance(last, Unit)
    assert last.call is not None
    assert last.call.index == 0


@each_case(
    ("stay", "seen"),
    [
        (None, [(0,), (1,), (2,), (3,)]),
        (1, [(0,), (), (), (3,)]),
        (2, [(0,), (), (2,), (3,)]),
        (3, [(0,), (1,), (2,), (3,)]),
    ],
)
def test_images_of_results_leave_after_the_replies_that_the_protocol_says(
    own: Protocol, stay: int | None, seen: list[tuple[int, ...]]
) -> None:
    marked = msgspec.structs.replace(own, images_stay=stay, image_gone="<left>", after_image="See {image} here.")
    session = Session(marked, "?", [picture()], tools=known())
    for left in (0, 28, 56):
        session.feed(call("crop_image", bbox_2d=[left, 0, left + 84, 60]))
    said = [each for each in asked(session).messages if each.role == "user"]
    assert [each.images for each in said] == seen
    assert [each.text for each in said[1:]] == [f"See {'' if each else '<left>'} here." for each in seen[1:]]
    assert session.feed(call("display_image", image_index=1))  # it left, and can be shown again
    assert asked(session).images[4].pixels.tobytes() == session.images[1].pixels.tobytes()
    assert [each.images for each in session.trace().messages if each.role == "user"] == [(0,), (1,), (2,), (3,), (4,)]
    assert len(without(asked(session), set()).images) == len(seen[0]) + min(stay or 4, 4)


@each_case("text", ["unreadable", " Unreadable \n", "UNREADABLE", "", "  "])
def test_a_refusal_is_no_answer(own: Protocol, text: str) -> None:
    session = Session(own, "?", [picture()], tools=known())
    session.feed(answer(text))
    trace = finished(session)
    assert trace.answer is None
    assert trace.failure is not None
    assert trace.failure.kind == "no_answer"
    assert (trace.units[0].answer, trace.replies.ended) == (text.strip(), "answer")


def test_a_session_stopped_from_outside_keeps_what_there_is(own: Protocol) -> None:
    session = Session(own, "?", [picture()], tools=known())
    session.feed(call())
    rejected = session.feed(Reply("?")), session.feed(Reply("!"))
    session.stop("interrupted", "stopped by Ctrl-C")
    session.stop("network", "and this comes too late")
    trace = finished(session)
    assert trace.failure == Failure("interrupted", "stopped by Ctrl-C")
    assert (len(trace.units), trace.pending) == (1, rejected)
    assert (trace.replies.texts[1:], trace.replies.ended) == (("?", "!"), "format")

    answered = Session(own, "?", [picture()], tools=known())
    answered.feed(answer("97"))
    answered.stop("interrupted", "too late")
    assert (finished(answered).answer, finished(answered).failure) == ("97", None)


def test_what_tools_make_holds_no_more_than_the_largest_picture(own: Protocol) -> None:
    session = Session(own, "?", [Image.new("RGB", (3560, 3560))], tools=known())  # 12.5 million pixels
    for _ in range(7):
        assert isinstance(session.feed(call()), Unit)
    rejected = session.feed(call())
    assert isinstance(rejected, Rejected)
    assert (rejected.kind, len(session.images)) == ("tool", 8)
    assert "over 100 million pixels together" in rejected.reason
    assert isinstance(session.feed(call("crop_image", bbox_2d=[0, 0, 28, 28])), Unit)


def stock(own: Protocol, *names: str) -> Protocol:
    """A stock model's protocol whose server makes its calls of these tools."""
    listed = tuple(dict(schema) for schema in schemas(names))
    return msgspec.structs.replace(own, reading="lenient", schemas=listed, tools=names)


def test_what_replaces_an_image_that_left_is_a_result_of_a_server_that_makes_the_calls(own: Protocol) -> None:
    forgets = msgspec.structs.replace(stock(own, "crop_image"), images_stay=1, image_gone="<left>")
    session = Session(forgets, "?", [picture()], tools=known())
    for right in (100, 128):
        session.feed(call("crop_image", bbox_2d=[0, 0, right, 90], image_index=0))
    assert [turn.called.results for turn in asked(session).turns() if turn.called] == [("<left>",), ("",)]


def test_a_stock_model_gets_its_calls_back_with_their_results_and_without_thoughts(own: Protocol) -> None:
    pytest.importorskip("virc_extras")  # the tool that measures
    session = Session(stock(own, "measure"), "?", [picture()], tools=known())
    before = len(asked(session).messages)
    for points in ([[0, 0], [30, 40]], [[0, 0], [60, 80]]):
        unit = session.feed(call("measure", points=points))
        assert isinstance(unit, Unit)
        assert unit.think == "look"
    ask = asked(session)
    assert not any("look" in message.text for message in ask.messages[before:])
    assert list(ask.called) == [before, before + 2]
    for at, distance in ((before, 50), (before + 2, 100)):
        assert ask.called[at].results[0].startswith(f"The distance is {distance}.0 pixels")
        assert ask.called[at].calls[0].name == "measure"
