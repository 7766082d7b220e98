"""What a Session leaves behind: every message, image, accepted unit and rejected try."""

from typing import Literal

import msgspec

from virc.reasoning.calls import Box, Call
from virc.reasoning.protocol import Protocol

FailureKind = Literal["no_answer", "turns", "tries", "interrupted", "network", "engine"]
RejectionKind = Literal["repetition", "length", "tags", "json", "tool", "deviation", "unit", "refusal"]


class Message(msgspec.Struct, frozen=True):
    """One chat message: its images (indices into the history) stand before its text.

    `token_ids` are an assistant turn's ids as sampled, without the end-of-turn token. They are appended,
    never encoded again, because decoding and encoding do not round-trip.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[int, ...] = ()
    token_ids: tuple[int, ...] | None = None


class ImageRecord(msgspec.Struct, frozen=True):
    """One image of the history: size in pixels as shown, file name, and where it was cut from.

    `box` is in pixels of the parent as shown; an input has neither parent nor box, a scaled image no box.
    """

    index: int
    width: int
    height: int
    file: str
    parent: int | None = None
    box: Box | None = None


class Rejected(msgspec.Struct, frozen=True):
    """A try that was not taken, with the kind of fault and one clause that says why."""

    text: str
    kind: RejectionKind
    reason: str


class Unit(msgspec.Struct, frozen=True):
    """One Critical Reasoning Unit: a thought with a tool call or an answer.

    Args:
        text: the whole reply.
        call: the tool call as it was carried out; None on an answer.
        deviations: what the tool check forgave.
        shown: index of the image the tool produced.
        rejected: the tries before this one.
        token_ids: the reply as sampled, where the backend knows.
        prompt_tokens: as counted by the backend; so are completion_tokens.
    """

    text: str
    think: str
    call: Call | None = None
    deviations: tuple[str, ...] = ()
    answer: str | None = None
    shown: int | None = None
    rejected: tuple[Rejected, ...] = ()
    token_ids: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why there is no answer."""

    kind: FailureKind
    message: str


class Trace(msgspec.Struct, frozen=True):
    """A whole problem; `pending` are rejected tries that no accepted unit followed."""

    question: str
    protocol: Protocol
    images: list[ImageRecord]
    messages: list[Message]
    units: list[Unit]
    answer: str | None = None
    failure: Failure | None = None
    pending: tuple[Rejected, ...] = ()
