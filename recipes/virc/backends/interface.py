"""What draws the next turn: `openai` (any compatible endpoint) or `local` (transformers in this process)."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from virc.core.errors import EngineError
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Reply

OnText = Callable[[str], None]
CHARACTERS_PER_TOKEN = 64
"""Most that a token is taken to stand for: a few dozen, of runs of spaces."""


class Sampling(msgspec.Struct, frozen=True):
    """How one reply is drawn. `temperature` 0 is greedy; `top_k` None and `top_p` 1 leave the distribution whole.

    `repetition_penalty`: logits of ids that the conversation holds are divided by it, negative ones multiplied (CTRL,
    arXiv:1909.05858); 1 changes nothing.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    max_tokens: int = 1024
    seed: int | None = None
    repetition_penalty: float = 1.0


class TooLongError(EngineError):
    """A conversation is longer than the model's context."""


class Backend(Protocol):
    """Draws replies for Asks.

    `model` names it in output; `grid` is the patch grid its images are shown on. A backend may keep state between
    calls (a KV cache) but its reply depends on the Ask and the sampling alone.
    """

    model: str
    grid: Grid

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """Draw one assistant turn; `on_text` gets the text piece by piece as it is drawn.

        A backend that waits for others gives up after `seconds`; where nothing is waited for, what `on_text`
        raises ends the reply.

        Raises:
            NetworkError, ConfigError, EngineError: the turn could not be drawn.
        """
        ...

    def close(self) -> None:
        """Release connections or memory."""
        ...
