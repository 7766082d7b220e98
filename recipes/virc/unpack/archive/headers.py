"""Headers of tar archives as their bytes are: what `tarfile` itself makes of them is not the same on each Python."""

import re
from collections.abc import Callable
from tarfile import GNU_MAGIC, GNUTYPE_SPARSE, TarInfo
from typing import Any

_RECORD = re.compile(rb"([0-9]{1,9}) ([^=]+)=")
_SECONDS = re.compile(r"-?[0-9]+(\.[0-9]*)?")
_FIELDS: dict[bytes, tuple[str, Callable[[str], object]]] = {
    b"path": ("name", str), b"GNU.sparse.name": ("name", str), b"linkpath": ("linkname", str),
    b"size": ("size", lambda value: int(value) if value.isdecimal() else -1),
    b"mtime": ("mtime", lambda value: float(value) if _SECONDS.fullmatch(value) else 0),
}  # fmt: skip


def header(block: bytes) -> TarInfo:
    """Raises ValueError: the block is none."""
    stated, summed = _number(block[148:156]), block[:148] + b" " * 8 + block[156:]
    if stated != sum(summed) and stated != sum(memoryview(summed).cast("b")):  # as old programs add bytes up
        raise ValueError("bad checksum")
    info = TarInfo(text(block[:100]))
    if block[257:265] != GNU_MAGIC and (prefix := text(block[345:500])):  # GNU tar has times there (`-G`)
        info.name = f"{prefix}/{info.name}"
    info.mode, info.size, info.mtime = _number(block[100:108]), _number(block[124:136]), _number(block[136:148])
    info.type, info.linkname = block[156:157], text(block[157:257])
    return info


def text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def pax_fields(records: bytes) -> dict[str, Any]:
    """The attributes of a `TarInfo` that a pax header gives. Raises ValueError: its content is none of one."""
    found: dict[str, Any] = {}
    at = 0
    while records[at : at + 1].strip(b"\0"):
        match = _RECORD.match(records, at)
        end = at + int(match[1]) if match else 0
        if not match or end <= match.end() or records[end - 1 : end] != b"\n":
            raise ValueError("bad pax field")
        if match[2] in _FIELDS:
            attribute, read = _FIELDS[match[2]]
            found[attribute] = read(records[match.end() : end - 1].decode(errors="surrogateescape"))
        if match[2].startswith(b"GNU.sparse"):
            found["type"] = GNUTYPE_SPARSE
        at = end
    return found


def _number(field: bytes) -> int:
    if field[:1] in (b"\x80", b"\xff"):  # a number that octal digits have no room for
        return int.from_bytes(field.removeprefix(b"\x80"), "big", signed=field[0] == 0xFF)
    return int(field.partition(b"\0")[0].strip() or b"0", 8)
