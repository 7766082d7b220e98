"""Which pictures words on a command line mean: files, folders, patterns and URLs."""

import re
import shlex
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from virc.core.errors import DataError
from virc.core.events import Reporter
from virc.core.files import expanded, is_file, is_folder, is_path
from virc.core.text import counted
from virc.solving.image_source import STREAM

ENDINGS = {
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif", ".heic", ".heif"
}  # fmt: skip
"""Of the names of pictures, small."""
ROWS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
"""Of the names of files of rows."""
_URL = re.compile(r"(?:https?|data|file):", re.IGNORECASE)
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"%PDF")
_SHOWN = 3


def is_source(word: str) -> bool:
    return word == STREAM or is_path(expanded(word)) or bool(_URL.match(word)) or _is_pattern(word)


def is_picture(head: bytes) -> bool:
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:8] == b"ftyp"


def pictures_of(words: Sequence[str], report: Reporter) -> list[str] | None:
    found: list[str] = []
    for word in words:
        path = expanded(word)
        if _URL.match(word):
            if word.partition("?")[0].lower().endswith(ROWS):
                raise DataError(f"{word} is on the network", f"curl -LO {shlex.quote(word)}")
            found.append(word)
        elif is_folder(path):
            found += _in_folder(path, report)
        elif is_file(path):
            if not _is_picture_file(path):
                return None
            found.append(word)
        elif _is_pattern(word):
            if not (matched := _matched(word)):
                raise DataError(f"no file matches {word}")
            if not any(Path(each).suffix.lower() in ENDINGS for each in matched):
                return None
            found += _chosen(matched, word, report)
        else:
            return None
    return list(dict.fromkeys(found))


def _is_pattern(word: str) -> bool:
    return has_magic(word) and (Path(word).suffix.lower() in ENDINGS or bool(_matched(word)))


def _matched(pattern: str) -> list[str]:
    """The files that a pattern matches, also an absolute one, which a path's own `glob` does not take."""
    return sorted(each for each in glob(str(expanded(pattern)), recursive=True) if not is_folder(each))  # noqa: PTH207


def _is_picture_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_picture(file.read(12))
    except OSError:
        return False


def _in_folder(folder: Path, report: Reporter) -> list[str]:
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from error
    files = [str(path) for path in inside if path.is_file()]
    if any(Path(name).suffix.lower() in ENDINGS for name in files):
        return _chosen([*files, *(f"{path}/" for path in inside if path.is_dir())], str(folder), report)
    rows = next((name for name in files if name.lower().endswith(ROWS)), None)
    hint = f"virc batch {shlex.quote(rows)}" if rows else None
    if not rows and (inner := next((path for path in inside if path.is_dir()), None)):
        hint = f"virc batch {shlex.quote(str(inner))} 'QUESTION'"
    raise DataError(f"the folder {folder} has no pictures", hint)


def _chosen(names: Sequence[str], where: str, report: Reporter) -> list[str]:
    """The names of pictures; says which others are left out, folders, whose names end with `/`, among them."""
    found = [name for name in names if Path(name).suffix.lower() in ENDINGS and not name.endswith("/")]
    kept = set(found)
    if others := [Path(name).name + "/" * name.endswith("/") for name in names if name not in kept]:
        shown = ", ".join(others[:_SHOWN]) + ", …" * (len(others) > _SHOWN)
        report.note(f"{where} has {counted(len(found), 'picture')}; left out: {shown}")
    return found
