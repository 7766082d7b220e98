"""Texts of a reply: `Text` joins one from its pieces, and `harmony` splits one in OpenAI's harmony format."""

import codecs
import re
from collections.abc import Iterable, Iterator

import msgspec

from virc.backends.openai.errors import WireError
from virc.reasoning.bodies import Called

_CHANNEL, _MESSAGE, _START = "<|channel|>", "<|message|>", "<|start|>"
_ENDS = ("<|end|>", "<|return|>", "<|call|>", _START)
_MIN_REPEATED = 16
"""Minimum length of a text, in characters, for a piece that begins with it to be a repetition beyond doubt."""
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Half of a surrogate pair; those from U+DC80 to U+DCFF are left out, as they are escaped bytes (PEP 383)."""


def joined(pieces: Iterable[str]) -> str:
    """Join pieces that may be cut within a character: between surrogates, or between bytes (escaped as in PEP 383).

    Raises:
        WireError: the escaped bytes are not UTF-8.
    """
    whole = "".join(pieces)
    if whole.isascii() or not re.search("[\ud800-\udfff]", whole):
        return whole
    whole = _LONE_SURROGATE.sub("\ufffd", whole.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass"))
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(whole.encode(errors="surrogateescape"))
    except UnicodeDecodeError:
        raise WireError("sent something that cannot be read", "text that is not UTF-8") from None


class Text:
    """A text that arrives in pieces; a piece continues the text, or repeats all of it and then continues.

    Some servers repeat the whole text in each piece, others once in the last. A single short piece is ambiguous: `4`
    and `42` are 42 or 442. It counts as a repetition until a later piece does not repeat the text.

    Args:
        may_repeat: whether pieces may repeat the text so far.
    """

    def __init__(self, may_repeat: bool = True) -> None:
        self._may_repeat = may_repeat
        self._pieces = list[str]()
        self._if_not_repeated = list[str]()  # the pieces, if the first repetition turns out to be none
        self._repeats, self._is_sure = 0, False
        self.size = 0

    @property
    def whole(self) -> str:
        """The text so far; a long text that was sent twice counts once."""
        return joined(self._pieces[:1] if self._is_twice and self.size >= 2 * _MIN_REPEATED else self._pieces)

    @property
    def is_doubtful(self) -> bool:
        return not self._is_sure and (self._repeats > 0 or (self._is_twice and self.size < 2 * _MIN_REPEATED))

    @property
    def _is_twice(self) -> bool:
        return self._may_repeat and len(self._pieces) == 2 and self._pieces[0] == self._pieces[1]

    def add(self, piece: str, is_whole: bool = False) -> str:
        """Add a piece, and return the new part of it; `is_whole`: it is a message, not a piece of one."""
        before = "".join(self._pieces) if self._may_repeat and 0 < self.size <= len(piece) else ""
        # a second piece equal to the first may be a word said twice: `whole` decides by its length
        may_be_repetition = is_whole or piece != before or len(self._pieces) > 1 or self._repeats > 0
        if before and piece.startswith(before) and may_be_repetition:
            self._repeats += 1
            self._is_sure |= is_whole or len(before) >= _MIN_REPEATED or self._repeats > 1
            self._if_not_repeated = [*self._pieces, piece]
            self._pieces, self.size = [piece], len(piece)
            return piece[len(before) :]
        if self._repeats and not self._is_sure:
            self._pieces, self._repeats = self._if_not_repeated, 0
            self.size = sum(map(len, self._pieces))
        self._pieces.append(piece)
        self.size += len(piece)
        return piece


class Channels(msgspec.Struct):
    """The channels of a harmony text: `analysis`, `final`, and calls in `commentary`."""

    thought: str = ""
    text: str = ""
    calls: tuple[Called, ...] = ()


def harmony(text: str) -> Channels | None:
    """Split a text in OpenAI's harmony format; None if it is in another format.

    Source: github.com/openai/harmony, docs/format.md. Without its special tokens, which some servers leave out, the
    text is `analysis`, the thought, `assistantfinal` and the answer.
    """
    if _CHANNEL not in text:
        thought, mark, answer = text.rpartition("assistantfinal")
        if mark and thought.lstrip().startswith("analysis"):
            return Channels(thought.lstrip().removeprefix("analysis"), answer)
        return None
    channels = Channels()
    for header, body in _messages(text):
        recipient = next((word for word in header.split() if word.startswith("to=")), "")
        if recipient:
            name = recipient.removeprefix("to=").removeprefix("functions.")
            channels.calls += (Called(name, body.strip()),)
        elif "final" in header.split():
            channels.text += body
        else:
            channels.thought += body
    return channels


def _messages(text: str) -> Iterator[tuple[str, str]]:
    """The messages of a text: the header (role, recipient, channel) and the content of each."""
    role, *parts = text.split(_CHANNEL)
    for part in parts:
        header, mark, body = part.partition(_MESSAGE)
        end = min((index for index in map(body.find, _ENDS) if index >= 0), default=len(body))
        if mark:
            yield f"{role.rpartition(_START)[2]} {header.replace('<|constrain|>', ' ')}", body[:end]
        role = body[end:]
