"""A large file read once from its beginning to its end, and never on the disk."""

from collections.abc import Iterator
from contextlib import contextmanager

from virc.download.hub.folder import hasher
from virc.download.hub.link import Link, Reader, wrong
from virc.download.hub.record import mark_of
from virc.download.hub.repository import File, OnBytes, Repo


@contextmanager
def opened(repo: Repo, commit: str, file: File, on_bytes: OnBytes = lambda _: None) -> Iterator["Stream"]:
    """A file as a stream that goes on by a range where a connection breaks; the thread that reads calls `on_bytes`."""
    link = Link(repo, commit, file)
    with Reader(link, 0, file.size, on_bytes) as reader:
        yield Stream(file, link, reader)


class Stream:
    """See `opened`; what reading raises is that of `Reader.read`."""

    def __init__(self, file: File, link: Link, reader: Reader) -> None:
        self._file, self._link, self._reader = file, link, reader
        self._hash = hasher(mark_of(file, ""), file.size)

    def read(self, most: int) -> bytes:
        """The next `most` bytes; fewer at the end alone."""
        found = bytearray()
        while len(found) < most and (data := self._reader.read(most - len(found))):
            self._hash.update(data)
            found += data
        return bytes(found)

    def stop(self) -> None:
        """End a read that waits in another thread, which raises StoppedError, and all that come."""
        self._link.stop()

    def verify(self) -> None:
        """Read what is left, and compare the whole with what the hub lists.

        Raises:
            NetworkError: it has another hash; another size is found on reading.
        """
        while data := self._reader.read():
            self._hash.update(data)
        found = self._hash.hexdigest()
        if (self._file.sha256 or self._file.git) not in (None, found):
            raise wrong(self._file, found)
