"""The content of an archive as one stream of bytes, unpacked in a thread ahead of its reader."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from virc.core.errors import DataError
from virc.unpack.archive.formats import Piece, cut_off

_AHEAD = 8
_SMALL = 64 << 20  # below it, no ratio is a bomb: a tar archive of one short text is mostly zeros


class Stream:
    """Bytes in order, each once.

    Args:
        pieces: the content; see `formats.pieces`.
        packed: size of the archive, bytes.
        most_ratio: content is at most so many times as large as the archive (or 64 MiB).
        seen: told how many bytes of the archive are behind, whenever a piece comes.
    """

    def __init__(
        self, pieces: Iterator[Piece], packed: int, most_ratio: float, seen: Callable[[int], None]
    ) -> None:
        self._pieces, self._packed, self._ratio, self._seen = pieces, packed, most_ratio, seen
        self._most = max(_SMALL, most_ratio * packed)
        self._piece = Piece(b"", 0, 0)
        self._view = memoryview(b"")
        self._at = 0  # in the piece
        self._unpacked = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            DataError: the archive ends before, is damaged, or is a bomb.
        """
        if self._at + count <= len(self._view):
            self._at += count
            return bytes(self._view[self._at - count : self._at])
        return b"".join(self.spans(count))

    def spans(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes as they lie in memory; raises as `take`."""
        while count:
            if self._at == len(self._view) and not self._next():
                raise cut_off(self._piece.ends)
            span = self._view[self._at : self._at + count]
            self._at += len(span)
            count -= len(span)
            yield span

    def is_blank_to_its_end(self) -> bool:
        """Read all that is left; whether it is nothing but zeros."""
        blank = not self._view[self._at :].tobytes().strip(b"\0")
        while self._next():
            blank = blank and not self._piece.data.strip(b"\0")
        return blank

    def where(self, back: int = 0) -> str:
        """Where in the archive the byte stands that was given `back` bytes before the next one."""
        piece = self._piece
        if piece.plain:
            return f"at byte {piece.begins + self._at - back}"
        return f"between bytes {piece.begins} and {piece.ends}"

    def _next(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            self._at = len(self._view)
            return False
        self._piece, self._view, self._at = piece, memoryview(piece.data), 0
        self._unpacked += len(piece.data)
        if self._unpacked > self._most:
            raise DataError(
                f"the archive unpacks to more than {self._ratio:g} times its size ({self._packed} bytes)",
                f"if you trust it: --max-ratio {10 * self._ratio:g}",
            )
        self._seen(piece.ends)
        return True


@contextmanager
def ahead(pieces: Iterator[Piece]) -> Iterator[Iterator[Piece]]:
    """The same pieces, made by another thread while the last ones are used; a few wait."""
    with ThreadPoolExecutor(1) as pool:

        def ordered() -> Iterator[Piece]:
            coming = deque(pool.submit(next, pieces, None) for _ in range(_AHEAD))
            while (piece := coming.popleft().result()) is not None:
                coming.append(pool.submit(next, pieces, None))
                yield piece

        try:
            yield ordered()
        finally:
            pool.shutdown(cancel_futures=True)
