"""One sample as it is answered: its text or why there is none, how it ended, and what it took."""

from typing import Literal

import msgspec

from virc.backends.interface import TooLongError
from virc.core.errors import ConfigError
from virc.solving.one import Attempt

TOO_LONG = "the conversation is longer than the model's context length"
"""The message where the context is full; of a sample that had begun, the reason of its end."""

Finish = Literal["stop", "length", "tool_calls"]


class ClientCall(msgspec.Struct, frozen=True):
    """A call of a tool of the client's own; `arguments` are JSON."""

    name: str
    arguments: str


class Answer(msgspec.Struct, frozen=True):
    """A finished sample.

    Args:
        content: the answer.
        refusal: why there is none; None: there is one.
        call: the call that the request forces; there is no content then.
        finish: `length` where a limit of tokens cut it, or the context was full.
        prompt_tokens, completion_tokens: of all its turns.
    """

    content: str
    refusal: str | None = None
    finish: Finish = "stop"
    call: ClientCall | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


def answer_of(attempt: Attempt) -> Answer:
    """A sample of the tool loop."""
    trace = attempt.trace
    tokens = (attempt.prompt_tokens or 0, attempt.completion_tokens or 0)
    if trace.answer is not None:
        return Answer(trace.answer, None, "stop", None, *tokens)
    content = (trace.units[-1].answer if trace.units else None) or ""
    assert trace.failure
    why = TOO_LONG if trace.failure.kind == "engine" else trace.failure.message  # the engine's own words stay here
    is_cut = trace.failure.kind == "engine" or (trace.pending and trace.pending[-1].kind == "length")
    return Answer(content, why, "length" if is_cut else "stop", None, *tokens)


def is_too_long(error: BaseException) -> bool:
    """Whether a conversation was longer than the model takes, as it says or its server."""
    return isinstance(error, TooLongError) or (isinstance(error, ConfigError) and "context" in error.message.lower())
