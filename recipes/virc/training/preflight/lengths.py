"""How many tokens the rows of a file have, images included, and which of them are too long.

`count` checks and counts any rows in one pass, by a function that is run in several processes (`Measure`). `lengths` is
that function for LLaMA-Factory, which is not run: it follows what 0.9.5 does with the templates of the families. A
message with its marks is one text for the tokenizer; an image is resized by LLaMA-Factory, then again by the base's own
image processor. The function for prompts of RL is in `preflight.rl`.
"""

import json
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

import msgspec

from virc.backends.checkpoint import folder_grid, read_json
from virc.backends.tokenizer import tokenizer
from virc.core.errors import DataError
from virc.core.files import is_file, writing
from virc.core.text import clause, plain
from virc.core.work.parallel import in_order
from virc.data.check.images import file_of
from virc.data.check.result import USUAL_SYSTEM, Fault, Survey
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.pictures import key, name_of
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.rows.remembered import remembered
from virc.data.rows.transcripts import CALL, RESULT, taken_apart
from virc.families import registry as families
from virc.families.chat_marks import ChatMarks
from virc.models.chat_protocol import of_system
from virc.reasoning.calls import Size
from virc.reasoning.encoded import as_png
from virc.reasoning.images import StoredImage, open_image
from virc.reasoning.opening.pictures import stored_image
from virc.reasoning.protocol import Coordinates
from virc.reasoning.resize import Grid, Tiles, within_area
from virc.systems import registry as systems

_BATCH = 64  # rows that a process gets together
_BATCHES_HERE = 32  # this process has counted them before another has started
_MAX_NAMED = 5
_SYSTEMS = {"qwen2_vl": USUAL_SYSTEM}
"""Template -> what it writes if a row has no system message."""
_CALLING = ("qwen2_vl", "qwen3_vl_nothink")
"""Templates of LLaMA-Factory that write tools, calls and results as the chat templates of their models do."""
_MIN_SIDE = 28  # in px; LLaMA-Factory makes no side shorter


class BaseCounting(msgspec.Struct, frozen=True):
    base: Path
    model_type: str
    grid: Grid


class Text(msgspec.Struct, frozen=True):
    messages: tuple[Message, ...]
    files: tuple[str | bytes, ...]
    rejected: str | None = None
    tools: str = ""


class Length(msgspec.Struct, frozen=True):
    """The length of one row.

    Args:
        tokens: those of its images included; of a pair those of its longer side.
        shorter: of a pair, those of its other side.
        shrunk: images over `max_pixels` or the base's own limit.
        differ: `key_of` images' files that LLaMA-Factory would show otherwise than `open_file` does -> the reason.
        shown: the same keys, of a row within the cutoff -> the name of the image that was written in its place.
        fits: of a row over the cutoff, the largest `max_pixels` that makes it fit; 0 if none does.
    """

    tokens: int = 0
    shorter: int = 0
    images: int = 0
    shrunk: int = 0
    differ: dict[str | bytes, str] = {}
    shown: dict[str | bytes, str] = {}
    fits: int | None = None
    fault: str = ""


Measure = Callable[[Sequence[Text]], list[Length]]


class Counted(msgspec.Struct):
    """What `count` finds.

    Args:
        found: of all rows, each checked without its images.
        fault: of the first row that cannot be counted.
        numbers: of the rows in their file; they and the lengths end where a row cannot be trained on.
        differ: whether LLaMA-Factory may read a row otherwise: names of images (`file://`, blanks, `\\`), tools.
        shown: those of all lengths.
    """

    cutoff: int
    found: Survey = msgspec.field(default_factory=Survey)
    fault: DataError | None = None
    numbers: list[int] = msgspec.field(default_factory=list)
    lengths: list[Length] = msgspec.field(default_factory=list)
    differ: bool = False
    shown: dict[str | bytes, str] = {}

    @property
    def over(self) -> list[int]:
        """Indices of the rows longer than the cutoff."""
        return [at for at, length in enumerate(self.lengths) if length.tokens > self.cutoff]

    @property
    def within(self) -> list[int]:
        """Indices of the other rows."""
        return [at for at, length in enumerate(self.lengths) if length.tokens <= self.cutoff]


