"""The forms that stock models write a tool call in, each read as a name and arguments; nothing of it is evaluated."""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import takewhile
from textwrap import dedent

import msgspec

from virc.reasoning.bodies import Called, FormatError, decoded
from virc.reasoning.marks.families import all_of, begins, pairs_of, pattern

MAX_CALL, _MAX_PYTHON = 10_000, 2_000
"""Characters of a call that are read; fewer where it is written as Python."""
_NO_PYTHON = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)  # a set of objects is a TypeError
_SPACE = r"(?:[|｜]?\w+[:|｜])?"
"""What some models write before the names of their tags: `minimax:`, `｜DSML｜`."""
_GROUP = rf"(?:</?{_SPACE}(?:function_calls|tool_calls?)>\s*)?"
"""A mark around calls that are XML elements."""
_NEAR = r"[<\[][|｜]?(?i:(?:tool|function)[ _▁-]?calls?|tool_use|tool_code)(?:[_▁]begin|_start)?[|｜]?[>\]]"
_NEAR_END = r"[<\[][|｜/]+(?i:(?:tool|function)[ _▁-]?calls?|tool_use|tool_code)(?:[_▁]end)?[|｜]?[>\]]"
"""Marks that are nearly those of a family, as models write them that mix several."""
_XML = re.compile(rf"<{_SPACE}(?:function|function name|invoke name)=[\"']?([^>\s\"']+)[\"']?>(.*)", re.DOTALL)
_PARAMETER_END = re.compile(rf"</{_SPACE}param(?:eter)?>")
_PARAMETER = re.compile(
    rf"<{_SPACE}param(?:eter)?(?:=| name=)[\"']?([^>\s\"']+)[^>]*>(?:<!\[CDATA\[(.*?)\]\]>|(.*?))"
    rf"(?:{_PARAMETER_END.pattern}|(?=<{_SPACE}param(?:eter)?\b)|\Z)",
    re.DOTALL,
)
_GLM = re.compile(r"<arg_key>([^<]*)</arg_key>\s*<arg_value>(.*?)(</arg_value>|(?=<arg_key>)|\Z)", re.DOTALL)
_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_BEFORE_NAME = re.compile(r"(?:\[\s*)*(?:function<[|｜]tool[_▁]sep[|｜]>)?(?:call:)?(?:functions\.)?")
_BEFORE_ARGUMENTS = re.compile(
    r"(?:\[CALL_ID\]\w*)?"
    r"(?:\[ARGS\]|:(?:\d+\s*<\|tool_call_argument_begin\|>)?|Action Input:|✿ARGS✿:|<[|｜]tool[_▁]sep[|｜]>)?"
    r"\s*(?:```[a-z]*\s*)?"
)
_BRACKET = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[\[({]|[\])}]", re.DOTALL)
_PIECE = re.compile(
    r"(?:<\|\"\|>|<escape>)(?P<text>.*?)(?:<\|\"\|>|<escape>)|“(?P<curly>[^“”]*+)”"  # as Gemma and people write texts
    r"|\"(?P<double>(?:[^\"\\]|\\.)*+)\"|'(?P<single>(?:[^'\\]|\\.)*+)'"
    r"|(?P<comment>(?://|\#)[^\n]*|/\*.*?(?:\*/|\Z))|(?P<key>[A-Za-z_]\w*+)(?=\s*[:：])|(?P<word>[A-Za-z_]\w*+)"
    r"|(?P<last>[,，])(?=\s*[}\]])|\\.",
    re.DOTALL,
)
"""What may stand otherwise in an object than JSON has it."""
_WORD_VALUES = {"True": "true", "False": "false", "None": "null"}
_FULL_WIDTH = str.maketrans("｛｝［］：，", "{}[]:,")
_NO_ESCAPE = re.compile(r"\\(?![\"\\/bfnrtu])")
_NAMES = ("name", "tool", "tool_name", "function", "action")
ENVELOPES = ("arguments", "parameters", "args", "params", "input", "action_input")
"""Keys of the arguments in an object that is a call."""
_QUOTES = re.compile(r"[`\"'“‘«「](?:<[^<>\s]*>|\[\w+\])?\Z")
"""A quotation mark, with or without the mark of a call behind it."""
_FENCE = re.compile(r"\A```[a-z_]*\n\s*")
_OBJECT_IN_QUOTES = re.compile(r"\s*([`\"'])(\s*[\[{].*[\]}]\s*)\1\s*", re.DOTALL)
_CLOSING = re.compile(r"[`\"'”’»」](?!``)|[.,;!?)](?=\s|\Z)")
_WORDS = re.compile(r"[ \t]+[a-zß-öø-ÿα-ωа-я][^{}<>\[\]\n]*(?:[.!?\n]|\Z)")
"""What follows a mark of which a sentence speaks."""
_MAX_QUOTED, MAX_MARK = 64, 40  # marks of calls, as each takes another look at what follows; and characters of one


