"""Conversations that call tools of any kind, as LLaMA-Factory, ms-swift, OpenAI and TRL write them.

`joined` brings them into the form of LLaMA-Factory: a reply with all its calls is one message of `CALL`, and the
results that follow are one message of `RESULT`. What it cannot bring there without a guess, it refuses.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from virc.core.errors import DataError
from virc.core.json_stream import Fields, once
from virc.core.text import plain
from virc.systems.layouts.layout import listed

CALL: Literal["function_call"] = "function_call"
RESULT: Literal["observation"] = "observation"
ROLES = {CALL: CALL, "tool_call": CALL, RESULT: RESULT, "tool_response": RESULT, "tool": RESULT}
"""Names of roles -> what they are."""
_THOUGHT = re.compile(r"(\s*<think>.*?</think>\s*|)(.*)", re.DOTALL)
_FRAMED = re.compile(r"\s*<tool_response>\n?(.*?)\n?</tool_response>\s*", re.DOTALL)
_BETWEEN = "\n</tool_response>\n<tool_response>\n"  # what LLaMA-Factory writes between two results
_OF_CALL = frozenset(("id", "type", "index", "function", "name", "arguments"))


class Call(NamedTuple):
    name: str
    arguments: Mapping[str, Any] = {}
    id: Any = None


class _Turn(NamedTuple):
    number: int
    role: Any
    content: Any
    fields: Fields
    calls: list[Call]  # of a result, the one that it answers, as far as it says so

    def __str__(self) -> str:
        return plain(", ".join(f"{each.name} {each.id or ''}".strip() for each in self.calls) or str(self.role), 80)


def joined(
    turns: Sequence[Fields], role: Sequence[str], content: Sequence[str], roles: Mapping[str, str]
) -> list[Fields]:
    """The messages of a row, with those of tools in the form of LLaMA-Factory.

    Args:
        role, content: the keys under which a message may have these; a new one has the first.
        roles: what a reader takes the names of roles for, before those of `ROLES`.

    Raises:
        DataError: calls and results do not belong together, or cannot be read.
    """
    found = [_Turn(0, None, None, {}, [])]
    for number, fields in enumerate(turns, 1):
        last, turn = found[-1], _Turn(number, first_of(fields, role), first_of(fields, content), fields, [])
        turn, is_new = _read(turn, roles), bool(fields.get("tool_calls"))
        if turn.role == RESULT and last.role == "assistant" and "<tool_call>" in _text(last):
            last = found[-1] = _read(last._replace(role=CALL), roles)
        if turn.role == CALL and last.role == "assistant" and not is_new:
            last = found[-1] = last._replace(role=CALL, content=[_text(last)])
        if turn.role == last.role and turn.role in (CALL, RESULT) and not is_new:
            last.content.extend([_BETWEEN] * (turn.role == RESULT) + turn.content)
            last.calls.extend(turn.calls)
        else:
            found.append(turn)
    for before, turn in pairwise(found):
        if not _follows(before, turn):
            raise DataError(f"message {turn.number} ({turn}) does not answer the calls before it ({before}), in order")
    return [{role[0]: each.role, content[0]: _written(each)} if each.calls else each.fields for each in found[1:]]


def first_of(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first value under these names that is not null: in rows of parquet every object has all names."""
    return next((value for name in names if (value := fields.get(name)) is not None), None)


def _read(turn: _Turn, roles: Mapping[str, str]) -> _Turn:
    role, content, calls = roles.get(str(turn.role)) or ROLES.get(str(turn.role), turn.role), turn.content, list[Call]()
    if role == RESULT:
        framed = _FRAMED.fullmatch(content) if isinstance(content, str) else None
        content = [*content] if isinstance(content, list) else [framed[1] if framed else content]
        calls = [Call(str(turn.fields.get("name") or ""), id=turn.fields.get("tool_call_id"))]
    elif role == "assistant" and (given := turn.fields.get("tool_calls")):
        role, content = CALL, [_text(turn)]
        calls = _calls(listed(given) if isinstance(given, str) else _without_nulls(given), turn.number)
    elif role == CALL:
        text, calls = taken_apart(_text(turn), turn.number)
        content = [text]
    return turn._replace(role=role, content=content, calls=calls)