def opened(picture: Picture) -> str | bytes:
    """The file that LLaMA-Factory opens for an image, or the bytes in its row."""
    return file_of(picture) if picture.data is None else picture.data


def key_of(file: str | bytes) -> str | bytes:
    """A key for a file: its path, or a hash of its bytes, which are too many to be kept for all rows."""
    return file if isinstance(file, str) else key(Picture("", data=file))


def count(
    counted: Counted,
    read: Iterable[ParsedRow],
    check: Callable[[ParsedRow], Iterable[Fault]],
    measure: Measure,
    workers: int,
    on_progress: Callable[[str], None],
) -> Iterator[ParsedRow]:
    """Check and count all rows; yields those within the cutoff, up to the first that cannot be trained on.

    Args:
        counted: gets what is found.
        check: the faults of a row, without a look into its images.
        measure: goes to other processes.
    """
    waiting = deque[ParsedRow]()

    def trainable() -> Iterator[ParsedRow]:
        for row in read:
            counted.found.add(row, list(check(row)))
            on_progress(f"row {counted.found.rows} checked")
            if not counted.found.wrong and counted.fault is None:  # else no row is trained on
                yield row

    def chunks() -> Iterator[list[Text]]:
        remaining = trainable()
        while chunk := list(islice(remaining, _BATCH)):
            waiting.extend(chunk)
            records = [row.known() for row in chunk]
            files = [image for each in records for image in each.images if image.data is None]
            counted.differ |= any(file_of(each) != str(each.folder / each.name) for each in files)
            counted.differ |= any(each.has_tools for each in records)
            yield [Text(each.messages, tuple(map(opened, each.images)), each.rejected, each.tools) for each in records]

    texts = chunks()
    here = in_order(measure, islice(texts, _BATCHES_HERE), 1)
    for length in chain.from_iterable(chain(here, in_order(measure, texts, workers))):
        row = waiting.popleft()
        if length.fault and counted.fault is None:
            counted.fault = DataError(f"row {row.number}: {length.fault}")
        counted.numbers.append(row.number)
        counted.lengths.append(length)
        counted.shown |= length.shown
        if counted.fault is None and length.tokens <= counted.cutoff:
            yield row


