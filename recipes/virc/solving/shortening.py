"""A conversation that the model takes no further: without its oldest crops, or with the request to answer now."""

from collections.abc import Collection

import msgspec

from virc.reasoning.session import Ask, Message

_GONE = "[This image is no longer shown.]"
_NOW = "Give your final answer now, from what you have seen; ask for nothing more."


def oldest(ask: Ask, gone: Collection[int]) -> list[int]:
    begun = next((at for at, each in enumerate(ask.messages) if each.role == "assistant"), len(ask.messages))
    crops = [index for each in ask.messages[begun:] for index in each.images if index not in gone]
    return crops[: (len(crops) + 1) // 2]


def without(ask: Ask, gone: Collection[int]) -> Ask:
    """Return the conversation with a sentence for each of these images; without the newest, the model is to answer."""
    if not gone:
        return ask
    kept = {index: at for at, index in enumerate(each for each in range(len(ask.images)) if each not in gone)}
    messages, called = list[Message](), dict(ask.called)
    for at, message in enumerate(ask.messages):
        text, shown = "", list[tuple[int, int]]()
        for part in message.parts():
            if isinstance(part, int) and part in kept:
                shown.append((kept[part], len(text)))
            else:
                text += f"{_GONE} " if isinstance(part, int) else part
        indices, places = tuple(index for index, _ in shown), tuple(place for _, place in shown)
        messages.append(msgspec.structs.replace(message, text=text, images=indices, at=places))
        if message.images and not shown and at - 1 in called:
            told = tuple(each or _GONE for each in called[at - 1].results)
            called[at - 1] = msgspec.structs.replace(called[at - 1], results=told)
    shorter = msgspec.structs.replace(
        ask, messages=tuple(messages), images=tuple(ask.images[index] for index in kept), called=called
    )
    return closing(shorter) if len(ask.images) - 1 in gone else shorter


def closing(ask: Ask) -> Ask:
    *before, last = ask.messages
    repeats = len(before) - 1 in ask.called and not last.images  # what the results say: no server gets to see it
    if last.role == "user" and not repeats:
        closed = (*before, msgspec.structs.replace(last, text=f"{last.text}\n{_NOW}"))
    else:
        closed = (*ask.messages, Message("user", _NOW))
    return msgspec.structs.replace(ask, messages=closed)
