"""Where a second recording begins in a file, whose clock begins again: as `cat` joins them, and cameras write them."""

import io
from itertools import islice, pairwise
from typing import IO, Any

from virc_extras.video.limits import MAX_SECONDS

_MARKS = {"matroska": b"\x1aE\xdf\xa3", "mpegts": b"G@\0", "mpeg": b"\0\0\1\xba"}
"""Formats that FFmpeg reads on behind their end: the bytes with which a recording begins."""
_READ_THROUGH = 2**24  # bytes; of more, places are looked at
_BACK = 0.5  # seconds that a clock at least goes back where it begins again


class Part:
    """A file from one place to another, in bytes, as a file."""

    def __init__(self, file: IO[bytes], begin: int, end: int) -> None:
        self._file, self._begin, self._size, self._at = file, begin, end - begin, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        self._file.seek(self._begin + self._at)
        data = self._file.read(max(0, min(size, self._size - self._at)))
        self._at += len(data)
        return data


def may_have_joint(format: str | None, head: bytes, size: int) -> bool:
    """Whether a file of that many bytes can have one, by the size that it says itself."""
    return format in _MARKS and not (format == "matroska" and _segment_end(head) == size)


def joint_in(container: Any, file: IO[bytes], size: int) -> int | None:
    """The place in bytes at which a second recording begins; None: there is none."""
    format = container.format.name.partition(",")[0]
    if not container.streams.video or (format != "matroska" and size > _READ_THROUGH and _goes_on(container, size)):
        return None
    for one, other in pairwise(_timed(container)):
        if not -_BACK < (other.dts - one.dts) * one.time_base < MAX_SECONDS:
            file.seek(one.pos)
            at = file.read(max(0, other.pos - one.pos)).rfind(_MARKS[format])
            if at >= 0 or format == "mpegts":  # of which one may begin anywhere
                return int(other.pos if at < 0 else one.pos + at)
    return None


def _timed(container: Any) -> Any:
    return (each for each in container.demux(container.streams.video[0]) if None not in (each.dts, each.pos))


def _goes_on(container: Any, size: int) -> bool:
    """Whether times grow from place to place, which are denser towards both ends; not so over a joint."""
    near, seen = [int(size * 0.8**number) for number in range(1, 40)], []
    for place in sorted({*near, *(size - each for each in near)}):
        container.seek(place, unsupported_byte_offset=True)
        seen += [packet.dts for packet in islice(_timed(container), 1)]
    container.seek(0, unsupported_byte_offset=True)
    return seen == sorted(seen)


def _segment_end(head: bytes) -> int:
    """Where the first segment of a Matroska file ends, as it says; far behind the file if it does not."""
    end = 0
    for _ in ("header", "segment"):
        start = end + 4
        width = 9 - int.from_bytes(head[start : start + 1]).bit_length()
        end = start + width + (int.from_bytes(head[start : start + width]) & ~(1 << 7 * width))
    return end
