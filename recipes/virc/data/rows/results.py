"""Results inside the assistant's turn, as rows hold them: one message with its thoughts, calls and `<image>` marks.

LLaMA-Factory wants user and assistant to alternate. So all that the assistant says between two turns of the user is one
message there, and is taken apart again by the chat protocol.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache

import msgspec

from virc.data.rows.record import MARK, Message, Record, content_of
from virc.reasoning import trace
from virc.reasoning.grammar import Grammar
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import IMAGE, Protocol

TURN = "<|im_end|>\n<|im_start|>assistant\n"
"""Between two turns of the assistant in one message: LLaMA-Factory's tokenizer makes the ids of that of it."""

_LONGEST = 8_000  # characters of a text or an error, so that no row takes long
_WORDS = re.compile(r"\{(?:text|error|question)\}")
_PLACEHOLDER = re.compile(r"\\\{(\w+)\\\}")


def joined(messages: Iterable[trace.Message]) -> list[Message]:
    found: list[Message] = []
    inline = False
    for each in messages:
        content = content_of(each)
        if found and each.role == "assistant" == found[-1].role:
            between = "" if inline or each.inserted == "inline" else TURN
            found[-1] = Message("assistant", found[-1].content + between + content)
        else:
            found.append(Message(each.role, content))
        inline = each.inserted == "inline"
    return found


def split_results(record: Record, protocol: Protocol | None) -> Record:
    """A record with each reply and each result as a message of its own, results as the user's; marks stay in order."""
    if protocol is None or protocol.results == "user":
        return record
    messages = tuple(
        each
        for message in record.messages
        for each in (_split_reply(message.content, protocol) if message.role == "assistant" else (message,))
    )
    return msgspec.structs.replace(record, messages=messages)


def _split_reply(content: str, protocol: Protocol) -> Iterator[Message]:
    if protocol.results == "assistant":
        yield from _turns(content.split(TURN), protocol.grammar)
        return
    end = 0
    shown, told = (protocol.after_image, protocol.after_scale), (protocol.after_text, protocol.after_error)
    fixed = [text for text in protocol.error_texts.values() if "{" not in text]
    errors = tuple(protocol.after_error.replace("{error}", text) for text in fixed)
    for found in _results(shown, told, errors, protocol.grammar.stop).finditer(content):
        yield Message("assistant", content[end : found.start()])
        yield Message("user", found[0])
        end = found.end()
    if content[end:]:
        yield Message("assistant", content[end:])


def _turns(turns: list[str], grammar: Grammar) -> Iterator[Message]:
    while turns:
        reply, *turns = turns
        yield Message("assistant", reply)
        count = 1  # a reply that cannot be read has an error behind it
        with suppress(FormatError):
            count = len(parse(reply, grammar).calls)
        if turns and count:
            yield Message("user", "\n".join(turns[:count]))
        turns = turns[count:]


@lru_cache
def _results(
    shown: tuple[str, ...], told: tuple[str, ...], errors: tuple[str, ...], stops: tuple[str, ...]
) -> re.Pattern[str]:
    """What results of a turn look like, by their templates; a text or an error is found where words stand around it.

    An error of the protocol's own words, which may be blank, is found behind what ends a reply.
    """
    parts = [_WORDS.split(each) for each in told]
    closed = [each for each, words in zip(told, parts, strict=True) if words[0].strip() and words[-1].strip()]
    known = [*(each if IMAGE in each else IMAGE + each for each in shown), *closed]
    ways = [f"(?:{'|'.join(dict.fromkeys(map(_pattern, known)))})+"]
    if behind := "|".join(f"(?<={re.escape(each)})" for each in stops):
        ways += [f"(?:{behind}){_pattern(each)}" for each in sorted(errors, key=len, reverse=True)]
    return re.compile("|".join(ways), re.DOTALL)


def _pattern(template: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] == "image":
            return re.escape(MARK)
        return f".{{0,{_LONGEST}}}?" if found[1] in ("text", "error", "question") else "[0-9]{1,9}"

    return _PLACEHOLDER.sub(value, re.escape(template))
