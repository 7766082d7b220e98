"""What is told on stderr: thoughts without their tags, however a reply is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.solving import CROP, think

from virc.reasoning.grammar import TAGS, CallForm, Grammar
from virc.solving.thoughts import Thoughts

BARE = Grammar(think=None, calls=(CallForm(body="arguments", tool="zoom_image"),))
PLAIN = Grammar(calls=(), answer=None)


def shown(*pieces: str, grammar: Grammar = TAGS) -> str:
    thoughts = Thoughts(grammar)
    return "".join(thoughts.feed(piece) for piece in pieces)


def test_tags_tool_calls_and_answers_are_left_out() -> None:
    assert shown(think("Look: a < b.", "<answer>97</answer>")).split() == ["Look:", "a", "<", "b."]
    assert "crop_image" not in shown(CROP)


@pytest.mark.parametrize(
    ("grammar", "text", "seen"),
    [
        (BARE, 'Half, \\frac{1}{2}.\n{"bbox_2d": [1, 2, 3, 4]}', "Half, \\frac{1}{2}.\n"),
        (PLAIN, "<think>one</think>\n97", "one\n97"),
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
