"""Headers of all forms, read the same on each Python, whatever `tarfile` there makes of them."""

import io
import tarfile
from pathlib import Path

import pytest
from archives import Entry, file, folder, gnu, hard_link, link, summed, tar, tree
from support.tables import each_case

from virc.core.errors import DataError
from virc.unpack.archive.formats import Chunk
from virc.unpack.archive.members import Kind, Member, members
from virc.unpack.archive.names import Names
from virc.unpack.archive.stream import Stream
from virc.unpack.unpack import UnpackConfig, unpack

END = bytes(2 * tarfile.BLOCKSIZE)
LONG = "a folder with a long name/" * 4 + "x" * 120
PLAIN = [folder("d"), file("d/f", b"content", 0o755), link("l", "d/f"), hard_link("h", "d/f")]
LONGER = [folder("d/" * 60), file(LONG, b"long"), link("l", "d/" * 60 + "f"), file("é\udcff"), hard_link("h", LONG)]


def members_of(data: bytes) -> list[tuple[Member, bytes]]:
    stream = Stream(iter([Chunk(data, 0, len(data), plain=True)]), len(data), 100, lambda at: None)
    return [(member, stream.take(member.size)) for member in members(stream, Names())]


def by_tarfile(data: bytes) -> list[tuple[Member, bytes]]:
    """The same as the standard library has it."""
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        return [
            (
                Member(
                    info.name, Kind.file if info.isreg() else Kind(info.type), info.size if info.isreg() else 0,
                    info.mode & 0o777, int(max(info.mtime, 0) * 1e9), info.linkname,
                ),
                archive.fileobj.read(info.size) if archive.fileobj and info.isreg() else b"",
            )
            for info in archive
        ]  # fmt: skip


def old(entry: Entry) -> bytes:
    """A member in the form of Unix v7: no magic, no owner's name, and a folder that only a slash tells from a file."""
    info, data = entry
    head = info.tobuf(tarfile.USTAR_FORMAT)
    kind = b"\0" if info.isreg() or info.isdir() else info.type
    return summed(head[:156] + kind + head[157:257] + bytes(255)) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def changed(entry: Entry, at: int, field: bytes) -> bytes:
    """A member with other bytes at a place of its header."""
    info, data = entry
    head = info.tobuf(tarfile.GNU_FORMAT)
    return summed(head[:at] + field + head[at + len(field) :]) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def signed(entry: Entry) -> bytes:
    """A member whose checksum is of signed bytes."""
    head = tar(entry)[:512]
    total = sum(memoryview(head[:148] + b" " * 8 + head[156:]).cast("b"))
    return head[:148] + b"%06o\0 " % total + head[156:] + tar(entry)[512:]


@each_case(
    "data",
    [
        *(tar(*PLAIN, dialect=form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
        *(tar(*LONGER, dialect=form) for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
        tar(file("p" * 90 + "/" + "n" * 90, b"prefix"), dialect=tarfile.USTAR_FORMAT),
        b"".join(map(old, PLAIN)) + END,
        tar(file("early", mtime=-7), file("late", mtime=(1 << 33) - 1), dialect=tarfile.GNU_FORMAT),
        changed(file("f", b"content"), 124, b"\x80" + (7).to_bytes(11, "big")) + tar(file("g")),
        changed(file("f", b"content"), 124, b"          7 ") + tar(file("g")),
        signed(file("é", b"content")),
        tar(file("f", mtime=1.5), dialect=tarfile.PAX_FORMAT),
    ],
)
def test_headers_say_what_the_library_reads(data: bytes) -> None:
    assert members_of(data) == by_tarfile(data)


def test_no_parser_of_the_library_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(*LONGER, dialect=tarfile.GNU_FORMAT) + tar(file("pax", mtime=1.5), dialect=tarfile.PAX_FORMAT)
    data += b"".join((gnu("./a.txt", b"a"), gnu("./sub/", b"Nb.txt\0\0", b"D"), gnu("./sub/b.txt", b"b")))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the library is asked")

    for parser in ("frombuf", "_frombuf", "fromtarfile", "_fromtarfile", "_proc_member"):
        monkeypatch.setattr(tarfile.TarInfo, parser, fail, raising=False)
    (tmp_path / "a.tar").write_bytes(data + END)
    unpack(UnpackConfig(tmp_path / "a.tar", tmp_path / "to"))
    found = tree(tmp_path / "to")
    assert [found[name] for name in ("a.txt", "sub/b.txt", LONG, "pax", "h")] == [b"a", b"b", b"long", b"x", b"long"]


def test_a_long_name_says_itself_whether_it_is_of_a_folder() -> None:
    """The header behind it has its first 100 bytes, which may end with a slash."""
    info = tarfile.TarInfo("././@LongLink")
    name = "d" * 99 + "/f"
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, len(name) + 1
    data = info.tobuf(tarfile.GNU_FORMAT) + name.encode().ljust(512, b"\0") + old(file(name[:100], b"content")) + END
    assert [(member.name, member.kind, content) for member, content in members_of(data)] == [
        (name, Kind.file, b"content")
    ]


def test_fields_for_all_members_may_be_all_of_an_archive() -> None:
    assert members_of(tarfile.TarInfo.create_pax_global_header({"comment": "of git archive"}) + END) == []


@each_case("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@each_case("size", [b"\xff" * 12, b"-0000001000\0", b"\x80" + b"\xff" * 11])
def test_a_description_of_no_such_size_is_damage(kind: bytes, size: bytes) -> None:
    head = changed(file("f", b""), 156, kind)
    with pytest.raises(DataError, match="damaged"):
        members_of(summed(head[:124] + size + head[136:]) + END)
