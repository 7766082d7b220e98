"""The three-tag format: what an assistant turn says, read strictly."""

import json
import math
import re
from typing import Any, Literal, NoReturn

import msgspec

_TAG = re.compile(r"</?(?:think|tool_call|answer)>")
_MOST_DIGITS = 18


class FormatError(ValueError):
    """The turn is not in the format; `kind` says whether its tags or its JSON are wrong."""

    def __init__(self, kind: Literal["tags", "json"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ToolText(msgspec.Struct, frozen=True):
    """A tool call as written: nothing about it is checked but that it is well-formed."""

    name: str
    arguments: dict[str, Any]


class Turn(msgspec.Struct, frozen=True):
    """A well-formed turn: the thought, and either a tool call or an answer; surrounding space is cut off."""

    think: str
    tool: ToolText | None = None
    answer: str | None = None


def parse(text: str) -> Turn:
    """Read one assistant turn.

    The tags in it must be exactly think, /think, X, /X, where X is tool_call or answer; what stands before,
    between and after these two pairs is ignored, as the published check does.

    Raises:
        FormatError: the tags are others, or the tool call is not one JSON object with exactly `name` (a
            string) and `arguments` (an object), without repeated keys, NaN, infinities or huge numbers.
    """
    tags = [(match[0], match.start(), match.end()) for match in _TAG.finditer(text)]
    names = [name for name, _, _ in tags]
    last = names[2][1:-1] if len(names) > 2 else ""
    if names != ["<think>", "</think>", f"<{last}>", f"</{last}>"] or last == "think":
        found = " ".join(names[:8]) or "none"
        raise FormatError("tags", f"the tags are not one think and one tool_call or answer, but {found}")
    think, inner = (text[tags[at][2] : tags[at + 1][1]].strip() for at in (0, 2))
    if last == "answer":
        return Turn(think, answer=inner)
    return Turn(think, tool=_tool(inner))


def printable(text: str) -> str:
    """The text with lone surrogates, which no file or terminal takes, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _tool(text: str) -> ToolText:
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse,
            parse_int=_whole,
            parse_float=_finite,
        )
    except RecursionError:
        raise FormatError("json", "the tool call is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise FormatError(
            "json", f"the tool call is not JSON: {error.msg} at character {error.pos}"
        ) from None
    if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
        raise FormatError("json", "the tool call is not an object with exactly name and arguments")
    if not isinstance(value["name"], str) or not isinstance(value["arguments"], dict):
        raise FormatError("json", "in the tool call, name must be a string and arguments an object")
    return ToolText(value["name"], value["arguments"])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise FormatError("json", "the tool call repeats a key")
    return value


def _refuse(constant: str) -> NoReturn:
    raise FormatError("json", f"the tool call holds {constant}, which JSON has not")


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise FormatError("json", f"the tool call holds a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise FormatError("json", "the tool call holds a number that is too large")
    return value