def percentiles(tokens: Iterable[int]) -> tuple[int, int, int]:
    """The lengths that 50, 90 and 99 % of the rows do not exceed."""
    ordered = sorted(tokens)
    half, most, nearly_all = (ordered[-(-len(ordered) * share // 100) - 1] for share in (50, 90, 99))
    return half, most, nearly_all


def too_long(counted: Counted, coordinates: Coordinates, setting: str = "cutoff_len") -> DataError:
    """The error if rows are longer than the cutoff, which the stage calls `setting`, with what would help."""
    over = counted.over
    longest = max(over, key=lambda index: counted.lengths[index].tokens)
    first = ", ".join(str(counted.numbers[index]) for index in over[:_MAX_NAMED])
    first += ", …" if len(over) > _MAX_NAMED else ""
    tokens = counted.lengths[longest].tokens
    sentence = (
        f"{len(over):,} of {len(counted.lengths):,} rows are longer than the {setting} of {counted.cutoff:,} tokens, "
        f"and would be cut: rows {first}; the longest, row {counted.numbers[longest]}, has {tokens:,}"
    )
    ways = [f"«--set {setting}={tokens}» holds all"]
    if fits := min(counted.lengths[index].fits or 0 for index in over):
        warning = " (boxes in pixels then miss)" if coordinates == "pixel" else ""
        ways.append(f"«--set max_pixels={fits}» shrinks images until all fit{warning}")
    if counted.within:
        ways.append("«--set filter_overlong=true» leaves them out")
    return DataError(sentence, "; ".join(ways))


class Counting(BaseCounting, frozen=True):
    """`min_pixels` and `max_pixels` are LLaMA-Factory's limits of an image in px, `cutoff` that of a row in tokens.

    `pictures` is the folder of a dataset for images that LLaMA-Factory would show otherwise; None: none are written.
    """

    min_pixels: int
    max_pixels: int
    cutoff: int
    pictures: Path | None = None


def counting(base: Path, min_pixels: int, max_pixels: int, cutoff: int) -> Counting:
    """Raises ConfigError: a file of it is missing or makes no sense, or LLaMA-Factory has no template for it."""
    model_type = str(read_json(base / "config.json").get("model_type"))
    families.template(model_type)
    tokenizer(base)
    return Counting(base, model_type, folder_grid(base), min_pixels, max_pixels, cutoff)


def usual_system(model_type: str) -> str:
    """The system message that LLaMA-Factory's template writes if a row has none; empty: it writes none."""
    return _SYSTEMS.get(families.template(model_type), "")


def lengths(counting: Counting, rows: Sequence[Text]) -> list[Length]:
    base_tokenizer = tokenizer(counting.base)
    marks = families.of(counting.model_type).marks
    turns = [_turn_texts(row, marks) for row in rows]
    base_tokenizer.encode_special_tokens = False
    encoded = base_tokenizer.encode_batch_fast([text for texts in turns for text in texts], add_special_tokens=False)
    counts = iter(map(len, encoded))
    return [_length(counting, row, sum(islice(counts, len(texts)))) for row, texts in zip(rows, turns, strict=True)]


def _turn_texts(row: Text, marks: ChatMarks) -> list[str]:
    """The texts of all but the system message as the tokenizer gets them, with one token in the place of an image's.

    A template without ends writes the line behind the header of a reply as a part of the reply. A system message that
    is joined to the user's first is in it. Calls and results are written as the templates of `_CALLING` do.
    """
    header, line = marks.heading("assistant")
    before, of_reply = (line, "") if marks.end else ("", line)
    texts, joined = [], ""
    for message in row.messages:
        text = _as_templates(message).replace(MARK, f"{marks.around}{''.join(marks.image)}{marks.around}")
        if message.role in ("user", RESULT):
            texts.append(marks.written("user", joined + text) + header + before)
            joined = ""
        elif message.role == "system":
            joined = f"{text}\n\n" if marks.is_joined and text else ""
        else:
            texts.append(f"{of_reply}{text}{marks.end or ''}{marks.after}")
    return texts


def _as_templates(message: Message) -> str:
    if message.role == RESULT:
        return f"<tool_response>\n{message.content}\n</tool_response>"
    if message.role != CALL:
        return message.content
    text, calls = taken_apart(message.content)
    said = (json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False) for call in calls)
    return text + "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in said)


def _written_tools(tools: str) -> str:
    """What the templates of `_CALLING` write behind a system message."""
    lines = "\n".join(json.dumps(each, ensure_ascii=False) for each in json.loads(tools or "[]"))
    system = of_system(systems.get("qwen3-vl")).system
    return "\n\n" + re.sub(r"(?<=<tools>\n).*(?=\n</tools>)", lambda _: lines, system) if lines else ""


def image_tokens(size: Size, counting: Counting) -> int:
    """Tokens of an image of `size` (width, height) in px, without the marks around it; ValueError if none is left."""
    width, height = size
    if width * height > counting.max_pixels:
        ratio = math.sqrt(counting.max_pixels / (width * height))
        width, height = int(width * ratio), int(height * ratio)
    if min(width, height) < 1:
        raise ValueError(f"{size[0]} x {size[1]} px come to nothing under max_pixels {counting.max_pixels}")
    if width * height < counting.min_pixels:
        ratio = math.sqrt(counting.min_pixels / (width * height))
        width, height = int(width * ratio), int(height * ratio)
    if isinstance(counting.grid, Tiles):
        return counting.grid.tokens(width, height)
    width, height = max(width, _MIN_SIDE), max(height, _MIN_SIDE)
    # The base's image processor brings that to its grid.
    factor = counting.grid.factor
    return math.prod(within_area(round(width / factor), round(height / factor), (width, height), counting.grid))


def _length(counting: Counting, row: Text, text: int) -> Length:
    system, marks = (
        row.messages[0].content if row.messages[0].role == "system" else "",
        families.of(counting.model_type).marks,
    )
    template = families.template(counting.model_type)
    if template not in _CALLING and Record(row.messages, tools=row.tools).has_tools:
        trained = "Qwen2-VL, Qwen2.5-VL and Qwen3-VL"
        return Length(fault=f"it calls tools, which is trained with {trained} alone, not with {counting.model_type}")
    system = (system or _SYSTEMS.get(template, "")) + _written_tools(row.tools)
    text += len(marks.begin) + (not marks.end)  # a template without ends has one behind the last reply
    text += _system_tokens(counting.base, system, marks) - len(
        row.files
    )  # without the token in the place of each image
    try:
        images = [_stored(file) for file in row.files]
        sizes = [image.size for image in images]
        tokens = text + sum(image_tokens(size, counting) for size in sizes)
    except (ValueError, DataError) as error:
        return Length(fault=error.message if isinstance(error, DataError) else clause(error))
    limit = min(counting.max_pixels, counting.grid.max_pixels)
    shrunk = sum(width * height > limit for width, height in sizes)
    reasons = ((file, _difference(image, counting)) for file, image in zip(row.files, images, strict=True))
    differing = {file: reason for file, reason in reasons if reason}
    differ, shown = {key_of(file): reason for file, reason in differing.items()}, dict[str | bytes, str]()
    fits = _fitting_max_pixels(counting, text, sizes) if tokens > counting.cutoff else None
    if counting.pictures and fits is None:
        try:
            shown = {key_of(file): _as_shown(file, counting.pictures) for file in differing}
        except DataError as error:
            return Length(fault=error.message)
    return Length(tokens=tokens, images=len(sizes), shrunk=shrunk, differ=differ, shown=shown, fits=fits)


def _fitting_max_pixels(counting: Counting, text: int, sizes: Sequence[Size]) -> int:
    """The largest `max_pixels`, in whole tokens, with which a row is no longer than the cutoff; 0: there is none."""
    area = counting.grid.factor**2
    low = math.ceil(max(counting.min_pixels, counting.grid.min_pixels) / area)
    high = min(counting.max_pixels, counting.grid.max_pixels) // area

    def fits(cells: int) -> bool:
        limited = msgspec.structs.replace(counting, max_pixels=cells * area)
        return text + sum(image_tokens(size, limited) for size in sizes) <= counting.cutoff

    if isinstance(counting.grid, Tiles) or low > high or not fits(low):  # tiles follow from the ratio of the sides
        return 0
    # Bisection: `low` fits, and nothing over `high` does.
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low * area


@lru_cache(64)
def _system_tokens(base: Path, system: str, marks: ChatMarks) -> int:
    text = marks.written("system", system)
    return len(tokenizer(base).encode(text, add_special_tokens=False)) if system and not marks.is_joined else 0


def _difference(image: StoredImage, counting: Counting) -> str:
    """Why LLaMA-Factory shows an image otherwise than `open_file` does; "": it shows it alike.

    It resizes an image in the mode that is stored; if that has few colours, resizing leaves out pixels.
    """
    is_resized = not counting.min_pixels <= math.prod(image.size) <= counting.max_pixels
    return image.differs or ("palette" if is_resized and image.mode in ("1", "P") else "")


def _stored(file: str | bytes) -> StoredImage:
    source = file if isinstance(file, bytes) else Path(file)
    return remembered(source, lambda: stored_image(source, _called(file)))


def _called(file: str | bytes) -> str:
    return f"the image {'in the row' if isinstance(file, bytes) else plain(file, 200)}"


@lru_cache(4)  # rows that show one image mostly follow one another
def _png(file: str | bytes) -> bytes:
    return as_png(open_image(file if isinstance(file, bytes) else Path(file), _called(file))).data


def _as_shown(file: str | bytes, folder: Path) -> str:
    """Write an image as it is shown into the folder of a dataset, and return its name there."""
    name = name_of(_png(file))
    if not is_file(folder / name):
        new = folder / f".{os.getpid()}.png"  # several processes may write the same image
        with writing(folder / name):
            (folder / name).parent.mkdir(exist_ok=True)
            new.write_bytes(_png(file))
            new.replace(folder / name)
    return name
