"""Reasons why servers failed calls: the model gets each as a text, and continues."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTED: ContextVar[list[str] | None] = ContextVar("noted", default=None)


@contextmanager
def noted() -> Iterator[list[str]]:
    """A list that gets the reason of each call in this thread that a server fails."""
    found: list[str] = []
    before = _NOTED.set(found)
    try:
        yield found
    finally:
        _NOTED.reset(before)


def note(reason: str) -> None:
    found = _NOTED.get()
    if found is not None:
        found.append(reason)
