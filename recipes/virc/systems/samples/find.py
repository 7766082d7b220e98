"""What sample replies show of a chat protocol: a grammar is proposed, and kept where the reader reads them by it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from virc.core.text import plain
from virc.reasoning import lenient
from virc.reasoning.grammar import TAGS, CallForm, Grammar, Marks
from virc.reasoning.messages import FormatError, ToolText, parse
from virc.reasoning.protocol import Reading
from virc.systems.samples import forms
from virc.systems.samples.parts import Parts, WrittenCall, apart
from virc.tools import registry as tools

_MOST = 50_000
"""Characters that are read of a reply: how marks are found takes time with the square of it."""


class Sample(msgspec.Struct, frozen=True):
    """What replies show; `example`: the first call, `notes`: what was guessed, `unread`: reply, from 1 -> fault."""

    grammar: Grammar
    reading: Reading
    tools: tuple[str, ...]
    called: Mapping[str, Sequence[Mapping[str, Any]]]
    boxes: forms.Boxes
    size: str | None
    example: str | None
    notes: tuple[str, ...]
    unread: Mapping[int, str]


def found(replies: Sequence[str]) -> Sample:
    """What these replies show; one of them should call a tool, another should answer."""
    replies = [reply[:_MOST] for reply in replies]
    split = [apart(reply) for reply in replies]
    calls = [call for parts in split for call in parts.calls]
    notes: list[str] = []
    think = next((parts.think for parts in split if parts.think), None)
    answer = _answer(split, calls, notes)
    written, meant = forms.forms(calls, notes)
    offered = tuple(tool if tools.known_here(tool) else f"./{tool}.py" for tool in meant)
    notes += ["no reply calls a tool, so that none is offered"] * (not calls)
    odd = dict.fromkeys(mark for parts in split for mark in parts.odd)
    notes += [f"{plain(mark, 40)} is no mark of a thought, a call or an answer that is known here" for mark in odd][:8]
    alone = dict.fromkeys(mark for parts in split for mark in parts.alone)
    notes += [f"{plain(mark, 40)} is opened or closed alone in a reply" for mark in alone][:8]
    boxes = forms.boxes(calls, notes)
    most = max(len(parts.calls) for parts in split)
    tries = [
        (grammar, reading, _unread(replies, split, grammar, reading, offered))
        for grammar, reading in _grammars(think, answer, written, max(1, most))
    ]
    grammar, reading, unread = min(tries, key=lambda each: len(each[2]), default=(TAGS, "strict", {}))
    if grammar.loose:
        notes.append("some replies lack marks or have several, so that it is `loose`: an answer counts, else the calls")
    if reading == "lenient":
        notes.append("no grammar writes these calls, so that `reading` is lenient: as any stock model's are read")
    example = calls[0].text if calls else None
    size = forms.size(calls, boxes)
    return Sample(grammar, reading, offered, meant, boxes, size, example, tuple(dict.fromkeys(notes)), unread)


def _answer(split: Sequence[Parts], calls: Sequence[WrittenCall], notes: list[str]) -> Marks | None:
    """The marks of the answer; None where a turn without a call is the answer, or an action answers."""
    if answer := next((parts.answer for parts in split if parts.answer), None):
        return answer
    if any(call.body in ("actions", "step") for call in calls):
        return None
    if any(not parts.calls for parts in split):
        notes.append("no marks of an answer are known here: a reply without a call is the answer as a whole")
        return None
    notes.append("no reply answers, so that the marks of the answer are a guess")
    return TAGS.answer


def _grammars(
    think: Marks | None, answer: Marks | None, calls: tuple[CallForm, ...], most: int
) -> Iterator[tuple[Grammar, Reading]]:
    """The grammars to try, the strictest first; none where two parts open with the same mark."""
    with suppress(ValueError):
        yield Grammar(think, calls, answer, most_calls=most), "strict"
        yield Grammar(think, calls, answer, most_calls=most, loose=True), "strict"
    named = tuple(form for form in calls if form.body == "call" and form.open == TAGS.calls[0].open)
    if named:
        with suppress(ValueError):
            yield Grammar(calls=named, most_calls=most), "lenient"


def _unread(
    replies: Sequence[str], split: Sequence[Parts], grammar: Grammar, reading: Reading, offered: Sequence[str]
) -> dict[int, str]:
    faults, known = {}, tools.offered(offered)
    for number, (reply, parts) in enumerate(zip(replies, split, strict=True), 1):
        try:
            turn = lenient.read(reply, grammar, known).turn if reading == "lenient" else parse(reply, grammar)
        except FormatError as error:
            faults[number] = str(error)
            continue
        if turn.answer is None and len(turn.calls) != len(parts.calls):
            faults[number] = f"{len(turn.calls)} of its {len(parts.calls)} calls are read"
        elif lacks := next((each for tool in turn.calls for each in _lacking(tool)), None):
            faults[number] = lacks
        elif turn.answer is not None and parts.calls and not parts.calls[0].answers and not parts.answer:
            faults[number] = "its call is taken for an answer"
    return faults


def _lacking(tool: ToolText) -> Iterator[str]:
    if tools.known_here(tool.name):
        needed = tools.get(tool.name).SCHEMA["function"]["parameters"]["required"]
        yield from (f"its call of {tool.name} has no {name}" for name in needed if name not in tool.arguments)
