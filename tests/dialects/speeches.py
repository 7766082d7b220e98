"""The ways in which stock models write a turn: what a server's parsers take out of it, and what they leave as content.

A speech makes a turn of a thought and a call, and of a thought and an answer. What it returns goes over a wire.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wires import Call, Said

LOOKING = "The coloured place is small. I look at it alone."
READING = "Seen from near, it reads seven and three."


@dataclass(frozen=True)
class Speech:
    """How a model speaks. `thinks`: whether its thoughts can be known from its turns, and so are to be shown."""

    call: Callable[[Call], Said]
    answer: Callable[[str], Said]
    thinks: bool = True


def hermes(call: Call) -> str:
    """A call as Qwen's models write it."""
    return f"<tool_call>\n{json.dumps({'name': call.name, 'arguments': call.arguments})}\n</tool_call>"


def xml(call: Call) -> str:
    """A call as Qwen3.5 writes it."""
    lines = [f"<parameter={key}>\n{_raw(value)}\n</parameter>" for key, value in call.arguments.items()]
    return "\n".join(("<tool_call>", f"<function={call.name}>", *lines, "</function>", "</tool_call>"))


def glm(call: Call, between: str = "\n") -> str:
    """A call as GLM-4.5V and 4.6V write it."""
    pairs = [
        f"<arg_key>{key}</arg_key>{between}<arg_value>{_raw(value)}</arg_value>"
        for key, value in call.arguments.items()
    ]
    return "<tool_call>" + between.join((call.name, *pairs)) + f"{between}</tool_call>"


def gemma(call: Call) -> str:
    """A call as Gemma 4 writes it."""
    inner = ",".join(f"{key}:{_gemma_value(call.arguments[key])}" for key in sorted(call.arguments))
    return f"<|tool_call>call:{call.name}{{{inner}}}<tool_call|>"


def bare(call: Call) -> str:
    """A call as JSON without any marks."""
    return json.dumps({"name": call.name, "arguments": call.arguments})


def fenced(call: Call) -> str:
    """A call in a block of code."""
    return f"```json\n{json.dumps({'name': call.name, 'arguments': call.arguments}, indent=2)}\n```"


def with_arguments(speech: Speech, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Speech:
    """The same speech with other arguments of each call."""
    return Speech(lambda call: speech.call(Call(call.name, change(dict(call.arguments)))), speech.answer, speech.thinks)


def in_text(write: Callable[[Call], str], before: str = "", answer: str = "{answer}", thinks: bool = False) -> Speech:
    """Calls in the content, `before` in front of them; `answer` is the content of the last turn.

    Both name the thought of their turn as {thought}.
    """
    return Speech(
        lambda call: Said(before.format(thought=LOOKING) + write(call)),
        lambda text: Said(answer.format(thought=READING, answer=text)),
        thinks,
    )


def structured(content: str = "", answer: str = "{answer}", thinks: bool = False) -> Speech:
    """Calls that the server takes out of the content."""
    return Speech(
        lambda call: Said(content.format(thought=LOOKING), calls=(call,)),
        lambda text: Said(answer.format(thought=READING, answer=text)),
        thinks,
    )


def apart(speech: Speech) -> Speech:
    """The same with the thought in the server's own field."""

    def call(wanted: Call) -> Said:
        said = speech.call(wanted)
        return Said(said.content, LOOKING, said.calls)

    return Speech(call, lambda text: Said(speech.answer(text).content, READING))


def several(speech: Speech) -> Speech:
    """Structured calls of which a second one, of another place, follows the first."""

    def call(wanted: Call) -> Said:
        said = speech.call(wanted)
        boxes = {key: [0, 0, 100, 100] for key, value in wanted.arguments.items() if isinstance(value, list)}
        return Said(said.content, said.thought, (*said.calls, Call(wanted.name, wanted.arguments | boxes)))

    return Speech(call, speech.answer, speech.thinks)


def _raw(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _gemma_value(value: object) -> str:
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    return json.dumps(value, separators=(",", ":"))
