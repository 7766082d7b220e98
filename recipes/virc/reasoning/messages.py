"""What an assistant turn says, read strictly by the grammar of its chat protocol."""

import msgspec

from virc.reasoning.bodies import FormatError, ToolText, actions_of, bare_end, bare_start, tool_of
from virc.reasoning.grammar import TAGS, CallForm, Grammar, Mark, Marks, marks

__all__ = ["FormatError", "ToolText", "Turn", "parse", "printable", "stopped"]

_FENCE = "```"


class Turn(msgspec.Struct, frozen=True):
    """A well-formed turn: the thought, and either a tool call or an answer; surrounding space is cut off."""

    think: str
    tool: ToolText | None = None
    answer: str | None = None


def parse(text: str, grammar: Grammar = TAGS) -> Turn:
    """Read one assistant turn.

    The marks in it must be exactly those of one thought, where the grammar marks it, and behind it those of one call
    or answer; what stands before, between and after marked parts is ignored, as the published check of ViRC does.

    Raises:
        FormatError: the marks are others, or the call is not written as its form says; in JSON, with repeated keys,
            NaN, infinities or huge numbers.
    """
    found = marks(text, grammar)
    first = 2 if grammar.think else 0
    if grammar.think and not _are(found[:first], grammar.think):
        raise _unlike(found, grammar)
    think = text[found[0].end : found[1].start] if grammar.think else None
    rest = found[first:]
    if not rest:
        return _unmarked(text, think, found, grammar)
    before = (text[: rest[0].start] if think is None else think).strip()
    inner = text[rest[0].end : rest[1].start if len(rest) > 1 else len(text)].strip()
    if grammar.answer and _are(rest, grammar.answer):
        beside = (before, text[rest[-1].end :])
        if any(form.bare for form in grammar.calls) and any(bare_start(each, 0) is not None for each in beside):
            raise FormatError("tags", "the reply calls a tool beside its answer")
        return Turn(before, answer=inner)
    for form in grammar.calls:
        if _are(rest, (form.open, form.close)):
            return _called(before, inner, form)
    raise _unlike(found, grammar)


def stopped(text: str, grammar: Grammar) -> str:
    """A reply up to the first of the texts that end one, which an engine that stops there would not have gone past."""
    ends = [at + len(stop) for stop in grammar.stop if (at := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))]


def printable(text: str) -> str:
    """The text with lone surrogates, which no file or terminal takes, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _are(found: list[Mark], parts: Marks) -> bool:
    return [mark.text for mark in found] == [part.strip() for part in parts if part.strip()]


def _called(think: str, inner: str, form: CallForm) -> Turn:
    if form.body != "actions":
        return Turn(think, tool_of(inner, form))
    acted = actions_of(inner, form)
    return Turn(acted.think or think, acted.tool, acted.answer)


def _unmarked(text: str, think: str | None, found: list[Mark], grammar: Grammar) -> Turn:
    """A turn in which no mark opens a call or an answer: it ends with a bare call, or what remains is the answer."""
    behind = found[-1].end if found else 0
    form = next((form for form in grammar.calls if form.bare), None)
    start = bare_start(text, behind) if form else None
    if form and start is not None:
        end = bare_end(text, start)
        if text[end:].strip() not in ("", _FENCE):
            raise FormatError("tags", "the reply goes on behind its tool call")
        return _called((text[:start] if think is None else think).strip(), text[start:end], form)
    if grammar.answer:
        raise _unlike(found, grammar)
    return Turn((think or "").strip(), answer=text[behind:].strip())


def _unlike(found: list[Mark], grammar: Grammar) -> FormatError:
    """The fault of marks that are not those of one turn."""
    behind = [mark.strip("<>") or "JSON object" for mark in dict.fromkeys(form.open for form in grammar.calls)]
    behind += [grammar.answer[0].strip("<>")] if grammar.answer else []
    wanted = [grammar.think[0].strip("<>")] if grammar.think else []
    wanted += [" or ".join(behind)] if behind else []
    there = " ".join(mark.text for mark in found[:8]) or "none"
    return FormatError("tags", f"the tags are not one {' and one '.join(wanted)}, but {there}")
