"""What an assistant turn says, read strictly by the grammar of its chat protocol."""

from collections.abc import Iterator, Sequence

import msgspec

from virc.reasoning.bodies import FormatError, ToolText, Turn, actions_of, bare_end, bare_start, tools_of
from virc.reasoning.grammar import TAGS, CallForm, Grammar, Mark, Marks, marks
from virc.reasoning.marks.special_tokens import first_turn

__all__ = ["FormatError", "ToolText", "Turn", "parse", "printable", "stopped"]

_FENCE = "```"


def parse(text: str, grammar: Grammar = TAGS) -> Turn:
    """Read one assistant turn.

    Of a `loose` grammar only the first answer counts, else the last calls, wherever they stand. Of any other the marks
    must be exactly those of one thought, where the grammar marks it, and behind it those of as many calls as it allows
    or of one answer; what stands before, between and after marked parts is ignored, as the published check of ViRC has
    it.

    Raises:
        FormatError: the marks are others, or the call is not written as its form says; in JSON, with NaN, infinities
            or huge numbers.
    """
    text = first_turn(text)
    if grammar.loose:
        return _loose(text, grammar)
    found = marks(text, grammar)
    first = 2 if grammar.think else 0
    if grammar.think and not _are(found[:first], grammar.think):
        raise _unlike(found, grammar)
    think = text[found[0].end : found[1].start] if grammar.think else None
    rest = found[first:]
    if not rest:
        return _unmarked(text, think, found, grammar)
    before = (text[: rest[0].start] if think is None else think).strip()
    if grammar.answer and _are(rest, grammar.answer):
        inner = text[rest[0].end : rest[1].start if len(rest) > 1 else len(text)].strip()
        around = (before, text[rest[-1].end :])
        if any(form.bare for form in grammar.calls) and any(bare_start(each, 0) is not None for each in around):
            raise FormatError("tags", "the reply calls a tool next to its answer")
        return Turn(before, answer=inner)
    return _calling(before, text, rest, found, grammar)


def _loose(text: str, grammar: Grammar) -> Turn:
    """A turn of which only the answer and the calls count, as most published programs of the field read one.

    The first answer that says anything counts, else the last calls, as many as the grammar allows. What stands before
    is the thought. Raises FormatError: there is neither, or a call is not written as its form says.
    """
    found = marks(text, grammar)
    if grammar.answer:
        for start, end in _spans(found, grammar.answer, len(text)):
            if answer := text[start.end : end].strip():
                return Turn(_thought(text[: start.start], grammar), answer=answer)
    calls = [
        (start, end, form)
        for form in grammar.calls
        if not form.bare
        for start, end in _spans(found, (form.open, form.close), len(text))
    ]
    calls = sorted(calls, key=lambda call: call[0].start)[-grammar.most_calls :]
    if calls:
        bodies = [(text[start.end : end].strip(), form) for start, end, form in calls]
        return Turn(_thought(text[: calls[0][0].start], grammar), _calls_of(bodies, grammar))
    if grammar.answer is None or any(form.bare for form in grammar.calls):
        ends = [mark.end for mark in found if grammar.think and mark.text == grammar.think[1].strip()]
        behind = max(ends, default=0)
        turn = _unmarked(text[behind:], None, [], grammar)
        return msgspec.structs.replace(turn, think=_thought(f"{text[:behind]} {turn.think}", grammar))
    raise _unlike(found, grammar)


def _spans(found: list[Mark], parts: Marks, end: int) -> Iterator[tuple[Mark, int]]:
    """Each part between two marks: the mark that opens it, and where it ends; one without an end mark goes on to the
    end of the text.
    """
    opening, closing = (part.strip() for part in parts)
    begun: Mark | None = None
    for mark in found:
        if mark.text == opening and not closing:
            yield mark, end
        elif mark.text == opening:
            begun = mark
        elif mark.text == closing and begun:
            yield begun, mark.start
            begun = None


