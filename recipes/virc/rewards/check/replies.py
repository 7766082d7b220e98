"""Replies to try a reward on, in a system's own grammar: right, wrong, empty and malformed ones, and tool calls."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec

from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import Size
from virc.reasoning.messages import FormatError, Turn
from virc.reasoning.protocol import Protocol
from virc.reasoning.writing import written
from virc.solving.reading import MIDDLE, Shares, examples

_SHORT = "I look at the picture."
_LONG = " ".join(f"Step {number} reads {number * 7} off it." for number in range(1, 160))
_SAME = "It is so, as it is so, for it is so, and it is so."
_THOUGHTS = (_SHORT, _LONG, _SAME, "")
_WRONG = ("0", "none of these", "(1, 1, 2, 2)", "[1, 1, 2, 2]")
_CORNER: Shares = (0.02, 0.02, 0.1, 0.1)
_WHOLE: Shares = (0.0, 0.0, 1.0, 1.0)
_NO_IMAGE = 99


class Try(msgspec.Struct, frozen=True):
    """The replies of a rollout, one for each turn, and what they are in a few words."""

    about: str
    replies: tuple[str, ...]


def tries(protocol: Protocol, answers: Sequence[str], size: Size, boxes: Sequence[Shares] = ()) -> list[Try]:
    """Rollouts to try.

    Args:
        answers: the right one, and others that are in part right.
        size: (width, height) in pixels of the file of the first image.
        boxes: where the answer is seen.
    """
    right = [
        each
        for number, text in enumerate(answers)
        for each in _answers(protocol, text, _THOUGHTS[: 1 if number else None])
    ]
    wrong = [each for text in _WRONG for each in _answers(protocol, text, (_SHORT,))]
    good, refused = [*_calls(protocol, size, boxes)], [*_refused(protocol, size)]
    found = [Try("the right answer", (text,)) for text in right]
    found += [Try("wrong answers", (text,)) for text in wrong]
    found += [Try("malformed replies", (text,)) for text in _malformed(right, good, answers[0])]
    found += [Try("tool calls", (text,)) for text in good]
    found += [Try("refused tool calls", (text,)) for text in refused]
    for about, calls in (("answers after tool calls", good[:1] + good[-1:]), ("answers after refused calls", refused)):
        found += [Try(about, (call, last)) for call in calls[:2] for last in (*right[:2], *wrong[:1])]
    found += [Try("answers after tool calls", (good[0], good[-1], right[0]))] if good and right else []
    return list(dict.fromkeys(found))


def _answers(protocol: Protocol, answer: str, thoughts: Sequence[str]) -> Iterator[str]:
    """Replies that answer so, bare and in a box."""
    for text in dict.fromkeys((answer, f"\\boxed{{{answer}}}")):
        for thought in thoughts:
            with suppress(FormatError):
                yield written(Turn(thought, answer=text), protocol.grammar)
            if protocol.grammar.think is None or protocol.grammar.answer is None:
                yield f"<think>{thought}</think>\n{text}"


def _calls(protocol: Protocol, size: Size, boxes: Sequence[Shares]) -> Iterator[str]:
    for box in (*boxes, MIDDLE, _CORNER, _WHOLE):
        with suppress(Exception):  # whatever the schema of an own tool is
            yield from examples(protocol.tools, protocol, size, box=box)


def _refused(protocol: Protocol, size: Size) -> Iterator[str]:
    """Calls of an image that there is not, and of a box without an area."""
    with suppress(Exception):
        yield from examples(protocol.tools, protocol, size, arguments={INDEX: _NO_IMAGE})
        yield from examples(protocol.tools, protocol, size, box=(0.5, 0.5, 0.5, 0.5))


def _malformed(right: Sequence[str], calls: Sequence[str], answer: str) -> Iterator[str]:
    yield from ("", "I cannot tell.", answer, f"<answer>{answer}</answer>", f"\\boxed{{{answer}}}")
    for text in (*right[:1], *calls[:1]):
        yield from (text[:-4], text[len(text) // 2 :], text + text, "\n".join((*calls[:1], text)))
