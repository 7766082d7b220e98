"""One problem and, where there is one, its solution: the record that every format is read into and written from.

Text carries `<image>` marks, as LLaMA-Factory and verl both read them: the n-th mark of a record stands for its n-th
image. Tags and tool calls stay exactly as they were written.
"""

import errno
import json
import re
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from virc.core.errors import DataError, errors_as
from virc.core.files import as_named, contents, picture_within
from virc.core.text import did_you_mean, plain
from virc.data.rows.transcripts import CALL, RESULT
from virc.reasoning import trace, turns
from virc.reasoning.calls import Size
from virc.reasoning.grammar import TAGS, Grammar
from virc.reasoning.images import MAX_BYTES, Shown, image_size
from virc.reasoning.media import FILES, PLACES, files_from
from virc.reasoning.messages import FormatError, parse
from virc.reasoning.protocol import Coordinates, Protocol
from virc.reasoning.resize import MAX_SCAN
from virc.solving.sources.columns import MEDIA, key_of

MARK = turns.MARK

PLACEHOLDERS = re.compile(
    r"(?!(?-i:<image>))<image>|<(bbox|ref-object|cot-process)>(?!.*</\1>)"
    r"|<(?:video|audio|speech|img_context|image_?(?:here|placeholder|soft_token)|(?:start|end)_of_(?:image|video))>"
    r"|<\|?(?:image|video|audio|vision|media)_(?:pad|start|end|bos|eos|token|content|begin)\|?>"
    r"|<img>[^<>\n]{1,1000}\.(?:png|jpe?g|webp|gif|bmp|tiff?)</img>"
    r"|<(?:loc_?|patch_index_|bin_|coord_|seg0)\d+>|<points? (?:x|coords)\d?=|<\|/?(?:det|ref)\|>|\{(?:<\d+>){4}"
    r"|<\|(?:image|video|audio)(?:_\d+)?\|>|<\|(?:begin|end)_of_(?:image|video|audio)\|>|\[(?:(?-i:IMG)|img_break|img_end)\]",
    re.IGNORECASE | re.DOTALL,
)
"""What trainers and models put where a picture, a box or other media stand: in a text it would be learnt as a word.

Text of pages is none of these: `<img>`, `[img]` and closing tags.
"""

_HTML = re.compile("<(?:video|audio)>", re.IGNORECASE)
"""Marks that are words in the reply of a row without such media: replies about pages have them."""

Role = Literal["system", "user", "assistant", "function_call", "observation"]
SIDES: Mapping[Role, Literal["system", "user", "assistant"]] = {
    "system": "system", "user": "user", "assistant": "assistant", CALL: "assistant", RESULT: "user",
}  # fmt: skip
"""Role -> whose turn it is; `transcripts` says what the last two are."""
Id = str | int

FILE_SIZES = "file_sizes"
"""Of a row: the sizes of its question's files, as crops from the file depend on more than the images that are shown."""


class TextBox(msgspec.Struct, frozen=True):
    """A box or point in the text of a message: x, y or left, top, right, bottom in px of a file of (width, height) px.

    `image` is the index of that file among those of the record; the text counts in `coordinates`.
    """

    image: int
    numbers: tuple[float, ...]
    size: Size
    coordinates: Coordinates


class Message(msgspec.Struct, frozen=True):
    """One chat message; `content` holds a MARK for every image it shows.

    `parts` are its texts and the boxes between them, which are written again for other images; () where all is text.
    """

    role: Role
    content: str
    parts: tuple[str | TextBox, ...] = ()


def content_of(message: trace.Message) -> str:
    return "".join(MARK if isinstance(part, int) else part for part in message.parts())


def message_of(message: Message, images: Sequence[int]) -> trace.Message:
    pieces = message.content.split(MARK)
    text, at = pieces[0], list[int]()
    for each in pieces[1:]:
        at.append(len(text))
        text += each
    kept = tuple(at[: len(images)])
    return trace.Message(SIDES[message.role], text, tuple(images), at=kept if any(kept) else ())


