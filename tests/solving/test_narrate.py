"""What is told on stderr: thoughts without their tags, however a reply is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.solving import CROP, answer, think

from virc.reasoning.calls import Call
from virc.reasoning.grammar import TAGS, CallForm, Grammar
from virc.reasoning.session import Rejected, Unit
from virc.reasoning.trace import CallResult
from virc.solving.one import TextDelta
from virc.solving.thoughts import MarkedThoughts, Thoughts
from virc_cli.commands.solve.run import Narrator

BARE = Grammar(think=None, calls=(CallForm(body="arguments", tool="zoom_image"),))
PLAIN = Grammar(calls=(), answer=None)


def shown(*pieces: str, grammar: Grammar = TAGS) -> str:
    thoughts = Thoughts(grammar)
    return "".join(thoughts.feed(piece) for piece in pieces)


def test_tags_tool_calls_and_answers_are_left_out() -> None:
    assert shown(think("Look: a < b.", "<answer>97</answer>")).split() == ["Look:", "a", "<", "b."]
    assert "crop_image" not in shown(CROP)


def test_text_of_a_model_without_tags_is_shown() -> None:
    assert shown("I would say 97.") == "I would say 97."


@pytest.mark.parametrize(
    ("grammar", "text", "seen"),
    [
        (BARE, 'Half, \\frac{1}{2}.\n{"bbox_2d": [1, 2, 3, 4]}', "Half, \\frac{1}{2}.\n"),
        (BARE, "It is 7.\n<answer>7</answer>", "It is 7.\n"),
        (PLAIN, "<think>one</think>\n97", "one\n97"),
        (Grammar(answer=("FINAL:", "")), "<think>a</think>FINAL: B. <think>", "a"),
        (
            Grammar(calls=(CallForm("Action: map ```json", "```", "list", "m", unnamed=("a",)),)),
            "b Action: map\n```json\n[1]\n```",
            "b ",
        ),
    ],
)
def test_what_is_left_out_is_what_the_grammar_says(grammar: Grammar, text: str, seen: str) -> None:
    assert shown(text + "  .", grammar=grammar).removesuffix("  .") == seen
    assert shown(*text, "  .", grammar=grammar).removesuffix("  .") == seen


@given(st.data())
def test_the_cut_into_pieces_changes_nothing(data: st.DataObject) -> None:
    parts = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>", "<", "</", "a b", "\n", ">"]
    text = "".join(data.draw(st.lists(st.sampled_from(parts), max_size=12))) + "."
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert shown(*pieces) == shown(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<think>one < two</think>\n97", "one < two"),
        ("Well. <think>one</think>97<think>two</think>", "one"),  # a reply has one thought
        ("97, and no <thin", ""),
        ("</think> <think>one</think>97", "one"),
        ("<think>never </ended", "never </ended"),
        ("<think></think>97", ""),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 8, 99])
def test_a_thought_of_a_stock_model_is_shown_as_it_comes(text: str, told: str, size: int) -> None:
    thoughts = MarkedThoughts()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert "".join(thoughts.feed(piece) for piece in pieces) == told


@pytest.mark.parametrize(
    ("reply", "thought", "rest"),
    [
        ("<think>one t", "one two", "wo"),
        ("<think>one two</think>97", "one two", ""),
        ("97", "taken out by the server", "taken out by the server"),
        ("<think>one</think>97", "another", ""),
    ],
)
def test_what_was_not_shown_of_a_thought_is_told_at_the_end(reply: str, thought: str, rest: str) -> None:
    thoughts = MarkedThoughts()
    thoughts.feed(reply)
    assert thoughts.rest(thought) == rest


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("crop_image", 0, box=(1, 2, 30, 40)), "crop 1,2–30,40 of image 0: image 3"),
        (Call("scale_image", 2, factor=2.5), "scale image 2 by 2.5: image 3"),
        (Call("display_image", 1), "display image 1: image 3"),
    ],
)
def test_a_call_stands_in_words(call: Call, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Narrator()(Unit("", "", (CallResult(call, (3,)),)))
    assert capsys.readouterr().err == f"-> {words}\n"


def test_every_turn_begins_on_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator()
    for text in ("<think>\n\n  One\n\n two", "</think><answer>3</answer>"):
        narrator(TextDelta(text))
    narrator(Rejected("", "tags", "no end"))
    narrator(TextDelta(answer("3", thought="Again")))
    narrator(Unit("", "", answer="3"))
    told = "One\ntwo\n-> this reply cannot be used: no end\nAgain\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("the box is empty", "a call that cannot be carried out: the box is empty"),
        ("", "a call that cannot be carried out: the box is empty; the model is told ''"),
        ("'int' object", "a call that cannot be carried out: the box is empty; the model is told \"'int' object\""),
    ],
)
def test_what_is_wrong_is_said_beside_what_the_model_is_told(
    told: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Narrator()(Unit("t", "", (CallResult(error=told, reason="the box is empty"),)))
    assert f"-> {line}\n" in capsys.readouterr().err
