"""Words are no calls: whatever an answer looks like, it is one call only where it names an offered tool and fits it."""

import json
from collections.abc import Callable

import pytest
from support.plain_answers import drawn
from support.replies import picture
from support.tables import cases_of, each_case

from virc.families import registry as families
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply, Session
from virc.reasoning.trace import Rejected, Unit
from virc.tools.registry import known

CASES = cases_of(__file__)

ANSWERS = drawn(2)
STOCK = {name: families.protocol(families.get(name)) for name in families.discover()} | {
    "unknown": families.protocol(families.UNKNOWN, "pixel")
}


def taken(protocol: Protocol, text: str) -> Unit | Rejected:
    return Session(protocol, "?", [picture()], tools=known()).feed(Reply(text))


def assert_answered(protocol: Protocol, text: str, answer: str | None = None) -> None:
    """A reply is an answer without a call: all of it, unless another is given."""
    unit = taken(protocol, text)
    assert isinstance(unit, Unit), (text, unit)
    assert (unit.answer, unit.results) == (text if answer is None else answer, ()), text


@pytest.mark.integration
@each_case("family", STOCK)
def test_no_plain_answer_is_a_call(family: str) -> None:
    assert len(ANSWERS) >= 60
    for text, answer in ANSWERS:
        assert_answered(STOCK[family], text, answer)


CALL = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 30, 40], "image_index": 0}})


@each_case(
    "text",
    [
        "crop_image(bbox_2d=[1, 2, 30, 40], image_index=0) would help. The answer is 3.",
        f"{CALL} would help. The answer is 3.", f"I tried `{CALL}`, and saw nothing.",
        f"{CALL} Nothing more is there. The answer is 3.",
        f"I could write `<tool_call>{CALL}</tool_call>`, but the sign says 3.", "The tag `<tool_call>` opens a call.",
        "`<tool_call>` opens a call.", "The sign says `<function=zoom>`.",
        "In Pillow you would write:\ncrop((10, 20, 110, 60))", "With OpenCV:\nzoom([10, 20, 110, 60])",
    ],
)  # fmt: skip
@each_case("family", STOCK)
def test_a_call_that_a_sentence_speaks_of_is_words(family: str, text: str) -> None:
    assert_answered(STOCK[family], text)


MARKED = f"<tool_call>{CALL}</tool_call>"


@each_case("text", CASES["a_call_that_is_quoted_transcribed_or_answered_is_words"])
@each_case("family", ["qwen3-vl", "glm-4v", "unknown"])
def test_a_call_that_is_quoted_transcribed_or_answered_is_words(family: str, text: str) -> None:
    assert_answered(STOCK[family], text)


@each_case("text", CASES["a_call_in_a_block_of_code_is_carried_out"])
@each_case("family", ["qwen3-vl", "glm-4v", "unknown"])
def test_a_call_in_a_block_of_code_is_carried_out(family: str, text: str) -> None:
    unit = taken(STOCK[family], text)
    assert isinstance(unit, Unit), unit
    assert {each.call.name for each in unit.results if each.call} == {"crop_image"}


@each_case(
    "text",
    [
        '{"image_index": 0, "bbox_2d": [10, 20, 30, 40], "label": "cat"}',
        '```json\n{"bbox_2d": [10, 20, 30, 40], "label": "cat", "img_idx": 0}\n```',
        '[{"image_index": 0, "bbox_2d": [10, 20, 30, 40], "label": "cat"}]',
        '[{"name": "zoom_in", "bbox_2d": [10, 20, 30, 40]}, {"name": "text_input", "bbox_2d": [10, 80, 30, 90]}]',
        '[{"name": "zoom", "bbox_2d": [10, 20, 30, 40], "label": "input"}]',
        '[{"name": "crop", "bbox_2d": [10, 20, 30, 40], "role": "args parameters"}]',
    ],
)
@each_case("family", STOCK)
def test_a_box_with_a_label_is_an_answer(family: str, text: str) -> None:
    assert_answered(STOCK[family], text)


