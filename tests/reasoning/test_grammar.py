"""Turns in every way the field writes them, read by one parser; replies that nobody wants, refused in linear work."""

import json
import sys
from typing import Any

import msgspec
import pytest
from grammars import CASES, grammar
from hypothesis import given
from hypothesis import strategies as st

from virc.reasoning.bodies import Called
from virc.reasoning.grammar import TAGS, CallForm, Grammar, Index, as_written, marks
from virc.reasoning.messages import FormatError, ToolText, Turn, parse, stopped
from virc.reasoning.writing import assembled, written

NAMES = list(CASES)


def fault(text: str, spoken: Grammar) -> str:
    with pytest.raises(FormatError) as caught:
        parse(text, spoken)
    return f"{caught.value.kind}: {caught.value}"


@pytest.mark.parametrize("name", NAMES)
def test_a_system_is_read_as_it_writes(name: str) -> None:
    case = CASES[name]
    assert parse(case.call, case.grammar) == case.called
    assert parse(case.answer, case.grammar) == case.answered


@pytest.mark.parametrize("name", NAMES)
def test_a_grammar_is_the_same_once_written_and_read(name: str) -> None:
    spoken = CASES[name].grammar
    assert msgspec.json.decode(msgspec.json.encode(spoken), type=Grammar) == spoken


def test_of_two_names_for_a_tool_the_first_is_written_and_whole_replies_are_not_loose() -> None:
    twice = Grammar(calls=(CallForm("<a>", "</a>", names={"zoom": "crop_image", "look": "crop_image"}),))
    assert as_written("crop_image has no box", "crop_image", twice) == "zoom has no box"
    with pytest.raises(ValueError, match="the body `actions` is the whole reply"):
        Grammar(loose=True, calls=(CallForm("<a>", "</a>", "actions"),))


def test_the_three_tag_format_is_written_as_nothing() -> None:
    assert msgspec.json.encode(TAGS) == b"{}"


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name].called.tool])
def test_a_second_call_or_an_answer_beside_one_is_refused(name: str) -> None:
    case = CASES[name]
    assert fault(case.call + case.call, case.grammar)
    if case.grammar.answer:  # where none is marked, what stands beside a call is its thought, or nothing
        assert fault(case.call + case.answer, case.grammar)
        assert fault(case.answer + case.call, case.grammar)


@pytest.mark.parametrize("name", NAMES)
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


def test_the_newest_image_is_none_that_can_be_written() -> None:
    spoken = CASES["VRAG"].grammar
    turn = parse(CASES["VRAG"].call, spoken)
    assert turn.tool
    assert turn.tool.arguments["image_index"] is Index.LAST
    assert parse("<think></think><search> two words\n</search>", spoken).tool == ToolText(
        "search_pages", {"query": "two words"}
    )


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ViRC", "7", "tags: the tags are not one think and one tool_call or answer, but none"),
        ("VLM-R3", "I see", "tags: the tags are not one JSON object or answer, but none"),
        ("VLM-R3", 'a {"bbox_2d": [1, 2, 3, 4]} b', "tags: the reply continues after its tool call"),
        ("VLM-R3", '{"bbox_2d": [1, 2, 3, 4', "json: the tool call is not JSON: Expecting ',' delimiter"),
        ("VLM-R3", '{"bbox_2d": [1], "image_index": 1}', "json: the tool call repeats image_index, or nobody"),
        ("DeepEyes", CASES["DeepEyes"].call.replace("label", "image_index"), "json: the tool call repeats"),
        ("VRAG", '<think></think><bbox>{"a": 1}</bbox>', "json: the tool call is not a JSON list"),
        ("VRAG", "<think></think><bbox>[1, NaN]</bbox>", "json: the tool call contains NaN"),
        ("FrameThinker", "<think></think><action>jump</action>", "tags: the tags are not one think and one"),
        ("Video-CoM", "FIND_FRAME(a) and more", "json: the call continues after its closing bracket"),
        ("Video-CoM", "FIND_FRAME(a)", "json: the values of the call are not phrase and frame"),
        ("OpenThinkIMG", '{"thought": "", "actions": []}', "json: there are 0 actions, not one"),
        ("OpenThinkIMG", '{"actions": [{"name": "Terminate", "arguments": {}}]}', "not exactly one argument"),
        ("OpenThinkIMG", '{"actions": [{"name": "Point"}]}', "exactly name and arguments"),
        ("OpenThinkIMG", '{"actions": "Point"}', "not an object of a thought and a list of actions"),
        ("VTS-V", '{"thought": "", "action": {}}', "not an object with thought, action_name and action"),
        ("VTS-V", '{"thought": 1, "action_name": "a", "action": {}}', "not an object with thought, action_name"),
        ("VTS-V", '{"action_name": "terminate_action", "action": {}}', "has not exactly one argument"),
        ("VTS-V", '{"action_name": ["a"], "action": {}}', "name must be a string and arguments an object"),
    ],
)
def test_what_is_wrong_is_said(name: str, text: str, says: str) -> None:
    assert says in fault(text, CASES[name].grammar)


