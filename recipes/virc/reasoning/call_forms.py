"""The forms that stock models write a tool call in, each read as a name and arguments; nothing of it is evaluated."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from virc.reasoning.bodies import Called, FormatError, decoded

MAX_CALL, _MAX_PYTHON = 10_000, 2_000
"""Characters of a call that are read; fewer where it is written as Python."""
_NO_PYTHON = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)  # a set of objects is a TypeError
_SPACE = r"(?:[|｜]?\w+[:|｜])?"
"""What some models write before the names of their tags: `minimax:`, `｜DSML｜`."""
_GROUP = rf"(?:(?:</?{_SPACE}(?:function_calls|tool_calls?)>|<[|｜]tool[_▁]calls[_▁](?:begin|end)[|｜]>)\s*)?"
"""A mark around calls that have marks of their own."""
MARKS = re.compile(
    r"<tool_call>(?P<tag>.*?)(?:</tool_call>|(?=<tool_call>)|\Z)"
    r"|<\|tool_call>call:(?P<gemma>.*?)(?:<tool_call\|>|\Z)"
    r"|\[TOOL_CALLS\](?P<mistral>.*?)(?:</s>|\Z)"
    rf"|{_GROUP}<[|｜]tool[_▁]call[_▁]begin[|｜]>(?P<named>.*?)(?:<[|｜]tool[_▁]call[_▁]end[|｜]>\s*{_GROUP}|\Z)"
    r"|<\|tool_call_start\|>(?P<listed>.*?)(?:<\|tool_call_end\|>|\Z)"
    r"|<\|python_tag\|>(?P<python>.*?)(?:<\|eom_id\|>|\Z)"
    rf"|{_GROUP}(?P<xml><{_SPACE}(?:function=|invoke name=).*?)(?:</{_SPACE}(?:function|invoke)>\s*{_GROUP}|\Z)"
    r"|(?:^|\n)Action:(?P<action>\s*[\w.-]+\s+Action Input:.*?)(?:\nObservation:|\Z)",
    re.DOTALL,
)
"""Marks that only a call has; what stands between them has to be one."""
_XML = re.compile(rf"<{_SPACE}(?:function|invoke name)=[\"']?([^>\s\"']+)[\"']?>(.*)", re.DOTALL)
_PARAMETER_END = re.compile(rf"</{_SPACE}parameter>")
_PARAMETER = re.compile(
    rf"<{_SPACE}parameter(?:=| name=)[\"']?([^>\s\"']+)[^>]*>(.*?)"
    rf"(?:{_PARAMETER_END.pattern}|(?=<{_SPACE}parameter\b)|\Z)",
    re.DOTALL,
)
_GLM = re.compile(r"<arg_key>([^<]*)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_BEFORE_NAME = re.compile(r"(?:\[\s*)*(?:function<[|｜]tool[_▁]sep[|｜]>)?(?:functions\.)?")
_BEFORE_ARGUMENTS = re.compile(
    r"(?:\[ARGS\]|:(?:\d+\s*<\|tool_call_argument_begin\|>)?|Action Input:|<[|｜]tool[_▁]sep[|｜]>)?"
    r"\s*(?:```[a-z]*\s*)?"
)
_BRACKET = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[\[({]|[\])}]", re.DOTALL)
_KEY = re.compile(r"([{,]\s*)([A-Za-z_]\w*)\s*:")
_GEMMA_TEXT = '<|"|>'
"""What Gemma writes around a text, where keys stand without quotes."""
_NAMES = ("name", "tool", "tool_name", "function")
ENVELOPES = ("arguments", "parameters", "args", "params", "input")
"""Keys of the arguments in an object that is a call."""
_QUOTES = re.compile(r"[`\"'“‘«「](?:<[^<>\s]*>|\[\w+\])?\Z")
"""A quotation mark, with or without the mark of a call behind it."""
_CLOSING = re.compile(r"[`\"'”’»」](?!``)")
_WORDS = re.compile(r"[ \t]+[a-zß-öø-ÿα-ωа-я][^{}<>\[\]\n]*(?:[.!?\n]|\Z)")
"""What follows a mark of which a sentence speaks."""
_MAX_QUOTED, _MAX_MARK = 64, 40  # marks of calls, as each takes another look at what follows; and characters of one


class Found(msgspec.Struct, frozen=True):
    """A call in a text: where it begins and ends there, and what it says; None: it cannot be read."""

    start: int
    end: int
    called: Called | None


def marked(text: str, cut: bool) -> Iterator[Found]:
    """The calls in a text that stand between marks of their own, in order; of a `cut` text nothing is mended."""
    position, quoted = 0, 0
    while (mark := MARKS.search(text, position)) and quoted < _MAX_QUOTED:
        body = mark[mark.lastgroup or 0]
        if is_quoted(text, mark.start()) or _CLOSING.match(body) or (_WORDS.match(body) and not call_of(body, cut)):
            quoted, position = quoted + 1, mark.start() + 1
        else:
            yield Found(mark.start(), mark.end(), call_of(body, cut))
            position = mark.end()


def is_quoted(text: str, start: int) -> bool:
    """Whether a sentence quotes what begins there: words stand before it on its line, and a quotation mark."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    opened = _QUOTES.search(line, max(0, len(line) - _MAX_MARK))
    return bool(opened and re.search(r"\w", line[: opened.start()]))


