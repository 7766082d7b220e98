"""Members that nobody should unpack: each is named, nothing leaves the folder, the archive stays."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from archives import Entry, file, folder, gzip, hard_link, link, lz4ed, other, tar, tree
from support.called import virc

from virc.core.errors import DataError
from virc.unpack.unpack import UnpackConfig, unpack


def linked(name: str, target: str, size: int) -> tarfile.TarInfo:
    info, _ = link(name, target)
    info.size = size
    return info


REFUSED: dict[str, tuple[list[Entry], str]] = {
    "parent": ([file("../out")], "leads out of the folder"),
    "parent in the middle": ([file("a/../../out")], "leads out of the folder"),
    "parent that stays inside": ([file("a/../b")], "leads out of the folder"),
    "folder outside": ([folder("../out")], "leads out of the folder"),
    "absolute": ([file("/tmp/virc-out")], "is absolute"),
    "two slashes": ([file("//tmp/virc-out")], "is absolute"),
    "backslash": ([file("..\\out")], "on Windows"),
    "drive": ([file("C:out")], "on Windows"),
    "drive behind a dot": ([file("./c:/out")], "on Windows"),
    "empty": ([file("")], "no name"),
    "dot": ([file(".")], "no name"),
    "dots and slashes": ([link("././/.", "a")], "no name"),
    "too long": ([file("a" * 5000)], "5000 characters"),
    "too deep": ([file("a/" * 101 + "b")], "102 folders deep"),
    "part too long": ([file("a" * 300)], "file name too long"),
    "zero byte": ([other("a", b"0", path="a\0b")], "zero byte"),
    "character device": ([other("a", tarfile.CHRTYPE)], "a device"),
    "block device": ([other("a", tarfile.BLKTYPE)], "a device"),
    "pipe": ([other("a", tarfile.FIFOTYPE)], "a pipe"),
    "unknown": ([other("a", b"Z")], "of a kind"),
    "old sparse": ([other("a", tarfile.GNUTYPE_SPARSE)], "a sparse file"),
    "new sparse": ([other("a", b"0", **{"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"})], "a sparse"),
    "setuid": ([file("a", mode=0o4755)], "another user"),
    "setgid": ([file("a", mode=0o2755)], "another user"),
    "link over a file": ([file("a"), link("a", "b")], "comes twice"),
    "file over a link": ([link("a", "b"), file("a")], "comes twice"),
    "file over a folder": ([folder("a"), file("a")], "something else is there"),
    "folder over a file": ([file("a"), folder("a")], "where it needs a folder"),
    "in a file": ([file("a"), file("a/b")], "where it needs a folder"),
    "through a link": ([folder("d"), link("a", "d"), file("a/b")], "contains the link a"),
    "folder through a link": ([folder("d"), link("a", "d"), folder("a/b/c")], "contains the link a"),
    "absolute link": ([link("a", "/etc/passwd")], "out of the folder"),
    "link to the parent": ([link("a", "..")], "out of the folder"),
    "link to the parent and back": ([link("a", "../to/b")], "out of the folder"),
    "deep link": ([link("a/b/l", "../../../x")], "out of the folder"),
    "empty link": ([link("a", "")], "not a name"),
    "parent behind a dot": ([link("a", "./../x")], "out of the folder"),
    "out through many links": ([link("s", "."), link("a", "s/" * 30 + "../x")], "out of the folder"),
    "link with content": ([link("l", "f"), (linked("m", "f", 5), b"12345")], "it has content"),
    "link with a backslash": ([link("a", "..\\x")], "not a name"),
    "chain that looks harmless": (
        [folder("a/b"), link("a/b/l1", "../.."), link("l2", "a/b/l1/../x")],
        "out of the folder",
    ),
    "chain over three": (
        [folder("a/b/c"), link("a/b/c/one", ".."), link("two", "a/b/c/one/.."), link("three", "two/../../x")],
        "out of the folder",
    ),
    "link back from a file": ([file("a"), link("l", "a/../b")], "steps back from a file"),
    "back from our own folder": ([link("l", "virc-unpack.partial/../x")], "not there"),
    "chain closed later": ([link("l", "q/../x"), link("q", ".")], "not there"),
    "hard link outside": ([hard_link("a", "../secret")], "leads out of the folder"),
    "absolute hard link": ([hard_link("a", "/etc/passwd")], "is absolute"),
    "hard link to nothing": ([hard_link("a", "b")], "not an earlier file"),
    "hard link to a link": ([link("l", "b"), hard_link("a", "l")], "not an earlier file"),
    "hard link to a folder": ([folder("d"), hard_link("a", "d")], "not an earlier file"),
    "hard link to itself": ([hard_link("a", "a")], "not an earlier file"),
    "our own name": ([file("virc-unpack.partial/0")], "virc itself"),
    "our lock": ([file("./.VIRC-unpack.partial.lock")], "virc itself"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_member_is_refused_by_its_name(what: str, tmp_path: Path) -> None:
    entries, sentence = REFUSED[what]
    (tmp_path / "secret").write_bytes(b"secret")
    archive, to = tmp_path / "a.tar.lz4", tmp_path / "to"
    archive.write_bytes(lz4ed(tar(file("before", b"good"), *entries)))
    done = virc("unpack", archive, "--to", to)
    assert (done.code, done.out, archive.exists()) == (5, "", True)
    error = next(line for line in done.err.splitlines() if line.startswith("error: "))
    assert sentence in error
    names = [name for info, _ in entries for name in (info.name, info.name + "/", os.path.normpath(info.name))]
    given = [info.pax_headers["path"] for info, _ in entries if "path" in info.pax_headers]
    assert any(error.startswith(f"error: refused {name!r}"[:200]) for name in [*names, *given])
    assert tree(to)["before"] == b"good"
    assert {path.name for path in tmp_path.iterdir()} == {"secret", "a.tar.lz4", "to"}
    assert not [name for name in tree(to) if name.startswith(("virc-", ".virc-"))]


def unpacked(data: bytes, tmp_path: Path, **settings: object) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(data)
    unpack(UnpackConfig(archive, tmp_path / "to", **settings))  # type: ignore[arg-type]


def test_links_that_stay_in_the_folder_are_made(tmp_path: Path) -> None:
    links = {
        "a/up": "../b/f",
        "a/self": ".",
        "b/through": "../a/self/up",
        "a/down": "self/../b/f",
        "gone": "not/there",
        "root": "a/..",
    }
    entries = [file("b/f"), folder("a"), *(link(name, target) for name, target in links.items())]
    unpacked(tar(*entries), tmp_path)
    to = tmp_path / "to"
    assert {name: str((to / name).readlink()) for name in links} == links
    assert (to / "a" / "down").resolve() == to / "b" / "f"


def test_nothing_goes_through_a_link_that_is_in_the_folder_already(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "to" / "l").symlink_to("../outside")
    for entries in ([file("l/f")], [folder("l/d")], [file("l")], [link("m", "l/x")], [hard_link("m", "l/x")]):
        with pytest.raises(DataError, match="refused"):
            unpacked(tar(*entries), tmp_path)
    assert tree(tmp_path / "outside") == {}
    assert tree(tmp_path / "to") == {"l": "-> ../outside"}


def test_a_file_that_the_archive_did_not_bring_gets_no_second_name(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine").write_bytes(b"mine")
    with pytest.raises(DataError, match="not an earlier file"):
        unpacked(tar(hard_link("theirs", "mine")), tmp_path)
    assert tree(tmp_path / "to") == {"mine": b"mine"}


@pytest.mark.parametrize("there", [b"mine", b"mine but longer", b"new! and longer", b""])
def test_a_file_that_was_there_is_never_written_over(there: bytes, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "f").write_bytes(there)
    os.utime(tmp_path / "to" / "f", (1_700_000_000, 1_700_000_000))
    for entry in (file("f", b"new!"), link("f", "x"), folder("f"), hard_link("f", "g")):
        with pytest.raises(DataError, match="'f'"):
            unpacked(tar(file("g"), entry), tmp_path)
        assert tree(tmp_path / "to") == {"f": there, "g": b"x"}
    (tmp_path / "to" / "l").symlink_to("mine")
    with pytest.raises(DataError, match="something else is there"):
        unpacked(tar(link("l", "theirs")), tmp_path)
    assert str((tmp_path / "to" / "l").readlink()) == "mine"


def test_modes_are_masked_and_owners_are_ours(tmp_path: Path) -> None:
    info, data = file("f", mode=0o1777)
    info.uid = info.gid = 12345
    before = os.umask(0o027)
    try:
        unpacked(tar((info, data), file("closed", mode=0)), tmp_path)
    finally:
        os.umask(before)
    there = (tmp_path / "to" / "f").stat()
    assert (there.st_mode & 0o7777, there.st_uid) == (0o750, os.getuid())
    assert (tmp_path / "to" / "closed").stat().st_mode & 0o7777 == 0o600


BOMBS = {
    "--max-ratio": (lz4ed(tar(file("zeros", bytes(100 << 20)))), "100 times its size", 1000),
    "--max-bytes": (lz4ed(tar(file("a", bytes(600)), file("b", bytes(600)))), "takes 600 bytes", 1200),
    "--max-files": (lz4ed(tar(file("a/b/c"))), "files and folders", 3),
}


@pytest.mark.parametrize("option", BOMBS)
def test_a_bomb_is_refused_and_its_limit_can_be_raised(option: str, tmp_path: Path) -> None:
    data, sentence, enough = BOMBS[option]
    archive = tmp_path / "a.tar.lz4"
    archive.write_bytes(data)
    words = ("unpack", archive, "--to", tmp_path / "to")
    limit = () if option == "--max-ratio" else (option, enough - 1)
    done = virc(*words, *limit)
    assert (done.code, sentence in done.err, option in done.err, archive.exists()) == (5, True, True, True)
    assert virc(*words, option, enough).code == 0


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(1 << 20), mtime=0) * 300
    with pytest.raises(DataError, match="times its size"):
        unpacked(gzip.compress(tar(file("f"))[:1024], mtime=0) + packed, tmp_path)


def test_more_than_the_disk_has_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    info, _ = file("huge", b"")
    info.size = 1 << 60
    with pytest.raises(DataError, match="are left"):
        unpacked(info.tobuf(tarfile.GNU_FORMAT), tmp_path)


def test_names_of_other_alphabets_and_of_none_are_kept(tmp_path: Path) -> None:
    names = ["∠ABC=50°.png", "图/一.png", "raw\udcff\udcfe", "a\x1b[2J\n"]
    for dialect in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        unpacked(tar(*map(file, names), dialect=dialect), tmp_path)
        assert set(tree(tmp_path / "to")) == set(names)


def test_a_refused_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(file("../\x1b[2J\n\u202efdp.exe" + "x" * 3000)))
    done = virc("unpack", tmp_path / "a.tar")
    assert done.code == 5
    assert done.err.replace("\n", "").isprintable()
    assert len(done.err) < 500


@pytest.mark.parametrize("records", [b"9999 path=a\n", b"0 path=a\n", b"8 path=a\n"])
def test_pax_fields_that_cannot_be_read_are_damage(records: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("extra")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.fileobj.write(info.tobuf() + records + bytes(-len(records) % 512))  # type: ignore[union-attr]
        made.addfile(file("f", b"")[0])
    with pytest.raises(DataError):
        unpacked(out.getvalue(), tmp_path)


@pytest.mark.parametrize(("field", "value"), [("size", "-1"), ("size", "9" * 30)])
def test_a_size_that_is_none_is_refused(field: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="size"):
        unpacked(tar(other("f", b"0", **{field: value})), tmp_path)


@pytest.mark.parametrize("mtime", ["nan", "-inf", "1e400", "-5", "x", "99999999999999"])
def test_a_time_that_is_none_does_no_harm(mtime: str, tmp_path: Path) -> None:
    unpacked(tar(other("f", b"0", mtime=mtime)), tmp_path)
    assert tree(tmp_path / "to") == {"f": b""}


def test_a_description_without_end_is_damage(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    with pytest.raises(DataError, match="described by more than"):
        unpacked(info.tobuf(tarfile.GNU_FORMAT), tmp_path)


def test_many_descriptions_in_a_row_do_no_harm(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2
    with pytest.raises(DataError, match="damaged"):
        unpacked((info.tobuf() + b"f\0".ljust(512, b"\0")) * 3000 + tar(file("g")), tmp_path)
    assert not tree(tmp_path / "to")


def raw(name: str, content: bytes, **pax: str) -> bytes:
    """A member whose header says that it is empty, and whose pax fields say more."""
    info = tarfile.TarInfo(name)
    info.mtime, info.pax_headers = 1_000_000_000, pax
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


END = bytes(2 * tarfile.BLOCKSIZE)


def global_field(**pax: str) -> bytes:
    """A header of fields for all members that follow."""
    return tarfile.TarInfo.create_pax_global_header(pax)


@pytest.mark.parametrize(
    ("data", "files"),
    [
        (raw("a", b"hello", size="5") + raw("b", b""), {"a": (b"hello", 10**18), "b": (b"", 10**18)}),
        (
            raw("a", b"", mtime="1500000000.5") + raw("b", b""),
            {"a": (b"", 1_500_000_000_500_000_000), "b": (b"", 10**18)},
        ),
        (
            global_field(mtime="1500000000.5") + raw("a", b"") + raw("b", b"", mtime="1600000000"),
            {"a": (b"", 1_500_000_000_500_000_000), "b": (b"", 1_600_000_000 * 10**9)},
        ),
        (
            global_field(mtime="1500000000.5") + raw("a", b"") + raw("b", b""),
            {"a": (b"", 1_500_000_000_500_000_000), "b": (b"", 1_500_000_000_500_000_000)},
        ),
        (raw("a", b"", path="of/pax") + raw("b", b""), {"of/pax": (b"", 10**18), "b": (b"", 10**18)}),
    ],
)
def test_pax_fields_are_of_the_next_member_and_global_ones_of_all(
    data: bytes, files: dict[str, tuple[bytes, int]], tmp_path: Path
) -> None:
    (tmp_path / "a.tar").write_bytes(data + END)
    unpack(UnpackConfig(tmp_path / "a.tar", to := tmp_path / "to"))
    found = {path.relative_to(to).as_posix(): path for path in to.rglob("*") if path.is_file()}
    assert {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in found.items()} == files
