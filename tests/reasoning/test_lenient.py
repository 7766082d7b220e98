"""Replies of stock models, in whichever usual way they and their servers write them."""

import json
import re
import time
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import each_case

from virc.reasoning.bodies import Called, FormatError, ToolText
from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.lenient import Sent, read_leniently
from virc.reasoning.messages import Turn
from virc.tools.registry import offered

NAMES = offered(("crop_image", "scale_image", "display_image"))
STOCK = Grammar(think=None, calls=(CallForm("<tool_call>", "</tool_call>"),))
CROP = ToolText("crop_image", {"bbox_2d": [1, 2, 30, 40], "image_index": 0})
BODY = '{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 30, 40], "image_index": 0}}'

GIVEN = '{"bbox_2d": [1, 2, 30, 40], "image_index": 0}'
_INVOKE = (
    '<NSinvoke name="crop_image">\n<NSparameter name="bbox_2d">[1, 2, 30, 40]</NSparameter>\n'
    '<NSparameter name="image_index">0</NSparameter>\n</NSinvoke>'
)
_BARE = _INVOKE.replace("NS", "")
PUBLISHED = [
    f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>crop_image\n```json\n{GIVEN}\n```"
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
    f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>crop_image<｜tool▁sep｜>{GIVEN}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    f"<｜tool▁call▁begin｜>crop_image<｜tool▁sep｜>{GIVEN}", _BARE, _BARE.replace('"', "'"),
    _BARE.removesuffix("\n</invoke>"), f"<function_calls>\n{_BARE}\n</function_calls>",
    f"<minimax:tool_call>\n{_BARE}\n</minimax:tool_call>",
    f"<function_calls>\n{_INVOKE.replace('NS', 'antml:')}\n</function_calls>",
    f"<steptml:tool_calls>{_INVOKE.replace('NS', 'steptml:')}</steptml:tool_calls>",
    f"<｜DSML｜function_calls>\n{_INVOKE.replace('NS', '｜DSML｜')}\n</｜DSML｜function_calls>",
    _BARE.replace('index">', 'index" string="false">'),
    "<seed:tool_call>\n<function=crop_image>\n<parameter=bbox_2d>[1, 2, 30, 40]</parameter>\n"
    "<parameter=image_index>0</parameter>\n</function>\n</seed:tool_call>",
    f"<function=crop_image>{GIVEN}</function>", f"<function=crop_image>\n{GIVEN}",
    "<|python_tag|>crop_image.call(bbox_2d=[1, 2, 30, 40], image_index=0)<|eom_id|>",
    "```tool_code\nprint(default_api.crop_image(bbox_2d=[1, 2, 30, 40], image_index=0))\n```",
    f"<|python_tag|>{BODY.replace('crop_image', 'functions.crop_image')}",
    f"[TOOL_CALLS]crop_image[CALL_ID]123456789[ARGS]{GIVEN}",
    _BARE.replace("invoke", "function").replace("parameter", "param"), f"<|tool_call>:crop_image{GIVEN}<tool_call|>",
    f"<start_function_call>call:crop_image{GIVEN}<end_function_call>",
    f"✿FUNCTION✿: crop_image\n✿ARGS✿: {GIVEN}\n✿RESULT✿: ",
    f'Action:\n```json\n{{"action": "crop_image", "action_input": {GIVEN}}}\n```',
    f">>>crop_image\n{GIVEN}", f">>>all\nI look.>>>crop_image\n{GIVEN}",
]  # fmt: skip
"""Calls in forms that models' templates publish."""


