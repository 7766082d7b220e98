"""The ids of a rollout: appended and never encoded again, so that they are those that `virc solve` feeds.

Learnt is from sampled ids alone. Masked are tool results, and an end of turn that the model did not write itself. An
end of turn that it wrote where its turn goes on behind a result is no part of the conversation, and is left out.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from virc.backends import checkpoint
from virc.backends.chatml import encode, render
from virc.core.errors import EngineError
from virc.data.live import displayed
from virc.data.rows.record import Picture, Record, images_of, inputs_of, message_of
from virc.families import registry as families
from virc.families.chat_marks import CHATML, ChatMarks
from virc.reasoning.calls import Size
from virc.reasoning.grammar import Grammar
from virc.reasoning.images import Shown, open_file, show
from virc.reasoning.media import MediaPlace
from virc.reasoning.messages import stopped
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Done, Message, Rejected, Reply, Session, show_input
from virc.reasoning.trace import ImageRecord, Trace
from virc.runs.rollout_stats import OUT_OF_TOKENS


class Speech(msgspec.Struct, frozen=True):
    """How a model's conversations become ids.

    Args:
        tokenizer: built from `tokenizer.json` as it is, as `virc solve` does.
        never: ids that no reply holds.
    """

    tokenizer: Any
    grid: Grid
    end: int
    ends: frozenset[int]
    never: tuple[int, ...]
    marks: ChatMarks = CHATML

    def encode(self, ask: Ask) -> list[int]:
        """Ids of a conversation up to the header of the reply to come."""
        views = [self.grid.views(*self.grid.seen(*shown.size)) for shown in ask.images]
        return render(ask.messages, views, self.tokenizer, generate=True, marks=self.marks).ids

    def unexpanded(self, ids: Sequence[int]) -> list[int]:
        """The ids with one in the place of each picture, which vLLM expands; verl does that for Qwen-VL alone."""
        before, pad, behind = map(self.tokenizer.convert_tokens_to_ids, self.marks.image)
        if self.marks.around:
            return self._without_around(ids, before, (pad, behind))
        frame = {before, behind} if self.marks.is_framed else set()
        return [id for last, id in pairwise([-1, *ids]) if id not in frame and not id == last == pad]

    def _without_around(self, ids: Sequence[int], before: int, others: tuple[int, int]) -> list[int]:
        """The ids with the first mark alone of each picture, in whose place vLLM writes the text around it, too."""
        between: list[list[int]] = [[]]
        for id in ids:
            if id == before:
                between.append([])
            elif id not in others:
                between[-1].append(id)
        around, words = self.marks.around, self.tokenizer
        for at, part in enumerate(between):
            if at + 1 < len(between):
                part[-1:] = encode(words, words.decode(part[-1:]).removesuffix(around))
            if at:
                part[:1] = encode(words, words.decode(part[:1]).removeprefix(around))
        first, *rest = between
        return [*first, *(id for part in rest for id in (before, *part))]


@cache
def speech(folder: str, max_pixels: int | None = None) -> Speech:
    """How the model in a folder speaks. Raises ConfigError: the folder is incomplete."""
    import transformers

    from virc.backends.local import never_said

    place = Path(folder)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(place, local_files_only=True)
    config = transformers.AutoConfig.from_pretrained(place, local_files_only=True)
    marks = families.of(config.model_type).marks
    end = tokenizer.convert_tokens_to_ids(marks.stop)
    named = transformers.GenerationConfig.from_pretrained(place, local_files_only=True).eos_token_id
    return Speech(
        tokenizer,
        checkpoint.folder_grid(place, max_pixels),
        end,
        frozenset({end, *(named if isinstance(named, list) else [named])}),
        tuple(never_said(tokenizer, config).tolist()),
        marks,
    )


class Ids:
    """The ids of a rollout: its prompt, and what came after it.

    Attributes:
        mask: for each of them 1 if it was sampled, else 0.
        chances: for each of them its log-probability, 0 if it was not sampled.
    """

    def __init__(self, prompt: Sequence[int], speech: Speech, room: int) -> None:
        self.prompt = list(prompt)
        self.response: list[int] = []
        self.mask: list[int] = []
        self.chances: list[float] = []
        self.speech, self._room = speech, room

    @property
    def all(self) -> list[int]:
        return self.prompt + self.response

    @property
    def room(self) -> int:
        return self._room - len(self.response)

    def reply(self, ids: Sequence[int], chances: Sequence[float] | None = None) -> Reply:
        """Append a reply as it was sampled, with its end of turn if it has one; `chances` are its log-probabilities."""
        before = len(self.all)
        self._append(ids, 1, chances)
        ended = bool(ids) and ids[-1] in self.speech.ends
        kept = tuple(ids[:-1] if ended else ids)
        text = self.speech.tokenizer.decode(kept, skip_special_tokens=True)
        return Reply(text, kept, "stop" if ended else "length", before, len(ids))

    def go_on(self, conversation: Sequence[int]) -> bool:
        """Append the ids between the last reply and the next; False if no room is left for a reply.

        Raises:
            EngineError: the conversation does not begin with the ids that were sampled.
        """
        if len(conversation) - len(self.prompt) >= self._room:
            return False
        fed = conversation[len(self.all) - 1 : len(self.all)]
        if self.response[-1] in self.speech.ends and list(fed) != [self.response[-1]]:
            for kept in (self.response, self.mask, self.chances):
                kept.pop()  # another end is fed on, or none, as the turn goes on: no choice of the model's any more
        held = self.all
        if list(conversation[: len(held)]) != held:
            raise EngineError("the ids of a rollout are not those of its conversation")
        self._append(conversation[len(held) :], 0)
        return True

    def _append(self, ids: Sequence[int], mask: int, chances: Sequence[float] | None = None) -> None:
        self.response += ids
        self.mask += [mask] * len(ids)
        self.chances += chances or [0.0] * len(ids)


class SingleTurnSession:
    """One unit after a stored conversation, with the interface of `Session`; the reply is not read, only scored.

    Args:
        record: the conversation, with or without its reference reply, and the images shown before it.

    Raises:
        DataError: an image cannot be opened.
        OSError: an image cannot be read.
        ValueError: an image cannot be shown.
    """

    def __init__(self, record: Record, protocol: Protocol, grid: Grid) -> None:
        self._record, self._protocol = record, protocol
        known = record.messages[-1].role == "assistant"  # the reference, which nobody may see
        before = zip(record.messages, images_of(record), strict=True)
        self._messages = [message_of(message, shown) for message, shown in before][: -1 if known else None]
        inputs = inputs_of(record)
        self._images = []
        for index, picture in enumerate(record.images):
            image = open_file(picture.read(), picture.name or "an image")
            self._images.append(show_input(image, protocol, grid) if index in inputs else show(image.pixels, grid))
        self._answered = False

    def next(self) -> Ask | Done:
        return Done(self.trace()) if self._answered else Ask(tuple(self._messages), tuple(self._images))

    def feed(self, reply: Reply) -> None:
        self._messages.append(Message("assistant", reply.text, token_ids=reply.token_ids))
        self._answered = True

    def trace(self) -> Trace:
        return Trace(
            question=self._record.question or "",
            protocol=self._protocol,
            images=[
                ImageRecord(index, shown.width, shown.height, f"image-{index}.png")
                for index, shown in enumerate(self._images)
            ],
            messages=list(self._messages),
            units=[],
        )


def following(session: Session | SingleTurnSession, ids: Ids, reply: Reply, speech: Speech) -> Ask | Done:
    """Feed a reply. A rollout continues if the reply was accepted and another one has room."""
    rejected = isinstance(session.feed(reply), Rejected)
    ask = session.next()
    if isinstance(ask, Done):
        return ask
    if rejected:
        return Done(session.trace())
    if not ids.go_on(speech.encode(ask)):
        assert isinstance(session, Session)
        session.stop("turns", OUT_OF_TOKENS)
        return Done(session.trace())
    return ask


def up_to_stop(reply: Reply, grammar: Grammar) -> Reply:
    """The reply up to a text that ends one. Its ids stay as sampled: the last of them may say a little more."""
    if not any(stop in reply.text for stop in grammar.stop):
        return reply
    return msgspec.structs.replace(reply, text=stopped(reply.text, grammar), finish="stop")


def ended(trace: Trace, room: int) -> str:
    """Why a rollout was over: `answer`, `format` (the reply was not taken), `turns`, or `length`."""
    if trace.pending:
        return "format" if room else "length"
    if trace.failure and trace.failure.kind == "turns":
        return "length" if trace.failure.message == OUT_OF_TOKENS else "turns"
    return "format" if trace.units and trace.units[-1].answer is None else "answer"


_pictures: "WeakValueDictionary[tuple[object, ...], Shown]" = WeakValueDictionary()


def shown_once(
    picture: Picture, protocol: Protocol, grid: Grid, place: MediaPlace | None = None, file_size: Size | None = None
) -> Shown:
    """A picture of a question as it is shown. All rollouts that are under way share it: its file's pixels are kept for
    crops, and are up to 300 MB.
    """
    data = picture.read()
    digest = hashlib.blake2b(data, digest_size=16).digest()
    key = digest, protocol.images, protocol.crops, protocol.input_pixels, grid, place, file_size
    if known := _pictures.get(key):
        return known
    image = msgspec.structs.replace(open_file(data, picture.name or "an image"), data=None)
    shown = displayed(image, protocol, grid, file_size)
    shown.place = place
    return _pictures.setdefault(key, shown)
