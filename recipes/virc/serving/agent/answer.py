"""One sample as it is answered: its text or why there is none, how it ended, and what it took."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

from virc.backends.interface import Backend, TooLongError
from virc.core.errors import ConfigError
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.reasoning.lenient import makes_call
from virc.reasoning.marks.special_tokens import first_turn, last_answer, leading_thoughts, unwrapped, without_special
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Ask, Message, Reply, Unit
from virc.solving.one import Attempt, Event, SampleStart, SolveConfig, TextDelta

TOO_LONG = "the conversation is longer than the model's context length"
"""The message if the context is full; of a sample that had begun, the reason of its end."""

Finish = Literal["stop", "length", "tool_calls"]


class ClientCall(msgspec.Struct, frozen=True):
    """A call of a tool of the client's own; `arguments` are JSON."""

    name: str
    arguments: str


class Answer(msgspec.Struct, frozen=True):
    """A finished sample.

    Args:
        refusal: why there is none; None: there is one.
        call: the call that the request forces; there is no content then.
        finish: `length` if a limit of tokens cut it, or the context was full.
        prompt_tokens, completion_tokens: of all its turns.
        warnings: what is not shown of the pictures, in sentences.
    """

    content: str
    refusal: str | None = None
    finish: Finish = "stop"
    call: ClientCall | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    warnings: Sequence[str] = ()


def answer_of(attempt: Attempt) -> Answer:
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
    return isinstance(error, TooLongError) or (isinstance(error, ConfigError) and "context" in error.message.lower())


def text_answers(
    messages: Sequence[Message], config: SolveConfig, backend: Backend, protocol: Protocol, deadline: Deadline,
    on_event: Callable[[Event], None],
) -> Iterator[Answer]:  # fmt: skip
    """Answer a conversation as often as `config` has samples; what `on_event` raises ends it."""
    sampling = config.samplings(protocol.sampling)[0]

    def on_text(text: str) -> None:
        deadline.check()
        on_event(TextDelta(text))

    for sample in range(config.samples):
        on_event(SampleStart(sample + 1, config.samples))
        deadline.check()
        own = msgspec.structs.replace(sampling, seed=derived(config.seed, sample, 0))
        reply = backend.reply(Ask(tuple(messages), ()), own, on_text, deadline.left())
        thought, content = parts(reply)
        if thought:
            on_event(Unit(reply.text, thought))
        refusal = reply.refusal or (None if content else "the model wrote no answer")
        finish: Finish = "length" if reply.finish == "length" else "stop"
        yield Answer(content, refusal, finish, None, reply.prompt_tokens or 0, reply.completion_tokens or 0)


def parts(reply: Reply) -> tuple[str, str]:
    """The thought and the answer of a reply to plain text; a trained model may write both in its tags.

    A reply that calls a tool has no answer: none was offered.
    """
    thought, content = leading_thoughts(first_turn(reply.text))
    answer = "" if makes_call(content, {}) else last_answer(content)
    return (reply.thought or thought).strip(), unwrapped(without_special(answer).strip())
