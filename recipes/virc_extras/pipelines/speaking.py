"""Who is asked, with what, and what it replies."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import msgspec
from msgspec import Meta

from virc.backends.interface import Sampling
from virc.config.user import Text, Url
from virc.core.errors import VircError
from virc.reasoning.calls import Size
from virc.reasoning.images import OpenedImage
from virc.reasoning.session import Reply as Drawn


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a pipeline asks.

    Args:
        endpoint: OpenAI-compatible server; with neither this nor `model`, the command says which model it is.
        model: as `--model` takes it; with an endpoint, the name it serves.
        system: its system message; None: it gets none.
        temperature: 0 is greedy.
        max_tokens: most tokens of one reply; None: 1024, or as its chat protocol says.
        own_protocol: ask it by the chat protocol of its model, with that one's tools, until it answers; the reply is
            the answer. Otherwise it gets plain messages.
    """

    endpoint: Url | None = None
    model: Text | None = None
    system: str | None = None
    temperature: Annotated[float, Meta(ge=0)] = 0.0
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    own_protocol: bool = False


class Turn(msgspec.Struct, frozen=True):
    """What a role was sent, with the position in the text that each picture stands before, and its reply."""

    prompt: str
    pictures: tuple[OpenedImage, ...] = ()
    at: tuple[int, ...] = ()
    reply: str | None = None


class ShownPicture(msgspec.Struct, frozen=True):
    """A picture, and its (width, height) in pixels as a role was shown it."""

    picture: OpenedImage
    size: Size


class Reply(str):
    """A role's reply: a text that knows the conversation it ends, and the pictures that its role was shown."""

    __slots__ = ("seen", "turns")
    turns: tuple[Turn, ...]
    seen: tuple[ShownPicture, ...]

    def __new__(cls, text: str, turns: tuple[Turn, ...] = (), seen: tuple[ShownPicture, ...] = ()) -> "Reply":
        made = super().__new__(cls, text)
        made.turns, made.seen = turns, seen
        return made


class Spoken(msgspec.Struct, frozen=True):
    """A role's reply, how many replies of its model that took, and the pictures' (width, height) px as shown."""

    reply: Drawn
    replies: int = 1
    sizes: tuple[Size, ...] = ()


Speaker = Callable[[Sequence[Turn], Sampling], Spoken]
"""Draws a role's reply to the last of the turns."""


@contextmanager
def naming(title: str) -> Iterator[None]:
    """Put `title` before the message of an error, as its place, unless it has one."""
    try:
        yield
    except VircError as error:
        if error.place:
            raise
        error.args, error.place = (f"{title}: {error.args[0]}",), title
        raise
