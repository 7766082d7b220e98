"""Rows: the problems of a batch, as they are read from JSON values, and done several at a time.

A row has the fields `id`, `image` or `images`, `question`, and `choices` if there are some; other fields pass through
to the output. Images are paths relative to the file, http(s) URLs or data URLs. `"images": []` is a question without a
picture, for systems that have a tool to find pictures.

Read `as_row` first; `choices_in` and `split_choices` read choices that are written as one text.
"""

import hashlib
import html
import queue
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from virc.core.errors import DataError
from virc.core.limits.problem import check_problem
from virc.core.result_log import Id
from virc.core.text import clause, plain
from virc.systems.layouts.layout import listed

if TYPE_CHECKING:  # Pillow is not needed to find rows
    from virc.solving.image_source import Picture

MAX_LINE_BYTES = 256 * 2**20
LETTERS = "ABCDEFGHIJ"
"""Letters of choices, in texts and as names of columns."""
_MARKS = [
    re.compile(rf"(?:(?<=[\s;,|])|\A){mark}(?=\s*\S)") for mark in (
        r"\(([A-K])\)", r"\[([A-K])\]", r"([A-K])\)", r"([A-K])[.．]", r"([A-K])[:：]", "([A-K])、",
        r"\(([a-k])\)", r"([a-k])\)", r"([a-k])\.",
    )
]  # fmt: skip
"""The forms of letters before choices in a text; `K` is one letter more than there are `LETTERS`."""
_LABELLED = re.compile(r"[(\[]?([A-Za-z]|\d{1,2})[.．:：)\]、](?!\d|[A-Z]\.)")
_HEADING = re.compile(r"(?:\banswer )?\b(?:choices|options) ?:\Z", re.IGNORECASE)
"""A heading between a question and its choices."""
_NO_CHOICES = ("", "-", "n/a", "nan", "none")
_ENTITY = re.compile(r"&#?\w{1,31};")


class ProblemRow(msgspec.Struct, frozen=True):
    """One problem of a batch.

    Args:
        line: its line in the file, from 1.
        id: None if the row has none that can be read.
        digest: hash of its content, by which a row that changed is known.
        passed: the fields that are copied to the output.
        fault: why it cannot be asked.
        memory: the images that are in memory, by their names.
        trusted: whether its images may be any files and addresses, as the user named them or vouches for the row.
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
    trusted: bool = False
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


def in_parallel(
    rows: Iterable[ProblemRow], work: Callable[[ProblemRow], None], workers: int, stop: threading.Event
) -> None:
    """Do `work` on every row, `workers` of them at a time.

    Rows are read no further ahead than the workers need. If `work` raises, `stop` is set, no further row begins, and
    the exception is raised here. An interruption sets `stop`, too, and does not wait for the rows in work.
    """
    tasks: queue.Queue[ProblemRow | None] = queue.Queue(maxsize=1)
    raised: list[BaseException] = []

    def end() -> None:
        with suppress(queue.Full):  # another None is in already
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
    separator = "; " if any(" " in text for text in texts) else " "
    return f"{question} Choices: {separator.join(texts)}" if texts else question


def choices_in(text: str) -> list[str]:
    """The choices of which a text consists: a list, choices with letters in order, or parts between lines, `;` or `|`.

    Raises DataError: the text may be split in several ways, or in none.
    """
    several = listed(text)
    if isinstance(several, list):
        return several
    if text.strip().lower() in _NO_CHOICES:
        return []
    before, choices = split_choices(text)
    # the `;` of an entity such as `&lt;` separates no choices: NUL stands for it
    protected = _ENTITY.sub(lambda entity: _protected(entity[0]), text)
    head, _, rest = protected.partition(":")
    list_text = rest if _HEADING.match(f"{head.strip()}:") else protected
    splits = [list_text.split(separator) for separator in "\n;|" if separator in list_text.strip(" ;|\n")]
    if not choices and len(splits) == 1:
        before, choices = "", [part.strip().replace("\0", ";") for part in splits[0] if part.strip()]
    if len(choices) < 2 or before or not _are_choices(choices):
        sentence = f"its choices are one text whose parts are not clear: {plain(text, 80)!r}"
        raise DataError(sentence, "put `;` or a line between them, or write a list as JSON")
    return choices


def _protected(entity: str) -> str:
    return entity if html.unescape(entity) == entity else entity.replace(";", "\0")


def _are_choices(parts: Sequence[str]) -> bool:
    """Whether parts are choices: labels, if there are some, are in order, and none is a heading or half a text."""
    labels = [label[1].upper() for part in parts if (label := _LABELLED.match(part))]
    if labels:
        are_in_order = any(each.startswith("".join(labels)) for each in (LETTERS, "0123456789", "12345678910"))
        if len(labels) < len(parts) or not are_in_order:
            return False
    # a sentence that is broken into lines begins with a capital in one and with a small letter in the next
    is_small = {part[0].islower() for part in parts if part[0].isalpha()}
    is_broken_sentence = len(is_small) > 1 and any(part.endswith(".") for part in parts)
    has_heading = any(part.endswith((":", "：")) for part in parts if not _LABELLED.fullmatch(part))
    return not is_broken_sentence and not has_heading


def split_choices(text: str) -> tuple[str, list[str]]:
    """A question without the choices at its end, and these with their letters.

    There are no choices if the text has letters in no form of `_MARKS`, or in several.
    """
    splits = []
    for form in _MARKS:
        marks = list(form.finditer(text))
        letters = "".join(mark[1] for mark in marks)
        if len(marks) < 2 or not LETTERS.startswith(letters.upper()):
            continue
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        choices, contents = [], []
        for mark, end in zip(marks, ends, strict=True):
            choice = text[mark.start() : end].strip().rstrip(";,|").rstrip()
            choices.append(choice)
            contents.append(choice[len(mark[0]) :].strip())
        if all(contents) and "\n" not in choices[-1]:  # else what follows may be no choice
            question = _HEADING.sub("", text[: marks[0].start()].strip()).strip()
            splits.append((question, choices))
    return splits[0] if len(splits) == 1 else (text, [])


def as_row(number: int, content: Mapping[str, Any], passed: dict[str, Any] | None = None) -> ProblemRow:
    """The row of JSON values; a wrong one has its `fault`. `passed` None: all fields but the id and the images."""
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
        return ProblemRow(number, id, fault=DataError(f"line {number}: {clause(error)}", getattr(error, "hint", None)))
    if passed is None:
        passed = {key: value for key, value in content.items() if key not in ("id", "image", "images")}
    return ProblemRow(number, fields.id, images, question, digest, passed)


def _images(fields: _Fields) -> tuple[str, ...]:
    if fields.image and fields.images:
        raise DataError("it has both an image and images")
    images = [fields.image] if fields.image else fields.images or []
    is_without_picture = fields.images == [] and fields.image is None  # as the row says
    if not images and not is_without_picture:
        raise DataError("it has no image")
    # '-' means standard input only if a user types it
    return tuple("./-" if source == "-" else source for source in images)
