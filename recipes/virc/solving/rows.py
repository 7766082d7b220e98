"""Many problems: rows of a JSONL file, several at a time, each to one line of output.

A row is `{"id", "image" or "images", "question"}`, and `choices` if there are some; other fields pass through.
Images are paths relative to the file, http(s) URLs or data URLs. `"images": []` is a question without a picture, which
systems may answer that have a tool to find some.
"""

import hashlib
import html
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from virc.core.errors import DataError
from virc.core.json_stream import line_rows
from virc.core.limits.problem import check_problem
from virc.core.result_log import Id
from virc.core.text import clause, plain
from virc.systems.layouts.layout import listed

if TYPE_CHECKING:  # Pillow is not needed to find rows
    from virc.solving.image_source import Picture

MAX_LINE_BYTES = 256 * 2**20
LETTERS = "ABCDEFGHIJ"
"""Of choices, in texts and as names of columns."""
_MARKS = [
    re.compile(rf"(?:(?<=[\s;,|])|\A){mark}(?=\s*\S)") for mark in (
        r"\(([A-K])\)", r"\[([A-K])\]", r"([A-K])\)", r"([A-K])[.．]", r"([A-K])[:：]", "([A-K])、",
        r"\(([a-k])\)", r"([a-k])\)", r"([a-k])\.",
    )
]  # fmt: skip
"""How the letters of choices are written in a text, and that of one choice too many."""
_LABELLED = re.compile(r"[(\[]?([A-Za-z]|\d{1,2})[.．:：)\]、](?!\d|[A-Z]\.)")
_HEADING = re.compile(r"(?:\banswer )?\b(?:choices|options) ?:\Z", re.IGNORECASE)
"""What stands between a question and its choices."""
_NO_CHOICES = ("", "-", "n/a", "nan", "none")
_ENTITY = re.compile(r"&#?\w{1,31};")


class Row(msgspec.Struct, frozen=True):
    """One problem of a batch.

    Args:
        line: its line in the file, from 1.
        id: None if the row has none that can be read.
        digest: hash of its content, by which a row that changed is known.
        passed: the fields that are copied to the output.
        fault: why it cannot be asked.
        memory: the images that are in memory, by their names.
        swapped: the images of another row, if crops are to be cut from those.
    """

    line: int
    id: Id | None = None
    images: tuple[str, ...] = ()
    question: str = ""
    digest: str | None = None
    passed: dict[str, Any] = {}
    fault: DataError | None = None
    memory: "Mapping[str, Picture]" = {}
    swapped: "Sequence[Picture]" = ()

    @property
    def pictures(self) -> "list[Picture]":
        return [self.memory.get(name, name) for name in self.images]


class _Fields(msgspec.Struct):
    id: Id
    question: str
    image: str | None = None
    images: list[str] | None = None
    choices: list[str | int | float] | None = None


def read_rows(file: IO[bytes], start: int = 1) -> Iterator[Row]:
    for number, fields in line_rows(file, start, MAX_LINE_BYTES):
        yield Row(number, fault=fields) if isinstance(fields, DataError) else as_row(number, fields)