def python(name: str, arguments: dict[str, object]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def keyed(name: str, arguments: dict[str, object]) -> str:
    inner = ",".join(f"{key}:{json.dumps(value)}" for key, value in arguments.items())
    return f"call:{name}{{{inner}}}"


def bare(name: str, arguments: dict[str, object], key: str = "arguments") -> str:
    return json.dumps({"name": name, key: arguments})


Form = Callable[[str, dict[str, object]], str]
FORMS: dict[str, Form] = {
    "bare": bare, "bare, indented": lambda name, given: json.dumps({"name": name, "arguments": given}, indent=2),
    "flat": lambda name, given: json.dumps({"name": name, **given}),
    "behind an answer that is none": lambda name, given: f"The answer is too small to read: {python(name, given)}.",
    "behind words": lambda name, given: f"I look closer: {bare(name, given)}",
    "before words": lambda name, given: f"{bare(name, given)}\nNow I see the crop.",
    "in a list": lambda name, given: f"[{bare(name, given)}]",
    "of an API": lambda name, given: f'{{"tool_calls": [{{"type": "function", "function": {bare(name, given)}}}]}}',
    "of an agent": lambda name, given: f'{{"thought": "it is small (f(2))", "action": {bare(name, given)}}}',
    "fenced": lambda name, given: f"```json\n{bare(name, given)}\n```",
    "fenced, never closed": lambda name, given: f"```\n{bare(name, given)}", "python": python,
    "python in order": lambda name, given: f"{name}({', '.join(map(repr, given.values()))})",
    "python with text": lambda name, given: python(name, given | {"label": "it's f(2) :-)"}),
    "fenced python": lambda name, given: f"```python\nimage = 'f(2)'\nprint({python(name, given)})\n```",
    "python with a comment": lambda name, given: f"```tool_code\n{python(name, given)}  # the sign\n```",
    "python of a variable": lambda name, given: f"part = functions.{python(name, given)}",
    "by its key": lambda name, given: json.dumps({name: given}),
    "named": lambda name, given: f"Calling {name}: {json.dumps(given)}",
    "name on its line": lambda name, given: f"{name}\n{json.dumps(given)}", "keys without quotes": keyed,
    "in backticks": lambda name, given: f"`{python(name, given)}`",
    "after functions": lambda name, given: f"As f(2) = 7 and P(3) is large,\n{bare(name, given)}",
}  # fmt: skip


@pytest.mark.integration
@each_case("form", FORMS)
@each_case("family", STOCK)
def test_a_call_without_marks_is_carried_out(family: str, form: str) -> None:
    protocol = STOCK[family]
    own = {theirs: ours for theirs, ours in protocol.grammar.calls[0].names.items() if ours == "crop_image"}
    for name in ("crop_image", *own, *(("zoom_in",) if form in ("bare", "python", "fenced") else ())):
        unit = taken(protocol, FORMS[form](name, {"bbox_2d": [10, 10, 300, 200], "image_index": 0}))
        assert isinstance(unit, Unit), unit
        most = min(protocol.grammar.most_calls, 2 if form == "of two" else 1)
        assert [each.call.name for each in unit.results if each.call] == ["crop_image"] * most, name


@each_case(
    "text",
    [
        "<tool_call>f(2) = 7</tool_call>", "<tool_call>```json\n{}\n```</tool_call>",
        '<tool_call>{"name": "f", "arguments": {"x": 2}}</tool_call>',
        '[TOOL_CALLS][{"name": "ACME", "arguments": {"region": "EMEA"}}]',
        "<function=print><parameter=x>2</parameter></function>", "crop_image(bbox_2d=[1, 2, 3], image_index=0)",
        '{"name": "crop_image", "arguments": {"bbox_2d": "the sign", "image_index": 0}}',
        '```json\n{"name": "crop_image", "arguments": {"bbox_2d": [1, 2,\n```',
        '{"crop_image": {"bbox_2d": [1, 2, 30], "image_index": 0}}',
    ],
)  # fmt: skip
@each_case("family", [name for name in STOCK if STOCK[name].errors == "redraw"])
def test_a_call_in_marks_or_with_our_arguments_that_is_wrong_is_no_answer(family: str, text: str) -> None:
    assert isinstance(taken(STOCK[family], text), Rejected)
