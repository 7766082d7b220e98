"""Replies that look like answers and are none."""

import pytest

from virc.solving.replies import is_box_alone, repeated_to_the_end


@pytest.mark.parametrize(
    ("text", "question", "alone"),
    [
        ("<|box_start|><|box_end|>", "Where?", True),
        ("<box>[[1, 2, 3, 4]]</box>", "How many cats are there?", True),
        ("<box>[[1, 2, 3, 4]]</box>", "Where is the cat?", False),
        ("<box>[[1, 2, 3, 4]]</box>", "猫的坐标是什么?", False),
        ("<box>[[1, 2, 3, 4]]</box> 42", "How many?", False),
        ("<|begin_of_box|>42<|end_of_box|>", "How many?", False),
    ],
)
def test_a_box_alone_is_told_from_an_answer(text: str, question: str, alone: bool) -> None:
    assert is_box_alone(text, question) == alone


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("I see a cat.\n" * 20, "I see a cat."),
        ("The answer: " + "no, wait, " * 30, "no, wait,"),
        ("." * 4000, "."),
        ("N/A\n" * 12, None),
        ("I see a cat.\n" * 50 + "So the answer is 42.", None),
        ("| a | b |\n|" + "-" * 300 + "|", None),
        ("".join(f"{number}. a cat\n" for number in range(100)), None),
    ],
)
def test_endless_repetition_is_told_from_lists(text: str, repeated: str | None) -> None:
    found = repeated_to_the_end(text)
    assert (found is None) == (repeated is None)
    assert found is None or sorted(found.replace(" ", "")) == sorted((repeated or "").replace(" ", ""))
