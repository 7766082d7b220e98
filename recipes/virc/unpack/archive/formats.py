"""What an archive is, by its first bytes, and its content a chunk at a time: LZ4 frames, gzip, or as it is."""

import shlex
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tarfile import BLOCKSIZE, HeaderError, TarInfo
from typing import NamedTuple, Protocol

from virc.core.errors import DataError

ENOUGH = 1 << 18
"""Bytes of a chunk, about; smaller ones are joined. Much larger ones cost more: their memory is mapped anew each."""
_LZ4, _GZIP = b"\x04\x22\x4d\x18", b"\x1f\x8b"
_AGAIN = "get the archive again; files that are complete stay, and are not unpacked again"
_OTHERS = {
    b"\x02\x21\x4c\x18": ("an LZ4 archive of the old form", "lz4 -dc {} | tar -xf -"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard archive", "zstd -dc {} | tar -xf -"),
    b"\xfd7zXZ\0": ("an xz archive", "tar -xJf {}"),
    b"BZh": ("a bzip2 archive", "tar -xjf {}"),
    b"PK": ("a zip archive", "unzip {}"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "7z x {}"),
    b"Rar!": ("a RAR archive", "unrar x {}"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the archive", "git lfs pull"),
}


class Readable(Protocol):
    """What an archive is read from: a file, or what is as one in order."""

    def read(self, most: int, /) -> bytes:
        """The next `most` bytes; fewer at the end alone."""

    def seek(self, at: int, /) -> int:
        """Back to the beginning, once, after the first bytes."""


class Chunk(NamedTuple):
    """Some content, and the bytes of the archive that it was made of.

    `plain`: they are the same bytes. `vouched`: no checksum is to come that says more of the content up to here.
    """

    data: bytes
    begins: int
    ends: int
    plain: bool = False
    vouched: bool = True


def chunks(file: Readable, path: Path) -> Iterator[Chunk]:
    """The content of an archive in chunks of about 256 KiB, at most twice that.

    What precedes a fault is given before the fault is raised, so that all of it can be used. The file is read from its
    beginning to its end, with all checksums; `path` is its name in errors.

    Raises:
        DataError: at once where this is no archive that can be unpacked; on the way where it is damaged or cut off.
    """
    head = file.read(BLOCKSIZE)
    file.seek(0)
    return _gathered(_reader(head, path)(_Source(file)))


class ArchiveError(DataError):
    """The archive itself is at fault, wherever it is unpacked."""


def damaged(where: str, why: str) -> ArchiveError:
    """The archive is not what it was when it was made."""
    return ArchiveError(f"the archive is damaged {where}: {why}", _AGAIN)


def cut_off(end: int) -> ArchiveError:
    """The archive ends too early, after `end` bytes."""
    return ArchiveError(f"the archive is cut off: it ends at byte {end}, too early", _AGAIN)


def stated(head: bytes, size: int) -> int | None:
    """The bytes that an archive unpacks to, as far as its beginning says so; None: it does not.

    Args:
        head: its first bytes, at least 14.
        size: bytes of the archive.
    """
    if head.startswith(_LZ4):
        has_size = head[4] >> 3 & 1
        return int.from_bytes(head[6:14], "little") if has_size else None
    return None if head.startswith(_GZIP) or _is_skippable(head[:4]) else size


class _Source:
    """The archive's own bytes, counted."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.at = 0

    def some(self, most: int) -> bytes:
        data = self._file.read(most)
        self.at += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        data = self.some(count)
        if len(data) < count:
            raise cut_off(self.at)
        return data

    def skip(self, count: int) -> None:
        while count:
            count -= len(self.exactly(min(count, ENOUGH)))


def _reader(head: bytes, path: Path) -> Callable[[_Source], Iterator[Chunk]]:
    if head.startswith(_LZ4) or _is_skippable(head[:4]):
        return _lz4
    if head.startswith(_GZIP):
        return _gzip
    for magic, (what, command) in _OTHERS.items():
        if head.startswith(magic):
            raise DataError(f"{path} is {what}", command.format(shlex.quote(str(path))))
    with suppress(HeaderError):
        TarInfo.frombuf(head, "utf-8", "surrogateescape")
        return _plain
    if not head:
        raise ArchiveError(f"{path} is empty", "get the archive again")
    raise ArchiveError(f"{path} is not a tar archive, plain or in LZ4 or gzip")


def _gathered(found: Iterator[Chunk]) -> Iterator[Chunk]:
    """Join small chunks that follow each other; a fault comes after all that is good.

    However many are tiny or empty, each is looked at once and no empty ones are held: a bomb may be made of them.
    """
    held: list[Chunk] = []
    size, fault = 0, None
    while True:
        try:
            chunk = next(found, None)
        except DataError as error:
            chunk, fault = None, error
        if held and chunk is not None and not chunk.data:
            held[-1] = held[-1]._replace(ends=chunk.ends, vouched=chunk.vouched)
        elif chunk is not None:
            held.append(chunk)
            size += len(chunk.data)
        if held and (chunk is None or size >= ENOUGH):
            data = held[0].data if len(held) == 1 else b"".join(each.data for each in held)
            yield Chunk(data, held[0].begins, held[-1].ends, held[0].plain, held[-1].vouched)
            held, size = [], 0
        if fault is not None:
            raise fault
        if chunk is None:
            return


def _plain(source: _Source) -> Iterator[Chunk]:
    while data := source.some(ENOUGH):
        yield Chunk(data, source.at - len(data), source.at, plain=True)


def _gzip(source: _Source) -> Iterator[Chunk]:
    """Member after member; zeros may follow each, as some programs fill a file up to whole blocks."""
    packed = source.some(ENOUGH)
    while packed:
        decoder = zlib.decompressobj(wbits=31)
        while not decoder.eof:
            packed = packed or source.some(ENOUGH)
            if not packed:
                raise cut_off(source.at)
            begins = source.at - len(packed)
            try:
                data = decoder.decompress(packed, ENOUGH)
            except zlib.error as error:
                reason = str(error).rpartition(": ")[2]
                raise damaged(f"between bytes {begins} and {source.at}", reason) from None
            packed = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            yield Chunk(data, begins, source.at - len(packed), vouched=decoder.eof)
        packed = packed.lstrip(b"\0")
        while not packed and (more := source.some(ENOUGH)):
            packed = more.lstrip(b"\0")


def _lz4(source: _Source) -> Iterator[Chunk]:
    """Frame after frame."""
    import lz4.frame  # type: ignore[import-untyped]

    context = lz4.frame.create_decompression_context()

    def feed(packed: bytes) -> Iterator[bytes]:
        rest = memoryview(packed)
        data = b""
        while rest or len(data) == ENOUGH:  # then there may be more of it
            try:
                data, used, _ = lz4.frame.decompress_chunk(context, rest, max_length=ENOUGH)
            except RuntimeError as error:
                reason = str(error).rpartition("ERROR_")[2].replace("_", " ")
                raise damaged(f"between bytes {source.at - len(packed)} and {source.at}", reason) from None
            rest = rest[used:]
            yield data

    while magic := source.some(4):
        if _is_skippable(magic):
            source.skip(int.from_bytes(source.exactly(4), "little"))
        elif magic == _LZ4:
            yield from _lz4_frame(source, feed)
        elif len(magic) < 4:
            raise cut_off(source.at)
        else:
            raise damaged(f"at byte {source.at - 4}", "no LZ4 frame begins there")


def _lz4_frame(source: _Source, feed: Callable[[bytes], Iterator[bytes]]) -> Iterator[Chunk]:
    """A frame behind its first four bytes; read by its own lengths, so that a fault is at known bytes."""

    head = source.exactly(3)
    flags = head[0]
    in_blocks, behind = flags >> 4 & 1, flags >> 2 & 1  # whether there are checksums of blocks, and one behind all

    def fed(count: int, vouched: bool) -> Iterator[Chunk]:
        while count:
            packed = source.exactly(min(count, ENOUGH))
            count -= len(packed)
            for data in feed(packed):
                yield Chunk(data, source.at - len(packed), source.at, vouched=vouched)

    has_dictionary = flags & 1
    list(feed(_LZ4 + head + source.exactly(8 * (flags >> 3 & 1) + 4 * has_dictionary)))
    if has_dictionary:
        raise DataError("the archive was packed with an LZ4 dictionary", "lz4 -dc -D DICTIONARY ARCHIVE | tar -xf -")
    while True:
        size = source.exactly(4)
        list(feed(size))
        length = int.from_bytes(size, "little") & 0x7FFF_FFFF  # the highest bit: stored as it is
        if not length:
            break
        yield from fed(length + 4 * in_blocks, vouched=bool(in_blocks or not behind))
    yield from fed(4 * behind, vouched=True)


def _is_skippable(magic: bytes) -> bool:
    return magic[1:4] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5
