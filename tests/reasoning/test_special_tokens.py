"""Special tokens that a server leaves in a reply, read alike by all readers; calls that are shown, and calls made."""

import re

import pytest
from support.tables import each_case

from virc.backends.control_tokens import as_text
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.lenient import read_leniently
from virc.reasoning.marks.families import FAMILIES
from virc.reasoning.marks.special_tokens import TurnStream, first_turn, without_special
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.session import Ask, Message, Reply
from virc.reasoning.writing import assembled
from virc.scoring.reading.replies import untagged
from virc.serving.agent.answer import parts
from virc.tools.registry import DEFAULT, offered

TOOLS = offered(DEFAULT)
CALL = '{"name": "crop_image", "arguments": {"image_index": 0, "bbox_2d": [1, 2, 30, 40]}}'
FOREIGN = '{"name": "get_weather", "arguments": {"city": "Bern"}}'
NO_MARKS = Grammar(think=None, calls=(), answer=None)

ENDINGS = [
    "<|im_end|>", "<pad><pad>", "</s>", "<｜end▁of▁sentence｜>", "[EOS]", "<\\s>",
    "</answer>", "\n</answer><|im_end|>", "</answer></s>", "</response>",
    "<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n13",
    "<|user|>\nAnd now?<|assistant|>\n13",
    "<|observation|>\n13",
    "<|eot|><|header_start|>user<|header_end|>\n\nAnd now?<|eot|><|header_start|>assistant<|header_end|>\n\n13",
    "<end_of_turn>\n<start_of_turn>user\nAnd now?<end_of_turn>\n<start_of_turn>model\n13",
    "</s>[INST] And now? [/INST] 13",
    "[e~[\n]~b]user\nAnd now?[e~[\n]~b]ai\n13",
    "<|im_end|><|im_user|>user<|im_middle|>And now?<|im_end|><|im_assistant|>assistant<|im_middle|>13",
    "<|end_of_text|><|start_of_role|>user<|end_of_role|>And now?",
    "<｜end▁of▁sentence｜><｜User｜>And now?<｜Assistant｜>13",
    "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>And now?",
    "<|endoftext|>Human: And now? It is 13",
    "<|end_of_my_family|>",
]  # fmt: skip

OPENINGS = [
    "", "<|im_start|>assistant\n", "<|assistant|>\n", "<｜Assistant｜>", "<|im_assistant|>assistant<|im_middle|>",
    "<|im_start|>assistant<|im_sep|>", "<seed:bos>assistant\n", "<role>ASSISTANT</role>", "[gMASK]<sop><|assistant|>\n",
    "<|start_of_role|>assistant<|end_of_role|>", "<start_of_turn>model\n", "]~b]ai\n",
]  # fmt: skip


@each_case("ending", ENDINGS)
def test_no_reader_takes_what_stands_behind_the_first_turn(ending: str) -> None:
    for opening in OPENINGS:
        text = f"{opening}42{ending}"
        assert read_leniently(text, TAGS, TOOLS).turn.answer == "42"
        assert without_special(first_turn(text)).strip() == "42"
        assert parts(Reply(text)) == ("", "42")
        assert untagged(text) == "42"
        assert without_special(parse(text, NO_MARKS).answer or "").strip() == "42"
    tagged = f"<think>so</think><answer>42</answer>{ending}<think>no</think><answer>13</answer>"
    if "13" in ending or "now" in ending:
        assert parse(tagged).answer == "42"


def streamed(text: str, size: int) -> str:
    stream = TurnStream()
    return "".join(stream.of_turn(text[at : at + size]) for at in range(0, len(text), size))


@each_case("family", FAMILIES)
def test_all_readers_know_all_marks_of_a_family(family: str) -> None:
    marks = FAMILIES[family]
    behind = [*marks.ends, *marks.others, *(f"{mark}[INST]" for mark in (*marks.last, *marks.attached))]
    for mark in (*behind, *(f"{mark}user" for mark in marks.roles)):
        text = re.sub("[*#]", "7", f"42{mark} And now? 13")
        assert streamed(text, 1000) == "42"
        assert parse(text, NO_MARKS).answer == "42"
        assert read_leniently(text, TAGS, TOOLS).turn.answer == parts(Reply(text))[1] == untagged(text) == "42"
    for mark in (*marks.own, *marks.fillers):
        text = re.sub("[*#]", "7", f"{mark}42{mark}")
        assert read_leniently(text, TAGS, TOOLS).turn.answer == parts(Reply(text))[1] == untagged(text) == "42"
    around = [*marks.thoughts, *((f"<{name} type='reasoning'>", f"</{name}>") for name in marks.first_thoughts)]
    for opening, closing in around:
        text = f"{opening}so{closing}42"
        assert read_leniently(text, TAGS, TOOLS).turn == Turn("so", answer="42")
        assert parts(Reply(text)) == ("so", "42")
        assert untagged(text) == assembled(text, None, (), NO_MARKS) == "42"
    for name in marks.answers:
        text = f"<{name.upper()}>42</{name.upper()}>"
        assert read_leniently(text, TAGS, TOOLS).turn.answer == parts(Reply(text))[1] == untagged(text) == "42"
    for mark in (*marks.ends, *marks.roles, *marks.others, *marks.own, *marks.inputs):
        said = as_text(Ask((Message("user", f"What is {re.sub('[*#]', '7', mark)}?"),), ())).messages[0].text
        assert said == f"What is {mark[0]}\u200b{re.sub('[*#]', '7', mark)[1:]}?"
    for opening, closing in marks.calls:
        found = read_leniently(f"I look.{opening}{CALL}{closing}", TAGS, TOOLS).turn
        assert found == Turn("I look.", (ToolText("crop_image", {"image_index": 0, "bbox_2d": [1, 2, 30, 40]}),))


