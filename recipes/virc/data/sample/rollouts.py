"""The rollouts of one problem: how they are drawn, how each ends, and what a row says of their problem."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.timeouts import Deadline
from virc.data.rows import file_sizes
from virc.data.rows.record import MARK, Message
from virc.data.rows.results import TURN, joined
from virc.families.registry import taught
from virc.models.load import Opened
from virc.reasoning import trace
from virc.reasoning.images import Shown
from virc.reasoning.protocol import Protocol
from virc.scoring.rules import same
from virc.solving.one import Attempt, OnEvent, SolveConfig, attempts, ends_all
from virc.solving.rows import Row


class Problem(msgspec.Struct, frozen=True):
    """A row with the answer that rollouts are compared with, and its choices."""

    row: Row
    reference: str
    choices: Sequence[str]


class Rollout(msgspec.Struct, frozen=True):
    """The `number`th rollout of a problem, from 1, and how it ended: `right`, `wrong`, or what is wrong in it."""

    number: int
    attempt: Attempt
    end: str


def problem_of(row: Row) -> Problem:
    """The problem of a row. Raises DataError: it has no answer, or its question shows an image within its text."""
    answer, choices = row.passed.get("answer"), [str(choice) for choice in row.passed.get("choices") or ()]
    reference = str(answer)
    if type(answer) not in (str, int, float) or not reference.strip():
        raise DataError(f"line {row.line}: it has no answer to compare the rollouts with")
    if MARK in row.question:
        raise DataError(f"line {row.line}: the question holds {MARK}, which stands for an image in training data")
    return Problem(row, reference, choices)


def drawn(
    solving: SolveConfig, opened: Opened, problem: Problem, images: Sequence[Shown], on_event: OnEvent, time: Deadline
) -> Iterator[Rollout]:
    """The rollouts of a problem, one by one.

    Args:
        solving: how; of its `samples` there is a rollout each.

    Raises:
        VircError: the model failed for a reason that the other rollouts would fail with, too, or in all of them.
    """
    ended: Counter[str] = Counter()
    drawn = attempts(
        solving, opened.backend, opened.chat_protocol.protocol, images, problem.row.question,
        on_event=on_event, deadline=time,
    )  # fmt: skip
    for number, attempt in enumerate(drawn, 1):
        broken, last = attempt.broken, number == solving.samples and not ended.keys() - {"failed"}
        if broken is not None and (last or ends_all(broken)):
            raise broken
        end = end_of(attempt.trace, problem)
        ended[end] += 1
        yield Rollout(number, attempt, end)


def end_of(trace: trace.Trace, problem: Problem) -> str:
    """How a rollout ended: `right`, `wrong`, `failed` where the model did, else what was wrong in it."""
    if trace.answer is None:
        assert trace.failure
        kind = trace.failure.kind
        return "failed" if kind == "engine" else trace.pending[-1].kind if kind == "tries" else kind
    if any(mark in message.text for message in trace.messages for mark in (MARK, TURN)):
        return "marks"
    return "right" if same(trace.answer, problem.reference, problem.choices) else "wrong"


def messages_of(messages: Sequence[trace.Message], protocol: Protocol) -> tuple[Message, ...]:
    """The messages of a conversation as a row has them, with the system message that a model is taught."""
    system = taught(protocol).system
    said = (each for each in joined(messages) if each.role != "system")
    return (Message("system", system), *said) if system else tuple(said)


def fields_of(problem: Problem, attempt: Attempt) -> Mapping[str, Any]:
    """The further fields of a row: those of its problem, and the sizes of the files of its images."""
    passed = {key: value for key, value in problem.row.passed.items() if key not in ("question", "answer")}
    return {**passed, **file_sizes.fields(attempt.images, attempt.trace.protocol)}


def question_of(problem: Problem) -> str:
    """The question as the user wrote it, without the choices."""
    return str(problem.row.passed["question"])
