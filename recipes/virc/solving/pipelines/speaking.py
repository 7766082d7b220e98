"""What a role is asked with, and what it replies."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from virc.backends.interface import Sampling
from virc.core.errors import VircError
from virc.reasoning.calls import Size
from virc.reasoning.session import Reply
from virc.solving.pipelines.schema import Role
from virc.solving.pipelines.values import Turn


class Spoken(msgspec.Struct, frozen=True):
    """A role's reply, how many replies of its model that took, and the pictures' (width, height) px as shown."""

    reply: Reply
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
        error.message, error.place = f"{title}: {error.message}", title
        raise


def sampling_of(role: Role, seed: int | None) -> Sampling:
    """How a reply of a role is drawn."""
    return Sampling(temperature=role.temperature, max_tokens=role.max_tokens or Sampling().max_tokens, seed=seed)
