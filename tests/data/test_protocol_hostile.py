"""Questions and rows that would lead astray whoever looks for a chat protocol in them."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from chat_protocols import ANSWER, CROP, OWN, SCALE, WORDINGS, look, spoken
from data.chat_protocols import extract
from hypothesis import given, settings
from hypothesis import strategies as st

from virc.core.errors import DataError, VircError
from virc.data.protocol.templates import question_of
from virc.data.rows.record import MARK, Message, Record
from virc.reasoning.protocol import fill

# what a question may hold to lead astray whoever looks for it
PIECES = st.sampled_from(
    [
        "{question}", "{images}", "{index}", "{width}", "\n", "\n\n", "Question: ", "Image 0: 168 x 112.",
        "Image 1: 5 x 6.",
        "The question was: ", " Go on; look again wherever that helps.", OWN.first.partition("{question}")[2], "0", " ",
    ]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.text(max_size=6), max_size=8).map("".join)


FAST_AND_SLOW = pytest.mark.parametrize("cases", [400, pytest.param(4000, marks=pytest.mark.slow)])


def try_all(cases: int, property_: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
    settings(max_examples=cases, deadline=None)(given(*strategies)(property_))()


@FAST_AND_SLOW
@pytest.mark.integration
def test_the_question_comes_back_whatever_stands_in_it(cases: int) -> None:
    try_all(cases, question_comes_back, st.sampled_from(sorted(WORDINGS)), HOSTILE, st.integers(1, 3))


def question_comes_back(name: str, question: str, inputs: int) -> None:
    chat_protocol = WORDINGS[name]
    lines = "\n".join(
        fill(chat_protocol.image_line, index=index, width=28 * index + 28, height=56) for index in range(inputs)
    )
    text = fill(chat_protocol.first, images=lines, question=question)
    assert question_of(text, chat_protocol, inputs) == question
    if name == "own":  # a line of its own stands between announcements and question
        assert question_of(text, chat_protocol) == question


def test_a_text_of_another_chat_protocol_has_no_question() -> None:
    text = spoken(OWN, "What?").messages[1].content.removeprefix(MARK)
    assert question_of(text, OWN) == "What?"
    assert question_of(text + " ", OWN) is None
    assert question_of(text, OWN, 2) is None
    assert question_of(text, WORDINGS["height before width"]) is None
    assert question_of(text.replace("168", "0168"), OWN) is None


@FAST_AND_SLOW
@pytest.mark.integration
def test_what_is_found_among_hostile_questions_makes_every_row(cases: int) -> None:
    questions = st.lists(HOSTILE, min_size=1, max_size=4)
    try_all(cases // 2, chat_protocol_makes_every_row, st.sampled_from(sorted(WORDINGS)), questions)


def chat_protocol_makes_every_row(name: str, questions: list[str]) -> None:
    rows = [spoken(WORDINGS[name], question, (SCALE, ANSWER)) for question in questions]
    try:
        found = extract(rows)
    except DataError:
        return
    for row in rows:
        text = row.messages[1].content.removeprefix(MARK)
        question = question_of(text, found, 1)
        assert question is not None
        assert (
            fill(found.first, images=fill(found.image_line, index=0, width=168, height=112), question=question) == text
        )
        again = fill(found.after_scale, index=1, width=84, height=56, question=question)
        assert MARK + again == row.messages[3].content


TEXTS = st.text(max_size=20) | st.sampled_from(
    [OWN.system, MARK, CROP, ANSWER, look("crop_image"), "<tools>[[1</tools>", "Image 0: 1 x 2.",
     "<tools>" + "[" * 5000 + "</tools>"]
) | st.text(st.sampled_from("Image 0:1x2\n{}<>"), max_size=40)  # fmt: skip
CONTENT = st.lists(TEXTS, max_size=4).map("".join)
ROLES = st.sampled_from(["system", "user", "assistant"])


@FAST_AND_SLOW
@pytest.mark.integration
def test_rows_of_anything_are_found_or_refused(cases: int) -> None:
    messages = st.lists(st.builds(Message, ROLES, CONTENT), max_size=5)
    try_all(cases, found_or_refused, st.lists(st.tuples(st.none() | HOSTILE, messages), max_size=3))


def found_or_refused(rows: list[tuple[str | None, list[Message]]]) -> None:
    start = spoken(OWN, "What?").messages
    for given_rows in (rows, [(question, [*start[:2], *messages]) for question, messages in rows]):
        with suppress(VircError):
            extract(Record(tuple(messages), question=question) for question, messages in given_rows)