@cache
def call_marks() -> re.Pattern[str]:
    """Marks that only a call has; what stands between them has to be one."""
    section = f"(?:{pattern(all_of('sections'))})"
    of_families = "|".join(
        rf"{pattern([open])}(?P<marked_{number}>.*?)(?:{pattern([close])}|(?={pattern([open])})|\Z)"
        for number, (open, close) in enumerate(pairs_of("calls"))
    )
    return re.compile(
        rf"{begins()}(?:(?:{section}\s*)?(?:{of_families})(?:\s*{section})?"
        rf"|{_GROUP}(?P<xml><{_SPACE}(?:function=|function name=|invoke name=).*?)"
        rf"(?:</{_SPACE}(?:function|invoke)>\s*{_GROUP}|\Z)"
        rf"|{_NEAR}(?P<near>\s*[\[{{].*?)(?:{_NEAR_END}|\Z))"
        r"|(?<![^\n])(?:Action|✿FUNCTION✿):(?P<action>\s*[\w.-]+\s+(?:Action Input|✿ARGS✿):.*?)"
        r"(?:\n(?:Observation:|✿)|\Z)"
        r"|(?:>>>|\A(?=[^>]*+>>>))(?P<recipient>[\w.-]+\n\s*\{.*?)(?:(?=>>>)|\Z)",
        re.DOTALL,
    )


class Found(msgspec.Struct, frozen=True):
    """Calls in a text: where their mark begins and ends there, and what they say; none: it cannot be read."""

    start: int
    end: int
    calls: tuple[Called, ...]


def marked(text: str, cut: bool) -> Iterator[Found]:
    """The calls in a text that stand between marks of their own, in order; of a `cut` text nothing is mended."""
    position, quoted = 0, 0
    while (mark := call_marks().search(text, position)) and quoted < _MAX_QUOTED:
        body = mark[mark.lastgroup or 0]
        is_word = is_quoted(text, mark.start()) or bool(_CLOSING.match(body) and not _OBJECT_IN_QUOTES.fullmatch(body))
        calls = () if is_word else calls_of(body, cut)
        if is_word or (_WORDS.match(body) and not any(each.arguments for each in calls)):
            quoted, position = quoted + 1, mark.start() + 1
        else:
            yield Found(mark.start(), mark.end(), calls)
            position = mark.end()


