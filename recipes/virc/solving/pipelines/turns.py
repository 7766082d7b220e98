"""What a role is sent: turns with pictures in their places, and the conversation before them."""

import re
from collections.abc import Mapping, Sequence

import msgspec

from virc.config.placeholders import filled
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.session import Ask
from virc.reasoning.trace import Message
from virc.solving.pipelines.schema import Role, Step
from virc.solving.pipelines.values import Turn, Values


def turn(step: Step, texts: Mapping[str, str], values: Values) -> Turn:
    """The turn that a step sends.

    Pictures that the prompt names, of values that hold no text, stand where it names them; others before it.

    Args:
        texts: name -> what it is filled with in the prompt.
    """
    named = [name for name in step.pictures if name in step.placeholders and values[name].pictures]
    placed = [name for name in named if not values[name].texts]
    pictures = [picture for name in step.pictures if name not in placed for picture in values[name].pictures]
    at, prompt = [0] * len(pictures), ""
    marks = rf"\{{({'|'.join(placed)})\}}" if placed else r"(?!)"
    for number, piece in enumerate(re.split(marks, step.prompt or "")):
        if number % 2:
            pictures += values[piece].pictures
            at += [len(prompt)] * len(values[piece].pictures)
        else:
            prompt += filled(piece, texts, f"prompt of {step.name}")
    return Turn(prompt, tuple(pictures), tuple(at))


def request(role: Role, turns: Sequence[Turn], shown: Sequence[Shown]) -> Ask:
    """A role's system message and the turns; `shown` are all their pictures, as its model sees them."""
    messages = [Message("system", role.system)] if role.system is not None else []
    count = 0
    for each in turns:
        own = tuple(range(count, count + len(each.pictures)))
        count += len(own)
        messages.append(Message("user", each.prompt, own, at=each.at))
        if each.reply is not None:
            messages.append(Message("assistant", each.reply))
    return Ask(messages, shown)


def pictures_of(turns: Sequence[Turn]) -> list[OpenedImage]:
    """Those of all turns, in their order."""
    return [picture for each in turns for picture in each.pictures]


def answered(turns: Sequence[Turn], reply: str) -> tuple[Turn, ...]:
    """The turns with a reply to the last one."""
    return (*turns[:-1], msgspec.structs.replace(turns[-1], reply=reply))
