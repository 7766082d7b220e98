"""The Session: chat protocol, images, tolerance, and how it ends."""

import io
from types import SimpleNamespace

import msgspec
from PIL import Image
from support.replies import answer, asked, call, finished, picture
from support.tables import each_case

from virc.reasoning.calls import Call, Conversation
from virc.reasoning.images import open_file
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import SOLVE, Reply, Session
from virc.reasoning.trace import Failure, ImageRecord, Rejected, Unit
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


def test_a_model_of_squares_sees_inputs_at_a_thousand_and_crops_in_permille(own: Protocol) -> None:
    square = msgspec.structs.replace(own, images="square_1000", coordinates="permille")
    session = Session(square, "?", [picture(400, 100)], tools=known())
    assert asked(session).images[0].size == (1000, 1000)
    unit = session.feed(call("crop_image", bbox_2d=[0, 0, 999, 500]))
    assert isinstance(unit, Unit)
    assert unit.call is not None
    assert unit.call.box == (0, 0, 1000, 501)
    assert asked(session).images[1].size == (1008, 504)


def test_what_is_tolerated_is_named_and_the_rest_rejected(own: Protocol) -> None:
    clamped = call("crop_image", bbox_2d=[-9, 0, 400, 252])
    snapped = call("scale_image", scale_factor=1.9)
    session = Session(own, "?", [picture()], tools=known())
    for reply, name in ((clamped, "box_clamped"), (snapped, "factor_snapped")):
        unit = session.feed(reply)
        assert isinstance(unit, Unit)
        assert unit.deviations == (name,)
    strict = Session(own, "?", [picture()], tolerate=(), tools=known())
    for reply, name in ((clamped, "box_clamped"), (snapped, "factor_snapped")):
        rejected = strict.feed(reply)
        assert isinstance(rejected, Rejected)
        assert rejected.kind == "deviation"
        assert name in rejected.reason
    lenient = Session(own, "?", [picture()], tolerate=SOLVE | {"index_negative"}, tools=known())
    last = lenient.feed(call(image_index=-1))
    assert isinstance(last, Unit)
    assert last.call is not None
    assert last.call.index == 0


def test_a_problem_ends_after_its_last_turn(own: Protocol) -> None:
    session = Session(own, "?", [picture()], max_turns=2, tools=known())
    session.feed(call())
    assert asked(session)
    session.feed(call())
    assert finished(session).failure == Failure("turns", "no answer after 2 turns")
    assert finished(session).replies.ended == "length"


def test_tries_that_were_not_taken_belong_to_the_unit_that_followed(own: Protocol) -> None:
    session = Session(own, "?", [picture()], tools=known())
    before = asked(session)
    tries = [session.feed(Reply("?")), session.feed(call("crop_image", bbox_2d=[1, 1, 1, 1]))]
    assert (asked(session).messages, len(asked(session).images)) == (before.messages, 1)
    first, second = session.feed(call()), session.feed(answer("97"))
    assert isinstance(first, Unit)
    assert isinstance(second, Unit)
    assert [type(each) for each in tries] == [Rejected, Rejected]
    assert (first.rejected, second.rejected) == (tuple(tries), ())


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


def test_an_image_that_grew_too_long_to_be_shown_is_a_rejected_call(own: Protocol) -> None:
    session = Session(own, "?", [picture(6000, 30)], tools=known())
    assert asked(session).images[0].size == (5992, 28)
    for reply in (call(), call("scale_image", scale_factor=2), call("crop_image", bbox_2d=[0, 0, 5992, 28])):
        rejected = session.feed(reply)
        assert isinstance(rejected, Rejected)
        assert rejected.kind == "tool"
    assert isinstance(session.feed(call("crop_image", bbox_2d=[0, 0, 3000, 28])), Unit)


@each_case("kind", ["PNG", "JPEG"])
def test_scaling_to_the_same_size_sends_the_same_file(own: Protocol, kind: str) -> None:
    file = io.BytesIO()
    Image.effect_noise((140, 84), 90).convert("RGB").save(file, kind)
    session = Session(own, "?", [open_file(file.getvalue(), "it")], Grid(max_pixels=140 * 84), tools=known())
    for index in (0, 1, 0):
        assert isinstance(session.feed(call("scale_image", scale_factor=2, image_index=index)), Unit)
    assert len({shown.data_url for shown in session.images}) == 1
    assert sum(shown.encodings for shown in session.images) == 0
    assert [shown.parent for shown in session.images] == [None, 0, 1, 0]
    session.feed(call("scale_image", scale_factor=0.5, image_index=3))
    assert session.images[4].file.media == kind.lower()


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


def test_a_box_of_a_stock_model_is_settled_on_the_image_that_it_names(own: Protocol) -> None:
    session = Session(stock(own, "crop_image"), "?", [picture(), picture(56, 84)], tools=known())
    unit = session.feed(call("crop_image", bbox_2d=[10.6, 20.4, 50.7, 60.2], image_index=1))
    assert isinstance(unit, Unit)
    assert unit.call
    assert (unit.call.index, unit.call.box) == (1, (11, 20, 51, 60))


def test_a_stock_model_gets_its_calls_back_with_their_results_and_without_thoughts(own: Protocol) -> None:
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


def test_what_a_tool_keeps_goes_with_a_reply_that_is_not_taken(own: Protocol) -> None:
    def note(call: Call, conversation: Conversation) -> str:
        conversation.kept["note"] = (*conversation.kept.get("note", ()), 1)
        return "noted"

    function = {"name": "note", "parameters": {"type": "object", "properties": {}}}
    tool = SimpleNamespace(
        NAME="note", TEMPLATE="after_image", SCHEMA={"function": function}, apply=None, apply_to_all=note
    )
    grammar = msgspec.structs.replace(own.grammar, most_calls=2)
    spoken = msgspec.structs.replace(own, tools=("note", "crop_image"), grammar=grammar)
    session = Session(spoken, "?", [picture()], tools={**known(), "note": tool})  # type: ignore[dict-item]
    said = '<tool_call>{"name": "note", "arguments": {}}</tool_call>'
    wrong = call("crop_image", bbox_2d=[1, 1, 1, 1]).text.partition("</think>")[2]
    assert isinstance(session.feed(Reply(f"<think>so</think>{said}{wrong}")), Rejected)
    assert session.history.kept == {}
    assert isinstance(session.feed(Reply(f"<think>so</think>{said}")), Unit)
    assert session.history.kept == {"note": (1,)}
    assert isinstance(session.feed(Reply("<think>so</think><answer>7</answer>")), Unit)
    assert session.history.kept == {}


@each_case(
    ("first", "complete_with", "question", "text"),
    [
        ("Q: {question}", None, "what is {question}, {images}?", "Q: what is {question}, {images}?"),
        ("{question} in\n{images}", None, "what is {question}", "what is {question} in\nImage 0: 336 x 252."),
        ("Q: {question}", "<think>", "Reason in <think> marks.", "Reason in <think> marks."),
    ],
)
def test_a_question_stands_in_the_first_turn_as_it_is(
    own: Protocol, first: str, complete_with: str | None, question: str, text: str
) -> None:
    spoken = msgspec.structs.replace(own, first=first, complete_with=complete_with)
    assert asked(Session(spoken, question, [picture()], tools=known())).messages[1].text == text
