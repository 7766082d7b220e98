"""Which pictures words on a command line mean: files, folders, patterns and URLs.

Clips and documents that an extra reads count as pictures where a file or a pattern names them, not in folders.
"""

import os
import re
import shlex
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from virc.core.errors import DataError
from virc.core.events import Reporter
from virc.core.files import PICTURES, expanded, is_file, is_folder, is_path
from virc.core.text import counted
from virc.reasoning.images import is_known
from virc.reasoning.media import is_medium
from virc.solving.image_source import STREAM, read_head

ENDINGS = PICTURES
ROWS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
"""Of the names of files of rows."""
_URL = re.compile(r"(?:https?|data|file):", re.IGNORECASE)
_SHOWN = 3


def is_source(word: str) -> bool:
    return word == STREAM or is_path(expanded(word)) or bool(_URL.match(word)) or _is_pattern(word)


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so is one of pictures, of which a PDF is refused by name."""
    return is_known(head) or head.startswith(b"%PDF") or is_medium(head)


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
            if not is_picture(read_head(path)):
                return None
            found.append(word)
        elif _is_pattern(word):
            if not (matched := _matched(word)):
                raise DataError(f"no file matches {word}")
            if all(_why_not(Path(each), with_media=True) for each in matched):
                return None
            found += _chosen(matched, word, report, with_media=True)
        else:
            return None
    return list(dict.fromkeys(found))


def _is_pattern(word: str) -> bool:
    return has_magic(word) and (Path(word).suffix.lower() in ENDINGS or bool(_matched(word)))


def _matched(pattern: str) -> list[str]:
    """The files that a pattern matches, also an absolute one, which a path's own `glob` does not take."""
    return sorted(each for each in glob(str(expanded(pattern)), recursive=True) if not is_folder(each))  # noqa: PTH207


def _in_folder(folder: Path, report: Reporter) -> list[str]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from error
    if any(not _why_not(path) for path in inside):
        return _chosen([*map(str, inside)], str(folder), report)
    rows = next((str(path) for path in inside if _why_not(path) == "file of rows"), None)
    hint = f"virc batch {shlex.quote(rows)}" if rows else None
    if not rows and (inner := next((path for path in inside if _why_not(path) == "folder"), None)):
        hint = f"virc batch {shlex.quote(str(inner))} 'QUESTION'"
    raise DataError(f"the folder {folder} has no pictures", hint)


def _chosen(names: Sequence[str], where: str, report: Reporter, with_media: bool = False) -> list[str]:
    """The names of pictures; says how many others are left out, by the reason."""
    found, others = [], dict[str, list[str]]()
    for name in names:
        if reason := _why_not(Path(name), with_media):
            others.setdefault(reason, []).append(Path(name).name)
        else:
            found.append(name)
    if others:
        counts = []
        for reason, left in sorted(others.items()):
            more = ", …" * (len(left) > _SHOWN)
            counts.append(f"{counted(len(left), reason)} ({', '.join(left[:_SHOWN])}{more})")
        report.note(f"{where} has {counted(len(found), 'picture')}; left out: {', '.join(counts)}")
    return found


def _why_not(path: Path, with_media: bool = False) -> str:
    """What a file is that is no picture by its content or its name: "": it is one."""
    head = read_head(path) if is_file(path) else b""
    ending = path.suffix.lower()
    kinds = {
        "hidden file": path.name.startswith("."),
        "folder": path.is_dir(),
        "unreadable file": not os.access(path, os.R_OK),
        "special file": not is_file(path),  # a pipe, which would be waited for
        "": ending in ENDINGS or is_known(head) or (with_media and is_medium(head)),
        "PDF": head.startswith(b"%PDF"),
        "file of rows": ending in ROWS,
        "video": head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3") or head[8:12] == b"AVI ",
    }
    return next((kind for kind, is_so in kinds.items() if is_so), "other file")
