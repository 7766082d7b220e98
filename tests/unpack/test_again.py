"""Members that come again, and archives behind each other: what tar makes of them."""

import gzip
from pathlib import Path

import pytest
from archives import Entry, file, folder, hard_link, lz4ed, tar, tree
from support.called import virc

from virc.core.errors import DataError
from virc.unpack.unpack import UnpackConfig, Unpacked, unpack

LARGE = b"x" * (1 << 20)
ZEROS = b"\0" * 10240


def unpacked(data: bytes, tmp_path: Path) -> Unpacked:
    archive = tmp_path / "a.tar"
    archive.write_bytes(data)
    return unpack(UnpackConfig(archive, tmp_path / "to"))


AGAIN: dict[str, tuple[list[Entry], dict[str, bytes]]] = {
    "another content": ([file("a", b"1"), file("a", b"22")], {"a": b"22"}),
    "the same content": ([file("a"), file("a")], {"a": b"x"}),
    "three, with others between": (
        [file("a", b"1"), file("b", b"b"), file("a", b"2"), file("c", b"c"), file("a", b"3")],
        {"a": b"3", "b": b"b", "c": b"c"},
    ),
    "in another form of its name": ([file("d/a", b"1"), file("./d//a", b"2")], {"d/a": b"2"}),
    "large, then small": ([file("a", LARGE + b"1"), file("a", b"2")], {"a": b"2"}),
    "small, then large": ([file("a", b"1"), file("a", LARGE + b"2")], {"a": LARGE + b"2"}),
    "empty at last": ([file("a", b"1"), file("a", b"")], {"a": b""}),
    "of a file with two names": ([file("a", b"1"), hard_link("b", "a"), file("a", b"2")], {"a": b"2", "b": b"1"}),
    "a folder": ([folder("d"), file("d/a", b"1"), folder("d"), file("d/a", b"2")], {"d/a": b"2"}),
}


@pytest.mark.parametrize("what", AGAIN)
def test_the_last_of_a_file_stays(what: str, tmp_path: Path) -> None:
    entries, wanted = AGAIN[what]
    done = unpacked(tar(*entries), tmp_path)
    assert {name: data for name in wanted if (data := (tmp_path / "to" / name).read_bytes()) != b"?"} == wanted
    assert done.files == len(wanted)


@pytest.mark.parametrize("there", [b"1", b"2", b"3"])
def test_a_rerun_ends_with_the_last_wherever_it_was_killed(there: bytes, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a").write_bytes(there)
    for _ in range(2):
        unpacked(tar(*(file("a", data) for data in (b"1", b"2", b"3")), file("b")), tmp_path)
        assert tree(tmp_path / "to").keys() == {"a", "b"}
        assert (tmp_path / "to" / "a").read_bytes() == b"3"


@pytest.mark.parametrize("there", [b"4", b"", b"another size"])
@pytest.mark.parametrize("after", [[], [hard_link("b", "a")]])
def test_a_file_that_is_none_of_them_stays_and_is_named(there: bytes, after: list[Entry], tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "a").write_bytes(there)
    with pytest.raises(DataError, match=r"refused '[ab]': (something else is there already|it links to a, which)"):
        unpacked(tar(file("a", b"1"), file("a", b"2"), *after), tmp_path)
    assert tree(tmp_path / "to").keys() == {"a"}
    assert (tmp_path / "to" / "a").read_bytes() == there


BEHIND: dict[str, bytes] = {
    "at once": tar(file("a")) + tar(file("b")) + tar(file("c")),
    "behind zeros": tar(file("a")) + ZEROS + tar(file("b")) + tar(file("c")) + ZEROS,
    "one of them empty": tar(file("a")) + tar() + tar(file("b"), file("c")),
    "each in gzip": b"".join(gzip.compress(tar(file(name))) for name in "abc"),
    "each in LZ4": b"".join(lz4ed(tar(file(name))) for name in "abc"),
    "both packed": gzip.compress(tar(file("a")) + tar(file("b"), file("c"))),
    "a mark of one block": tar(file("a"))[:1024] + ZEROS[:512] + tar(file("b"), file("c")),
}


@pytest.mark.parametrize("how", BEHIND)
def test_archives_behind_each_other_are_one(how: str, tmp_path: Path) -> None:
    done = unpacked(BEHIND[how], tmp_path)
    assert (tree(tmp_path / "to").keys(), done.files, done.warnings) == ({"a", "b", "c"}, 3, [])


@pytest.mark.parametrize("rest", [b"x", b"x" * 512, b"\0" * 300 + b"x", b"PK\3\4" * 200])
def test_what_is_behind_and_no_archive_is_said(rest: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(lz4ed(tar(file("a")) + rest))
    done = virc("unpack", archive, "--remove", "--to", tmp_path / "to")
    assert (done.code, archive.exists(), tree(tmp_path / "to").keys()) == (0, True, {"a"})
    assert "is no tar archive, and was not unpacked\n" in done.err
