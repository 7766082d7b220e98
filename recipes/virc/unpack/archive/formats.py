"""What an archive is, by its first bytes, and its content a chunk at a time: LZ4 frames, gzip, or as it is."""

import shlex
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from tarfile import BLOCKSIZE
from typing import NamedTuple, Protocol

from virc.core.errors import DataError
from virc.core.files import POINTER, PULL
from virc.unpack.archive.headers import header

ENOUGH = 1 << 20
"""Bytes of a chunk, about; smaller ones are joined, since handing each to another thread has a price."""
_LZ4, _GZIP = b"\x04\x22\x4d\x18", b"\x1f\x8b"
_FRAME_HEAD = 8  # bytes at the beginning of any frame that say what it is
_WITH_DICTIONARY, _WITH_CHECKSUMS = 0b1, 0b10100  # flags of an LZ4 frame; checksums of blocks, and one behind all
_LOOKED_AT = 256  # chunks
Bytes = bytes | memoryview
_AGAIN = "get the archive again; files that are complete stay, and are not unpacked again"
_OTHERS = {
    b"\x02\x21\x4c\x18": ("an LZ4 archive of the old form", "lz4 -dc {} | tar -xf - -C {}"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard archive", "zstd -dc {} | tar -xf - -C {}"),
    b"\xfd7zXZ\0": ("an xz archive", "tar -xJf {} -C {}"),
    b"BZh": ("a bzip2 archive", "tar -xjf {} -C {}"),
    b"PK": ("a zip archive, which is read from a file alone", "virc unpack FILE.zip"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "7z x {} -o{}"),
    b"Rar!": ("a RAR archive", "unrar x {} {}/"),
    POINTER: ("a pointer of Git LFS, not the archive", PULL),
}


_CONTENTS = {b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"PAR1": "a Parquet file", b"{": "JSON"}


class Readable(Protocol):
    """What an archive is read from: a file, or what comes in order as one."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer with the next bytes; returns how many, fewer at the end alone."""


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
    """The content of an archive in chunks of about 1 MiB, at most twice that.

    What precedes a fault is given before the fault is raised, so that all of it can be used. The file is read from its
    beginning to its end, with all checksums; `path` is its name in errors.

    Raises:
        DataError: at once where this is no archive that can be unpacked; on the way where it is damaged or cut off.
    """
    source = _Source(file)
    reader = _reader(source.head(), path)
    found = _gathered(reader(source))
    if reader is _plain:
        return found
    first = next(found)
    if len(first.data) >= BLOCKSIZE and not is_header(first.data[:BLOCKSIZE]):
        for _ in islice(found, _LOOKED_AT):
            pass  # where a checksum is wrong, the archive is damaged: that is raised here
        what = next((what for magic, what in _CONTENTS.items() if first.data.startswith(magic)), "a single file")
        form, command = ("gzip", "gunzip -k") if reader is _gzip else ("LZ4", "lz4 -dk")
        raise ArchiveError(f"{path} is {what} in {form}, not a tar archive", f"{command} {shlex.quote(str(path))}")
    return chain([first], found)


class ArchiveError(DataError):
    """The archive itself is at fault, wherever it is unpacked."""


def damaged(where: str, why: str) -> ArchiveError:
    return ArchiveError(f"the archive is damaged {where}: {why}", _AGAIN)


def cut_off(end: int) -> ArchiveError:
    return ArchiveError(f"the archive is cut off: it ends at byte {end}, too early", _AGAIN)


def stated(head: bytes, size: int) -> int | None:
    """The bytes that an archive unpacks to, as far as its first 14 bytes or more say so; None: they do not."""
    if head.startswith(_LZ4):
        has_size = head[4] >> 3 & 1
        return int.from_bytes(head[6:14], "little") if has_size else None
    return None if head.startswith(_GZIP) or _is_skippable(head[:4]) else size


class _Source:
    """The archive's own bytes, counted. They are read into one buffer: new memory for each would cost page faults."""

    def __init__(self, file: Readable) -> None:
        self._file, self._buffer = file, memoryview(bytearray(ENOUGH))
        self._ready = 0  # bytes of the buffer that nobody was given yet
        self.at = 0

    def head(self) -> bytes:
        """The first bytes, which `some` gives too."""
        self._ready = self._file.readinto(self._buffer[:BLOCKSIZE])
        return bytes(self._buffer[: self._ready])

    def some(self) -> memoryview:
        """The next bytes, until the next call."""
        size = self._ready + self._file.readinto(self._buffer[self._ready :])
        self._ready = 0
        self.at += size
        return self._buffer[:size]


def _reader(head: bytes, path: Path) -> Callable[[_Source], Iterator[Chunk]]:
    if head.startswith(_LZ4) or _is_skippable(head[:4]):
        return _lz4
    if head.startswith(_GZIP):
        return _gzip
    for magic, (what, command) in _OTHERS.items():
        if head.startswith(magic):
            raise DataError(f"{path} is {what}", command.format(shlex.quote(str(path)), shlex.quote(str(path.parent))))
    if is_header(head):
        return _plain
    if not head:
        raise ArchiveError(f"{path} is empty", "get the archive again")
    raise ArchiveError(f"{path} is not a tar archive, plain or in LZ4 or gzip")


def is_header(block: bytes) -> bool:
    """Whether the header of a member is there, perhaps a damaged one."""
    with suppress(ValueError):
        header(block)
        return True
    return block[257:262] == b"ustar"


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
        if held and (chunk is None or size >= ENOUGH // 2):
            data = held[0].data if len(held) == 1 else b"".join(each.data for each in held)
            yield Chunk(data, held[0].begins, held[-1].ends, held[0].plain, held[-1].vouched)
            held, size = [], 0
        if fault is not None:
            raise fault
        if chunk is None:
            return


def _plain(source: _Source) -> Iterator[Chunk]:
    while data := source.some():
        yield Chunk(bytes(data), source.at - len(data), source.at, plain=True)


def _gzip(source: _Source) -> Iterator[Chunk]:
    """Member after member; zeros may follow each, as some programs fill a file up to whole blocks."""
    packed: Bytes = source.some()
    while packed:
        decoder = zlib.decompressobj(wbits=31)

        def decode(packed: Bytes, decoder: "zlib._Decompress" = decoder) -> tuple[bytes, Bytes, bool]:
            data = decoder.decompress(packed, ENOUGH)
            return data, decoder.unused_data if decoder.eof else decoder.unconsumed_tail, decoder.eof

        packed = yield from _decoded(source, packed, decode)
        packed = bytes(packed).lstrip(b"\0")
        while not packed and (more := source.some()):
            packed = bytes(more).lstrip(b"\0")


def _lz4(source: _Source) -> Iterator[Chunk]:
    import lz4.frame  # type: ignore[import-untyped]

    context = lz4.frame.create_decompression_context()

    def decode(packed: Bytes) -> tuple[bytes, Bytes, bool]:
        data, used, is_end = lz4.frame.decompress_chunk(context, packed, max_length=ENOUGH)
        return data, memoryview(packed)[used:], is_end

    packed: Bytes = b""
    while packed := packed or source.some():
        if len(packed) < _FRAME_HEAD:
            packed = b"".join((bytes(packed), source.some()))
        magic, begins = bytes(packed[:4]), source.at - len(packed)
        is_known = magic == _LZ4 or _is_skippable(magic)
        if len(magic) < 4 or (is_known and len(packed) < _FRAME_HEAD):
            raise cut_off(source.at)
        if _is_skippable(magic):
            packed = _skipped(source, packed, _FRAME_HEAD + int.from_bytes(packed[4:8], "little"))
        elif magic == _LZ4 and packed[4] & _WITH_DICTIONARY:
            raise DataError(
                "the archive was packed with an LZ4 dictionary", "lz4 -dc -D DICTIONARY ARCHIVE | tar -xf -"
            )
        elif magic == _LZ4:
            packed = yield from _decoded(source, packed, decode, vouched=not packed[4] & _WITH_CHECKSUMS)
        else:
            raise damaged(f"at byte {begins}", "no LZ4 frame begins there")


def _decoded(
    source: _Source, packed: Bytes, decode: Callable[[Bytes], tuple[bytes, Bytes, bool]], vouched: bool = False
) -> Generator[Chunk, None, Bytes]:
    """The content up to the end of a member or frame, by chunks; returns what of the archive came behind it.

    Args:
        decode: of some bytes, returns content, what it did not take, and whether this is the end.
        vouched: no checksum is to come.
    """
    data, is_end = b"", False
    while not is_end:
        packed = packed or source.some()
        if not packed and len(data) < ENOUGH:  # else there may be more of it
            raise cut_off(source.at)
        begins = source.at - len(packed)
        try:
            data, packed, is_end = decode(packed)
        except (RuntimeError, zlib.error) as error:
            reason = str(error).rpartition(": ")[2].removeprefix("ERROR_").replace("_", " ")
            raise damaged(f"between bytes {begins} and {source.at}", reason) from None
        yield Chunk(data, begins, source.at - len(packed), vouched=vouched or is_end)
    return packed


def _skipped(source: _Source, packed: Bytes, count: int) -> Bytes:
    while count > len(packed):
        count -= len(packed)
        packed = source.some()
        if not packed:
            raise cut_off(source.at)
    return memoryview(packed)[count:]


def _is_skippable(magic: bytes) -> bool:
    return magic[1:4] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5