@each_case(
    "text",
    [
        f"<tool_call>\n{BODY}\n</tool_call>",
        f"<tool_call>{BODY}",  # servers that stop at the end mark cut it off
        f"```json\n{BODY}\n```", f"```\n{BODY}", BODY, BODY.replace('"', "'"),
        BODY[:-1],  # a small model forgets the last bracket
        '{"tool": "crop_image", "args": {"bbox_2d": [1, 2, 30, 40], "image_index": 0}}',
        '{"name": "crop_image", "parameters": {"bbox_2d": [1, 2, 30, 40], "image_index": "0"}}',
        '{"name": "crop_image", "bbox_2d": [1, 2, 30, 40], "image_index": 0}',
        '{"type": "function", "function": ' + BODY + "}", '{"tool_calls": [{"function": ' + BODY + "}]}",
        "<tool_call>\n<function=crop_image>\n<parameter=bbox_2d>\n[1, 2, 30, 40]\n</parameter>\n"
        "<parameter=image_index>\n0\n</parameter>\n</function>\n</tool_call>",
        "<function=crop_image><parameter=bbox_2d>[1, 2, 30, 40]</parameter>"
        "<parameter=image_index>0</parameter></function>",
        "<tool_call>crop_image\n<arg_key>bbox_2d</arg_key>\n<arg_value>[1, 2, 30, 40]</arg_value>\n"
        "<arg_key>image_index</arg_key>\n<arg_value>0</arg_value>\n</tool_call>",
        "<tool_call>crop_image<arg_key>bbox_2d</arg_key><arg_value>[1, 2, 30, 40]</arg_value>"
        "<arg_key>image_index</arg_key><arg_value>0</arg_value></tool_call>",
        "<tool_call>crop_image<arg_key> bbox_2d </arg_key><arg_value> [1, 2, 30, 40] </arg_value>"
        "<arg_key>image_index</arg_key><arg_value>0</arg_value></tool_call>",
        "<function=crop_image><parameter=bbox_2d>[1, 2, 30, 40]<parameter=image_index>0</function>",
        "<|tool_call>call:crop_image{bbox_2d:[1,2,30,40],image_index:0}<tool_call|>",
        '<|tool_call>call:crop_image{bbox_2d:<|"|>1, 2, 30, 40<|"|>,image_index:0}<tool_call|>',
        BODY.replace('{"name', '{"type": "function", "id": "c1", "name').replace('"arguments": {', "")[:-1], BODY[:-2],
        f"<tool_call>\n```json\n{BODY}\n```\n</tool_call>", f"<tool_call>{BODY[:-2]},}},  # the 'sign'\n}}</tool_call>",
        BODY.replace(', "image', ", // left, top\n/* {first} */ 'image").replace('x":', "x' :"),
        "<tool_call>{name: 'crop_image', arguments: " + GIVEN + "}</tool_call>",
        "<tool_call>" + re.sub('"(.*?)"', "“\\1”", BODY).replace(",", "，").replace(":", "：") + "</tool_call>",
        '[TOOL_CALLS]crop_image[ARGS]{"bbox_2d": [1, 2, 30, 40], "image_index": 0}', f"[TOOL_CALLS] [{BODY}]",
        "<|tool_call_begin|>functions.crop_image:0<|tool_call_argument_begin|>"
        '{"bbox_2d": [1, 2, 30, 40], "image_index": 0}<|tool_call_end|>',
        "```tool_code\ncrop_image(bbox_2d=[1, 2, 30, 40], image_index=0)\n```",
        "```python\nprint(crop_image(bbox_2d=[1, 2, 30, 40], image_index=0))\n```",
        'crop_image({"bbox_2d": [1, 2, 30, 40], "image_index": 0})',
        "```python\ncrop_image([1, 2, 30, 40], image_index=0)\n```", BODY.replace("[1, 2, 30, 40]", '"[1, 2, 30, 40]"'),
        BODY.replace("[1, 2, 30, 40]", '"1, 2, 30, 40"'), BODY.replace("[1, 2, 30, 40]", "[[1, 2], [30, 40]]"),
        BODY.replace("[1, 2, 30, 40]", '["1", "2", "30", "40"]'),
        BODY.replace("[1, 2, 30, 40]", '{"x1": 1, "y1": 2, "x2": 30, "y2": 40}'),
        BODY.replace("[1, 2, 30, 40]", '{"left": 1, "top": 2, "right": 30, "bottom": 40}'),
        BODY.replace("[1, 2, 30, 40]", '{"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}'),
        BODY.replace("bbox_2d", "bbox"), BODY.replace("image_index", "img_idx"), *PUBLISHED,
        f"<tool_call>\n{BODY}\n</tool_call>\n<answer>97</answer>",  # what follows a call is made up
        f"</think><tool_call>{BODY}</tool_call>It is 97.</think>97",
        f"<tool_call>{BODY}</tool_call><tool_call>{BODY.replace('30', '31')}</tool_call>",
    ],
)  # fmt: skip
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


SECOND = BODY.replace("30", "31")


