"""The body of a completion, streamed or whole, as a reply."""

from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from virc.backends.openai.body import WireError, error_text, failed, parsed, reported
from virc.backends.openai.received import responses
from virc.backends.openai.received.envelopes import unwrapped
from virc.backends.openai.received.frames import values
from virc.backends.openai.received.wire import Chunk, Gathered, Received, is_given


def read_reply(pieces: Iterable[bytes], most: int, on_text: Callable[[str], None] | None = None) -> Received:
    """Read the body of a completion, streamed or whole.

    Args:
        pieces: the bounded body.
        most: characters that the reply may have.
        on_text: gets its text in pieces.

    Raises:
        WireError: it is no completion, an error, too long, or ends before its end.
    """
    gathered, odd = Gathered(most, on_text), b""
    for number, value in enumerate(values(pieces, Chunk)):
        if value is None:
            gathered.done = True
            break
        chunk = value.read
        if not chunk.choices and not responses.take(value.data, gathered):
            chunk = _within(value.data) or chunk
            odd = odd or (b"" if chunk.choices else value.data)
            if not chunk.choices and gathered.has_choice and reported(said := parsed(value.data)):
                raise failed(said)
        gathered.add(chunk)
        # A message that is all of a body needs no other end; a stream may be cut behind it.
        gathered.done = gathered.has_message and number == 0 and not value.is_event
    if not gathered.has_choice and odd:
        raise _no_completion(odd)
    return gathered.reply()


def _within(data: bytes) -> Chunk | None:
    """The chunk in an envelope; None where there is none."""
    with suppress(msgspec.ValidationError):
        return msgspec.convert(unwrapped(parsed(data)), Chunk)
    return None


def _no_completion(data: bytes) -> WireError:
    """The error of an answer without choices."""
    said = parsed(data)
    if isinstance(said, dict) and said.get("type") in ("message", "message_start") and not is_given(said.get("error")):
        return WireError("answers as Anthropic's API does", status=404, body={"type": "error", "error": {}})
    if reported(said) and error_text(said):
        return failed(said)
    return WireError("sent something that is no chat completion", data[:2048].decode(errors="replace"))
