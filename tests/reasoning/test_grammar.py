"""Turns in every way the field writes them, read by one parser; replies that nobody wants, refused in linear work."""

import sys
from typing import Any

import msgspec
import pytest
from grammars import CASES
from hypothesis import given
from hypothesis import strategies as st
from support.tables import each_case

from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.messages import FormatError, Turn, parse, stopped

NAMES = list(CASES)


def fault(text: str, spoken: Grammar) -> str:
    with pytest.raises(FormatError) as caught:
        parse(text, spoken)
    return f"{caught.value.kind}: {caught.value}"


@each_case("name", NAMES)
def test_a_system_is_read_as_it_writes(name: str) -> None:
    case = CASES[name]
    assert parse(case.call, case.grammar) == case.called
    assert parse(case.answer, case.grammar) == case.answered


@each_case("name", [name for name in NAMES if CASES[name].called.tool])
def test_a_second_call_or_an_answer_beside_one_is_refused(name: str) -> None:
    case = CASES[name]
    assert fault(case.call + case.call, case.grammar)
    if case.grammar.answer:  # where none is marked, what stands beside a call is its thought, or nothing
        assert fault(case.call + case.answer, case.grammar)
        assert fault(case.answer + case.call, case.grammar)


@each_case("name", NAMES)
def test_half_a_reply_never_passes_for_another_call(name: str) -> None:
    """A reply that was cut is refused; where what remains is the answer, it is never a call that is not there."""
    case = CASES[name]
    for end in range(len(case.call)):
        try:
            turn = parse(case.call[:end], case.grammar)
        except FormatError:
            continue
        # a text without an end mark may be whole at every length; its tool is the one that was begun
        assert turn.tool is None or turn.tool.name == case.called.tool.name  # type: ignore[union-attr]


@each_case(
    ("form", "says"),
    [
        ({"close": "b"}, "needs an `open`"), ({"body": "text", "tool": "t", "unnamed": ["a"]}, "needs an `open`"),
        ({"body": "list", "tool": "t", "unnamed": ["a"]}, "needs an `open`"),
        ({"open": "a", "body": "arguments"}, "names no tool: `tool` has to"),
        ({"open": "a", "tool": "t"}, "names its tool: leave out `tool`"),
        ({"open": "a", "body": "list", "tool": "t"}, "is one argument"),
        ({"body": "objects", "tool": "t"}, "needs an `open`"),
        ({"open": "a", "body": "objects"}, "names no tool: `tool` has to"),
        ({"open": "a", "body": "objects", "tool": "t", "unnamed": ["a", "b"]}, "is at most one argument"),
        ({"open": "a", "body": "function", "tool": "t"}, "has arguments"),
        ({"open": "a", "body": "tex"}, "Invalid enum value"), ({"open": "a", "opens": "b"}, "unknown field"),
    ],
)  # fmt: skip
def test_a_form_that_makes_no_sense_is_none(form: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(form, CallForm)


def pieces(spoken: Grammar) -> list[str]:
    """What replies by a grammar are made of, and what breaks them."""
    marks = [mark for part in spoken.parts() for mark in part]
    return [*marks, *"{}[]()=,: \n\"'\\", "1", "-1e999", "NaN", "é", "\ud800", '{"', '"name"', '"arguments"', "```"]


@pytest.mark.integration
@each_case("name", NAMES)
@given(st.data())
def test_no_reply_raises_anything_but_a_format_error(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    known = [*pieces(case.grammar), case.call, case.answer]
    text = "".join(data.draw(st.lists(st.sampled_from(known) | st.text(max_size=5), max_size=20)))
    for reply in (text, stopped(text, case.grammar)):
        try:
            turn = parse(reply, case.grammar)
        except FormatError:
            continue
        assert isinstance(turn, Turn)
        assert (turn.tool is None) is (turn.answer is not None)


def calls_made(text: str, spoken: Grammar) -> int:
    """Functions of Python and C that reading a reply enters."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        parse(stopped(text, spoken), spoken)
    except FormatError:
        pass
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.integration
@each_case("name", NAMES)
def test_work_grows_no_faster_than_a_reply(name: str) -> None:
    case = CASES[name]
    for piece in (*pieces(case.grammar), '{"a":', '{"a":1,', "Action:  ", "<action>  ", "[1,", case.call, case.answer):
        loose = not any(form.acts for form in case.grammar.calls)  # which is the whole reply
        for how in (case.grammar, msgspec.structs.replace(case.grammar, loose=loose, most_calls=4)):
            few, many = (calls_made(piece * count, how) for count in (500, 2000))
            assert many <= 4 * few + 100, (piece, few, many)
            assert many <= 60_000, piece
