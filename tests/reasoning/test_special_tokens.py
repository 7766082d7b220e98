"""Marks of model families, known alike to both readers, streams and what is printed; calls that are shown, and made."""

import re
from collections.abc import Iterable

import msgspec
import pytest
from PIL import Image
from support.tables import cases_of, each_case

from virc.backends.control_tokens import as_text
from virc.families import registry
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.lenient import read_leniently
from virc.reasoning.marks.families import Kind, all_of, families
from virc.reasoning.marks.special_tokens import TurnStream, first_turn
from virc.reasoning.messages import FormatError, ToolText, Turn, parse
from virc.reasoning.session import Ask, Message, Rejected, Reply, Session, Unit, show_input
from virc.scoring.reading.replies import untagged
from virc.serving.agent.answer import parts
from virc.tools.registry import DEFAULT, offered
from virc_cli.commands.solve.thoughts import MarkedThoughts

CASES = cases_of(__file__)

TOOLS = offered(DEFAULT)
CALL = '{"name": "crop_image", "arguments": {"image_index": 0, "bbox_2d": [1, 2, 30, 40]}}'
FOREIGN = '{"name": "get_weather", "arguments": {"city": "Bern"}}'
STOCK = registry.protocol(registry.get("qwen2.5-vl"))
BARE = msgspec.structs.replace(STOCK, reading="strict", grammar=Grammar(think=None, answer=None))
PICTURE = show_input(Image.new("RGB", (100, 100)), BARE)

ENDINGS = CASES["endings"]

OPENINGS = [
    "", "<|im_start|>assistant\n", "<|assistant|>\n", "<｜Assistant｜>", "<|im_assistant|>assistant<|im_middle|>",
    "<|im_start|>assistant<|im_sep|>", "<seed:bos>assistant\n", "<role>ASSISTANT</role>", "[gMASK]<sop><|assistant|>\n",
    "<|start_of_role|>assistant<|end_of_role|>", "<start_of_turn>model\n", "]~b]ai\n",
]  # fmt: skip


def strict(text: str) -> Rejected | Unit:
    return Session(BARE, "What is 6 x 7?", [PICTURE], tools=TOOLS).feed(Reply(text))


def tolerant(text: str) -> Rejected | Unit:
    return Session(STOCK, "What is 6 x 7?", [PICTURE], tools=TOOLS).feed(Reply(text))


def streamed(text: str, size: int = 1000) -> tuple[str, str]:
    """What a stream passes on of a reply that comes in pieces of that size, and the thoughts that are printed of it."""
    stream, thoughts = TurnStream(), MarkedThoughts()
    pieces = [*(stream.of_turn(text[at : at + size]) for at in range(0, len(text), size)), stream.rest()]
    return "".join(pieces), "".join(map(thoughts.feed, pieces))


def assert_answered(text: str, answer: str = "42", think: str = "") -> None:
    """All readers find that answer and thought in a reply, and streams end with its turn wherever pieces are cut."""
    by_grammar, by_family = strict(text), tolerant(text)
    assert isinstance(by_grammar, Unit), by_grammar
    assert isinstance(by_family, Unit), by_family
    assert by_grammar.answer == by_family.answer == answer
    assert by_family.think == think  # a grammar that marks no thought leaves it out
    assert parts(Reply(text)) == (think, answer)
    assert untagged(text) == answer
    passed, shown = streamed(text)
    assert shown.strip() in think
    assert parts(Reply(passed)) == (think, answer)
    assert {streamed(text, size) for size in (1, 3, 7)} == {(passed, shown)}


@each_case(("opening", "ending"), [*(("", each) for each in ENDINGS), *((each, ENDINGS[10]) for each in OPENINGS)])
def test_no_reader_takes_what_stands_behind_the_first_turn(opening: str, ending: str) -> None:
    assert_answered(f"{opening}42{ending}")
    tagged = f"<think>so</think><answer>42</answer>{ending}<think>no</think><answer>13</answer>"
    if "13" in ending or "now" in ending:
        assert parse(tagged).answer == "42"


def _spelt(marks: Iterable[str]) -> list[str]:
    return [re.sub("[*#]", "7", mark) for mark in marks]


