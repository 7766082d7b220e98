"""Replies given in advance: a recorded conversation, played again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from virc.backends.interface import OnText, Sampling
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Ask, Reply


class Recorded(msgspec.Struct, frozen=True):
    """One message of the published format; `image` is a file beside it, shown before the text."""

    role: Literal["system", "user", "assistant"]
    content: str
    image: str | None = None


class ReplayBackend:
    """Plays assistant turns in order: the one after the k assistant turns of an Ask is the k-th."""

    def __init__(self, turns: Sequence[str], grid: Grid = QWEN2) -> None:
        self.model, self.grid, self._turns = "replay", grid, turns

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """The recorded turn; neither the sampling nor the time changes it."""
        turn = self._turns[sum(message.role == "assistant" for message in ask.messages)]
        if on_text:
            on_text(turn)
        return Reply(turn)

    def close(self) -> None:
        """Nothing to release."""


def read_conversation(path: Path) -> list[Recorded]:
    """The messages of a `conversation.json` in the published format."""
    return msgspec.json.decode(path.read_bytes(), type=list[Recorded])
