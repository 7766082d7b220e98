"""The special tokens that a family's chat template writes around messages and pictures."""

import re
from collections.abc import Iterator

import msgspec

from virc.reasoning.resize import Views

_MARK = re.compile(r"(<[^<>]+>)")


class ChatMarks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a conversation is written for the models of a family; the defaults are ChatML with the pictures of Qwen-VL.

    Args:
        begin: special tokens before the first message.
        header: the special token that begins a message; `{role}` stands for its role.
        line: the text between the header and the message; `{role}` as well.
        end: the special token behind a message; None: the header of the next message ends it.
        after: the text behind the end.
        stop: the special token that ends a reply, where no `end` does.
        image: what stands before a picture, for each of its tokens, and behind it: special tokens in angle brackets,
            else text; `{number}` stands for how many pictures are before it.
        tiles: the same around its tiles: between the whole and the first, two of a row, and two rows, and behind the
            last; None: their tokens follow one another.
        is_framed: whether the family's processor writes the first and the last of these, too, in place of the second.
        around: text before and behind these.
        between: text between the parts of a message, its pictures and texts.
        assistant: the name of that role.
        types: the argument of a forward pass that says which ids are those of a picture, where these see one another.
        is_joined: whether a system message begins the first message of the user, with an empty line behind it.
    """

    begin: tuple[str, ...] = ()
    header: str = "<|im_start|>"
    line: str = "{role}\n"
    end: str | None = "<|im_end|>"
    after: str = "\n"
    stop: str = "<|im_end|>"
    image: tuple[str, str, str] = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
    tiles: tuple[str, str, str, str] | None = None
    is_framed: bool = False
    around: str = ""
    between: str = ""
    assistant: str = "assistant"
    types: str = ""
    is_joined: bool = False

    @property
    def controls(self) -> tuple[str, ...]:
        """Every special token that a conversation may hold."""
        headers = dict.fromkeys(self.heading(role)[0] for role in ("system", "user", "assistant"))
        ends = (self.end,) if self.end else ()
        around = dict.fromkeys(_MARK.findall("".join((*self.image, *(self.tiles or ())))))
        return (*self.begin, *headers, *ends, *around)

    def heading(self, role: str) -> tuple[str, str]:
        """The special token that begins a message of that role, and the text between it and the message."""
        name = self.assistant if role == "assistant" else role
        return self.header.format(role=name), self.line.format(role=name)

    def picture(self, views: Views, number: int) -> Iterator[str | int]:
        """A picture in pieces: special tokens, which begin with <, texts, and how many of its own tokens follow."""
        counts = [[rows * columns for rows, columns in row] for row in views]
        (before, _, behind), (first, column, row_end, last) = self.image, self.tiles or ("",) * 4
        written: list[str | int] = [before.format(number=number), sum(map(sum, counts)), behind]
        if self.tiles and len(counts) > 1:
            written[1:] = [*counts[0], first]
            for row in counts[1:]:
                for count in row:
                    written += [count, column]
                written[-1] = row_end
            written[-1] = last
        for each in written:
            yield from [each] if isinstance(each, int) else filter(None, _MARK.split(each))

    def opening(self, role: str) -> str:
        """What stands before a message of that role."""
        return "".join(self.heading(role))

    def written(self, role: str, text: str) -> str:
        """A message of that role as one text, up to the header of the next."""
        return f"{self.opening(role)}{text}{self.end or ''}{self.after}"


CHATML = ChatMarks()