@each_case("family", families())
def test_all_readers_know_all_marks_of_a_family(family: str) -> None:
    def of(*kinds: Kind) -> list[str]:
        return _spelt(all_of(*kinds, family=family))

    def pairs(kind: Kind) -> list[tuple[str, str]]:
        return [pair for pair in families()[family].get(kind, ()) if isinstance(pair, tuple)]

    behind = [*of("ends", "others"), *(f"{mark}[INST]" for mark in of("last", "attached"))]
    for mark in (*behind, *(f"{mark}user" for mark in of("roles"))):
        assert_answered(f"42{mark} And now? 13")
        assert streamed(f"42{mark} And now? 13") == ("42", "")
    for mark in of("own", "fillers", "sections"):
        assert_answered(f"{mark}42{mark.rstrip()}" if mark == mark.rstrip() else f"{mark}42")
    for mark in (*of("own"), *(set(of("fillers", "sections")) - set(of("thoughts", "last")))):
        assert_answered(f"{mark}<think>so</think>42", think="so")
    around = [*pairs("thoughts"), *((f"<{name} type='reasoning'>", f"</{name}>") for name in of("first_thoughts"))]
    for opening, closing in around:
        assert_answered(f"{opening}so{closing}42", think="so")
        assert_answered(f"{opening}so{closing}\n<think>it is</think>42", think="so\nit is")
        if opening:
            assert all(isinstance(reader(f"{opening}so"), Rejected) for reader in (strict, tolerant))
            assert parts(Reply(f"{opening}so")) == ("so", "")
    words = "so it is, " * 9
    for opening, closing in pairs("thoughts"):
        shown = {streamed(f"{opening}{words}{closing}{words}42", size)[1] for size in (1, 3, 1000)}
        assert shown == {words if opening else ""}
    for opening, closing in (*pairs("boxes"), *((f"<{name.upper()}>", f"</{name}>") for name in of("answers"))):
        text = f"I see.{opening}42{closing}"
        assert read_leniently(text, TAGS, TOOLS).turn == Turn("I see.", answer="42")
        assert parts(Reply(text))[1] == untagged(text) == "42"
    for name in of("alone"):
        text = f"<{name.upper()}>42</{name.upper()}>"
        assert read_leniently(text, TAGS, TOOLS).turn.answer == parts(Reply(text))[1] == untagged(text) == "42"
    for mark in of("ends", "roles", "others", "own", "inputs"):
        said = as_text(Ask((Message("user", f"What is {mark}?"),), ())).messages[0].text
        assert said == f"What is {mark[0]}\u200b{mark[1:]}?"
    for opening, closing in pairs("calls"):
        text = f"I look.{opening}{CALL}{closing}"
        found = read_leniently(text, TAGS, TOOLS).turn
        assert found == Turn("I look.", (ToolText("crop_image", {"image_index": 0, "bbox_2d": [1, 2, 30, 40]}),))
        verdict = strict(text)
        assert isinstance(verdict, Rejected) or verdict.calls  # it is a call of its grammar, or none that it knows
        assert parts(Reply(text)) == ("", "")


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
    assert {streamed(text, size)[0] for size in (1, 2, 3, 7, 1000)} == {text}


@each_case("text", ["It is `<|user|>`.", "Write <think> and </think> around it.", f"> <tool_call>{CALL}</tool_call>"])
def test_a_reply_to_plain_text_may_show_marks(text: str) -> None:
    assert parts(Reply(text)) == ("", text)


ARGUMENTS = '{\\"image_index\\": 0, \\"bbox_2d\\": [1, 2, 30, 40]}'


@each_case("text", CASES["a_call_is_read_alike_in_each_form"])
def test_a_call_is_read_alike_in_each_form(text: str) -> None:
    (call,) = read_leniently(text, TAGS, TOOLS).turn.calls
    assert (call.name, call.arguments) == ("crop_image", {"image_index": 0, "bbox_2d": [1, 2, 30, 40]})


@each_case("text", CASES["a_shown_call_of_a_tool_that_nobody_offered_is_text"])
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