def call_of(text: str, cut: bool) -> Called | None:
    """The call that a text is, in whichever form; None: it is none."""
    text = text[:MAX_CALL].strip()
    if xml := _XML.match(text):
        return _of_tags(xml[1], xml[2], cut)
    if text[:1] in "{[" and (called := _of_object(object_of(text, cut))):
        return called
    text = _BEFORE_NAME.sub("", text, count=1)
    name = _NAME.match(text)
    if not name:
        return None
    behind = text[name.end() :].lstrip()
    pairs = _GLM.findall(behind) if "</arg_value>" in behind else []
    if pairs:
        return Called(name[0], {key.strip(): value.strip() for key, value in pairs})
    behind = _BEFORE_ARGUMENTS.sub("", behind, count=1)
    if behind.startswith("{"):
        unquoted = _KEY.sub(r'\1"\2":', behind.replace(_GEMMA_TEXT, '"'))
        values = (object_of(each, cut) for each in (behind, unquoted))
        value = next((each for each in values if isinstance(each, dict)), None)
        return None if value is None else Called(name[0], value)
    return _function_of(text)


def _of_tags(name: str, text: str, cut: bool) -> Called | None:
    given, whole = _PARAMETER.findall(text), None
    if cut and len(given) > len(_PARAMETER_END.findall(text)):
        return None
    if text.lstrip().startswith("{"):
        whole = object_of(text.strip(), cut)
    return Called(name, whole if isinstance(whole, dict) else {key: value.strip() for key, value in given})


def _of_object(value: object) -> Called | None:
    """The call that a JSON value is: {name, arguments} by the names of several APIs, or the first of a list."""
    if isinstance(value, list):
        return _of_object(value[0]) if value else None
    if not isinstance(value, dict):
        return None
    for key in ("tool_calls", "function", "function_call"):
        if isinstance(value.get(key), dict | list):
            return _of_object(value[key])
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
    if name is None:  # or {NAME: arguments}
        named = [Called(str(key), each) for key, each in value.items() if isinstance(each, dict)]
        return named[0] if len(value) == len(named) == 1 else None
    for key in ENVELOPES:
        if key in value:
            arguments = value[key] or {}
            return Called(name, arguments) if isinstance(arguments, dict | str) else None
    return Called(name, {key: each for key, each in value.items() if key not in (*_NAMES, "type", "id")})


def object_of(text: str, cut: bool = False) -> object:
    """The JSON value at the beginning of a text; also one in Python's quotes, or that lacks its last brackets, unless
    the reply was cut there.
    """
    for missing in ("",) if cut else ("", "}", "}}"):
        with suppress(FormatError):
            return decoded(text + missing)
    with suppress(*_NO_PYTHON):
        return ast.literal_eval(text.strip()) if len(text) <= _MAX_PYTHON else None
    return None


def closing(text: str, start: int = 0) -> int:
    """The position after the bracket that closes the first one (quoted ones do not count), or the end of the text."""
    depth = 0
    for token in _BRACKET.finditer(text, start, start + MAX_CALL):
        if token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
            if depth <= 0:
                return token.end()
    return len(text)


def _function_of(text: str) -> Called | None:
    """A call as Python writes it, its values without a key by their number; nothing is evaluated."""
    with suppress(*_NO_PYTHON):
        tree = ast.parse(text[: min(closing(text), _MAX_PYTHON)], mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name | ast.Attribute):
            return None
        values = {each.arg: ast.literal_eval(each.value) for each in tree.keywords if each.arg}
        in_order = [ast.literal_eval(each) for each in tree.args]
        if in_order and isinstance(in_order[0], dict):
            values |= in_order[0]
            in_order = []
        return Called(ast.unparse(tree.func), {str(at): value for at, value in enumerate(in_order)} | values)
    return None
