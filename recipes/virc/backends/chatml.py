"""Messages to token ids, with the special tokens of a family's chat template (`ChatMarks`). Needs no torch.

Control tokens are put in as ids; text never becomes one, so a question that contains `<|im_end|>` stays a
question. An assistant turn is encoded apart from its header, as it stands when it is sampled; a turn that was
sampled keeps its own ids.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from virc.families.chat_marks import CHATML, ChatMarks
from virc.reasoning.resize import Views
from virc.reasoning.session import Message


class Tokenizer(Protocol):
    """The two methods used of a `transformers` tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
        """Ids of `text`; with `split_special_tokens` a special token's name is ordinary text."""

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """Id of one token."""


class Span(msgspec.Struct, frozen=True):
    """Ids `start` to `stop` (exclusive) of one message: its images, its text and the end-of-turn token.

    The newline after it is outside, and so is the header before it, but for a system or user message, whose `role`
    line is encoded in one piece with its text. A trainer learns the spans of role
    `assistant`; `tool` is a result inside a turn of the assistant.
    """

    role: Literal["system", "user", "assistant", "tool"]
    start: int
    stop: int


class ImageSpan(msgspec.Struct, frozen=True):
    """Where the first pad id of image `index` of the history is."""

    index: int
    start: int


class Rendered(msgspec.Struct, frozen=True):
    ids: list[int]
    spans: list[Span]
    images: list[ImageSpan]


def render(
    messages: Sequence[Message],
    views: Sequence[Views | int],
    tokenizer: Tokenizer,
    generate: bool = False,
    marks: ChatMarks = CHATML,
) -> Rendered:
    """Render a conversation, to which nothing is added (no default system message).

    Args:
        views: for every image of the history, how many ids its views take, or it as a whole.
        generate: end with the header of an assistant turn, for the model to go on.
        marks: those of the model's family.
    """
    id_of = tokenizer.convert_tokens_to_ids
    pad = id_of(marks.image[1])
    end = [id_of(marks.end)] if marks.end else []
    after = encode(tokenizer, marks.after) if marks.after else []
    ids = [id_of(token) for token in marks.begin]
    spans: list[Span] = []
    images: list[ImageSpan] = []
    begun = False  # whether the turn of the assistant goes on
    text = ""  # that is not encoded yet
    for number, message in enumerate(messages):
        if marks.is_joined and message.role == "system":
            text = f"{message.text}\n\n"
            spans.append(Span("system", len(ids), len(ids)))
            continue
        if not begun:
            header, line = marks.heading(message.role)
            ids, text = [*ids, id_of(header)], line + text
            if message.role == "assistant":
                ids, text = ids + encode(tokenizer, text), ""
        start = len(ids)
        if message.token_ids is not None:
            ids += message.token_ids
        else:
            for place, part in enumerate(message.parts()):
                text += marks.between if place else ""
                if isinstance(part, str):
                    text += part
                    continue
                ids += encode(tokenizer, text + marks.around)
                seen = views[part]
                pieces = marks.picture([[(1, seen)]] if isinstance(seen, int) else seen, len(images))
                picture = [id for piece in pieces for id in _ids(piece, pad, tokenizer)]
                images.append(ImageSpan(part, len(ids) + picture.index(pad)))
                ids += picture
                text = marks.around
            ids, text = ids + encode(tokenizer, text), ""
        begun = _goes_on(messages, number, generate)
        if not begun:
            ids += end
        spans.append(Span("tool" if message.inserted else message.role, start, len(ids)))
        if not begun:
            ids += after
    if generate and not begun:
        header, line = marks.heading("assistant")
        ids += [id_of(header), *encode(tokenizer, line)]
    return Rendered(ids, spans, images)


def _ids(piece: str | int, pad: int, tokenizer: Tokenizer) -> list[int]:
    """Ids of a piece of a picture."""
    if isinstance(piece, int):
        return [pad] * piece
    return [tokenizer.convert_tokens_to_ids(piece)] if piece[0] == "<" else encode(tokenizer, piece)


def _goes_on(messages: Sequence[Message], number: int, generate: bool) -> bool:
    """Whether the next message, or the reply to come, belongs to the same turn of the assistant."""
    inline = messages[number].inserted == "inline"
    following = messages[number + 1 : number + 2]
    return inline or following[0].inserted == "inline" if following else generate and inline


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text; the name of a special token in it is ordinary text."""
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