@each_case(
    "text",
    [
        f"```json\n[{BODY}, {SECOND}]\n```", f"<tool_call>\n{BODY}\n{SECOND}\n</tool_call>",
        f'{{"tool_calls": [{{"function": {BODY}}}, {{"function": {SECOND}}}]}}', f"[TOOL_CALLS][{BODY}, {SECOND}]",
        f"[TOOL_CALLS]crop_image[ARGS]{GIVEN}[TOOL_CALLS]crop_image[ARGS]{GIVEN.replace('30', '31')}",
        f"<|tool_call_begin|>crop_image:0<|tool_call_argument_begin|>{GIVEN}<|tool_call_begin|>crop_image:1"
        f"<|tool_call_argument_begin|>{GIVEN.replace('30', '31')}",
        f"<|tool_call>call:crop_image{GIVEN}<|tool_call>call:crop_image{GIVEN.replace('30', '31')}",
        "<|python_tag|>[crop_image([1, 2, 30, 40], image_index=0), crop_image([1, 2, 31, 40], image_index=0)]",
        "[crop_image([1, 2, 30, 40], image_index=0), crop_image([1, 2, 31, 40], image_index=0)]",
        f">>>crop_image\n{GIVEN}>>>crop_image\n{GIVEN.replace('30', '31')}",
    ],
)  # fmt: skip
@each_case("most", [1, 2, 3])
def test_all_calls_of_a_list_are_made_as_far_as_the_grammar_allows(text: str, most: int) -> None:
    said = read_leniently(f"I look. {text}", msgspec.structs.replace(STOCK, most_calls=most), NAMES)
    boxes = [call.arguments["bbox_2d"] for call in said.turn.calls]
    assert boxes == [[1, 2, 30, 40], [1, 2, 31, 40]][:most]
    assert said.sent
    assert len(said.sent.calls) == len(boxes)


@each_case(
    ("text", "thought", "answer"),
    [
        ("<answer>97</answer>", "", "97"),
        ("<think>It reads 97.</think>\n<answer>\n97\n</answer>", "It reads 97.", "97"),
        ("It reads 97.</think>\n\n97", "It reads 97.", "97"),
        ("It reads 97. <answer>97</answer>", "It reads 97.", "97"), ("<answer>97", "", "97"),
        ("97 <think>hm", "hm", "97"), ("It is <|begin_of_box|>97<|end_of_box|>", "It is", "97"),
        ("97<|im_end|>", "", "97"),
        ("<think>I close it with `</think>`.</think>97", "I close it with `</think>`.", "97"),
        ('The text reads "<think>".', "", 'The text reads "<think>".'),
        ("<response>97</response> it says", "", "<response>97</response> it says"),
        ("<think>It reads 97.</think>97</think>", "It reads 97.", "97"),
        ("<|channel>thought\n<channel|>97<|channel>thought\n<channel|><channel|>", "", "97"),
        ("<thought>hm</thought><mm:think>or</mm:think>97", "hm\nor", "97"),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>97<|END_RESPONSE|>", "hm", "97"),
        ("Here I reason: hm\n[BEGIN FINAL RESPONSE]\n97\n[END FINAL RESPONSE]", "Here I reason: hm", "97"),
        ("<think>hm</think>\n\n<response>\n97\n</response>\n", "hm", "97"),
        ("<think>use <tool_call> or not?</think>97", "use <tool_call> or not?", "97"),
        (f"<think>a</think><think>Or {BODY}?</think>b</think>97", f"a\nOr {BODY}?\nb", "97"),
        ("<think>a</think><think>So <answer>96</answer>?</think>97", "a\nSo <answer>96</answer>?", "97"),
        ("I used crop_image (twice): 97", "", "I used crop_image (twice): 97"),
        ("a</think><answer>97</answer> Or 98?</think>98", "a", "97"),
        ("<think>It reads <answer>97</answer>", "It reads", "97"),  # the end of the thought was not seen
        *((text, "", text) for text in ("the token <|im_end|> ends a turn", "a <|im_start|> is in front of it")),
        ("it is red <|im_end|> user what now?", "", "it is red"), ("a cat <|eot|> <|start|>user what?", "", "a cat"),
        (">>>all\nIt is red.", "", "It is red."), (">>> 3 + 2\n5", "", ">>> 3 + 2\n5"),
        ("put </answer> there", "", "put </answer> there"), ("it shows [EOS]", "", "it shows [EOS]"),
    ],
)  # fmt: skip
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


@each_case(
    "text",
    [
        '<tool_call>{"name": "scale_image", "arguments": {"image_index": 0, "scale_factor": 1',
        '{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 3, 4], "image_index": 1', f"<tool_call>{BODY[:-1]}",
        BODY[:-1], '[TOOL_CALLS]crop_image[ARGS]{"bbox_2d": [1, 2, 3, 4], "image_index": 0',
        '<|tool_call_begin|>functions.crop_image:0<|tool_call_argument_begin|>{"bbox_2d": [1, 2, 3, 4]',
        "<|tool_call>call:crop_image{bbox_2d:[1,2,30,40]", "<function=crop_image><parameter=bbox_2d>[1, 2, 30, 4",
        f"<function=crop_image>{GIVEN[:-1]}", PUBLISHED[0][: PUBLISHED[0].index("40") + 1],
        "<tool_call>crop_image<arg_key>bbox_2d</arg_key><arg_value>[1, 2, 30, 40]</arg_value><arg_key>image_index"
        "</arg_key><arg_value>1",
        "<tool_call>display_image",
    ],
)  # fmt: skip
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
