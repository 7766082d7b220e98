"""A problem as a state machine without I/O: what the model is asked next, and what its reply means.

`Session.next()` says what to ask; `Session.feed()` takes the reply. Transport, tries and sampling belong to the
driver (solve resamples warmer, RL never retries; D5).
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from virc_recipes.reasoning.images import Shown


class Message(msgspec.Struct, frozen=True):
    """One chat message: its images (indices into the history) stand before its text.

    `token_ids` are an assistant turn's ids as sampled, without the end-of-turn token; they are appended, never
    encoded again, because decoding and encoding do not round-trip.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[int, ...] = ()
    token_ids: tuple[int, ...] | None = None


class Ask(msgspec.Struct, frozen=True):
    """What to send: the whole conversation and every image shown so far, oldest first."""

    messages: Sequence[Message]
    images: Sequence[Shown]


class Reply(msgspec.Struct, frozen=True):
    """What a backend returned for an Ask. `finish` is "length" when the token limit cut it."""

    text: str
    token_ids: tuple[int, ...] | None = None
    finish: Literal["stop", "length"] = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
