"""Sample replies taken apart: the marks of the thought and of the answer, and the calls as they are written."""

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
_PART = re.compile(
    r"<(?P<tag>[A-Za-z][\w-]*)>(?P<a>.*?)</(?P=tag)>"
    r"|<\|begin_of_(?P<of>\w+)\|>(?P<b>.*?)<\|end_of_(?P=of)\|>"
    r"|\[(?P<square>[A-Za-z_]+)\](?P<c>.*?)\[/(?P=square)\]"
    r"|(?:Action: (?P<action>[\w ]+)\n)?```(?P<fence>[a-z_]*)\n(?P<d>.*?)```",
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
    """A call in a reply: the text of it, its marks and body, and the name and arguments as they are written.

    The value of a `list` is called items, that of a `text` text or code, those of a `function` value_1 and so on.
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
    """What a reply consists of; None: it has no marks of a thought, or of an answer. `odd` are marks of other parts,
    which mean nothing here; `alone` those that are opened or closed alone.
    """

    think: Marks | None = None
    answer: Marks | None = None
    calls: tuple[WrittenCall, ...] = ()
    odd: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


def apart(reply: str) -> Parts:
    parts, behind = Parts(), 0
    for found in _PART.finditer(reply):
        name = (found["tag"] or found["of"] or found["square"] or found["action"] or "").lower()
        group = next(each for each in "abcd" if found[each] is not None)
        open, close = reply[found.start() : found.start(group)], reply[found.end(group) : found.end()]
        if name in _THOUGHTS:
            parts.think, behind = parts.think or (open, close), found.end()
        elif call := _between(found[0], (open.strip(), close), found[group].strip(), name):
            parts.calls += (call,)
        elif name in _ANSWERS or found["of"] == "box":
            parts.answer = parts.answer or (open, close)
        elif name:
            parts.odd += (open.strip(),)
    parts.alone = _alone(reply)
    if not parts.calls and parts.answer is None:
        parts.calls = _unmarked(reply, behind)
        if not parts.calls and (calls := _of_stock_models(reply)):
            parts.calls, parts.odd, parts.alone = calls, (), ()
        if not parts.calls and (last := _LAST.search(reply, behind)):
            parts.answer = (last[1], "")
    return parts


def _alone(reply: str) -> tuple[str, ...]:
    opened, closed = set(_OPENED.findall(reply)), set(_CLOSED.findall(reply))
    return (*(f"<{name}>" for name in sorted(opened - closed)), *(f"</{name}>" for name in sorted(closed - opened)))


def box_of(value: object) -> list[float] | None:
    """The four numbers that a value is, or that it says as text or by the names of corners; None where it does not."""
    if corners := corners_in(value):
        value = [value[corner] for corner in corners]  # type: ignore[index]
    numbers = numbers_in(value) if isinstance(value, str) and _BOX_TEXT.fullmatch(value) else value
    is_box = isinstance(numbers, list) and len(numbers) == 4 and all(type(each) in (int, float) for each in numbers)
    return numbers if is_box and isinstance(numbers, list) else None


def corners_in(value: object) -> tuple[str, ...] | None:
    return next((each for each in _CORNERS if isinstance(value, dict) and value.keys() == set(each)), None)


def _between(text: str, marks: Marks, inner: str, name: str) -> WrittenCall | None:
    value = object_of(inner) if inner[:1] in ("{", "[") else None
    if isinstance(value, dict):
        return _of_object(text, marks, value)
    if isinstance(value, list) and value:
        return WrittenCall(text, *marks, "list", name or None, {"items": value})
    return None if name in _ANSWERS else _of_text(text, marks, inner, name)


def _of_text(text: str, marks: Marks, inner: str, name: str) -> WrittenCall | None:
    open, close = marks
    if (function := _FUNCTION.match(inner)) and (values := _in_order(function[2])):
        return WrittenCall(text, f"{open}{function[1]}(", f"){close}", "function", function[1], values)
    if fence := _CODE.match(inner):
        return WrittenCall(text, f"{open} {fence[0].strip()}", f"``` {close}", "text", "run_code", {"code": inner})
    if open.endswith("```python"):
        return WrittenCall(text, open, close, "text", "run_code", {"code": inner})
    return WrittenCall(text, open, close, "text", name, {"text": inner}) if name in _TEXTS or box_of(inner) else None


def _step(text: str, marks: Marks, value: Mapping[str, Any]) -> WrittenCall | None:
    name, arguments = value.get("action_name"), value.get("action")
    if not isinstance(name, str) or not isinstance(arguments, dict) or len(value) != 3:
        return None
    return WrittenCall(text, *marks, "step", name, arguments)


def _of_object(text: str, marks: Marks, value: Mapping[str, Any]) -> WrittenCall | None:
    """The call that an object is, in the marks around it; None where it has a name, and no arguments as a grammar
    writes them.
    """
    listed = value.get("actions")
    if isinstance(listed, list) and set(value) <= {"thought", "actions"}:
        first: Mapping[str, Any] = next((each for each in listed if isinstance(each, dict)), {})
        arguments = first.get("arguments")
        return WrittenCall(
            text, *marks, "actions", str(first.get("name")), arguments if isinstance(arguments, dict) else {}
        )
    if step := _step(text, marks, value):
        return step
    if set(value) == {"name", "arguments"}:
        arguments = value["arguments"]
        return WrittenCall(text, *marks, "call", str(value["name"]), arguments) if isinstance(arguments, dict) else None
    if "name" in value or not any(map(box_of, value.values())):
        return None
    return WrittenCall(text, *marks, "arguments", None, value)


def _in_order(text: str) -> dict[str, Any]:
    """The values of `a, b)` or `a) = b` as value_1 and so on; none where they have names, or there is no bracket."""
    inner, closed, behind = text.rpartition(")")
    if not closed or re.match(r"\s*\w+\s*=", inner):
        return {}
    if behind.strip().startswith("="):
        return {"value_1": inner.strip(), "value_2": object_of(behind.strip()[1:].strip())}
    listed = object_of(f"[{inner}]")
    values = listed if isinstance(listed, list) else [each.strip() for each in inner.split(",")]
    return {f"value_{number}": value for number, value in enumerate(values, 1)}


def _unmarked(reply: str, behind: int) -> tuple[WrittenCall, ...]:
    if (alone := reply.strip())[:1] in ("[", "(") and box_of(alone):
        return (WrittenCall(alone, alone[0], alone[-1], "text", None, {"text": alone[1:-1]}),)
    start = bare_start(reply, behind)
    if start is not None:
        with suppress(FormatError):
            text = reply[start : bare_end(reply, start)]
            value = object_of(text)
            call = _of_object(text, ("", ""), value) if isinstance(value, dict) else None
            return (call,) if call else ()
    for function in _FUNCTION.finditer(reply, behind):
        values = _in_order(function[2])
        if any(map(box_of, values.values())):
            return (WrittenCall(function[0], f"{function[1]}(", "", "function", function[1], values),)
    return ()


def _of_stock_models(reply: str) -> tuple[WrittenCall, ...]:
    """The calls of a reply in a form that no grammar writes, but `reading: lenient` reads."""
    with suppress(FormatError):
        sent = lenient.read(reply, Grammar(most_calls=_MAX_CALLS), tools.offered(tools.DEFAULT)).sent
        called = sent.called if sent else ()
        return tuple(
            WrittenCall(reply, "<tool_call>", "</tool_call>", "call", each.name, _valued(each.arguments))
            for each in called
            if isinstance(each.arguments, dict)
        )
    return ()


def _valued(arguments: Mapping[str, Any]) -> dict[str, Any]:
    valued = {key: object_of(value) if isinstance(value, str) else None for key, value in arguments.items()}
    return {key: value if valued[key] is None else valued[key] for key, value in arguments.items()}