def is_quoted(text: str, start: int) -> bool:
    """Whether a sentence quotes what begins there: words stand before it on its line, and a quotation mark."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    opened = _QUOTES.search(line, max(0, len(line) - MAX_MARK))
    return bool(opened and re.search(r"\w", line[: opened.start()]))


def calls_of(text: str, cut: bool) -> tuple[Called, ...]:
    """The calls that a text consists of, in any form; empty if it is none. Objects and functions may be several."""
    text = _FENCE.sub("", text[:MAX_CALL].strip(), count=1)
    if quotes := _OBJECT_IN_QUOTES.fullmatch(text):
        text = str(_quoted(text) or quotes[2])
    if text[:1] in "{[":
        calls, rest = list[Called](), text
        while (rest is text or rest.startswith("{")) and (more := _of_object(object_of(rest, cut))):
            calls += more
            rest = rest[closing(rest) :].lstrip(" \n,;")
        if found := tuple(calls) or _functions_of(text):
            return found
    called = _call_of(text, cut)
    return (called,) if called else ()


def _call_of(text: str, cut: bool) -> Called | None:
    if xml := _XML.match(text):
        return _of_tags(xml[1], xml[2], cut)
    text = _BEFORE_NAME.sub("", text, count=1)
    name = _NAME.match(text)
    if not name:
        return None
    behind = text[name.end() :].lstrip()
    if not behind.removeprefix("<tool_sep>") and not cut:
        return Called(name[0], {})
    if pairs := _GLM.findall(behind):
        is_whole = all(end for *_, end in pairs) or not cut
        return Called(name[0], {key.strip(): _text(value) for key, value, _ in pairs}) if is_whole else None
    behind = _BEFORE_ARGUMENTS.sub("", behind, count=1)
    if behind[:1] in ("{", '"', "'"):
        value = _arguments_of(behind, cut)
        return Called(name[0], value) if isinstance(value, dict) else None
    return next(iter(_functions_of(text)), None)


def _of_tags(name: str, text: str, cut: bool) -> Called | None:
    given, whole = _PARAMETER.findall(text), None
    if cut and len(given) > len(_PARAMETER_END.findall(text)):
        return None
    if text.lstrip()[:1] in ("{", '"', "'"):
        whole = _arguments_of(text.strip(), cut)
    values = {key: data or _text(value) for key, data, value in given}
    return Called(name, whole if isinstance(whole, dict) else values)


def _arguments_of(text: str, cut: bool) -> object:
    """The object of the arguments at the beginning of a text; it may be written as JSON in a string."""
    value = object_of(text, cut)
    if value is None and text[:1] in "\"'":
        value = _quoted(text)
    return object_of(value, cut) if isinstance(value, str) else value


def _quoted(text: str) -> object:
    with suppress(*_NO_PYTHON):
        return ast.literal_eval(text[:MAX_CALL].strip())
    return None


def _text(written: str) -> str:
    """A value between tags without the space around it, so that code in it is indented as it was meant."""
    return dedent(_BLANK_LINES.sub("", written)).rstrip()


def _of_object(value: object) -> tuple[Called, ...]:
    """The calls that a JSON value is: {name, arguments} by the names of several APIs, or a list that begins so."""
    if isinstance(value, list):
        listed = takewhile(bool, map(_of_object, value))
        return tuple(call for calls in listed for call in calls)
    if not isinstance(value, dict):
        return ()
    for key in ("tool_calls", "function", "function_call"):
        if isinstance(value.get(key), dict | list):
            return _of_object(value[key])
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
    if name is None:  # or {NAME: arguments}
        named = [Called(str(key), each) for key, each in value.items() if isinstance(each, dict)]
        return tuple(named) if len(value) == len(named) == 1 else ()
    for key in ENVELOPES:
        if key in value:
            arguments = value[key] or {}
            return (Called(name, arguments),) if isinstance(arguments, dict | str) else ()
    return (Called(name, {key: each for key, each in value.items() if key not in (*_NAMES, "type", "id")}),)


def object_of(text: str, cut: bool = False) -> object:
    """The JSON value at the beginning of a text; also one as Python, JavaScript or Gemma write it, with comments or in
    other signs, or that lacks its last brackets, unless the reply was cut there.
    """
    is_other = text.lstrip().startswith(("{", "["))
    for form in (str, as_json) if is_other else (str,):
        written = form(text)
        for missing in ("",) if cut else ("", "}", "}}"):
            with suppress(FormatError):
                return decoded(written + missing, strict=False)
    with suppress(*_NO_PYTHON):
        return ast.literal_eval(text.strip()) if len(text) <= _MAX_PYTHON else None
    return None


def as_json(text: str) -> str:
    """An object as JSON: its texts in double quotes, its keys in some, without comments and commas before an end."""
    pieces, at = list[str](), 0
    for found in _PIECE.finditer(text):
        pieces += text[at : found.start()].translate(_FULL_WIDTH), _as_json(found)
        at = found.end()
    return "".join((*pieces, text[at:].translate(_FULL_WIDTH)))


def _as_json(found: re.Match[str]) -> str:
    inner = found[found.lastgroup or 0]
    match found.lastgroup:
        case "text" | "curly" | "key":
            return json.dumps(inner)
        case "double" | "single":
            if found.lastgroup == "single":
                inner = inner.replace("\\'", "'").replace('\\"', '"').replace('"', '\\"')
            return '"' + _NO_ESCAPE.sub(r"\\\\", inner) + '"'
        case "word":
            return _WORD_VALUES.get(inner, inner)
        case "comment" | "last":
            return ""
        case _:
            return inner


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


class _Words(ast.NodeTransformer):
    """Replaces `true`, `false` and `null`, which are names in Python, by their values."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        values = {"true": True, "false": False, "null": None}
        return ast.Constant(values[node.id]) if node.id in values else node


def _functions_of(text: str) -> tuple[Called, ...]:
    """Calls as Python writes them, one or a list, their values without a key by their number; nothing is evaluated."""
    with suppress(*_NO_PYTHON):
        tree = ast.parse(text[: min(closing(text), _MAX_PYTHON)], mode="eval").body
        return tuple(map(_function_of, tree.elts if isinstance(tree, ast.List) else [tree]))
    return ()


def _function_of(tree: ast.expr) -> Called:
    """Raises ValueError: it is another expression than a call with values."""
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name | ast.Attribute):
        raise ValueError("no call")
    values = {each.arg: ast.literal_eval(_Words().visit(each.value)) for each in tree.keywords if each.arg}
    in_order = [ast.literal_eval(_Words().visit(each)) for each in tree.args]
    first = in_order[0] if in_order else None
    if isinstance(first, str) and first.lstrip().startswith("{"):
        first = object_of(first)
    if isinstance(first, dict):
        values |= first
        in_order = []
    return Called(ast.unparse(tree.func), {str(at): value for at, value in enumerate(in_order)} | values)
