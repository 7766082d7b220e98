"""Which parts of a file are on the disk, whole, so that a run that was killed loses no other.

One line a part; the last one of a part counts.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec


class Part(msgspec.Struct, frozen=True):
    """A part of a file as it was written.

    Attributes:
        begins: its first byte.
        size: bytes.
        crc32: its checksum, against what a disk does to it; no proof of where it came from.
        etag: what the server called the file it came from.
    """

    begins: int
    size: int
    crc32: int
    etag: str | None = None


def append(path: Path, parts: Iterable[Part]) -> None:
    """Add parts whose bytes are safe on the disk; on return the lines are so too.

    Raises:
        OSError: the disk refuses, or is full before the last line.
    """
    # Each on lines of its own: what a kill tore stays by itself.
    lines = b"".join(b"\n%s\n" % msgspec.json.encode(part) for part in parts)
    with path.open("ab") as file:  # buffered: else a full disk may take a part of it, and raise nothing
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Part]:
    """The parts noted, in the order of the notes; lines that a kill tore are left out."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, RecursionError):  # ValueError: msgspec's, and bytes of no UTF-8
            found.append(msgspec.json.decode(line, type=Part))
    return found
