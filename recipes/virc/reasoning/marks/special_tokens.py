"""Special tokens and thoughts in the text of a reply: what ends its turn, and what is no part of its answer."""

import re
from collections.abc import Iterable

from virc.reasoning.marks.families import BEGINS, PLACES, all_of, pairs_of, pattern

_OPEN, _OTHERS, _MODEL, _FILLING = (pattern(all_of(kind)) for kind in ("roles", "others", "own", "fillers"))
_END = (
    rf"{pattern(all_of('ends'))}|(?:{pattern(all_of('last'))}|(?<=\S)(?:{pattern(all_of('attached'))}))"
    r"(?=\s*(?:\Z|\[INST|<s>|(?:USER|Human):))"
)
_ANY = f"(?>{_END}|{_OPEN}|{_OTHERS}|{_MODEL}|{_FILLING})"
_QUOTE, _CLOSING_QUOTE = "`\"'“‘", "`\"'”’"
_ROLES = r"(?i:user|human|system|tool|ipython|developer|observation|environment)\b"

_LONGEST, _MAX_END = 32, 1000  # characters of a token, and of those at the end of a reply

_OWN_ROLE = r"(?:assistant|ASSISTANT|model|ai)\b"
_OWN_HEADER = rf"(?:(?:{_OPEN})\s*+{_OWN_ROLE}|(?:{_MODEL})\s*+{_OWN_ROLE}(?=[ \t]*\n|\s*+(?:{_FILLING})))"
HEADER = re.compile(rf"\A(?:\s*+(?!{_OWN_HEADER}){_ANY})*+\s*+{_OWN_HEADER}\s*+(?:{_FILLING}|</role>)?\s*+")
"""What opens the turn of the model at the beginning of a reply; Kimi names the role behind a token of the role, too."""
_NAMED = rf"(?<=[a-z] )(?:{_END}|{_OPEN}) (?!{_ROLES}|{_OWN_ROLE})[a-z]"
"""A token that a sentence is about: words in small letters stand on both sides of it, and none of them is a role."""
SPECIAL = re.compile(rf"{BEGINS}(?<![{_QUOTE}])(?!{_NAMED}){_ANY}(?![{_CLOSING_QUOTE}])")
"""A special token that stands for nothing in an answer."""
_LEADING = re.compile(rf"(?:\s*+{_ANY})*+\s*+")
_TURN_ENDS = re.compile(
    rf"{BEGINS}(?<![{_QUOTE}])(?!{_NAMED})(?:{_END}|{_OTHERS}|(?:{_OPEN})\s*+{_ROLES})(?![{_CLOSING_QUOTE}])"
)
_CLOSING_NOTHING = re.compile(rf"(?<!\s)(?:\s*+</({'|'.join(all_of('answers'))})>)++\s*+\Z", re.IGNORECASE)
"""The closing tag of an answer at the end of a text, as a model writes it that left out the one that opens it."""
_UNKNOWN = re.compile(rf"(?<=[^\s|｜>])\s*+(?:<[|｜](?!/?(?:{'|'.join(PLACES)}))[\w▁]{{1,40}}[|｜]>\s*+)++\Z")
"""Tokens of an unknown family at the end of a text; those of boxes are a part of it."""


MAX_THOUGHTS = 64
"""Thoughts that are taken out of a text one by one: each takes another look at all of it."""


def any_unquoted(marks: Iterable[str]) -> re.Pattern[str]:
    """A pattern of marks, in any case, unless one stands alone between quotation marks."""
    mark = f"(?:{pattern(marks)})"
    return re.compile(rf"{BEGINS}(?:(?<![{_QUOTE}]){mark}|{mark}(?![{_CLOSING_QUOTE}]))", re.IGNORECASE)


THOUGHT_OPENS = any_unquoted(open for open, _ in pairs_of("thoughts") if open)
THOUGHT_CLOSES = any_unquoted(close for _, close in pairs_of("thoughts"))
ANSWERED = re.compile(r"<answer>(.*?)(</answer>|\Z)", re.DOTALL | re.IGNORECASE)
"""An answer in our marks, which most models know that were asked for some."""
_ALONE = re.compile(rf"<({'|'.join(all_of('answers'))})>((?:(?!</\1>).)*)(?:</\1>)?", re.DOTALL | re.IGNORECASE)
_FIRST_THOUGHT = re.compile(rf"\A\s*<({'|'.join(all_of('first_thoughts'))})( [^<>]*)?>", re.IGNORECASE)