def _text(turn: _Turn) -> str:
    parts = turn.content if isinstance(turn.content, list) else [turn.content or ""]
    texts: list[Any] = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"message {turn.number} calls a tool, and has more than text with its call")
    return "".join(texts)


def taken_apart(content: str, number: int = 0) -> tuple[str, list[Call]]:
    """The text and the calls of a message of `CALL`."""
    before, *pieces = content.split("<tool_call>")
    blocks = [each.partition("</tool_call>") for each in pieces]
    if not blocks and (found := _THOUGHT.fullmatch(content)):
        before, blocks = found[1], [(found[2], "", "")]
    text = before + "".join(after for _, _, after in blocks)
    return text, [call for said, _, _ in blocks for call in _calls(listed(said), number)]


def _calls(value: Any, number: int) -> list[Call]:
    return [_call(each, number) for each in (value if isinstance(value, list) and value else [value])]


def _arguments(text: str, number: int) -> Any:
    """Those in a text, as JSON or as Python prints them. Raises DataError: a key twice, or a number beyond JSON."""
    try:
        arguments = json.loads(text, object_pairs_hook=once)
        json.dumps(arguments, allow_nan=False)
    except (json.JSONDecodeError, RecursionError):
        return listed(text)
    except ValueError as error:
        raise DataError(f"message {number} has a call whose arguments are no JSON: {error}") from None
    return arguments


def _call(value: Any, number: int) -> Call:
    fields = value if isinstance(value, dict) else {}
    function = fields["function"] if isinstance(fields.get("function"), dict) else fields
    name, given = function.get("name"), function.get("arguments")
    arguments = _arguments(given or "{}", number) if isinstance(given, str) else given
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise DataError(
            f"message {number} has a call without a name and an object of arguments: {plain(str(value), 80)}"
        )
    others = [*({**fields, **function}.keys() - _OF_CALL), *["type"] * (fields.get("type") not in (None, "function"))]
    if others:
        raise DataError(f"message {number} has a call with {plain(others[0], 40)}, which nothing reads")
    return Call(name, arguments, fields.get("id"))


def _without_nulls(value: Any) -> Any:
    """A value without keys of null, which tables write for every key that another row has."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _follows(before: _Turn, turn: _Turn) -> bool:
    """Whether a turn has the results of the calls before it, in their order, or none where there are none."""
    if turn.role != RESULT or before.role in (None, "system", "user"):  # an unknown role is refused by the reader
        return bool(turn.role != RESULT and before.role != CALL)
    if len(before.calls) != len(turn.calls):  # one may call in its text, and one result may be that of several calls
        return not any(each.id for each in turn.calls) and (not before.calls or len(turn.calls) == 1)
    pairs = zip(before.calls, turn.calls, strict=True)
    return all(each.id in (None, "", call.id) and each.name in ("", call.name) for call, each in pairs)


def _written(turn: _Turn) -> Any:
    """What LLaMA-Factory takes apart again into the text and the calls of a turn; the results of one as they are."""
    text = "".join(turn.content) if all(isinstance(part, str) for part in turn.content) else None
    if turn.role == RESULT or text is None:
        return turn.content if text is None and turn.content != [None] else text
    if "<tool_call>" in text:
        raise DataError(f"message {turn.number} has <tool_call> in its text, in addition to its calls")
    values = [{"name": call.name, "arguments": call.arguments} for call in turn.calls]
    # a mark within the JSON would end it for LLaMA-Factory
    said = json.dumps(values[0] if len(values) == 1 else values, ensure_ascii=False).replace("<", r"\u003c")
    gap = "" if text.endswith("\n") else "\n"
    return f"{text}{gap}<tool_call>{said}</tool_call>" if text.strip() else said


def described(value: Any, system: str = "") -> str:
    """Descriptions of tools as OpenAI has them, JSON in a text; empty where there are none, or a system message has."""
    value = listed(value) if isinstance(value, str) else _without_nulls(value)
    given = [listed(each) if isinstance(each, str) else each for each in value] if isinstance(value, list) else []
    fields = (each if "function" in each else {"function": each} for each in given if isinstance(each, dict))
    tools = [{"type": "function", **each} for each in fields]
    named = [each for each in tools if isinstance(each["function"], dict) and each["function"].get("name")]
    is_read = bool(given) and len(named) == len(given) and "<tools>" not in system
    return json.dumps(tools, ensure_ascii=False) if is_read else ""
