"""What draws the next turn: `openai` (any compatible endpoint) or `local` (transformers in this process)."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from virc.config.taken import Left
from virc.core.errors import EngineError
from virc.reasoning import protocol as chat
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Reply

OnText = Callable[[str], None]
Calibrate = Callable[[chat.Protocol, Sequence[tuple[int, int]], float | None], chat.Protocol]
"""Returns a chat protocol with boxes as the model counts them, which has to be asked for that. Arguments are the chat
protocol, (width, height) in pixels of the images it was shown, and seconds after which it is given up.
"""
CHARACTERS_PER_TOKEN = 64
"""Most that a token is taken to stand for: a few dozen, of runs of spaces."""
Likeliest = tuple[tuple[str, float], ...]
"""Texts of tokens and their log-probabilities; several tokens may have the same text."""


class Sampling(msgspec.Struct, frozen=True):
    """How one reply is drawn. `temperature` 0 is greedy; `top_k` None and `top_p` 1 leave the distribution whole.

    `min_p`: tokens are left out whose share is below that of the likeliest token times it; 0 leaves out none, None
    neither, but a server has its own.

    `repetition_penalty`: logits of ids that the conversation holds are divided by it, negative ones multiplied (CTRL,
    arXiv:1909.05858); 1 changes nothing, None neither, but a server has its own (vLLM: that of the model). `likeliest`:
    how many of the likeliest first tokens the reply is to name. `is_usual`: nobody chose `top_p`; a server that may
    refuse it is not sent it.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    max_tokens: int = 1024
    seed: int | None = None
    repetition_penalty: float | None = None
    likeliest: int = 0
    is_usual: bool = False
    min_p: float | None = None


class ScoredReply(Reply, frozen=True):
    """A reply with the log-probabilities of its likeliest first tokens; None: nobody said them.

    `left` has the edges and names (`config.taken`) of what came with it and is not used, or is not as it was asked for.
    """

    likeliest: Likeliest | None = None
    left: tuple[tuple[str, str], ...] = ()


class TooLongError(EngineError):
    """A conversation is longer than the model's context, in tokens; `tokens` is a word if they are not counted."""

    is_full = True

    def __init__(self, tokens: object, context: int) -> None:
        sentence = f"the conversation has {tokens} tokens, the model takes {context}"
        super().__init__(sentence, "lower «--max-pixels» or «--max-turns»")


class PictureSetup(msgspec.Struct, frozen=True):
    """How a model behind a server is sent pictures, and what its server is not sent.

    Args:
        grid: the patch grid they are shown on.
        needs_sizes: the model has to see them at the size at which they are sent, as its boxes are in pixels.
        are_whole: its server shows them so, as a probe found.
        left_out: parameters that its server refuses.
    """

    grid: Grid
    needs_sizes: bool = False
    are_whole: bool = False
    left_out: tuple[str, ...] = ()


class Backend(Protocol):
    """Draws replies for Asks.

    `model` names it in output; `grid` is the patch grid its images are shown on; `left` is what is not read of its
    files, or of what its server lists. A backend may keep state between calls (a KV cache) but its reply depends on the
    Ask and the sampling alone.
    """

    model: str
    grid: Grid
    left: Left

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        """Draw one assistant turn; `on_text` gets the text piece by piece as it is drawn.

        A backend that waits for others gives up after `seconds`; if nothing is waited for, what `on_text`
        raises ends the reply.

        Raises:
            NetworkError, ConfigError, EngineError: the turn could not be drawn.
        """

    def close(self) -> None:
        """Release connections or memory."""
