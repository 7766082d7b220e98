"""Replies of stock models, in whichever usual way they and their servers write them."""

import json
import re
import time
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import cases_of, each_case

from virc.reasoning.bodies import Called, FormatError, ToolText
from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.lenient import Sent, read_leniently
from virc.reasoning.messages import Turn
from virc.tools.registry import offered

CASES = cases_of(__file__)

NAMES = offered(("crop_image", "scale_image", "display_image"))
STOCK = Grammar(think=None, calls=(CallForm("<tool_call>", "</tool_call>"),))
CROP = ToolText("crop_image", {"bbox_2d": [1, 2, 30, 40], "image_index": 0})
BODY = '{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 30, 40], "image_index": 0}}'

GIVEN = '{"bbox_2d": [1, 2, 30, 40], "image_index": 0}'
PUBLISHED = CASES["published"]
"""Calls in forms that models' templates publish."""


@each_case("text", [*PUBLISHED, *CASES["a_call_is_read_in_every_usual_form"]])
def test_a_call_is_read_in_every_usual_form(text: str) -> None:
    said = read_leniently(f"I look closer.\n{text}", STOCK, NAMES)
    assert said.turn.tool == CROP
    assert said.turn.answer is None
    assert said.turn.think.startswith("I look closer.")


@each_case(
    "call",
    [
        Called("crop_image", {"bbox_2d": [1, 2, 30, 40], "image_index": 0}),
        Called("crop_image", '{"bbox_2d": [1, 2, 30, 40], "image_index": 0}'),
        Called("crop_image", json.dumps('{"bbox_2d": [1, 2, 30, 40], "image_index": 0}')),
        Called("functions.crop_image", GIVEN), Called("functions.crop_image:0", GIVEN),
        Called("default_api.crop_image", GIVEN), Called("crop_image.call", GIVEN), Called("tools.zoom_in", GIVEN),
        *(Called(f"{each}crop_image", GIVEN) for each in ("virc.", "tool.", "mcp__virc__", "mcp_virc_", "a.b:")),
    ],
)  # fmt: skip
@each_case("text", ["", "Let me zoom.", "97", "<answer>97</answer>"])
def test_a_structured_call_is_carried_out_whatever_stands_beside_it(call: Called, text: str) -> None:
    said = read_leniently(text, STOCK, NAMES, calls=(call, Called("display_image", "")))
    assert (said.turn.calls, said.turn.answer) == ((CROP,), None)
    again = f'<tool_call>\n{{"name": "{call.name}", "arguments": {GIVEN}}}\n</tool_call>'
    assert said.sent == Sent(f"{text}\n{again}".strip(), text, (Called(call.name, CROP.arguments),))


CODE = "if a < 3:\n    print(\"a {b}\", 'c')  # d, e\n"
_LINES = json.dumps(CODE).replace("\\n", "\n")


@each_case(
    "text",
    [
        f'<tool_call>{{"name": "python", "arguments": {{"code": {_LINES}}}}}</tool_call>',
        f'<|tool_call>call:python{{code:<|"|>{CODE}<|"|>}}<tool_call|>',
        f"<start_function_call>call:python{{code:<escape>{CODE}<escape>}}<end_function_call>",
        f'<function name="python"><param name="code"><![CDATA[{CODE}]]></param></function>',
    ],
)
def test_a_text_with_quotes_and_lines_is_as_it_was_written(text: str) -> None:
    assert read_leniently(text, STOCK, offered(("python",))).turn.tool == ToolText("python", {"code": CODE})


@each_case("text", CASES["all_calls_of_a_list_are_made_as_far_as_the_grammar_allows"])
@each_case("most", [1, 2, 3])
def test_all_calls_of_a_list_are_made_as_far_as_the_grammar_allows(text: str, most: int) -> None:
    said = read_leniently(f"I look. {text}", msgspec.structs.replace(STOCK, most_calls=most), NAMES)
    boxes = [call.arguments["bbox_2d"] for call in said.turn.calls]
    assert boxes == [[1, 2, 30, 40], [1, 2, 31, 40]][:most]
    assert said.sent
    assert len(said.sent.calls) == len(boxes)


@each_case(("text", "thought", "answer"), CASES["an_answer_is_what_stands_outside_of_the_thought"])
def test_an_answer_is_what_stands_outside_of_the_thought(text: str, thought: str, answer: str) -> None:
    assert read_leniently(text, STOCK, NAMES).turn == Turn(thought, answer=answer)


@each_case(
    "text",
    [
        '{"name": "zoom", "arguments": {"bbox_2d": [1, 2, 30, 40], "image_index": 0}}',
        "zoom_in(bbox_2d=[1, 2, 30, 40], image_index=0)",
        '```json\n{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [1, 2, 30, 40], "image_index": 0}}\n```',
        'Action: image_zoom_in_tool\nAction Input: {"bbox_2d": [1, 2, 30, 40], "img_idx": 0}',
    ],
)
def test_a_tool_that_the_model_knows_by_another_name_is_ours(text: str) -> None:
    assert read_leniently(text, STOCK, NAMES).turn.tool == CROP


