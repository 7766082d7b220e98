"""Control tokens in texts that nobody meant as such: a question may quote `<|image_pad|>`."""

import re
from functools import cache, partial

import msgspec

from virc.reasoning.marks.families import all_of, begins, pattern
from virc.reasoning.session import Ask


@cache
def _control() -> re.Pattern[str]:
    """What control tokens begin with: those of media and turns, of any family, and all names between bars."""
    marks = pattern(all_of("ends", "roles", "others", "own", "inputs"))
    return re.compile(rf"{begins()}(?=<[|｜][^\s<>|｜]{{1,48}}[|｜]>|{marks}).")


def as_text(ask: Ask, of_model: bool = False) -> Ask:
    """The conversation with the names of control tokens broken, which a server would read as the tokens.

    Marks of the chat protocol stay as they are.

    Args:
        of_model: also in what the model wrote, where no server reads that as tokens of its own.
    """
    messages, broken = [], partial(_broken, marks=tuple(ask.own_marks))
    for message in ask.messages:
        if (of_model or message.role != "assistant") and _control().search(message.text):
            at = tuple(len(broken(message.text[:position])) for position in message.at)
            message = msgspec.structs.replace(message, text=broken(message.text), at=at)  # noqa: PLW2901
        messages.append(message)
    called = dict(ask.called)
    for number, each in called.items():
        before = broken(each.before) if of_model else each.before
        called[number] = msgspec.structs.replace(each, before=before, results=tuple(map(broken, each.results)))
    return msgspec.structs.replace(ask, messages=tuple(messages), called=called)


def _broken(text: str, marks: tuple[str, ...]) -> str:
    def broken(found: re.Match[str]) -> str:
        return found[0] if text.startswith(marks, found.start()) else f"{found[0]}\u200b"

    return _control().sub(broken, text)
