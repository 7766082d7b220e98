"""What the members of a tar archive say they are, and which of them nobody should unpack."""

import errno
import math
import re
import struct
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from tarfile import BLOCKSIZE
from typing import NamedTuple, NoReturn

from virc.core.errors import DataError
from virc.core.text import clause, plain
from virc.unpack.archive.formats import damaged
from virc.unpack.archive.stream import Stream

_MOST_EXTRA = 1 << 20  # bytes of a long name, or of pax fields
_LONGEST, _DEEPEST = 4096, 100  # characters and parts of a name
_LATEST = 1 << 33  # seconds; later times are none that a disk keeps
_NO_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}
_ZEROS = bytes(BLOCKSIZE)
_HEADER = struct.Struct("100s8s16x12s12s8sc100s6s82x155s12x")
_FIELDS = {"path", "linkpath", "size", "mtime", "sparse"}
_DRIVE = re.compile(r"[A-Za-z]:")


class Kind(Enum):
    """What is made of a member."""

    file = b"0"
    hard_link = b"1"
    link = b"2"
    folder = b"5"


_KINDS = {kind.value: kind for kind in Kind} | {tarfile.AREGTYPE: Kind.file, tarfile.CONTTYPE: Kind.file}
_REFUSED = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


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


def members(stream: Stream) -> Iterator[Member]:
    """The members of a tar archive up to its end mark; take the content of each before you ask for the next.

    Raises:
        DataError: a member that is refused, by name; or the archive is damaged, or cut off.
    """
    everywhere: dict[str, str] = {}
    own: dict[str, str] = {}
    while (block := stream.take(BLOCKSIZE)) != _ZEROS:
        info = _header(block, stream)
        match info.kind:
            case tarfile.GNUTYPE_LONGNAME:
                own["path"] = _text(_extra(info, stream))
            case tarfile.GNUTYPE_LONGLINK:
                own["linkpath"] = _text(_extra(info, stream))
            case tarfile.XHDTYPE | tarfile.SOLARIS_XHDTYPE:
                own |= _pax(_extra(info, stream), stream)
            case tarfile.XGLTYPE:
                everywhere |= _pax(_extra(info, stream), stream)
            case _:
                member = _member(info, everywhere | own)
                own = {}
                yield member
                stream.take(-member.size % BLOCKSIZE)


def refuse(name: str, why: str, hint: str | None = None) -> NoReturn:
    """Raise the DataError that names a member and says what is wrong with it."""
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


class _Header(NamedTuple):
    name: str
    mode: int
    size: int
    mtime: int
    kind: bytes
    target: str


def _header(block: bytes, stream: Stream) -> _Header:
    """What stands in a header: four times as fast as the library's, which reads all fields of it."""
    name, mode, size, mtime, check, kind, target, magic, prefix = _HEADER.unpack(block)
    try:
        numbers = [_field(each) for each in (mode, size, mtime, check)]
    except ValueError:
        raise damaged(stream.where(BLOCKSIZE), "no header of a member is there") from None
    if numbers[3] != sum(block) - sum(check) + 8 * ord(" ") or numbers[1] < 0:
        raise damaged(stream.where(BLOCKSIZE), "the header of a member is wrong")
    whole = _text(name)
    if magic == b"ustar\0" and prefix[0]:
        whole = f"{_text(prefix)}/{whole}"
    if kind == tarfile.AREGTYPE and whole.endswith("/"):
        kind = tarfile.DIRTYPE  # the oldest archives say it so
    return _Header(whole, numbers[0], numbers[1], numbers[2], kind, _text(target))


def _field(field: bytes) -> int:
    """A number: octal digits, or in base 256 where they would not be enough."""
    if field[0] in (0x80, 0xFF):
        return int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _extra(info: _Header, stream: Stream) -> bytes:
    """The content of a member that only describes the next one."""
    if info.size > _MOST_EXTRA:
        raise damaged(stream.where(BLOCKSIZE), f"a description of {info.size} bytes")
    return stream.take(info.size + -info.size % BLOCKSIZE)[: info.size]


def _pax(data: bytes, stream: Stream) -> dict[str, str]:
    """Those fields of a pax header that matter here; each is `LENGTH KEY=VALUE` and a newline."""
    fields = {}
    at = 0
    try:
        while at < len(data):
            begins = data.index(b" ", at, at + 20) + 1
            ends = at + int(data[at:begins])
            key, equals, value = data[begins : ends - 1].partition(b"=")
            if ends <= begins or not equals or data[ends - 1 : ends] != b"\n":
                raise ValueError
            name = "sparse" if key.startswith(b"GNU.sparse") else key.decode("utf-8", "replace")
            if name in _FIELDS:
                fields[name] = value.decode("utf-8", "surrogateescape")
            at = ends
    except ValueError:
        raise damaged(stream.where(len(data)), "its pax fields cannot be read") from None
    return fields


def _member(info: _Header, fields: dict[str, str]) -> Member:
    fields = {key: value for key, value in fields.items() if value}  # an empty one takes an earlier one back
    raw = fields.get("path", info.name)
    name = plain_name(raw, raw)
    kind = _KINDS.get(info.kind)
    if kind is None:
        refuse(raw, f"it is {_REFUSED.get(info.kind, f'of a kind that is not unpacked ({info.kind!r})')}")
    if "sparse" in fields:
        refuse(raw, "it is a sparse file")
    if not re.fullmatch("[0-9]{1,19}", fields.get("size", "0")):
        refuse(raw, "its size cannot be read")
    size = int(fields.get("size", info.size))
    if size and kind is not Kind.file:
        refuse(raw, "it has content and is not a file")
    if not name and kind is not Kind.folder:
        refuse(raw, "it has no name")
    if kind is Kind.file and raw.endswith("/"):
        refuse(raw, "its name is that of a folder, and it is a file")
    if kind is Kind.file and info.mode & 0o6000:
        refuse(raw, "it would run as another user (setuid or setgid)")
    mtime = _seconds(fields.get("mtime"), info.mtime)
    return Member(name, kind, size, info.mode & 0o777, mtime, fields.get("linkpath", info.target))


def _seconds(text: str | None, otherwise: float) -> int:
    """A time in ns, between 1970 and the last that disks keep."""
    try:
        time = otherwise if text is None else float(text)
    except ValueError:
        time = otherwise
    return int(min(max(time if math.isfinite(time) else 0, 0), _LATEST) * 1e9)
