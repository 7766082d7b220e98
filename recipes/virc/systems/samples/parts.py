"""Takes sample replies apart: the marks of the thought and of the answer, and the calls as they are written.

`apart` is the main path. It tries every text between marks (`_call_between_marks`), then calls without marks.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from virc.reasoning import lenient
from virc.reasoning.bodies import FormatError, bare_end, bare_start
from virc.reasoning.call_forms import object_of
from virc.reasoning.coordinates import numbers_in
from virc.reasoning.grammar import ENDING, Body, Grammar, Marks
from virc.tools import registry as tools

NAMED: tuple[Body, ...] = ("call", "actions", "step")
"""The bodies that name their tool."""
_THOUGHTS = frozenset("think thinking thought thoughts reason reasoning rationale".split())
_ANSWERS = frozenset("answer final_answer ans solution conclusion output response".split())
_TEXTS = frozenset("search query action code python".split())
"""Tags whose text is what a tool is called with."""
_INNER = ("in_tag", "in_begin", "in_square", "in_fence")  # groups of `_PART`: the text between marks of each form
_PART = re.compile(
    r"<(?P<tag>[A-Za-z][\w-]*)>(?P<in_tag>.*?)</(?P=tag)>"
    r"|<\|begin_of_(?P<begin>\w+)\|>(?P<in_begin>.*?)<\|end_of_(?P=begin)\|>"
    r"|\[(?P<square>[A-Za-z_]+)\](?P<in_square>.*?)\[/(?P=square)\]"
    r"|(?:Action: (?P<action>[\w ]+)\n)?```(?P<fence>[a-z_]*)\n(?P<in_fence>.*?)```",
    re.DOTALL,
)
_OPENED, _CLOSED = re.compile(r"<([A-Za-z][\w-]*)>"), re.compile(r"</([A-Za-z][\w-]*)>")
_LAST = re.compile(r"(?:^|\n)((?:[Ff]inal[ _]?)?[Aa]nswer:|FINAL[ _]ANSWER:)\s*\S")
_CODE = re.compile(r"```[a-z_]*\n")
_FUNCTION = re.compile(r"(?:^|(?<=[\s>]))([A-Za-z_]\w*)\((.*)\Z", re.DOTALL)
_BOX_TEXT = re.compile(r"[\s\d\[\]().,;-]{7,200}")
_ENDS = re.compile(r"terminat|finish|answer|submit", re.IGNORECASE)
"""What the name of an action that answers has in it."""
_CORNERS = (
    ("x_min", "y_min", "x_max", "y_max"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)  # fmt: skip
_MAX_CALLS = 8


class WrittenCall(msgspec.Struct, frozen=True):
    """A call in a reply: its text, its marks and body, and the name and arguments as they are written.

    Arguments without names get some: `items` in a `list`, `text` or `code` in a `text`, `value_1` and so on in a
    `function`.
    """

    text: str
    open: str
    close: str
    body: Body
    name: str | None = None
    arguments: Mapping[str, Any] = {}

    @property
    def answers(self) -> bool:
        if self.body == "actions":
            return self.name == ENDING
        return self.body == "step" and len(self.arguments) == 1 and _ENDS.search(self.name or "") is not None


class Parts(msgspec.Struct):
    """What a reply consists of.

    Args:
        think, answer: the marks around the thought and the answer; None: it has none.
        odd: opening marks of other parts, which are not understood.
        alone: tags that are opened and never closed, or closed and never opened.
    """

    think: Marks | None = None
    answer: Marks | None = None
    calls: tuple[WrittenCall, ...] = ()
    odd: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


def apart(reply: str) -> Parts:
    parts, after_thought = Parts(), 0
    for found in _PART.finditer(reply):
        name = (found["tag"] or found["begin"] or found["square"] or found["action"] or "").lower()
        inner = next(group for group in _INNER if found[group] is not None)
        open, close = reply[found.start() : found.start(inner)], reply[found.end(inner) : found.end()]
        if name in _THOUGHTS:
            parts.think, after_thought = parts.think or (open, close), found.end()
        elif call := _call_between_marks(found[0], (open.strip(), close), found[inner].strip(), name):
            parts.calls += (call,)
        elif name in _ANSWERS or found["begin"] == "box":
            parts.answer = parts.answer or (open, close)
        elif name:
            parts.odd += (open.strip(),)
    parts.alone = _unpaired_tags(reply)
    if not parts.calls and parts.answer is None:
        parts.calls = _calls_without_marks(reply, after_thought)
        if not parts.calls and (calls := _calls_of_stock_models(reply)):
            parts.calls, parts.odd, parts.alone = calls, (), ()
        if not parts.calls and (last := _LAST.search(reply, after_thought)):
            parts.answer = (last[1], "")
    return parts


def _unpaired_tags(reply: str) -> tuple[str, ...]:
    opened, closed = set(_OPENED.findall(reply)), set(_CLOSED.findall(reply))
    return (*(f"<{name}>" for name in sorted(opened - closed)), *(f"</{name}>" for name in sorted(closed - opened)))


def box_of(value: object) -> list[float] | None:
    """The four numbers of a box: a list, a text, or an object with names of corners. None: the value is no box."""
    if corners := corners_in(value):
        value = [value[corner] for corner in corners]  # type: ignore[index]
    numbers = numbers_in(value) if isinstance(value, str) and _BOX_TEXT.fullmatch(value) else value
    is_box = isinstance(numbers, list) and len(numbers) == 4 and all(type(each) in (int, float) for each in numbers)
    return numbers if is_box and isinstance(numbers, list) else None


def corners_in(value: object) -> tuple[str, ...] | None:
    """The names of corners that are the keys of a value, if it is such an object."""
    return next((each for each in _CORNERS if isinstance(value, dict) and value.keys() == set(each)), None)


def _call_between_marks(text: str, marks: Marks, inner: str, name: str) -> WrittenCall | None:
    """The call that the text `inner` between marks is, if it is one; `name`: that of the marks."""
    value = object_of(inner) if inner[:1] in ("{", "[") else None
    if isinstance(value, dict):
        return _call_from_object(text, marks, value)
    if isinstance(value, list) and value:
        return WrittenCall(text, *marks, "list", name or None, {"items": value})
    return None if name in _ANSWERS else _call_from_text(text, marks, inner, name)


def _call_from_text(text: str, marks: Marks, inner: str, name: str) -> WrittenCall | None:
    open, close = marks
    if (function := _FUNCTION.match(inner)) and (values := _values_in_order(function[2])):
        return WrittenCall(text, f"{open}{function[1]}(", f"){close}", "function", function[1], values)
    if fence := _CODE.match(inner):
        return WrittenCall(text, f"{open} {fence[0].strip()}", f"``` {close}", "text", "run_code", {"code": inner})
    if open.endswith("```python"):
        return WrittenCall(text, open, close, "text", "run_code", {"code": inner})
    return WrittenCall(text, open, close, "text", name, {"text": inner}) if name in _TEXTS or box_of(inner) else None


def _step_from_object(text: str, marks: Marks, value: Mapping[str, Any]) -> WrittenCall | None:
    name, arguments = value.get("action_name"), value.get("action")
    if not isinstance(name, str) or not isinstance(arguments, dict) or len(value) != 3:
        return None
    return WrittenCall(text, *marks, "step", name, arguments)


def _call_from_object(text: str, marks: Marks, value: Mapping[str, Any]) -> WrittenCall | None:
    """The call that an object is; None where no body of a grammar is written so."""
    listed = value.get("actions")
    if isinstance(listed, list) and set(value) <= {"thought", "actions"}:
        first: Mapping[str, Any] = next((each for each in listed if isinstance(each, dict)), {})
        arguments = first.get("arguments")
        return WrittenCall(
            text, *marks, "actions", str(first.get("name")), arguments if isinstance(arguments, dict) else {}
        )
    if step := _step_from_object(text, marks, value):
        return step
    if set(value) == {"name", "arguments"}:
        arguments = value["arguments"]
        return WrittenCall(text, *marks, "call", str(value["name"]), arguments) if isinstance(arguments, dict) else None
    if "name" in value or not any(map(box_of, value.values())):
        return None
    return WrittenCall(text, *marks, "arguments", None, value)


def _values_in_order(text: str) -> dict[str, Any]:
    """The values of `a, b)` or `a) = b` as value_1 and so on; none if they have names, or the bracket is missing."""
    inner, closed, after = text.rpartition(")")
    if not closed or re.match(r"\s*\w+\s*=", inner):
        return {}
    if after.strip().startswith("="):
        return {"value_1": inner.strip(), "value_2": object_of(after.strip()[1:].strip())}
    listed = object_of(f"[{inner}]")
    values = listed if isinstance(listed, list) else [each.strip() for each in inner.split(",")]
    return {f"value_{number}": value for number, value in enumerate(values, 1)}


def _calls_without_marks(reply: str, start_at: int) -> tuple[WrittenCall, ...]:
    """The call in a reply that is nothing but a box, or has an object or a function with a box after `start_at`."""
    if (bare_box := reply.strip())[:1] in ("[", "(") and box_of(bare_box):
        return (WrittenCall(bare_box, bare_box[0], bare_box[-1], "text", None, {"text": bare_box[1:-1]}),)
    start = bare_start(reply, start_at)
    if start is not None:
        with suppress(FormatError):
            text = reply[start : bare_end(reply, start)]
            value = object_of(text)
            call = _call_from_object(text, ("", ""), value) if isinstance(value, dict) else None
            return (call,) if call else ()
    for function in _FUNCTION.finditer(reply, start_at):
        values = _values_in_order(function[2])
        if any(map(box_of, values.values())):
            return (WrittenCall(function[0], f"{function[1]}(", "", "function", function[1], values),)
    return ()


def _calls_of_stock_models(reply: str) -> tuple[WrittenCall, ...]:
    """The calls of a reply in a form that no grammar writes, but `reading: lenient` reads."""
    with suppress(FormatError):
        sent = lenient.read(reply, Grammar(most_calls=_MAX_CALLS), tools.offered(tools.DEFAULT)).sent
        called = sent.called if sent else ()
        return tuple(
            WrittenCall(reply, "<tool_call>", "</tool_call>", "call", each.name, _with_parsed_values(each.arguments))
            for each in called
            if isinstance(each.arguments, dict)
        )
    return ()


def _with_parsed_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with texts that are JSON replaced by their values."""
    parsed = {key: object_of(value) if isinstance(value, str) else None for key, value in arguments.items()}
    return {key: value if parsed[key] is None else parsed[key] for key, value in arguments.items()}