class Picture(msgspec.Struct, frozen=True):
    """An image of a record: a file, or bytes that came within the row.

    Args:
        name: what the row calls it: a path relative to `folder`, an absolute path, a `file://` URL, or "" for bytes
            without a name.
        folder: what a relative name starts from.
        data: the file's bytes, where the row holds them.
        confined: a file must be where `picture_within` finds it, as others may have made the dataset; not so where an
            engine opens it all the same.
        fetched: it may be on the network, as in a batch file.
    """

    name: str
    folder: Path = Path()
    data: bytes | None = None
    confined: bool = True
    fetched: bool = False

    @property
    def on_network(self) -> bool:
        """Whether its name is a URL to fetch; such an image has no file here."""
        return self.data is None and self.name[:8].lower().startswith(("http://", "https://"))

    def path(self) -> Path:
        """The path of the file. Raises OSError: it is on the network, confined and elsewhere, or no possible name."""
        if self.on_network:
            raise OSError(errno.EINVAL, "it is on the network, not in a file", self.name)
        if self.confined:
            return picture_within(self.folder, self.name)
        try:
            return as_named(self.folder, self.name).resolve()
        except (ValueError, RuntimeError) as error:  # a NUL, a loop of links
            raise OSError(errno.EINVAL, "no file can have that name", self.name) from error

    def file(self) -> Path:
        """The path of the file, which is regular, of at most `MAX_BYTES`. Raises OSError: it is not, or as `path`."""
        path = self.path()
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no file", self.name)
        if found.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it is over {MAX_BYTES >> 20} MiB", self.name)
        return path

    def read(self) -> bytes:
        return contents(self.file(), MAX_BYTES) if self.data is None else self.data


def size_of(picture: Picture) -> Size | None:
    """(width, height) in px of the file of an image; None where it cannot be read."""
    with suppress(OSError, DataError):
        return image_size(picture.read(), "")
    return None


class Record(msgspec.Struct, frozen=True):
    """A problem, with its conversation as far as there is one.

    Args:
        messages: an optional system message, then user and assistant in turns; empty where only the problem is
            known (a batch row). Ends with a user message where the next unit is still to be written.
        images: in the order of the marks; those of the question alone where there are no messages.
        question: as the user wrote it, without a chat protocol around it.
        rejected: of a pair: the reply that is to become less likely, in place of the last message, which is the chosen
            one; both follow the same messages and images.
        extra: further fields of the row, which pass through every format that can hold them.
        tools: descriptions of the tools that its conversation offers besides those of its system message, as JSON.
    """

    messages: tuple[Message, ...] = ()
    images: tuple[Picture, ...] = ()
    id: Id | None = None
    question: str | None = None
    answer: str | None = None
    extra: dict[str, Any] = {}
    rejected: str | None = None
    tools: str = ""

    @property
    def has_tools(self) -> bool:
        return bool(self.tools) or any(message.role in (CALL, RESULT) for message in self.messages)

    @property
    def folder(self) -> Path:
        """What relative names of its files start from."""
        return next((each.folder for each in self.images), Path())

    @property
    def called(self) -> str:
        return "a row without an id" if self.id is None else f"row {self.id!r}"


def placed_in(folder: Path | None, record: Record) -> Record:
    """A record whose clips and documents are named from a folder; None: by whole paths."""
    files = files_from(record.extra, record.folder, folder)
    return msgspec.structs.replace(record, extra=record.extra | files) if files else record


def with_one_system(record: Record) -> Record:
    """A record whose first message alone is of system, as templates take it: a later one begins the text behind it."""
    found: list[Message] = []
    for each in record.messages:
        joins = found and found[-1].role == "system" and (each.role == "system" or (each.role == "user" and found[1:]))
        found.append(Message(each.role, f"{found.pop().content}\n\n{each.content}") if joins else each)
    return record if len(found) == len(record.messages) else msgspec.structs.replace(record, messages=tuple(found))


def check_texts(record: Record) -> None:
    has_media = any(record.extra.get(each) for each in ("videos", "audios", "video", "audio"))
    replies = {"its rejected reply": record.rejected or ""}
    texts = {"its question": record.question or ""}
    for at, each in enumerate(record.messages, 1):
        (replies if each.role == "assistant" else texts)[f"message {at}"] = each.content
    with errors_as(DataError, "it is no text", caught=UnicodeEncodeError):
        fields = [*texts.values(), *replies.values(), record.id, record.answer, record.extra]
        json.dumps(fields, ensure_ascii=False, default=str).encode()
    texts |= replies if has_media else {name: _HTML.sub("", text) for name, text in replies.items()}
    for name, text in texts.items():
        if found := PLACEHOLDERS.search(text):
            if record.extra.get("objects"):
                check_marks(record.messages, record.images)  # if they differ, boxes of `objects` are not read
            raise DataError(f"{name} holds {found[0]}, and no column has its value: a model would learn it as a word")


