"""Chats without images, which the model answers in one turn: chat pages ask for a title so."""

import re
from collections.abc import Callable, Iterator, Sequence

import msgspec

from virc.backends.interface import Backend
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Ask, Message, Reply, Unit
from virc.serving.agent.answer import Answer, Finish
from virc.solving.one import Event, SampleStart, SolveConfig, TextDelta

_THOUGHT = re.compile(r"\s*<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL)


def answers(
    messages: Sequence[Message],
    config: SolveConfig,
    backend: Backend,
    protocol: Protocol,
    deadline: Deadline,
    on_event: Callable[[Event], None],
) -> Iterator[Answer]:
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
    """The thought and the answer of a reply to plain text; a trained model may write both in its tags."""
    thought = _THOUGHT.match(reply.text)
    content = reply.text[thought.end() :] if thought else reply.text
    marked = _ANSWER.search(content)
    text = marked[1] if marked else content
    return (reply.thought or (thought[1] if thought else "")).strip(), text.strip()
