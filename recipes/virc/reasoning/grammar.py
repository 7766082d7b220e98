"""How a model writes a turn: the marks around its thought, its tool calls and its answer, as data.

`TAGS` is the three-tag format of ViRC. The other formats of the field are other values of `Grammar`, which a chat
protocol holds; `messages.parse` reads a turn by any of them.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

Marks = tuple[str, str]
"""What opens and closes a part of a turn. White space in a mark stands for any white space, or none."""

Body = Literal["call", "arguments", "list", "objects", "actions", "step", "function", "text"]


ENDING, ANSWER = "Terminate", "ans"
"""The action that answers, and its argument, where calls are actions; `names` and `keys` may say others."""
HELD = "arguments"
"""The object of all arguments of a call; `keys` may say another name."""


class Index(StrEnum):
    """Images that are not meant by their number."""

    LAST = "last"


class CallForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way to write a tool call.

    Args:
        open: mark before it. Without both marks: the first JSON object of the reply, with nothing behind it.
        close: mark after it; empty: it goes on to the end of the reply.
        body: what is between the marks; docs/grammar.md shows each.
        tool: the tool, for a body that names none.
        names: a tool's name as written -> the tool.
        keys: an argument's name as written -> the argument; null: not used. Of a `call`, `arguments` is all of them.
        unnamed: arguments without a name: one for `list` and `text`, one or none for `objects`, all for `function`.
        given: arguments that the model never writes; `image_index: last` is the newest image.
        default: arguments that a stock model may leave out (`reading: lenient`).

    Raises:
        ValueError: the parts do not go together.
    """

    open: str = ""
    close: str = ""
    body: Body = "call"
    tool: str | None = None
    names: Mapping[str, str] = {}
    keys: Mapping[str, str | None] = {}
    unnamed: tuple[str, ...] = ()
    given: Mapping[str, Any] = {}
    default: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        if self.close.strip() and not self.open.strip():
            raise ValueError("`close` needs an `open`")
        if self.bare and self.body in ("list", "objects", "function", "text"):
            raise ValueError(f"the body `{self.body}` needs an `open`")
        named = self.body == "call" or self.acts
        if named and self.tool is not None:
            raise ValueError(f"the body `{self.body}` names its tool: leave out `tool`")
        if not named and self.tool is None:
            raise ValueError(f"the body `{self.body}` names no tool: `tool` has to")
        if self.body in ("list", "text") and len(self.unnamed) != 1:
            raise ValueError(f"the body `{self.body}` is one argument: `unnamed` names it")
        if self.body == "objects" and len(self.unnamed) > 1:
            raise ValueError("the body `objects` is at most one argument: `unnamed` names it")
        if self.body == "function" and not self.unnamed:
            raise ValueError("the body `function` has arguments: `unnamed` names them in order")

    @property
    def bare(self) -> bool:
        return not self.open.strip()

    @property
    def acts(self) -> bool:
        """Whether it is a whole reply: a thought with actions, one of which answers."""
        return self.body in ("actions", "step")

    @property
    def envelope(self) -> str:
        """What the arguments of a `call` stand under in its JSON object."""
        return next((key for key, ours in self.keys.items() if ours == HELD and self.body == "call"), HELD)


HERMES = CallForm("<tool_call>", "</tool_call>")
"""The form that most stock models know: a JSON object with name and arguments."""


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a turn is written.

    Args:
        think: marks of the thought; null: it is all before the call or the answer.
        calls: ways to write a tool call; none: the model calls no tools.
        answer: marks of the answer; null: all that remains of a turn without a call.
        stop: texts that end a reply; they stay in it.
        most_calls: tool calls of one turn, carried out in order; a reply with more is rejected.
        loose: marks may be missing or repeated: the first answer counts, else the last calls.

    Raises:
        ValueError: two parts of it could not be told apart, or every reply would end at once.
    """

    think: Marks | None = ("<think>", "</think>")
    calls: tuple[CallForm, ...] = (HERMES,)
    answer: Marks | None = ("<answer>", "</answer>")
    stop: tuple[str, ...] = ()
    most_calls: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    loose: bool = False

    def __post_init__(self) -> None:
        if self.think and not all(mark.strip() for mark in self.think):
            raise ValueError("`think` needs both marks, or is null")
        if self.answer and not self.answer[0].strip():
            raise ValueError("`answer` needs an opening mark, or is null")
        if self.loose and (whole := next((form.body for form in self.calls if form.acts), None)):
            raise ValueError(f"a `loose` grammar has marks around its calls, and the body `{whole}` is the whole reply")
        if not all(self.stop):
            raise ValueError("a text of `stop` is empty")
        opens = ["".join(mark.split()) for mark, _ in self.parts()]
        if len(set(opens)) < len(opens):
            raise ValueError("two parts open with the same mark")

    def parts(self) -> Iterator[Marks]:
        """The marks of the thought, of every way to write a call (empty: bare), and of the answer."""
        if self.think:
            yield self.think
        yield from ((form.open, form.close) for form in self.calls)
        if self.answer:
            yield self.answer


TAGS = Grammar()
"""The three-tag format: <think>, then <tool_call> with a JSON object, or <answer>."""


def as_written(text: str, tool: str, grammar: Grammar) -> str:
    """A text about a call of a tool, with the names by which the model writes the tool and its arguments."""
    forms = [form for form in grammar.calls if form.tool in (None, tool)]
    pairs = [pair for form in forms for pair in (*form.names.items(), *form.keys.items())]
    names = {ours: theirs for theirs, ours in reversed(pairs) if ours}  # the first of two
    return re.sub(r"\w+", lambda found: names.get(found[0], found[0]), text)


class Mark(msgspec.Struct, frozen=True):
    """A mark in a reply: as the grammar writes it, and where it begins and ends."""

    text: str
    start: int
    end: int


def marks(text: str, grammar: Grammar) -> list[Mark]:
    pattern, known = _pattern(tuple(mark for part in grammar.parts() for mark in part))
    if not known:
        return []
    return [Mark(known[found.lastindex - 1], *found.span()) for found in pattern.finditer(text) if found.lastindex]


@cache
def _pattern(parts: tuple[str, ...]) -> tuple[re.Pattern[str], tuple[str, ...]]:
    known = tuple(sorted({mark.strip(): None for mark in parts if mark.strip()}, key=len, reverse=True))
    # No two pieces of white space in a mark touch, so that it is found in linear time.
    loose = (r"\s*".join(re.escape(word) for word in mark.split()) for mark in known)
    first = "".join(re.escape(mark[0]) for mark in known)  # to test for one of these letters first is faster
    return re.compile(f"(?=[{first}])(?:{'|'.join(f'({each})' for each in loose)})" if known else ""), known
