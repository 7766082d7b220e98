"""What the tests of unpacking share: archives made by hand, folders as values, and the real entry point."""

import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame

from virc.unpack.archive.folder import UNVERIFIED

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LANG": "C.UTF-8",
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "recipes"))),
}

Entry = tuple[tarfile.TarInfo, bytes]
Tree = dict[str, object]


def start(*words: object, **streams: Any) -> subprocess.Popen[bytes]:
    """Start the real entry point in a process of its own."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([sys.executable, "-m", "virc_cli", *map(str, words)], env=ENVIRONMENT, **streams)


def file(name: str, data: bytes = b"x", mode: int = 0o644, mtime: float = 1_700_000_000) -> Entry:
    """A file for an archive."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, mtime
    return info, data


def other(name: str, kind: bytes, target: str = "", mode: int = 0o755, **pax: str) -> Entry:
    """A member that has no content: folder, link, device ..."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.pax_headers = kind, target, mode, pax
    return info, b""


def folder(name: str) -> Entry:
    """A folder for an archive."""
    return other(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> Entry:
    """A symbolic link for an archive."""
    return other(name, tarfile.SYMTYPE, target)


def hard_link(name: str, target: str) -> Entry:
    """A hard link for an archive."""
    return other(name, tarfile.LNKTYPE, target)


def tar(*entries: Entry, dialect: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive with these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=dialect) as made:
        for info, data in entries:
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def summed(head: bytes) -> bytes:
    """A header with the checksum that it needs."""
    return head[:148] + b"%06o\0 " % sum(head[:148] + b" " * 8 + head[156:]) + head[156:]


def gnu(name: str, data: bytes, kind: bytes = b"0") -> bytes:
    """A member with the times of `tar -G` of GNU tar 1.34, where ustar has the first part of a name."""
    info, _ = file(name, data)
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[156:157], head[345:369] = kind, b"15074673021\x0015074673004\x00"
    return summed(bytes(head)) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def lz4ed(data: bytes, **options: Any) -> bytes:
    """The same in one LZ4 frame with a checksum of its content."""
    packed: bytes = lz4.frame.compress(data, **{"content_checksum": True, **options})
    return packed


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.lz4": lz4ed,
    "tar.gz": lambda data: gzip.compress(data, mtime=0),
}


def many(count: int, seed: int = 0, sizes: tuple[int, int] = (0, 3000)) -> list[Entry]:
    """Files in folders, with content of their own."""
    chance = random.Random(seed)
    return [
        file(f"images/{number % 7}/{number}.png", chance.randbytes(chance.randint(*sizes))) for number in range(count)
    ]


def contents(entries: list[Entry]) -> Tree:
    """The files of `many`, as `tree` gives them."""
    return {info.name: data for info, data in entries}


def tree(root: Path) -> Tree:
    """What is in a folder: bytes of files, targets of links behind an arrow, None for empty folders.

    The list of what is not verified yet is left out.
    """
    found: Tree = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if name == UNVERIFIED:
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = None
    return found