def test_values_of_a_function_are_json_or_text() -> None:
    spoken = grammar(
        think=None,
        answer=None,
        calls=[
            {
                "open": "<do> crop(",
                "close": ") </do>",
                "body": "function",
                "tool": "crop_image",
                "unnamed": ["image_index", "bbox_2d"],
            }
        ],
    )
    assert parse("a <do>crop(0, [1, 2, 3, 4])</do>", spoken).tool == ToolText(
        "crop_image", {"image_index": 0, "bbox_2d": [1, 2, 3, 4]}
    )
    assert parse("<do> crop( first, the left, half) </do>", spoken).tool == ToolText(
        "crop_image", {"image_index": "first", "bbox_2d": "the left, half"}
    )


def listing(most: int, **fields: Any) -> Grammar:
    form = {"open": "```json", "close": "```", "body": "objects", "tool": "mark", **fields}
    return grammar(think=None, answer=None, calls=[form], most_calls=most)


OBJECTS = """Two chairs, and a cup on the other picture.
```json
[{"picture": 2, "bbox_2d": [1, 2, 30, 40], "label": "chair"}, {"picture": 1, "bbox_2d": [5, 6, 7, 8]},
 {"picture": 2, "bbox_2d": [9, 9, 20, 20], "label": "chair"}]
```"""
_ONE = {"bbox_2d": [1, 2, 30, 40], "label": "chair"}
_OTHER = {"bbox_2d": [9, 9, 20, 20], "label": "chair"}


