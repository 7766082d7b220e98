"""The rollouts of one problem: how they are drawn, how each ends, and what a row says of their problem."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from virc.core.errors import DataError, at_place
from virc.core.timeouts import Deadline
from virc.data.convert.recode import sized
from virc.data.rows.record import MARK, Message, Record
from virc.data.rows.results import TURN, joined
from virc.families.registry import taught
from virc.models.load import Opened
from virc.reasoning import trace
from virc.reasoning.images import Shown
from virc.reasoning.protocol import Protocol
from virc.scoring.answers import same_answer
from virc.scoring.score import Key, key_of
from virc.solving.one import Attempt, SolveConfig, attempts, is_fatal
from virc.solving.rows import ProblemRow


class SampledProblem(msgspec.Struct, frozen=True):
    row: ProblemRow
    key: Key

    def accepts(self, answer: str) -> bool:
        return any(same_answer(answer, each, self.key.choices) for each in self.key.accepted)


class Rollout(msgspec.Struct, frozen=True):
    """The `number`th rollout of a problem, from 1, and how it ended: `right`, `wrong`, or what is wrong in it."""

    number: int
    attempt: Attempt
    end: str


def problem_of(row: ProblemRow) -> SampledProblem:
    """The problem of a row. Raises DataError: it has no answer, or its question shows an image within its text."""
    with at_place(f"line {row.line}"):
        key = key_of({name: row.passed.get(name) for name in ("answer", "answers", "choices")})
    if MARK in row.question:
        raise DataError(f"line {row.line}: the question holds {MARK}, which stands for an image in training data")
    return SampledProblem(row, key)


def drawn(
    solving: SolveConfig, opened: Opened, problem: SampledProblem, images: Sequence[Shown], time: Deadline
) -> Iterator[Rollout]:
    ended: Counter[str] = Counter()
    drawn = attempts(solving, opened.backend, opened.chat_protocol, images, problem.row.question, deadline=time)
    for number, attempt in enumerate(drawn, 1):
        broken, last = attempt.broken, number == solving.samples and not ended.keys() - {"failed"}
        if broken is not None and (last or is_fatal(broken)):
            raise broken
        end = end_of(attempt.trace, problem)
        ended[end] += 1
        yield Rollout(number, attempt, end)


def end_of(trace: trace.Trace, problem: SampledProblem) -> str:
    if trace.answer is None:
        assert trace.failure
        kind = trace.failure.kind
        return "failed" if kind == "engine" else trace.pending[-1].kind if kind == "tries" else kind
    if any(mark in message.text for message in trace.messages for mark in (MARK, TURN)):
        return "marks"
    return "right" if problem.accepts(trace.answer) else "wrong"


def messages_of(messages: Sequence[trace.Message], protocol: Protocol) -> tuple[Message, ...]:
    system = taught(protocol).system
    said = (each for each in joined(messages) if each.role != "system")
    return (Message("system", system), *said) if system else tuple(said)


def fields_of(problem: SampledProblem, attempt: Attempt) -> Mapping[str, Any]:
    """The further fields of a row: those of its problem, and the sizes of the files of its images.

    Without these sizes, boxes are in pixels of the images that the row has, which were shown smaller.
    """
    passed = {key: value for key, value in problem.row.passed.items() if key not in ("question", "answer")}
    return sized(Record((), extra=passed), attempt.images, attempt.trace.protocol).extra


def record_of(problem: SampledProblem, attempt: Attempt, messages: Sequence[trace.Message], number: int) -> Record:
    """The row of the `number`th of what is kept of a problem, with these messages; its images are stored apart."""
    return Record(
        messages_of(messages, attempt.trace.protocol),
        id=f"{problem.row.id}-{number}",
        question=str(problem.row.passed["question"]),
        answer=problem.key.answer,
        extra=dict(fields_of(problem, attempt)),
    )
