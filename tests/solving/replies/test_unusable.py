"""Replies that look like answers and are none."""

import pytest

from virc.solving.replies import is_box_alone, repeated_to_the_end


@pytest.mark.parametrize(
    ("text", "question", "alone"),
    [
        ("<box>", "Where is the cat?", True),
        ("<|box_start|><|box_end|>", "Where?", True),
        ("<box>[[1, 2, 3, 4]]</box>", "How many cats are there?", True),
        ("<ref></ref><box>(1,2),(3,4)</box>", "What colour is it?", True),
        ("<box>[[1, 2, 3, 4]]</box>", "Where is the cat?", False),
        ('{"bbox_2d": [1, 2, 3, 4]}', "Give the bbox_2d of the cat as JSON", False),
        ('[{"point_2d": [1, 2]}]', "point_2d of each cat?", False),
        ("<box>[[1, 2, 3, 4]]</box>", "猫的坐标是什么?", False),
        ("<ref>the cat</ref><box>[[1, 2, 3, 4]]</box>", "What is on the mat?", False),
        ("<box>[[1, 2, 3, 4]]</box> 42", "How many?", False),
        ("<|begin_of_box|>42<|end_of_box|>", "How many?", False),
        ("[1, 2, 3, 4]", "How many?", False),
        ("a box", "What is it?", False),
    ],
)
def test_a_box_alone_is_told_from_an_answer(text: str, question: str, alone: bool) -> None:
    assert is_box_alone(text, question) == alone


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("I see a cat.\n" * 20, "I see a cat."),
        ("The answer: " + "no, wait, " * 30, "no, wait,"),
        ("42\n" + "A cat.\nA dog.\n" * 20 + "A c", "dog. A cat. A"),
        ("42\n" * 30, "42"),
        ("." * 4000, "."),
        ("- - \n" * 200, "-"),
        ("✓", None),
        ("0\n" * 10, None),
        ("N/A\n" * 12, None),
        ("I see a cat.\n" * 7, None),
        ("I see a cat.\n" * 50 + "So the answer is 42.", None),
        ("| a | b |\n|" + "-" * 300 + "|", None),
        ("".join(f"{number}. a cat\n" for number in range(100)), None),
        ("42", None),
        ("", None),
    ],
)
def test_endless_repetition_is_told_from_lists(text: str, repeated: str | None) -> None:
    found = repeated_to_the_end(text)
    assert (found is None) == (repeated is None)
    assert found is None or sorted(found.replace(" ", "")) == sorted((repeated or "").replace(" ", ""))