@pytest.mark.parametrize(
    ("fields", "calls"),
    [
        ({}, [{"image_index": 2, **_ONE}, {"image_index": 1, "bbox_2d": [5, 6, 7, 8]}, {"image_index": 2, **_OTHER}]),
        (
            {"unnamed": ["marks"]},
            [{"image_index": 2, "marks": [_ONE, _OTHER]}, {"image_index": 1, "marks": [{"bbox_2d": [5, 6, 7, 8]}]}],
        ),
    ],
    ids=["a call for each object", "a call for each image"],
)
def test_a_list_of_objects_is_as_many_calls(fields: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    spoken = listing(3, keys={"picture": "image_index"}, **fields)
    turn = parse(OBJECTS, spoken)
    assert turn.calls == tuple(ToolText("mark", each) for each in calls)
    assert parse(written(turn, spoken), spoken) == turn


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OBJECTS, "the list of objects is 3 calls, and a reply may have 2"),
        ("```json [] ```", "not a JSON list of objects"),
        ('```json {"bbox_2d": [1, 2, 3, 4]} ```', "not a JSON list of objects"),
        ("```json [[1, 2, 3, 4]] ```", "not a JSON object"),
    ],
)
def test_what_is_no_list_of_objects_is_refused(text: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        parse(text, listing(2))


def test_an_image_of_a_list_of_objects_is_named_by_a_number_or_a_text() -> None:
    with pytest.raises(FormatError, match=r"the number of an image is \[1\]"):
        parse('```json [{"image_index": [1]}] ```', listing(1, unnamed=["marks"]))


def test_a_reply_ends_with_the_first_text_that_ends_one() -> None:
    spoken = CASES["VLM-R3"].grammar
    box = 'one {"bbox_2d": [1, 2, 3, 4]}'
    assert stopped(f'{box}\nI see 7.\n{{"bbox_2d": [0, 0, 9, 9]}}', spoken) == box
    assert stopped("7</answer> and more", spoken) == "7</answer>"
    assert stopped("nothing", spoken) == "nothing"
    assert stopped("a]}b", TAGS) == "a]}b"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"close": "b"}, "needs an `open`"),
        ({"body": "text", "tool": "t", "unnamed": ["a"]}, "needs an `open`"),
        ({"body": "list", "tool": "t", "unnamed": ["a"]}, "needs an `open`"),
        ({"open": "a", "body": "arguments"}, "names no tool: `tool` has to"),
        ({"open": "a", "tool": "t"}, "names its tool: leave out `tool`"),
        ({"open": "a", "body": "list", "tool": "t"}, "is one argument"),
        ({"body": "objects", "tool": "t"}, "needs an `open`"),
        ({"open": "a", "body": "objects"}, "names no tool: `tool` has to"),
        ({"open": "a", "body": "objects", "tool": "t", "unnamed": ["a", "b"]}, "is at most one argument"),
        ({"open": "a", "body": "function", "tool": "t"}, "has arguments"),
        ({"open": "a", "body": "tex"}, "Invalid enum value"),
        ({"open": "a", "opens": "b"}, "unknown field"),
    ],
)
def test_a_form_that_makes_no_sense_is_none(form: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(form, CallForm)


@pytest.mark.parametrize(
    "fields",
    [
        {"think": ["<answer>", "</answer>"]},
        {"think": ["a", " "]},
        {"answer": ["", "x"]},
        {"answer": ["<tool_call>", "x"]},
        {"calls": [{"body": "call"}, {"body": "actions"}]},
        {"stop": ["</answer>", ""]},
    ],
)
def test_parts_that_cannot_be_told_apart_are_no_grammar(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        grammar(**fields)


def pieces(spoken: Grammar) -> list[str]:
    """What replies by a grammar are made of, and what breaks them."""
    marks = [mark for part in spoken.parts() for mark in part]
    return [*marks, *"{}[]()=,: \n\"'\\", "1", "-1e999", "NaN", "é", "\ud800", '{"', '"name"', '"arguments"', "```"]


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
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
@pytest.mark.parametrize("name", NAMES)
def test_work_grows_no_faster_than_a_reply(name: str) -> None:
    case = CASES[name]
    for piece in (*pieces(case.grammar), '{"a":', '{"a":1,', "Action:  ", "<action>  ", "[1,", case.call, case.answer):
        loose = not any(form.acts for form in case.grammar.calls)  # which is the whole reply
        for how in (case.grammar, msgspec.structs.replace(case.grammar, loose=loose, most_calls=4)):
            few, many = (calls_made(piece * count, how) for count in (500, 2000))
            assert many <= 4 * few + 100, (piece, few, many)
            assert many <= 60_000, piece


THEIRS = CallForm("<call>", "</call>", names={"zoom": "crop_image"}, keys={"box": "bbox_2d", "img": "image_index"})


def test_errors_name_what_the_model_writes() -> None:
    said = "crop_image takes no bbox_2d of image_index, and display_image does"
    assert (
        as_written(said, "crop_image", Grammar(calls=(THEIRS,))) == "zoom takes no box of img, and display_image does"
    )


def test_of_marks_that_begin_at_one_place_the_longer_counts() -> None:
    grammar = Grammar(think=("<t>", "</t>"), calls=(CallForm("<t>call", "</t>"),))
    assert [mark.text for mark in marks("<t>so</t><t>call x</t>", grammar)] == ["<t>", "</t>", "<t>call", "</t>"]


def test_a_turn_is_written_with_the_names_that_are_read() -> None:
    grammar = Grammar(calls=(THEIRS,))
    turn = Turn("so", (ToolText("crop_image", {"bbox_2d": [1, 2, 3, 4], "image_index": 2}),))
    text = written(turn, grammar)
    assert '"img": 2' in text
    assert '"name": "zoom"' in text
    assert parse(text, grammar) == turn


@pytest.mark.parametrize("text", ["Grüße", "三角形", "a\nb", '"quoted"', "<b> & 'c'", "😀"])
@pytest.mark.parametrize("grammar", [Grammar(), Grammar(calls=(CallForm("<c>", "</c>", "arguments", "find"),))])
def test_words_of_any_script_are_written_as_they_are(grammar: Grammar, text: str) -> None:
    written_ = written(Turn("so", (ToolText("find", {"query": text, "words": [text]}),)), grammar)
    assert written_.count(json.dumps(text, ensure_ascii=False)) == 2
    called = assembled("", None, [Called("find", {"query": text})], Grammar())
    assert json.dumps(text, ensure_ascii=False) in called


def test_all_calls_that_a_server_took_out_are_put_back() -> None:
    grammar = Grammar(most_calls=2)
    calls = tuple(Called("crop_image", {"image_index": index}) for index in range(2))
    turn = parse(assembled("", "I see.", calls, grammar), grammar)
    assert [call.arguments for call in turn.calls] == [{"image_index": 0}, {"image_index": 1}]


def test_a_thought_that_a_server_took_out_is_put_back() -> None:
    grammar = Grammar()
    assert assembled("<answer>7</answer>", "I see.", (), grammar) == "<think>I see.</think>\n<answer>7</answer>"
    assert assembled("<think>a</think>b", "I see.", (), grammar) == "<think>a</think>b"
    call = Called("crop_image", {"image_index": 0})
    assert parse(assembled("", "I see.", (call,), grammar), grammar) == Turn(
        "I see.", (ToolText("crop_image", {"image_index": 0}),)
    )
