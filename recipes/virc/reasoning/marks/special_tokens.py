"""Special tokens, thoughts and answers in the text of a reply: what ends its turn and what is no part of its answer."""

import re
from collections.abc import Iterable
from functools import cache

from virc.reasoning.marks.families import Kind, all_of, begins, names_of, pairs_of, pattern

_QUOTE, _CLOSING_QUOTE = "`\"'“‘", "`\"'”’"
_MAX_END = 1000  # characters at the end of a reply in which tokens of unknown families are looked for
_MAX_MARK, _MAX_OPENING = 64, 256
"""Characters of a mark with what says what it is, such as the name of a role; and of all that opens a turn."""
MAX_THOUGHTS = 64
"""Thoughts and answers that are taken out of a text one by one: each takes another look at all of it."""

_QUOTES, _CLOSING_QUOTES = frozenset(_QUOTE), frozenset(_CLOSING_QUOTE)
_ROLE = re.compile(r"(?i:user|human|system|tool|ipython|developer|observation|environment)\b")
_OWN_ROLE = re.compile(r"(?:assistant|ASSISTANT|model|ai)\b([ \t]*\n)?\s*+")
_SENTENCE, _GOES_ON = re.compile(r"[a-z] "), re.compile(rf" (?!{_ROLE.pattern}|{_OWN_ROLE.pattern})[a-z]")
"""What stands on both sides of a token that a sentence is about: words in small letters, and none of them is a role."""


@cache
def _token() -> re.Pattern[str]:
    """A special token, whose group says what it does, with the space behind it."""
    kinds = {
        "end": rf"{pattern(all_of('ends'))}|(?:{pattern(all_of('last'))}|(?<=\S)(?:{pattern(all_of('attached'))}))"
        r"(?=\s*(?:\Z|\[INST|<s>|(?:USER|Human):))",
        "role": pattern(all_of("roles")),
        "other": pattern(all_of("others")),
        "own": pattern(all_of("own")),
        "filler": pattern(all_of("fillers", "boxes", "sections")),
    }
    listed = "|".join(f"(?P<{kind}>{marks})" for kind, marks in kinds.items())
    return re.compile(rf"{begins()}(?:{listed})\s*+")


def _is_mentioned(token: re.Match[str]) -> bool:
    """Whether a special token stands in quotation marks, or a sentence is about it."""
    text, (start, end) = token.string, token.span(token.lastgroup or 0)
    if text[max(0, start - 1) : start] in _QUOTES or text[end : end + 1] in _CLOSING_QUOTES:
        return True
    is_about = token.lastgroup in ("end", "role") and start > 1 and _SENTENCE.match(text, start - 2)
    return bool(is_about and _GOES_ON.match(text, end))


def _opening(text: str) -> tuple[int, int]:
    """Where what opens the turn of the model ends, 0 without it, and where the special tokens at the beginning do.

    Kimi names the role behind a token of the role, too.
    """
    header, at = 0, len(text) - len(text.lstrip())
    while token := _token().match(text, at):
        at = token.end()
        if not header and token.lastgroup in ("role", "own") and (role := _OWN_ROLE.match(text, at)):
            filler = _token().match(text, role.end())
            end = filler.end() if filler and filler.lastgroup == "filler" else role.end()
            if token.lastgroup == "role" or role[1] or end > role.end():
                header = at = end
    return header, at


def _unquoted(marks: Iterable[str]) -> re.Pattern[str]:
    """A pattern of marks, in any case, unless one stands alone between quotation marks."""
    mark = f"(?:{pattern(marks)})"
    return re.compile(rf"{begins()}(?:(?<![{_QUOTE}]){mark}|{mark}(?![{_CLOSING_QUOTE}]))", re.IGNORECASE)


@cache
def thought_opens() -> re.Pattern[str]:
    return _unquoted(open for open, _ in pairs_of("thoughts") if open)


@cache
def thought_closes() -> re.Pattern[str]:
    return _unquoted(close for _, close in pairs_of("thoughts"))


def apart(text: str) -> tuple[str, str]:
    """The thought at the beginning of a content, and what follows; templates that open it leave only its end."""
    first = re.match(rf"\s*<({names_of('first_thoughts')})( [^<>]*)?>", text, re.IGNORECASE)
    # an HTML list that is folded is no thought; one of Open WebUI says that it is
    if first and (first[1].lower() != "details" or "reasoning" in (first[2] or "")):
        thought, _, rest = text[first.end() :].partition(f"</{first[1]}>")
        return thought.strip(), rest
    opened, closed = thought_opens().search(text), thought_closes().search(text)
    if closed:
        opened = opened if opened and opened.start() < closed.start() else None
        before, start = (text[: opened.start()], opened.end()) if opened else ("", 0)
        thought, rest = text[start : closed.start()], text[closed.end() :]
        return thought.strip(), f"{before}{rest}" if before.strip() else rest
    if opened:
        return text[opened.end() :].strip(), text[: opened.start()]
    return "", text


def _leading_thought(text: str) -> tuple[str, str]:
    """The same of a text that may speak of thoughts: only one that it ends, or that begins a line, is taken out."""
    opened, closed = thought_opens().search(text), thought_closes().search(text)
    line = text[_opening(text)[1] : opened.start()].rpartition("\n")[2] if opened else ""
    is_thought = not line.strip() or (opened and closed and closed.start() < opened.start())
    thought, rest = apart(text) if is_thought else ("", text)
    is_end_of_none = closed and not opened and not rest.strip()
    return ("", thought) if is_end_of_none else (thought, rest)


