"""A small file, fetched whole and verified; and any file as a stream.

Where the hub refuses, that is a ConfigError; where it cannot be reached, keeps failing or sends another content than it
listed, a NetworkError.
"""

import hashlib
import time
from pathlib import Path
from typing import Self

from virc.core.errors import NetworkError
from virc.core.text import plain
from virc.download.hub.folder import hasher
from virc.download.hub.link import Link, Reader, shared_web, wrong
from virc.download.hub.record import mark_of, write_safe
from virc.download.hub.refusals import AGAIN
from virc.download.hub.repository import File, OnBytes, Repo

SECONDS = 900.0
"""Longest time for one file, whatever waits the server asks for."""


def small_file(repo: Repo, commit: str, file: File, on_bytes: OnBytes = lambda _: None) -> bytes:
    """The verified content of a file; without a hash, its size alone is checked."""
    found = ""
    for _ in range(2):  # a bit may have flipped on the way
        content = _fetched(repo, commit, file, on_bytes)
        found = _hash(content, file)
        if (file.sha256 or file.git) in (None, found):
            return content
        on_bytes(-len(content))
    raise wrong(file, found)


def fetch_small(repo: Repo, commit: str, file: File, to: Path, work: Path, on_bytes: OnBytes = lambda _: None) -> None:
    """Fetch a file; it is there whole, verified and safe on the disk, or not at all.

    Args:
        to: where it goes; its folder is there.
        work: a folder on the same disk, for the partial file.
    """
    part = work / f"{hashlib.sha256(file.name.encode()).hexdigest()[:32]}.small"
    content = small_file(repo, commit, file, on_bytes)
    try:
        write_safe(part, to, content)
    finally:
        part.unlink(missing_ok=True)


def _fetched(repo: Repo, commit: str, file: File, on_bytes: OnBytes) -> bytes:
    """What comes; bytes of what fails do not count."""
    end, content = time.monotonic() + SECONDS, bytearray()
    try:
        with Reader(Link(repo, commit, file, web=shared_web()), 0, file.size) as reader:
            while data := reader.read():
                content += data
                on_bytes(len(data))
                if time.monotonic() > end:
                    raise NetworkError(f"{plain(file.name, 100)} did not come within {SECONDS / 60:g} minutes", AGAIN)
    except BaseException:
        on_bytes(-len(content))
        raise
    return bytes(content)


def _hash(content: bytes, file: File) -> str:
    found = hasher(mark_of(file, ""), file.size)
    found.update(content)
    return found.hexdigest()


class Stream:
    """A file that goes on by a range where a connection breaks, a context manager; errors of reading as `Reader.read`.

    The thread that reads calls `on_bytes`.
    """

    def __init__(self, repo: Repo, commit: str, file: File, on_bytes: OnBytes = lambda _: None) -> None:
        self._file, self._link = file, Link(repo, commit, file)
        self._reader = Reader(self._link, 0, file.size, on_bytes)
        self._hash = hasher(mark_of(file, ""), file.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.__exit__(*error)

    def read(self, most: int) -> bytes:
        found = bytearray()
        while len(found) < most and (data := self._reader.read(most - len(found))):
            self._hash.update(data)
            found += data
        return bytes(found)

    def stop(self) -> None:
        """End a read that waits in another thread, which raises StoppedError, and all that come."""
        self._link.stop()

    def verify(self) -> None:
        """Read what is left, and compare the whole with what the hub lists."""
        while data := self._reader.read():
            self._hash.update(data)
        found = self._hash.hexdigest()
        if (self._file.sha256 or self._file.git) not in (None, found):
            raise wrong(self._file, found)
