"""What the words of `virc batch` mean, and the line that was meant where they mean nothing."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from virc.core.errors import DataError, UsageError
from virc.core.files import is_file, near_file
from virc.solving.sources.picture_files import ENDINGS, ROWS, is_source

_URL = re.compile(r"(https?://|data:|file://)", re.IGNORECASE)
USUAL = "virc batch rows.csv --to answers.csv"


def split_words(words: Sequence[str]) -> tuple[list[str], str | None]:
    if not words:
        raise UsageError("there are no rows", USUAL)
    if not all(map(str.strip, words)):
        raise UsageError("a SOURCE or the QUESTION is empty: perhaps a variable of the shell is not set", USUAL)
    first = next((index for index, word in enumerate(words) if not is_source(word)), len(words))
    sources, rest = list(words[:first]), list(words[first:])
    named = rest and not sources and " " not in rest[0] and not any(map(is_source, rest))
    alone = rest[0] if named else None
    if missing := next((word for word in rest if is_file_name(word)), alone):
        raise DataError(f"there is no file {missing}", near_file(Path(missing)))
    if len(rest) == 1 and sources:
        return sources, rest[0]
    if rest and any(map(is_source, rest)):
        sources, rest = [each for each in words if is_source(each)], [each for each in words if not is_source(each)]
        raise UsageError("the question comes after the rows or pictures", _line(sources, rest))
    if rest and sources:
        raise UsageError("the question is several words", _line(sources, rest))
    if rest:
        raise UsageError(f"there are no rows: {words[0]!r} is no file", USUAL)
    return sources, None


def is_file_name(word: str) -> bool:
    """Whether a word that is no file is meant as one, by its ending."""
    return " " not in word.strip() and Path(word).suffix.lower() in (*ENDINGS, *ROWS) and not is_source(word)


def _line(sources: Sequence[str], rest: Sequence[str]) -> str:
    return shlex.join(["virc", "batch", *sources, " ".join(rest)])


def is_image(word: str) -> bool:
    """Whether a word can be a picture: a file that exists, a URL, or `-` for standard input."""
    return word == "-" or bool(_URL.match(word)) or is_file(word)


def is_rows(word: str) -> bool:
    return is_file(word) and Path(word).suffix.lower() in ROWS
