"""What the members of a tar archive say they are, and which of them nobody should unpack."""

import errno
import re
import tarfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from tarfile import BLOCKSIZE
from typing import Any, NamedTuple, NoReturn

from virc.core.errors import DataError
from virc.core.text import clause, plain
from virc.unpack.archive.formats import damaged, is_header
from virc.unpack.archive.headers import header, pax_fields, text
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
_LONG = {tarfile.GNUTYPE_LONGNAME: "name", tarfile.GNUTYPE_LONGLINK: "linkname"}
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
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


def members(stream: Stream, names: Names) -> Iterator[Member]:
    """The members of a tar archive, and of those behind it; take the content of each before you ask for the next.

    Raises:
        DataError: a member that is refused, by name; or the archive is damaged, or cut off.
    """
    of_all: dict[str, Any] = {}
    while (info := _next(stream, of_all)) or stream.skip_zeros(BLOCKSIZE, is_header):
        if info is None:
            continue
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


def _next(stream: Stream, of_all: dict[str, Any]) -> tarfile.TarInfo | None:
    """The header of the next member, with what those before it say of it, or `of_all`; None: zeros are there."""
    own: dict[str, Any] = {}
    left = _MAX_EXTRA
    while True:
        block = stream.take(BLOCKSIZE)
        if not own and not block.strip(b"\0"):
            return None
        try:
            info = header(block)
            if info.type not in _LONG and info.type not in _PAX:
                break
            left -= BLOCKSIZE + info.size
            if info.size < 0 or left < 0:
                raise damaged(stream.where(BLOCKSIZE), f"a member is described by more than {_MAX_EXTRA} bytes")
            content = stream.take(info.size + -info.size % BLOCKSIZE)[: info.size]
            said = {_LONG[info.type]: text(content)} if info.type in _LONG else pax_fields(content)
        except ValueError as error:
            raise damaged(stream.where(BLOCKSIZE), f"the header of a member is wrong ({clause(error)})") from None
        (of_all if info.type == tarfile.XGLTYPE else own).update(said)
    for attribute, value in (of_all | own).items():
        setattr(info, attribute, value)
    if info.type == tarfile.AREGTYPE and info.name.endswith("/"):
        info.type = tarfile.DIRTYPE  # as v7 wrote a folder
    return info


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
    if info.type == tarfile.GNUTYPE_SPARSE:
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
    mtime_ns = int(min(max(info.mtime, 0), _LATEST) * 1e9)
    return Member(name, kind, size, info.mode & 0o777, mtime_ns, info.linkname)