def in_parallel(rows: Iterable[Row], work: Callable[[Row], None], workers: int, stop: threading.Event) -> None:
    """Do `work` on every row, `workers` of them at a time.

    Rows are read no further ahead than the workers need. What `work` raises sets `stop`, ends the rest and is
    raised here. An interruption sets `stop` too and does not wait for what is under way. The threads end then.
    """
    tasks: queue.Queue[Row | None] = queue.Queue(maxsize=1)
    raised: list[BaseException] = []

    def end() -> None:
        with suppress(queue.Full):  # the mark of the end is in already
            tasks.put_nowait(None)

    def loop() -> None:
        while row := tasks.get():
            if stop.is_set():
                continue
            try:
                work(row)
            except BaseException as error:  # raised again below, in the caller's thread
                raised.append(error)
                stop.set()
        end()  # for the next thread

    threads = [threading.Thread(target=loop, name="virc-row", daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for row in rows:
            if stop.is_set():
                break
            tasks.put(row)
        tasks.put(None)
        for thread in threads:
            thread.join()
    except BaseException:
        stop.set()
        with suppress(queue.Empty):
            tasks.get_nowait()  # a row that nobody has begun
        end()
        raise
    if raised:
        raise raised[0]


def file_name(text: str) -> str:
    name = quote(text, safe=" (),=")
    if name.strip(" .") and not name.startswith((".", " ")) and len(name) < 100:
        return name
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_choices(question: str, choices: Sequence[str | int | float]) -> str:
    texts = [str(choice) for choice in choices]
    listed = ("; " if any(" " in text for text in texts) else " ").join(texts)
    return f"{question} Choices: {listed}" if texts else question


def choices_in(text: str) -> list[str]:
    """The choices that a text consists of: a list, behind letters in order, or separated by lines, `;` or `|`.

    Raises DataError: it may be split in several ways, or in none.
    """
    if isinstance(several := listed(text), list) or text.strip().lower() in _NO_CHOICES:
        return several if isinstance(several, list) else []
    before, choices = split_choices(text)
    # the `;` of an entity ends no choice
    whole = _ENTITY.sub(lambda found: found[0].replace(";", "\0" if html.unescape(found[0]) != found[0] else ";"), text)
    head, _, rest = whole.partition(":")
    whole = rest if _HEADING.match(f"{head.strip()}:") else whole
    parts = [whole.split(mark) for mark in "\n;|" if mark in whole.strip(" ;|\n")]
    if not choices and len(parts) == 1:
        before, choices = "", [each.strip().replace("\0", ";") for each in parts[0] if each.strip()]
    if len(choices) < 2 or before or not _are_choices(choices):
        sentence = f"its choices are one text whose parts are not clear: {plain(text, 80)!r}"
        raise DataError(sentence, "put `;` or a line between them, or write a list as JSON")
    return choices


def _are_choices(parts: Sequence[str]) -> bool:
    """Whether the labels of parts, if they have some, count on, and none is a heading or goes on in the next."""
    labels = [found[1].upper() for each in parts if (found := _LABELLED.match(each))]
    in_order = (LETTERS, "0123456789", "12345678910")
    if labels and (len(labels) < len(parts) or not any(each.startswith("".join(labels)) for each in in_order)):
        return False
    starts = {each[0].islower() for each in parts if each[0].isalpha()}
    wrapped = len(starts) > 1 and any(each.endswith(".") for each in parts)
    return not wrapped and not any(each.endswith((":", "：")) for each in parts if not _LABELLED.fullmatch(each))


def split_choices(text: str) -> tuple[str, list[str]]:
    """A question without the choices at its end, and these with their letters; none if their marks are not clear."""
    ways = []
    for mark in _MARKS:
        found = list(mark.finditer(text))
        letters = "".join(each[1] for each in found)
        if len(found) < 2 or not LETTERS.startswith(letters.upper()):
            continue
        ends = [*(each.start() for each in found[1:]), len(text)]
        choices = [
            text[each.start() : end].strip().rstrip(";,|").rstrip() for each, end in zip(found, ends, strict=True)
        ]
        said = [choice[each.end() - each.start() :].strip() for choice, each in zip(choices, found, strict=True)]
        if all(said) and "\n" not in choices[-1]:  # else what follows may be no choice
            ways.append((_HEADING.sub("", text[: found[0].start()].strip()).strip(), choices))
    return ways[0] if len(ways) == 1 else (text, [])


def as_row(number: int, content: Mapping[str, Any], passed: dict[str, Any] | None = None) -> Row:
    """A row from its JSON values; a wrong one has its fault. `passed` None: all fields but the id and the images."""
    id: Id | None = content["id"] if type(content.get("id")) in (str, int) else None
    try:
        if isinstance(choices := content.get("choices"), str):
            content = {**content, "choices": choices_in(choices)}
        fields = msgspec.convert(content, _Fields)
        images = _images(fields)
        question = with_choices(fields.question, fields.choices or [])
        check_problem(images, question if fields.question.strip() else "")
        digest = hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]
    except (ValueError, OverflowError, DataError) as error:
        return Row(number, id, fault=DataError(f"line {number}: {clause(error)}", getattr(error, "hint", None)))
    if passed is None:
        passed = {key: value for key, value in content.items() if key not in ("id", "image", "images")}
    return Row(number, fields.id, images, question, digest, passed)


def _images(fields: _Fields) -> tuple[str, ...]:
    images = tuple(fields.images or ()) + ((fields.image,) if fields.image else ())
    none = fields.images == [] and fields.image is None
    if fields.image and fields.images:
        raise DataError("it has both an image and images")
    if not (images or none):
        raise DataError("it has no image")
    # '-' means standard input only if a user types it
    return tuple("./-" if source == "-" else source for source in images)