def _thought(text: str, grammar: Grammar) -> str:
    for mark in grammar.think or ():
        text = text.replace(mark.strip(), "")
    return text.strip()


def stopped(text: str, grammar: Grammar) -> str:
    """A reply up to the first of the texts that end one, which an engine that stops there would not have gone past."""
    return up_to(text, grammar.stop)


def up_to(text: str, stops: Sequence[str]) -> str:
    ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))]


def printable(text: str) -> str:
    """The text with lone surrogates, which no file or terminal takes, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _are(found: list[Mark], parts: Marks) -> bool:
    return [mark.text for mark in found] == [part.strip() for part in parts if part.strip()]


def _calling(think: str, text: str, rest: list[Mark], found: list[Mark], grammar: Grammar) -> Turn:
    """The turn of a reply that has nothing but calls behind its thought: `rest` are their marks, `found` all of it."""
    bodies: list[tuple[str, CallForm]] = []
    at = 0
    while at < len(rest):
        if len(bodies) == grammar.most_calls:
            if grammar.most_calls == 1:
                raise _unlike(found, grammar)
            raise FormatError("tags", f"the reply calls more than {grammar.most_calls} tools")
        form = next((form for form in grammar.calls if not form.bare and _begin(rest, at, form)), None)
        if form is None:
            raise _unlike(found, grammar)
        closed = bool(form.close.strip())
        bodies.append((text[rest[at].end : rest[at + 1].start if closed else len(text)].strip(), form))
        at += 1 + closed
    if len(bodies) == 1:
        return _called(think, *bodies[0], grammar.most_calls)
    if any(form.acts for _, form in bodies):
        raise _unlike(found, grammar)
    return Turn(think, _calls_of(bodies, grammar))


def _calls_of(bodies: Sequence[tuple[str, CallForm]], grammar: Grammar) -> tuple[ToolText, ...]:
    calls = [call for inner, form in bodies for call in tools_of(inner, form, grammar.most_calls)]
    if len(calls) > grammar.most_calls:
        raise FormatError("tags", f"the reply calls more than {grammar.most_calls} tools")
    return tuple(calls)


def _begin(rest: list[Mark], at: int, form: CallForm) -> bool:
    """Whether the marks from there on begin with those of a form; one without an end is the last."""
    parts = [part.strip() for part in (form.open, form.close) if part.strip()]
    return [mark.text for mark in rest[at : at + len(parts)]] == parts and (len(parts) == 2 or len(rest) == at + 1)


def _called(think: str, inner: str, form: CallForm, most: int) -> Turn:
    if not form.acts:
        return Turn(think, tools_of(inner, form, most))
    acted = actions_of(inner, form, most)
    return acted if acted.think else Turn(think, acted.calls, acted.answer)


def _unmarked(text: str, think: str | None, found: list[Mark], grammar: Grammar) -> Turn:
    behind = found[-1].end if found else 0
    form = next((form for form in grammar.calls if form.bare), None)
    start = bare_start(text, behind) if form else None
    if form and start is not None:
        end = bare_end(text, start)
        if text[end:].strip() not in ("", _FENCE):
            raise FormatError("tags", "the reply continues after its tool call")
        before = (text[:start] if think is None else think).strip()
        return _called(before, text[start:end], form, grammar.most_calls)
    if grammar.answer:
        raise _unlike(found, grammar)
    return Turn((think or "").strip(), answer=text[behind:].strip())


def _unlike(found: list[Mark], grammar: Grammar) -> FormatError:
    behind = [mark.strip("<>") or "JSON object" for mark in dict.fromkeys(form.open for form in grammar.calls)]
    behind += [grammar.answer[0].strip("<>")] if grammar.answer else []
    wanted = [grammar.think[0].strip("<>")] if grammar.think else []
    wanted += [" or ".join(behind)] if behind else []
    there = " ".join(mark.text for mark in found[:8]) or "none"
    return FormatError("tags", f"the tags are not one {' and one '.join(wanted)}, but {there}")
