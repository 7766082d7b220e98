"""The three-tag format, read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tables import each_case

from virc.reasoning.messages import FormatError, ToolText, parse

CALL = '{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 3, 4], "image_index": 0}}'


def called(text: str) -> str:
    return f"<think>so</think><tool_call>{text}</tool_call>"


@each_case(
    "text",
    [
        "", "97", "<think>a</think>", "<answer>97</answer>", "<think>a</think><answer>97",
        "<think>a<answer>97</answer></think>", "<answer>97</answer><think>a</think>",
        "<think>a</think><think>b</think>", "<think>a</think></answer>97<answer>",
        "<think>a</think><answer>97</tool_call>", "<think>a</think><answer>97</answer><answer>98</answer>",
        f"<think>a</think><tool_call>{CALL}</tool_call><answer>97</answer>",
        f"<think>a</think><tool_call>{CALL}</tool_call><tool_call>{CALL}</tool_call>",
        "<think>I write <answer> last</think><answer>97</answer>", "<Think>a</Think><answer>97</answer>",
        "< think>a</think><answer>97</answer>",
    ],
)  # fmt: skip
def test_other_tags_are_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(text)
    assert caught.value.kind == "tags"


@each_case(
    ("text", "says"),
    [
        ("", "not JSON"), (CALL[:-1], f"not JSON: Expecting ',' delimiter at character {len(CALL) - 1}$"),
        (f"```json\n{CALL}\n```", "not JSON"), (f"[{CALL}]", "exactly name and arguments"),
        ('"crop_image"', "exactly name and arguments"), ('{"name": "crop_image"}', "exactly name and arguments"),
        (CALL[:-1] + ', "id": 1}', "exactly name and arguments"),
        ('{"name": null, "arguments": {}}', "name must be a string"),
        ('{"name": "x", "arguments": []}', "arguments an object"),
        ('{"name": "x", "arguments": {"a": -Infinity}}', "contains -Infinity"),
        ('{"name": "x", "arguments": {"a": ' + "9" * 19 + "}}", "19 digits"),
        ('{"name": "x", "arguments": {"a": ' + "9" * 100_000 + "}}", "100000 digits"),
        ('{"name": "x", "arguments": {"a": ' + "[" * 100_000 + "}}", "nested too deeply"),
    ],
)  # fmt: skip
def test_other_json_is_refused_with_its_reason(text: str, says: str) -> None:
    with pytest.raises(FormatError, match=says) as caught:
        parse(called(text))
    assert caught.value.kind == "json"
    assert len(str(caught.value)) < 120


def test_of_a_key_written_twice_the_last_counts_as_programs_read_json() -> None:
    turn = parse(called('{"name": "x", "arguments": {"box": [1], "box": [2]}}'))
    assert turn.tool == ToolText("x", {"box": [2]})


pieces = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<tool_call>", "</tool_call>", CALL, "a"])


@given(st.lists(pieces | st.text(max_size=5), max_size=8))
def test_any_text_is_a_turn_or_a_format_error(parts: list[str]) -> None:
    try:
        turn = parse("".join(parts))
    except FormatError:
        return
    assert (turn.tool is None) != (turn.answer is None)
