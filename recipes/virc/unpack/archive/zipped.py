"""What is in a zip archive, by its directory: the members, and their content behind each other as one stream."""

import os
import stat
import struct
import tarfile
import time
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeGuard
from zipfile import BadZipFile, ZipFile, ZipInfo

from virc.core.errors import DataError
from virc.core.text import plain
from virc.unpack.archive.formats import ENOUGH, ArchiveError, Chunk, damaged
from virc.unpack.archive.members import Member, member_of
from virc.unpack.archive.names import Names

_UTF8, _UNIX = 0x800, 3
_END = 22  # bytes of the end of the directory, without a comment
_IN_ZIP64 = 0xFFFF  # number of a volume with which stream-zip 0.0.84 and zip.js 2.24 point to the record of ZIP64
_MAX_TARGET = 4096  # bytes of a link's target


def is_zip(source: Any) -> TypeGuard[BinaryIO]:
    if not hasattr(source, "seekable") or not source.seekable():
        return False
    head = source.read(4)
    source.seek(0)
    return head in (b"PK\3\4", b"PK\5\6", b"PK\7\x08")  # the last begins the first volume of several


def opened(source: BinaryIO) -> ZipFile:
    """The archive.

    Raises:
        ArchiveError: its directory, which is its end, is not there or wrong.
        DataError: a member needs a newer version of the format.
    """
    try:
        archive = ZipFile(source)
        _place_in_volumes(archive, source)
        return archive
    except NotImplementedError as error:
        raise _not_for_us("the zip archive", error) from None
    except (BadZipFile, ValueError, IndexError) as error:
        raise ArchiveError(
            f"the zip archive has no directory at its end: {plain(error, 100)}", "give all parts"
        ) from None


def _place_in_volumes(archive: ZipFile, source: Any) -> None:
    """Count the places of members from the beginning of the first volume, where each is counted in its own."""
    source.seek(-_END - len(archive.comment), os.SEEK_END)
    number, _, _, _, _, directory = struct.unpack("<4xHHHHII2x", source.read(_END))
    if number in (0, _IN_ZIP64):
        return
    added = archive.start_dir - directory  # by ZipFile, which knows of one volume
    for info in archive.infolist():
        info.header_offset += source.starts[info.volume] - added
    end = archive.start_dir
    for info in sorted(archive.infolist(), key=lambda each: each.header_offset, reverse=True):
        if hasattr(info, "_end_offset"):  # by which newer versions of ZipFile see members that overlap
            info._end_offset = end
        end = info.header_offset


def members(archive: ZipFile, names: Names) -> Iterator[Member]:
    unsaid = {
        each.filename: each.filename.encode("cp437")
        for each in archive.infolist()
        if not each.flag_bits & _UTF8 and not each.filename.isascii()
    }
    names.settle(unsaid.values())
    for each in archive.infolist():
        said = bool(each.flag_bits & _UTF8) or each.filename not in unsaid
        name = each.filename if said else names.text(unsaid[each.filename], each.filename)
        info = tarfile.TarInfo(name if each.create_system == _UNIX else name.replace("\\", "/"))
        mode = each.external_attr >> 16 if each.create_system == _UNIX else 0
        info.mode, info.size = stat.S_IMODE(mode) or 0o644, each.file_size
        info.mtime = time.mktime((*each.date_time, 0, 0, -1))
        if each.is_dir():
            info.type, info.size = tarfile.DIRTYPE, 0
        elif _is_link(each):
            info.type, info.size = tarfile.SYMTYPE, 0
            info.linkname = archive.read(each).decode(errors="surrogateescape")
        yield member_of(info)


def chunks(archive: ZipFile) -> Iterator[Chunk]:
    for info in archive.infolist():
        if info.is_dir() or _is_link(info):
            continue
        begins, left = info.header_offset, info.file_size
        try:
            with archive.open(info) as file:
                while data := file.read(ENOUGH):
                    left -= len(data)
                    yield Chunk(data, begins, begins + info.compress_size)
        except (BadZipFile, zlib.error, EOFError) as error:
            raise damaged(f"at byte {begins}", plain(error, 100)) from None
        except (NotImplementedError, RuntimeError) as error:  # a method, or a password
            raise _not_for_us(plain(info.filename, 80), error) from None
        if left:
            raise damaged(f"at byte {begins}", "a file is shorter than its directory says")


def _not_for_us(what: str, error: Exception) -> DataError:
    return DataError(f"{what} cannot be unpacked: {plain(error, 100)}", "7z x ARCHIVE")


def _is_link(info: ZipInfo) -> bool:
    return info.create_system == _UNIX and stat.S_ISLNK(info.external_attr >> 16) and info.file_size <= _MAX_TARGET