def check_marks(messages: Iterable[Message], images: Sequence[Picture]) -> None:
    """Raises DataError: the messages do not show as many images as there are."""
    if (marks := sum(message.content.count(MARK) for message in messages)) != len(images):
        raise DataError(f"its messages have {marks} {MARK} marks, and it has {len(images)} images")


def images_of(record: Record) -> list[list[int]]:
    """For each message the indices of the images it shows, by its marks; they may go beyond the images there are."""
    found, shown = [], 0
    for message in record.messages:
        count = message.content.count(MARK)
        found.append(list(range(shown, shown + count)))
        shown += count
    return found


def inputs_of(record: Record) -> list[int]:
    """Indices of the images of the question: those of the first user message, or all where there are no messages."""
    if not record.messages:
        return list(range(len(record.images)))
    for message, indices in zip(record.messages, images_of(record), strict=True):
        if message.role == "user":
            return indices
    return []


def system_of(record: Record) -> str:
    first = record.messages[0] if record.messages else None
    return first.content if first and first.role == "system" else ""


def has_reference(record: Record) -> bool:
    """Whether the last message of a prompt's record is the reply that is its reference."""
    replies = sum(message.role == "assistant" for message in record.messages)
    return record.messages[-1].role == "assistant" and record.extra.get("turn") != replies


def choices_of(record: Record) -> list[str]:
    choices = record.extra.get("choices")
    return [str(choice) for choice in choices] if isinstance(choices, list) else []


def not_offered(record: Record) -> str | None:
    answer, choices = record.answer, choices_of(record)
    if answer is None or not choices:
        return None
    from virc.scoring.answers import choices_named  # its patterns take 50 ms, which most files do not need

    if choices_named(answer, choices):
        return None
    return f"its answer {plain(answer, 40)!r} is none of its choices"


def answers_of(record: Record) -> list[str]:
    more = record.extra.get("answers")
    known = [] if record.answer is None else [record.answer]
    return list(dict.fromkeys([*known, *(str(each) for each in (more if isinstance(more, list) else ()))]))


def final_answer(record: Record, grammar: Grammar = TAGS) -> str | None:
    if not record.messages or record.messages[-1].role != "assistant":
        return None
    try:
        return parse(record.messages[-1].content, grammar).answer
    except FormatError:
        return None


def file_sizes_field(images: Sequence[Shown], protocol: Protocol) -> Mapping[str, Any]:
    """The field of a row with these images, where one was shown smaller than the file that crops are cut from."""
    inputs = [shown for shown in images if shown.original]
    if protocol.crops == "shown" or all(shown.original == shown.size for shown in inputs):
        return {}
    return {FILE_SIZES: [shown.original for shown in inputs]}


def file_sizes_of(record: Record) -> Sequence[Size] | None:
    """(width, height) in px of the file of every input; None where the row does not say."""
    sizes = record.extra.get(FILE_SIZES)
    if not isinstance(sizes, list) or len(sizes) != len(inputs_of(record)) or not all(map(_is_size, sizes)):
        return None
    return [(width, height) for width, height in sizes]


def input_sizes(record: Record, files: Sequence[Size | None]) -> Sequence[Size | None]:
    """(width, height) in px of the file of every input, as the row says; else of what the row has, of those `files`."""
    return file_sizes_of(record) or [files[index] for index in inputs_of(record) if index < len(files)]


def _is_size(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or any(type(side) is not int for side in value):
        return False
    return bool(min(value) >= 1 and value[0] * value[1] <= MAX_SCAN)


def group_of(record: Record, column: str | None) -> str | None:
    """What a row has in common with those on its side of a split, such as a recording, a page or a scene."""
    value = record.extra.get(column) if column else None
    return None if value is None else str(value)


def clips_of(record: Record) -> list[str]:
    """What tells the clips and documents of a row from others: digests, or names where the row holds their bytes."""
    files, places = record.extra.get(FILES) or (), record.extra.get(PLACES) or ()
    found = [str(each.get("beginning")) for each in files if isinstance(each, Mapping)]
    return found or [*{str(each.get("source")): None for each in places if isinstance(each, Mapping)}]


def check_column(column: str | None, file: Path, known: Collection[str]) -> None:
    """Raises DataError: a column to group by was named, and it is not in `known`, the columns of the rows of a file."""
    if column and column not in known and not (PLACES in known and key_of(column) in MEDIA):
        hint = did_you_mean(
            column, known, "columns that virc reads as parts of a problem, such as its id, group no rows"
        )
        raise DataError(f"no row of {file} has the column {plain(column, 60)!r}", hint)