@each_case(
    "text",
    [
        "It uses [TOOL_CALLS] before a call.", "The button reads [TOOL_CALLS].", "<|python_tag|> as a token",
        "The tags are <tool_call> and </tool_call>", "The tags are <tool_call> and </tool_call>.",
        "<tool_call> is a mark (of Hermes).\nIt is red.",
    ],
)  # fmt: skip
def test_a_sentence_that_names_a_mark_is_an_answer(text: str) -> None:
    assert read_leniently(text, STOCK, NAMES).turn.answer == text
    assert read_leniently(f"{text}\n<tool_call>{BODY}</tool_call>", STOCK, NAMES).turn.tool == CROP


@each_case("text", CASES["nothing_of_a_reply_that_was_cut_is_mended"])
def test_nothing_of_a_reply_that_was_cut_is_mended(text: str) -> None:
    with pytest.raises(FormatError) as refused:
        read_leniently(text, STOCK, NAMES, cut=True)
    assert refused.value.kind == "length"


def test_a_thought_that_the_server_took_out_is_the_thought_and_goes_back_to_nobody() -> None:
    said = read_leniently("97", STOCK, NAMES, thought="It reads 97.")
    assert said.turn == Turn("It reads 97.", answer="97")
    assert said.sent == Sent("97")
    said = read_leniently("<think>So it is.</think> 97", STOCK, NAMES, thought="It reads 97.")
    assert (said.turn.think, said.sent) == ("It reads 97.\nSo it is.", Sent("97"))
    said = read_leniently(f"I zoom. {BODY}", STOCK, NAMES, thought="Small.")
    assert said.turn.think == "Small.\nI zoom."
    assert said.sent
    assert (said.sent.text, said.sent.before) == (f"I zoom. {BODY}", "I zoom.")


@each_case(
    ("thought", "answer"),
    [
        (r"180 - 107 is 73. So \boxed{73}", "73"), ("180 - 107.\nThe answer is 73.", "The answer is 73."),
        ("和为 180。\n最终答案：73", "最终答案：73"), ("180 - 107.</think>\n\n73", "73"),
        ("Perhaps the answer is 60.\nI have to look again.", None), ("73", "73"),
        ("The angle is 73.", "The angle is 73."), ("Es sind 73 Grad.", "Es sind 73 Grad."), ("Let me see.\n\n73", "73"),
        ("I need to crop the corner first.", None), ("Is it 73?", None), ("让我看一下图片的左上角", None),
        ("A box.\nA line of 73 px.", None), ("180 less 107. " * 20, None), ("</think>", None),
    ],
)  # fmt: skip
def test_a_thought_alone_answers_where_it_says_so(thought: str, answer: str | None) -> None:
    if answer is None:
        with pytest.raises(FormatError, match="a thought without a call or an answer"):
            read_leniently("", STOCK, NAMES, thought=thought)
    else:
        turn = read_leniently("", STOCK, NAMES, thought=thought).turn
        assert turn.answer == answer
        assert thought.startswith(turn.think)
        assert len(turn.think) < len(thought)
        with pytest.raises(FormatError, match="token limit"):
            read_leniently("", STOCK, NAMES, thought=thought, cut=True)


MARKS = [
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>", "```json\n", "crop_image(", BODY,
]  # fmt: skip
PIECES = st.sampled_from([*MARKS, "{", "}", "[1,2,3,4]", '"', " a ", "<function=crop_image>", "<|tool_call>call:"])


@given(st.lists(PIECES, max_size=12).map("".join), st.booleans(), st.sampled_from([None, "hm", BODY]))
def test_any_reply_is_a_turn_or_one_sentence(text: str, cut: bool, thought: str | None) -> None:
    try:
        turn = read_leniently(text, STOCK, NAMES, thought=thought, cut=cut).turn
    except FormatError:
        return
    assert (turn.tool is None) != (turn.answer is None)
    if turn.answer is not None and '"' not in text:  # in quotation marks, words may name a mark
        is_shown = re.search(r"```json\n[^`]*<tool_call>[\s\S]*\n```", text)
        assert is_shown or "<tool_call>" not in turn.answer.replace("<tool_call> a", "")
        assert "</think>" not in re.sub("`</think>`", "", turn.answer)


HOSTILE = [
    "<tool_call>", "[ ", 'zoom("', "\\boxed{", "the answer", "crop_image(", "<think>", "<parameter=a>",
    "<tool_call>f<arg_key></arg_key><arg_value>", "\\boxed{{",
]  # fmt: skip


@pytest.mark.integration
@each_case("piece", HOSTILE)
def test_a_long_hostile_reply_is_read_in_little_time(piece: str) -> None:
    began = time.process_time()
    with suppress(FormatError):
        read_leniently(piece * (100_000 // len(piece)) + "crop_image(bbox", STOCK, NAMES)
    assert time.process_time() - began < 10
