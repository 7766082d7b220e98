"""Replies that look like answers and are none."""

from types import SimpleNamespace
from typing import Any

import pytest

from virc.reasoning.bodies import Called
from virc.reasoning.session import Reply
from virc.solving.replies import checked, is_box_alone, repeated_to_the_end, without_leaks


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
        ("", "How many?", False),
        ("{a box}", "How many?", False),
    ],
)
def test_a_box_alone_is_told_from_an_answer(text: str, question: str, alone: bool) -> None:
    assert is_box_alone(text, question) == alone


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<|im_start|>assistant\nIt is 5.<|im_end|>\n<|im_start|>user\nAnd?", "It is 5."),
        ("It is 5.<|im_end|>", "It is 5.<|im_end|>"),
        ("<Thought>so</Thought>5", "<think>so</think>5"),
        ("<thought>so", "<think>so"),
        ('<details type="reasoning">so</details>5', "<think>so</think>5"),
        ("<details>so</details>5", "<details>so</details>5"),
        ("<|START_THINKING|>so<|END_THINKING|><|START_RESPONSE|>5<|END_RESPONSE|>", "<think>so</think>5"),
        ("<Answer>5</ANSWER>", "<answer>5</answer>"),
    ],
)
def test_marks_of_other_models_are_read_as_ours(text: str, kept: str) -> None:
    assert without_leaks(Reply(text)).text == kept


def test_a_box_beside_a_native_call_is_no_refusal() -> None:
    session: Any = SimpleNamespace(protocol=SimpleNamespace(reading="lenient"), question="How many?")
    assert checked(Reply("<box>", calls=(Called("crop_image", {}),)), session).refusal is None
    assert checked(Reply("<box>"), session).refusal == "its reply is nothing but a box: <box>"
    session.protocol.reading = "strict"
    assert checked(Reply("<box>"), session).refusal is None


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