def apart(text: str) -> tuple[str, str]:
    """The thought at the beginning of a content, and what follows; templates that open it leave only its end."""
    first = _FIRST_THOUGHT.match(text)
    # an HTML list that is folded is no thought; one of Open WebUI says that it is
    if first and (first[1].lower() != "details" or "reasoning" in (first[2] or "")):
        thought, _, rest = text[first.end() :].partition(f"</{first[1]}>")
        return thought.strip(), rest
    opened, closed = THOUGHT_OPENS.search(text), THOUGHT_CLOSES.search(text)
    if closed and (opened is None or opened.start() < closed.start()):
        start = opened.end() if opened else 0
        before = text[: opened.start()] if opened else ""
        thought, rest = text[start : closed.start()], text[closed.end() :]
        return thought.strip(), f"{before}{rest}" if before.strip() else rest
    if opened:
        return text[opened.end() :].strip(), text[: opened.start()]
    return "", text


def leading_thought(text: str) -> tuple[str, str]:
    """The same of a text that may speak of thoughts: only one that it begins with, or ends, is taken out."""
    opened, closed = THOUGHT_OPENS.search(text), THOUGHT_CLOSES.search(text)
    is_first = not opened or not text[: opened.start()].strip() or (closed and closed.start() < opened.start())
    thought, rest = apart(text) if is_first else ("", text)
    is_end_of_none = closed and not opened and not rest.strip()
    return ("", thought) if is_end_of_none else (thought, rest)


def without_thoughts(text: str) -> str:
    """A text without the thoughts in it."""
    for _ in range(MAX_THOUGHTS):
        rest = apart(text)[1] if THOUGHT_OPENS.search(text) else leading_thought(text)[1]
        if rest == text:
            break
        text = rest
    return text


def end_of_turn(text: str, start: int = 0) -> int:
    """Where the first turn of a reply ends, or else its length; it is looked for from `start` on.

    A model that goes on behind it makes up a question, and the answer to that.
    """
    leading = _LEADING.match(text)
    found = _TURN_ENDS.search(text, max(start, leading.end() if leading else 0))
    return found.start() if found else len(text)


def own_turn(text: str) -> str:
    """A reply without turns behind its own; tokens at its end alone stay, as the ids that were drawn have them."""
    end = end_of_turn(text)
    return text[:end] if without_special(text[end:]).strip() else text


def first_turn(text: str) -> str:
    """The first turn of a reply, without what opens and ends it."""
    text = HEADER.sub("", text, count=1)
    return text[: end_of_turn(text)]


def without_special(text: str) -> str:
    """A text without special tokens; at its end, without those of unknown families and tags that close nothing."""
    cleaned = SPECIAL.sub("", text)
    start = max(0, len(cleaned) - _MAX_END)
    cleaned = cleaned[:start] + _UNKNOWN.sub("", cleaned[start:])
    closing = _CLOSING_NOTHING.search(cleaned, max(0, len(cleaned) - _MAX_END))
    return cleaned[: closing.start()] if closing and f"<{closing[1].lower()}>" not in cleaned.lower() else cleaned


def unwrapped(text: str) -> str:
    """A text without the tag of an answer around all of it."""
    alone = _ALONE.fullmatch(text)
    return alone[2].strip() if alone else text


class TurnStream:
    """The pieces of a reply that belong to its first turn; a token comes in one piece, or in few."""

    def __init__(self) -> None:
        self._tail, self._is_begun, self._is_over = "", False, False

    def of_turn(self, piece: str) -> str:
        """The part of the next piece that belongs to it."""
        if self._is_over:
            return ""
        text, before = self._tail + piece, len(self._tail)
        end = end_of_turn(text, 1 if self._is_begun else 0)
        self._is_over = end < len(text)
        self._tail, self._is_begun = text[-_LONGEST:], self._is_begun or len(text) > _LONGEST
        return text[before:end]
