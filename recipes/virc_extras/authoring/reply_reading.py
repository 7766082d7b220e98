"""How replies are read by a chat protocol, and what would be sent next: without a model, on a blank picture."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from virc.core.errors import ConfigError, VircError
from virc.core.text import plain
from virc.reasoning.calls import Box, Size
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Done, Rejected, Reply, Session
from virc.reasoning.trace import CallResult, ImageRecord
from virc.solving.reading import Sent, blank_session, sent_turn


class ReadCall(msgspec.Struct, frozen=True):
    """A tool call of a reply, by our names.

    Args:
        tool: None if the call cannot be carried out.
        image: index of the image that it is about.
        size: (width, height) of that image in pixels as shown.
        box: in pixels of that image as shown.
        cut: the part that was cut out, in pixels of the picture's file; None if crops are not cut from it.
        arguments: its other arguments.
        deviations: the deviations that were forgiven.
        error: why it cannot be carried out, in the sentence for the model.
        reason: the same in a sentence for the user.
    """

    tool: str | None = None
    image: int | None = None
    size: Size | None = None
    box: Box | None = None
    cut: Box | None = None
    arguments: dict[str, Any] = {}
    deviations: tuple[str, ...] = ()
    error: str | None = None
    reason: str | None = None


class ReadReply(msgspec.Struct, frozen=True):
    thought: str | None = None
    calls: tuple[ReadCall, ...] = ()
    answer: str | None = None
    fault: str | None = None
    sent: tuple[Sent, ...] = ()
    failure: str | None = None


def read_replies(replies: Iterable[str], protocol: Protocol, size: Size, grid: Grid = QWEN2) -> Iterator[ReadReply]:
    """Read replies one after the other as those of one problem; after an answer another problem begins."""
    session = blank_session(protocol, size, grid)
    for reply in replies:
        if isinstance(session.next(), Done):
            session = blank_session(protocol, size, grid)
        yield read_reply(session, reply)


def read_reply(session: Session, reply: str) -> ReadReply:
    """Feed a reply to a session. Raises ConfigError: the file of a tool fails."""
    sizes, before = session.history.sizes, len(session.trace().messages)
    try:
        unit = session.feed(Reply(reply))
    except VircError:
        raise
    except Exception as error:  # whatever the file of a tool raises
        fault = f"a tool of the system fails: {type(error).__name__}: {plain(error, 200)}"
        raise ConfigError(fault, "`source` is None if the tool's SCHEMA has no image_index") from error
    if isinstance(unit, Rejected):
        return ReadReply(fault=unit.reason)
    trace = session.trace()
    return ReadReply(
        unit.think,
        tuple(_read_call(each, sizes, trace.images) for each in unit.results),
        unit.answer,
        sent=tuple(sent_turn(each, session) for each in trace.messages[before + 1 :]),
        failure=trace.failure.message if trace.failure else None,
    )


def _read_call(result: CallResult, sizes: list[Size], images: list[ImageRecord]) -> ReadCall:
    if result.call is None:
        return ReadCall(error=result.error, reason=result.reason)
    call = result.call
    arguments = call.arguments if call.factor is None else {**call.arguments, "scale_factor": call.factor}
    size = None if call.index is None or call.index >= len(sizes) else sizes[call.index]
    cut = next((images[index].region for index in result.images), None) if call.box else None
    return ReadCall(call.name, call.index, size, call.box, cut, dict(arguments), result.deviations, result.error)
