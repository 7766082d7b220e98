"""What rows say of their problem beside its conversation: question, answer, choices, reference tool."""

from collections.abc import Iterator, Sequence

from virc.core.text import plain
from virc.data.check.verdict import Fault
from virc.data.rows.record import Record
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.messages import FormatError, parse
from virc.scoring.rules import same


def check_problem(record: Record) -> Iterator[Fault]:
    """The faults of a row without a conversation, as in batch files."""
    if not (record.question or "").strip():
        yield Fault("no_question", "it asks nothing")
    if not record.images:
        yield Fault("no_image", "it has no image")
    choices = choices_of(record)
    if (
        record.answer is not None
        and choices
        and not any(same(record.answer, each, choices) for each in choices)
    ):
        answer = plain(record.answer, 40)
        yield Fault("answer_not_offered", f"its answer {answer!r} is none of its choices")


def check_prompt(record: Record, tools: Sequence[str], grammar: Grammar = TAGS) -> Iterator[Fault]:
    """The faults of what verl and the reward are told of a row.

    Args:
        tools: names of those that the rows may call.
        grammar: how replies are written.
    """
    if not (record.question or "").strip():
        yield Fault("no_question", "extra_info has no question: the reward shows the judge none")
    if record.answer is None:
        yield Fault("no_ground_truth", "reward_model has no ground_truth: verl stops at it")
    info = record.extra.get("tool_info_gt")
    tool = info.get("name") if isinstance(info, dict) else None
    if tool is not None and tool not in tools:
        listed = ", ".join(tools)
        yield Fault("tool_info", f"tool_info_gt names {plain(tool, 40)!r}, which is not offered: {listed}")
    elif has_reference(record):
        yield from _reference(record, tool, grammar)


def _reference(record: Record, tool: str | None, grammar: Grammar) -> Iterator[Fault]:
    try:
        turn = parse(record.messages[-1].content, grammar)
    except FormatError:
        return  # said of the turn itself
    called = plain(turn.tool.name, 40) if turn.tool else None
    if called != tool:
        yield Fault(
            "tool_info", f"tool_info_gt names {tool or 'no tool'}, the reference calls {called or 'none'}"
        )


def has_reference(record: Record) -> bool:
    """Whether the last message of a prompt's record is the reply that is its reference."""
    replies = sum(message.role == "assistant" for message in record.messages)
    return record.messages[-1].role == "assistant" and record.extra.get("turn") != replies


def choices_of(record: Record) -> list[str] | None:
    """The choices of a problem, where it has some."""
    choices = record.extra.get("choices")
    return [str(choice) for choice in choices] if isinstance(choices, list) and choices else None
