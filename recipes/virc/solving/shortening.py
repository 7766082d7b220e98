"""A conversation that the model takes no further: without its oldest crops, or with the request to answer now."""

from collections.abc import Collection, Set

import msgspec

from virc.reasoning.session import Ask, Message

_GONE = "[This image is no longer shown.]"
_NOW = "Give your final answer now, from what you have seen; ask for nothing more."


def oldest(ask: Ask, gone: Collection[int]) -> list[int]:
    begun = next((at for at, each in enumerate(ask.messages) if each.role == "assistant"), len(ask.messages))
    crops = [index for each in ask.messages[begun:] for index in each.images if index not in gone]
    return crops[: (len(crops) + 1) // 2]


def without(ask: Ask, gone: Set[int]) -> Ask:
    """Return the conversation with a sentence for each of these images; without the newest, the model is to answer.

    It has no images but those in its messages, so that others take nothing of what a server accepts.
    """
    shorter = ask.without(gone, f"{_GONE} ")
    left = {index: at for at, index in enumerate(sorted(i for each in shorter.messages for i in each.images))}
    messages = tuple(
        msgspec.structs.replace(each, images=tuple(left[index] for index in each.images)) for each in shorter.messages
    )
    shorter = msgspec.structs.replace(shorter, messages=messages, images=tuple(ask.images[index] for index in left))
    return closing(shorter) if len(ask.images) - 1 in gone else shorter


def closing(ask: Ask) -> Ask:
    *before, last = ask.messages
    repeats = len(before) - 1 in ask.called and not last.images  # what the results say: no server gets to see it
    if last.role == "user" and not repeats:
        closed = (*before, msgspec.structs.replace(last, text=f"{last.text}\n{_NOW}"))
    else:
        closed = (*ask.messages, Message("user", _NOW))
    return msgspec.structs.replace(ask, messages=closed)