@each_case(
    "text",
    [
        "It shows `<|im_end|>` at the end.", "was <s>50</s> 42", "<|begin_of_box|>42<|end_of_box|>", "a <b>42</b> [1]",
        "The layer reads [CLS] and [SEP].", 'The token is "<|user|>".', "if a <| b then 42",
        "the token <|im_end|> ends a turn", "first <|im_start|> and then <|im_end|> mark a turn of the user",
    ],
)  # fmt: skip
def test_text_about_marks_is_no_mark(text: str) -> None:
    assert first_turn(text) == text


@each_case("size", [1, 2, 3, 7, 1000])
def test_a_stream_ends_with_the_first_turn(size: int) -> None:
    stream = TurnStream()
    pieces = ["<think>so", "</think>", "42", "<|user|>", "And ", "now?", "<|assistant|>", "13"]
    assert "".join(map(stream.of_turn, pieces)) == "<think>so</think>42"
    text, stream = "x" * size + "<|im_end|>", TurnStream()
    assert "".join(map(stream.of_turn, [text, "13"])) == "x" * size


ARGUMENTS = '{\\"image_index\\": 0, \\"bbox_2d\\": [1, 2, 30, 40]}'


@each_case(
    "text",
    [
        f"<tool_call>{CALL}</tool_call>",
        f'<tool_call>{{"name": "crop_image", "arguments": "{ARGUMENTS}"}}</tool_call>',
        f'[TOOL_CALLS]crop_image[ARGS]"{ARGUMENTS}"',
        f'<function=crop_image>"{ARGUMENTS}"</function>',
        f'<|tool_call_start|>[crop_image("{ARGUMENTS}")]<|tool_call_end|>',
        f'<｜tool▁call▁begin｜>function<｜tool▁sep｜>crop_image\n"{ARGUMENTS}"<｜tool▁call▁end｜>',
        f'Action: crop_image\nAction Input: "{ARGUMENTS}"',
        f'{{"function": {{"name": "crop_image", "arguments": "{ARGUMENTS}"}}}}',
        'crop_image(\'{"image_index": 0, "bbox_2d": [1, 2, 30, 40]}\')',
        f"<|tool_call|>{CALL}<|/tool_call|>",
        f"<tool_calls>[{CALL}]</tool_calls>",
        f"<function_call>{CALL}</function_call>",
        f"[TOOL_CALL]{CALL}[/TOOL_CALL]",
        f"```json\n{CALL}\n```",
        f"```\n<tool_call>{CALL}</tool_call>\n```",
        f"<tool_call>{CALL}</tool_call><|user|>\nWhat now?<|assistant|>It is 13.",
    ],
)
def test_a_call_is_read_alike_in_each_form(text: str) -> None:
    (call,) = read_leniently(text, TAGS, TOOLS).turn.calls
    assert (call.name, call.arguments) == ("crop_image", {"image_index": 0, "bbox_2d": [1, 2, 30, 40]})


@each_case(
    "text",
    [
        f"The chat shows:\n```\n<tool_call>{FOREIGN}</tool_call>\n```",
        f"```\nUser: What is the weather?\n<tool_call>{FOREIGN}</tool_call>\n```",
        f"> <tool_call>{FOREIGN}</tool_call>",
        "~~~xml\n<function=get_weather><parameter=city>Bern</parameter></function>\n~~~",
        f'It reads: "<tool_call>{FOREIGN}</tool_call>"',
        "```\n[TOOL_CALLS]get_weather[ARGS]{}\n```\nIt is sunny.",
        f"`<tool_call>{FOREIGN}</tool_call>`",
        '```\n<function_calls><invoke name="get_weather"></invoke></function_calls>\n```',
    ],
)
def test_a_shown_call_of_a_tool_that_nobody_offered_is_text(text: str) -> None:
    turn = read_leniently(text, TAGS, TOOLS, question="Transcribe the chat.").turn
    assert turn.calls == ()
    assert "get_weather" in (turn.answer or "")


@each_case("text", [f"<tool_call>{FOREIGN}</tool_call>", f"<|tool_call|>{FOREIGN}", f"<function_call>{FOREIGN}"])
def test_a_call_that_is_made_is_one_whoever_offers_the_tool(text: str) -> None:
    (call,) = read_leniently(text, TAGS, TOOLS).turn.calls
    assert call.name == "get_weather"


@each_case("text", ["<tool_calls>{bad</tool_calls>", "<|tool_call|>{bad", "[TOOL_CALL][{bad"])
def test_a_call_in_nearly_the_usual_marks_is_no_answer(text: str) -> None:
    with pytest.raises(FormatError):
        read_leniently(text, TAGS, TOOLS)
