"""A text that arrives in pieces, and the channels of OpenAI's harmony format."""

import codecs
import re
from collections.abc import Iterable, Iterator

import msgspec

from virc.backends.openai.body import WireError
from virc.reasoning.bodies import Called

_CHANNEL, _MESSAGE, _START = "<|channel|>", "<|message|>", "<|start|>"
_ENDS = ("<|end|>", "<|return|>", "<|call|>", _START)
_SURE = 16
"""Characters that a piece repeats from the start of the text only where all of it is sent again."""
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def joined(pieces: Iterable[str]) -> str:
    """Pieces that may be cut within a character: into surrogates, or into bytes that stand for themselves (PEP 383).

    Raises:
        WireError: bytes of them are no UTF-8.
    """
    whole = "".join(pieces)
    if whole.isascii() or not re.search("[\ud800-\udfff]", whole):
        return whole
    whole = _HALF.sub("\ufffd", whole.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass"))
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(whole.encode(errors="surrogateescape"))
    except UnicodeDecodeError:
        raise WireError("sent something that cannot be read", "text that is no UTF-8") from None


class Text:
    """A text that comes in pieces, each of which adds to it, or holds all of it so far.

    Some servers send the whole text with each piece, others once more with the last. A single short piece is ambiguous:
    `4` and `42` are 42 or 442. A later piece that continues neither of them undoes a doubtful reading.

    Args:
        may_repeat: whether pieces may hold all of the text so far.
    """

    def __init__(self, may_repeat: bool = True) -> None:
        self._may_repeat = may_repeat
        self._pieces = list[str]()
        self._as_parts = list[str]()  # the pieces, should the first one that repeats the text not do so
        self._repeats, self._is_sure = 0, False
        self.size = 0

    @property
    def whole(self) -> str:
        """The text so far; a long one that was sent twice counts once."""
        return joined(self._pieces[:1] if self._is_twice and self.size >= 2 * _SURE else self._pieces)

    @property
    def is_doubtful(self) -> bool:
        return not self._is_sure and (self._repeats > 0 or (self._is_twice and self.size < 2 * _SURE))

    @property
    def _is_twice(self) -> bool:
        return self._may_repeat and len(self._pieces) == 2 and self._pieces[0] == self._pieces[1]

    def add(self, piece: str, is_whole: bool = False) -> str:
        """Take a piece, and return what is new of it; `is_whole`: it is a message and no part of one."""
        before = "".join(self._pieces) if self._may_repeat and 0 < self.size <= len(piece) else ""
        is_repeated = is_whole or piece != before or len(self._pieces) > 1 or self._repeats > 0
        if before and piece.startswith(before) and is_repeated:
            self._repeats += 1
            self._is_sure |= is_whole or len(before) >= _SURE or self._repeats > 1
            self._as_parts = [*self._pieces, piece]
            self._pieces, self.size = [piece], len(piece)
            return piece[len(before) :]
        if self._repeats and not self._is_sure:
            self._pieces, self._repeats = self._as_parts, 0
            self.size = sum(map(len, self._pieces))
        self._pieces.append(piece)
        self.size += len(piece)
        return piece


class Said(msgspec.Struct):
    thought: str = ""
    text: str = ""
    calls: tuple[Called, ...] = ()


def harmony(text: str) -> Said | None:
    """Read a text in OpenAI's harmony format; None if it is in another.

    Source: github.com/openai/harmony, docs/format.md. Servers that leave out special tokens turn the marks of its
    channels into words.
    """
    if _CHANNEL not in text:
        thought, found, answer = text.rpartition("assistantfinal")
        if found and thought.lstrip().startswith("analysis"):
            return Said(thought.lstrip().removeprefix("analysis"), answer)
        return None
    said = Said()
    for header, body in _messages(text):
        recipient = next((word for word in header.split() if word.startswith("to=")), "")
        if recipient:
            name = recipient.removeprefix("to=").removeprefix("functions.")
            said.calls += (Called(name, body.strip()),)
        elif "final" in header.split():
            said.text += body
        else:
            said.thought += body
    return said


def _messages(text: str) -> Iterator[tuple[str, str]]:
    """The messages of a text: the role and channel before each, and its content."""
    role, *parts = text.split(_CHANNEL)
    for part in parts:
        header, found, body = part.partition(_MESSAGE)
        end = min((at for at in map(body.find, _ENDS) if at >= 0), default=len(body))
        if found:
            yield f"{role.rpartition(_START)[2]} {header.replace('<|constrain|>', ' ')}", body[:end]
        role = body[end:]
