"""What the members of a tar archive say they are, and which of them nobody should unpack."""

import errno
import math
import re
import tarfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from tarfile import BLOCKSIZE, EOFHeaderError, nti, nts  # type: ignore[attr-defined]
from typing import BinaryIO, NamedTuple, NoReturn, cast

from virc.core.errors import DataError
from virc.core.text import clause, plain
from virc.unpack.archive.formats import damaged, is_header
from virc.unpack.archive.names import Names
from virc.unpack.archive.stream import Stream

_MAX_EXTRA = 1 << 20  # bytes of a header, long names and pax fields
_LONGEST, _DEEPEST = 4096, 100  # characters and parts of a name
_LATEST = 1 << 33  # seconds; later times are none that a disk keeps
_NO_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
_DRIVE = re.compile(r"[A-Za-z]:")


class Kind(Enum):
    file = b"0"
    hard_link = b"1"
    link = b"2"
    folder = b"5"


_LISTED, _LABEL = b"D", b"V"
"""Kinds of GNU tar: a folder with the list of its files as its content (`-G`), and the label of a volume."""
_KINDS = {kind.value: kind for kind in Kind} | {
    tarfile.AREGTYPE: Kind.file, tarfile.CONTTYPE: Kind.file, _LISTED: Kind.folder,
}  # fmt: skip
_REFUSED = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe"}


class Member(NamedTuple):
    """A member whose claims are harmless by themselves; where its links lead is for the folder to find out."""

    name: str
    """Relative, of plain parts joined by `/`; empty for the folder that all others are in."""
    kind: Kind
    size: int
    """Bytes of content; 0 but for a file."""
    mode: int
    mtime_ns: int
    target: str
    """What a link says it leads to."""


class _Info(tarfile.TarInfo):
    """A header; in those of GNU tar, times (`-G`) stand where others have the first part of a long name."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Info":
        if buf[156:157] == tarfile.REGTYPE and sum(buf) - sum(buf[148:156]) + 8 * ord(" ") == nti(buf[148:156]):
            # What the library does for a file, without owners and devices, which nobody reads: in half of the time.
            info = cls(nts(buf[:100], encoding, errors))
            info.mode, info.size, info.mtime = nti(buf[100:108]), nti(buf[124:136]), nti(buf[136:148])
            if prefix := nts(buf[345:500], encoding, errors):
                info.name = f"{prefix}/{info.name}"
        else:
            info = super().frombuf(buf, encoding, errors)
        if buf[257:265] == tarfile.GNU_MAGIC:
            name = bytes(buf[:100]).partition(b"\0")[0].decode(encoding, errors)
            info.name = name.rstrip("/") if info.isdir() else name
        return info


def members(stream: Stream, names: Names) -> Iterator[Member]:
    """The members of a tar archive, and of those behind it; take the content of each before you ask for the next.

    Raises:
        DataError: a member that is refused, by name; or the archive is damaged, or cut off.
    """
    headers = _Headers(stream)
    # As if it were written: to read, the library would seek, and would end without a word at a damaged header.
    library = tarfile.TarFile(fileobj=cast(BinaryIO, headers), mode="w", encoding="utf-8", errors="surrogateescape")
    while True:
        headers.left = _MAX_EXTRA
        try:
            info = _Info.fromtarfile(library)
        except EOFHeaderError:
            if not stream.skip_zeros(BLOCKSIZE, is_header):
                return
            continue
        except (tarfile.HeaderError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise damaged(stream.where(BLOCKSIZE), f"the header of a member is wrong ({clause(error)})") from None
        info.name, info.linkname = (
            names.text(each.encode(errors="surrogateescape"), each) if not each.isascii() else each
            for each in (info.name, info.linkname)
        )
        if info.type in (_LISTED, _LABEL):
            size = max(info.size, 0)
            deque(stream.spans(size + -size % BLOCKSIZE), maxlen=0)
            info.size = 0
        if info.type == _LABEL:
            continue
        member = member_of(info)
        yield member
        stream.take(-member.size % BLOCKSIZE)


class _Headers:
    def __init__(self, stream: Stream) -> None:
        self._stream, self._at = stream, 0
        self.left = _MAX_EXTRA
        """Bytes that the next member may be described by."""

    def read(self, count: int) -> bytes:
        self.left -= count
        if self.left < 0:
            raise damaged(self._stream.where(BLOCKSIZE), f"a member is described by more than {_MAX_EXTRA} bytes")
        self._at += count
        return self._stream.take(count)

    def tell(self) -> int:
        return self._at


def refuse(name: str, why: str, hint: str | None = None) -> NoReturn:
    raise DataError(f"refused {plain(repr(name))}: {why}", hint)


@contextmanager
def naming(member: Member) -> Iterator[None]:
    """Where no file can have a name, or a link's, say whose name it is."""
    try:
        yield
    except UnicodeEncodeError:
        refuse(member.name, "no file can have its name here")
    except OSError as error:
        if error.errno in _NO_NAME:
            refuse(member.name, clause(error))
        error.filename = error.filename or member.name  # of a full disk names no file
        raise


def plain_name(name: str, member: str) -> str:
    """A name in an archive, given by `member`, as plain parts joined by `/`: no `.`, no empty ones.

    Raises:
        DataError: it is empty, absolute, a name of Windows, or leads out of its folder.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not name:
        refuse(member, "it has no name")
    if len(name) > _LONGEST:
        refuse(member, f"a name of {len(name)} characters")
    if len(parts) > _DEEPEST:
        refuse(member, f"it is {len(parts)} folders deep")  # many programs could not even remove them
    if "\0" in name:
        refuse(member, "there is a zero byte in its name")
    if name.startswith("/"):
        refuse(member, "its name is absolute")
    if "\\" in name or _DRIVE.match("".join(parts[:1])):
        refuse(member, "on Windows its name would lead elsewhere")
    if ".." in parts:
        refuse(member, "its name leads out of the folder")
    return "/".join(parts)


def member_of(info: tarfile.TarInfo) -> Member:
    raw, size = info.name, info.size
    name = plain_name(raw, raw)
    kind = _KINDS.get(info.type)
    if info.issparse() or any(field.startswith("GNU.sparse") for field in info.pax_headers):
        refuse(raw, "it is a sparse file", "mkdir FOLDER && tar -xf ARCHIVE -C FOLDER unpacks it")
    if kind is None:
        refuse(raw, f"it is {_REFUSED.get(info.type, f'of a kind that is not unpacked ({info.type!r})')}")
    if not 0 <= size < 1 << 63:
        refuse(raw, "its size cannot be read")
    if size and kind is not Kind.file:
        refuse(raw, "it has content and is not a file")
    if not name and kind is not Kind.folder:
        refuse(raw, "it has no name")
    if kind is Kind.file and info.mode & 0o6000:
        refuse(raw, "it would run as another user (setuid or setgid)")
    mtime = info.mtime if math.isfinite(info.mtime) else 0
    mtime_ns = int(min(max(mtime, 0), _LATEST) * 1e9)
    return Member(name, kind, size, info.mode & 0o777, mtime_ns, info.linkname)
