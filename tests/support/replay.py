"""Replies given in advance: a recorded conversation, played again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from virc.backends.interface import OnText, Sampling
from virc.core.errors import DataError, EngineError
from virc.core.files import contents
from virc.core.text import clause
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Ask, Reply

_MOST_BYTES = 64 * 2**20


class Recorded(msgspec.Struct, frozen=True):
    """One message of the published format; `image` is a file beside it, shown before the text."""

    role: Literal["system", "user", "assistant"]
    content: str
    image: str | None = None


class ReplayBackend:
    """Plays assistant turns in order: the one after the k assistant turns of an Ask is the k-th.

    Args:
        turns: what the assistant said, oldest first.
        grid: the patch grid images are shown on.
    """

    def __init__(self, turns: Sequence[str], grid: Grid = QWEN2) -> None:
        self.model = "replay"
        self.grid = grid
        self._turns = tuple(turns)

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """The recorded turn; neither the sampling nor the time changes it.

        Raises:
            EngineError: the recording ends before this turn.
        """
        turn = sum(message.role == "assistant" for message in ask.messages)
        if turn >= len(self._turns):
            raise EngineError(f"the recorded conversation has {len(self._turns)} assistant turns and no more")
        if on_text:
            on_text(self._turns[turn])
        return Reply(self._turns[turn])

    def close(self) -> None:
        """Nothing to release."""


def read_conversation(path: Path) -> list[Recorded]:
    """The messages of a `conversation.json` in the published format (a list of role, content, image).

    Raises:
        DataError: the file is missing, too large or laid out otherwise.
    """
    try:
        data = contents(path, _MOST_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {clause(error)}") from None
    try:
        return msgspec.json.decode(data, type=list[Recorded])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no recorded conversation: {clause(error)}") from None


def replay_file(path: Path) -> ReplayBackend:
    """A backend that plays the assistant turns of a recorded conversation.

    Raises:
        DataError: the file is missing, laid out otherwise or has no assistant turn.
    """
    turns = [message.content for message in read_conversation(path) if message.role == "assistant"]
    if not turns:
        raise DataError(f"{path} holds no assistant turn")
    return ReplayBackend(turns)
