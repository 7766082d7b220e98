"""The content of an archive as one stream of bytes, unpacked in a thread ahead of its reader."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from virc.core.errors import DataError
from virc.unpack.archive.formats import Chunk, cut_off

_AHEAD = 4
_SMALL = 64 << 20  # below it, no ratio is a bomb: a tar archive of one short text is mostly zeros


class Stream:
    """The bytes of `formats.chunks` in order, each once: at most `most_ratio` times the `packed` bytes (or 64 MiB).

    Where nobody knows how many those are, those that were read so far count.

    At each chunk, `seen` is called with how many bytes of the archive are read.
    """

    def __init__(
        self, chunks: Iterator[Chunk], packed: int | None, most_ratio: float, seen: Callable[[int], None]
    ) -> None:
        self._chunks, self._packed, self._ratio, self._seen = chunks, packed, most_ratio, seen
        self._chunk = Chunk(b"", 0, 0)
        self._view = memoryview(b"")
        self._at = 0  # in the chunk
        self._unpacked = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises DataError: the archive ends before, is damaged, or is a bomb."""
        if self._at + count <= len(self._view):
            self._at += count
            return bytes(self._view[self._at - count : self._at])
        return b"".join(self.spans(count))

    def spans(self, count: int) -> Iterator[memoryview]:
        while count:
            if self._at == len(self._view) and not self._next():
                raise cut_off(self._chunk.ends)
            span = self._view[self._at : self._at + count]
            self._at += len(span)
            count -= len(span)
            yield span

    def skip_zeros(self, size: int, is_wanted: Callable[[bytes], bool]) -> bool:
        """Skip blocks of zeros of that size; whether the next block is a wanted one. It is not taken."""
        while self._at < len(self._view) or self._next():
            block = bytes(self._view[self._at : self._at + size])
            while len(block) < size and self._next():  # the block lies across chunks
                joined = block + bytes(self._view)
                block, self._view, self._at = joined[:size], memoryview(joined), 0
            if len(block) < size:
                self._at = len(self._view) - len(block)  # at the end of all
            if block.strip(b"\0"):
                return len(block) == size and is_wanted(block)
            self._at += len(block)
        return False

    def is_blank_to_its_end(self) -> bool:
        """Read all that is left; whether it is nothing but zeros."""
        blank = not self._view[self._at :].tobytes().strip(b"\0")
        while self._next():
            blank = blank and not self._chunk.data.strip(b"\0")
        return blank

    @property
    def vouched(self) -> bool:
        """Whether no checksum is to come that says more of what was given so far."""
        return self._chunk.vouched

    def where(self, back: int = 0) -> str:
        """Where in the archive the byte stands that was given `back` bytes before the next one."""
        chunk = self._chunk
        if chunk.plain:
            return f"at byte {chunk.begins + self._at - back}"
        return f"between bytes {chunk.begins} and {chunk.ends}"

    def _next(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            self._at = len(self._view)
            return False
        self._chunk, self._view, self._at = chunk, memoryview(chunk.data), 0
        self._unpacked += len(chunk.data)
        packed = chunk.ends if self._packed is None else self._packed
        if self._unpacked > max(_SMALL, self._ratio * packed):
            raise DataError(
                f"the archive unpacks to more than {self._ratio:g} times its size ({packed} bytes)",
                f"if you trust it: «--max-ratio {10 * self._ratio:g}»",
            )
        self._seen(chunk.ends)
        return True


@contextmanager
def ahead(chunks: Iterator[Chunk]) -> Iterator[Iterator[Chunk]]:
    """The same chunks, made by another thread while the last ones are used; a few wait."""
    with ThreadPoolExecutor(1) as pool:

        def ordered() -> Iterator[Chunk]:
            coming = deque(pool.submit(next, chunks, None) for _ in range(_AHEAD))
            while (chunk := coming.popleft().result()) is not None:
                coming.append(pool.submit(next, chunks, None))
                yield chunk

        try:
            yield ordered()
        finally:
            pool.shutdown(cancel_futures=True)
