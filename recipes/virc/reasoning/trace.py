"""What a Session leaves behind: every message, image, accepted unit and rejected try."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from virc.reasoning.bodies import Called
from virc.reasoning.calls import Box, Call
from virc.reasoning.media import MediaPlace
from virc.reasoning.protocol import Protocol

FailureKind = Literal["no_answer", "turns", "tries", "interrupted", "network", "engine"]
Ended = Literal["answer", "format", "length"]
"""How a problem ends: with an answer, with a reply that is not taken, or with neither in its turns and tokens."""
RejectionKind = Literal["repetition", "length", "tags", "json", "tool", "deviation", "unit", "refusal"]


class Message(msgspec.Struct, frozen=True):
    """One chat message.

    Args:
        role: whose turn. Messages of the assistant in a row are one turn.
        text: without its images.
        images: indices into the history.
        at: position in the text that each image stands before; empty: all stand before the text.
        token_ids: an assistant turn's ids as sampled, without the end-of-turn token. They are appended, never encoded
            again, because decoding and encoding do not round-trip.
        inserted: a tool's result that the assistant says, not the model: a turn of its own, or `inline`, a part of the
            turn around it.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[int, ...] = ()
    token_ids: tuple[int, ...] | None = None
    at: tuple[int, ...] = ()
    inserted: Literal["", "turn", "inline"] = ""

    def parts(self) -> Iterator[str | int]:
        """Its pieces of text, none of them empty, and the indices of its images, in their order."""
        before = 0
        for index, at in zip(self.images, self.at or (0,) * len(self.images), strict=True):
            if at > before:
                yield self.text[before:at]
            yield index
            before = at
        if before < len(self.text):
            yield self.text[before:]


class ImageRecord(msgspec.Struct, frozen=True):
    """One image of the history: size in pixels as shown, file name, and where it was cut from.

    `box` is in pixels of the parent as shown; an input has neither parent nor box, a scaled image no box. `region` is
    what it shows in pixels of the input's file, where crops are cut from that. `place` is that of an input which is a
    part of a clip or document.
    """

    index: int
    width: int
    height: int
    file: str
    parent: int | None = None
    box: Box | None = None
    region: Box | None = None
    place: MediaPlace | None = None


class Rejected(msgspec.Struct, frozen=True):
    """A try that was not taken, with the kind of fault and one clause that says why."""

    text: str
    kind: RejectionKind
    reason: str


class CallResult(msgspec.Struct, frozen=True):
    """A tool call of a unit and its result.

    Args:
        call: as it was carried out; None where it could not be.
        images: indices of the images that the tool made.
        text: what the tool said.
        error: why the call could not be carried out, as the model was told.
        reason: the same in our own clause; None where it was carried out.
        deviations: what the check of the call forgave.
        failed: the tool itself failed, which is no fault of the model.
    """

    call: Call | None = None
    images: tuple[int, ...] = ()
    text: str = ""
    error: str | None = None
    reason: str | None = None
    deviations: tuple[str, ...] = ()
    failed: bool = False


class Reply(msgspec.Struct, frozen=True):
    """What a backend returned for an Ask.

    Args:
        text: the content.
        token_ids: as sampled, where the backend knows.
        finish: "length" where the token limit cut it, "call" where the server says that it ends with a tool call.
        prompt_tokens, completion_tokens: as the backend counted.
        thought: what the server took out of the content as the thought; None: it took nothing.
        calls: the tool calls that the server took out of the content.
        refusal: the text that the server marks as a refusal.
        message: with `calls`, the message as the server has it, with ids and fields that virc does not know.
        cost: as the server says; None: it does not.
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    finish: Literal["stop", "length", "call"] = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thought: str | None = None
    calls: tuple[Called, ...] = ()
    refusal: str | None = None
    message: Mapping[str, Any] | None = None
    cost: float | None = None


class Unit(msgspec.Struct, frozen=True):
    """One Critical Reasoning Unit: a thought with tool calls or an answer.

    Args:
        text: the whole reply.
        results: of its tool calls, in order; none on an answer.
        rejected: the tries before this one.
        token_ids: the reply as sampled, where the backend knows.
        prompt_tokens: as counted by the backend; so are completion_tokens.
        reply: of a stock model, what its server sent, of which `text` is the turn; without the counts above.
    """

    text: str
    think: str
    results: tuple[CallResult, ...] = ()
    answer: str | None = None
    rejected: tuple[Rejected, ...] = ()
    token_ids: tuple[int, ...] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reply: Reply | None = None

    @property
    def calls(self) -> list[Call]:
        return [each.call for each in self.results if each.call]

    @property
    def call(self) -> Call | None:
        return next(iter(self.calls), None)

    @property
    def shown(self) -> list[int]:
        return [index for each in self.results for index in each.images]

    @property
    def deviations(self) -> tuple[str, ...]:
        """What the checks of its calls forgave, each once."""
        return tuple(dict.fromkeys(name for each in self.results for name in each.deviations))


class Failure(msgspec.Struct, frozen=True):
    kind: FailureKind
    message: str


class Earlier(msgspec.Struct, frozen=True):
    """A question that was answered before the last one, of one conversation; `units` counts those up to its end."""

    question: str
    answer: str
    units: int


class Trace(msgspec.Struct, frozen=True):
    """A whole problem; `pending` are rejected tries that no accepted unit followed.

    `question` and `answer` are those of the last question, where it was asked after `earlier` ones.
    """

    question: str
    protocol: Protocol
    images: list[ImageRecord]
    messages: list[Message]
    units: list[Unit]
    answer: str | None = None
    failure: Failure | None = None
    pending: tuple[Rejected, ...] = ()
    earlier: tuple[Earlier, ...] = ()

    @property
    def questions(self) -> Mapping[int, str]:
        """Number of the unit that each question comes before -> the question, the first one first."""
        starts = (0, *(each.units for each in self.earlier))
        return dict(zip(starts, (*(each.question for each in self.earlier), self.question), strict=True))

    @property
    def turns(self) -> Sequence[Unit]:
        """The units of the last question."""
        return self.units[self.earlier[-1].units if self.earlier else 0 :]

    @property
    def replies(self) -> "Replies":
        """What the model replied, turn by turn, the tries of `pending` last, and how it ended."""
        answered = self.units and self.units[-1].answer is not None
        refused = self.pending or (self.failure and self.failure.kind == "no_answer" and not answered)
        texts = (*(unit.text for unit in self.units), *(each.text for each in self.pending))
        return Replies(texts, "format" if refused else "answer" if answered else "length")


class Replies(msgspec.Struct, frozen=True):
    """The replies of a problem, from which a session makes its conversation again, and how it ended."""

    texts: tuple[str, ...]
    ended: Ended