def leading_thoughts(text: str) -> tuple[str, str]:
    """The thoughts that a text begins with, and what follows."""
    thoughts = list[str]()
    for _ in range(MAX_THOUGHTS):
        thought, rest = _leading_thought(text)
        if rest == text:
            break
        text = rest
        thoughts += [thought] if thought else []
    return "\n".join(thoughts), text


def without_thoughts(text: str) -> str:
    """A text without the thoughts in it."""
    for _ in range(MAX_THOUGHTS):
        rest = apart(text)[1] if thought_opens().search(text) else _leading_thought(text)[1]
        if rest == text:
            break
        text = rest
    return text


@cache
def answered(*kinds: Kind) -> re.Pattern[str]:
    """An answer in marks of some kinds or in those of boxes: its text is group 2, the mark that closes it group 3."""
    opens, closes = map(pattern, zip(*pairs_of("boxes"), strict=True))
    return re.compile(
        rf"(?:<({names_of(*kinds)})>|{opens})(.*?)((?(1)</\1>|(?:{closes}))|\Z)", re.DOTALL | re.IGNORECASE
    )


def last_answer(text: str) -> str:
    """The last answer in marks, which may have another one around it; without one, the text."""
    for _ in range(MAX_THOUGHTS):
        if not (answers := answered("answers").findall(text)):
            break
        text = answers[-1][1]
    return text


def end_of_turn(text: str, start: int = 0) -> int:
    """Where the first turn of a reply ends, or else its length; it is looked for from `start` on.

    A model that goes on behind it makes up a question, and the answer to that.
    """
    return _turn_end(text, max(start, _opening(text)[1]))


def _turn_end(text: str, start: int) -> int:
    for token in _token().finditer(text, start):
        is_of_other = token.lastgroup == "role" and _ROLE.match(text, token.end())
        if (token.lastgroup in ("end", "other") or is_of_other) and not _is_mentioned(token):
            return token.start()
    return len(text)


def own_turn(text: str) -> str:
    """A reply without turns behind its own; tokens at its end alone stay, as the ids that were drawn have them."""
    end = end_of_turn(text)
    return text[:end] if without_special(text[end:]).strip() else text


def first_turn(text: str) -> str:
    """The first turn of a reply, without what opens and ends it."""
    text = text[_opening(text)[0] :]
    return text[: end_of_turn(text)]


def without_special(text: str) -> str:
    """A text without special tokens; at its end, without those of unknown families and tags that close nothing.

    A model writes the tag that closes an answer where it left out the one that opens it.
    """
    cleaned = _token().sub(
        lambda token: token[0][0 if _is_mentioned(token) else len(token[token.lastgroup or 0]) :], text
    )
    start = max(0, len(cleaned) - _MAX_END)
    unknown = rf"(?<=[^\s|｜>])\s*+(?:<[|｜](?!/?(?:{names_of('places')}))[\w▁]{{1,40}}[|｜]>\s*+)++\Z"
    cleaned = cleaned[:start] + re.sub(unknown, "", cleaned[start:])
    tags = re.compile(rf"(?<!\s)(?:\s*+</({names_of('answers', 'alone')})>)++\s*+\Z", re.IGNORECASE)
    closing = tags.search(cleaned, max(0, len(cleaned) - _MAX_END))
    return cleaned[: closing.start()] if closing and f"<{closing[1].lower()}>" not in cleaned.lower() else cleaned


def unwrapped(text: str) -> str:
    """A text without the tag of an answer around all of it."""
    element = rf"<({names_of('answers', 'alone')})>((?:(?!</\1>).)*)(?:</\1>)?"
    alone = re.fullmatch(element, text, re.DOTALL | re.IGNORECASE)
    return alone[2].strip() if alone else text


def undecided(text: str, start: int = 0) -> int:
    """Where, from `start` on, the end of a text begins that may become a mark or turn out to be none; or its length."""
    begun = re.compile(begins()).search(text, max(start, len(text) - _MAX_MARK))
    return begun.start() if begun else len(text)


class TurnStream:
    """The pieces of a reply that belong to its first turn; what may be a token that ends it is held back."""

    def __init__(self) -> None:
        self._text, self._passed = "", 0  # what is held back, behind the end of what was passed on
        self._opened: int | None = None  # where the tokens at the beginning end; None: not all of them have come
        self._is_over = False

    def of_turn(self, piece: str) -> str:
        """What is known to belong to it with the next piece."""
        self._text += piece
        if self._opened is None and len(self._text) < _MAX_OPENING:
            leading = _opening(self._text)[1]
            if len(self._text) - leading < _MAX_MARK and (leading or not undecided(self._text)):
                return ""
        return self._pass_on(undecided(self._text))

    def rest(self) -> str:
        """What was held back, after the last piece."""
        return self._pass_on(len(self._text))

    def _pass_on(self, known: int) -> str:
        if self._is_over:
            return ""
        if self._opened is None:
            header, leading = _opening(self._text)
            self._text, self._opened, known = self._text[header:], leading - header, max(0, known - header)
        end = _turn_end(self._text, max(self._passed, self._opened))
        self._is_over = end < known
        at = max(self._passed, min(end, known))
        passed, start = self._text[self._passed : at], max(0, at - 2)  # two, as `_is_mentioned` looks at them
        self._text, self._passed, self._opened = self._text[start:], at - start, max(0, self._opened - start)
        return passed
