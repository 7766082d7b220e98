"""Archives that somebody made to do harm, drawn at random: refused in a sentence, or unpacked in their folder."""

import errno
import tarfile
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from archives import PACKED, Entry, file, folder, hard_link, link, lz4ed, many, other, tar, tree
from hypothesis import given
from hypothesis import strategies as st

from virc.core.errors import DataError
from virc.unpack.archive import formats
from virc.unpack.unpack import UnpackConfig, unpack

PARTS = ["a", "b", "c", "l", "..", ".", "", "A", "é", "\udcff", "C:", "x\\y", "\0", "to", "secret", "n" * 90]
MORE = ["virc-unpack.partial", ".virc-unpack.partial.lock", "0", "archive", "n" * 260]
KINDS = [*b"0125347LKxgSDMV", 0]
PAX = ["path", "linkpath", "size", "mtime", "GNU.sparse.major", "hdrcharset", "comment"]

parts = st.one_of(st.sampled_from(PARTS[:6]), st.sampled_from(PARTS + MORE))
paths = st.builds(
    lambda lead, inner: lead + "/".join(inner),
    st.sampled_from(["", "", "", "./", "/", "../"]),
    st.lists(parts, max_size=5),
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """A member: mostly a plausible one with a bad name or target, at times any kind with any fields."""
    name, target = draw(paths), draw(paths)
    match draw(st.integers(0, 5)):
        case 0:
            return folder(name)
        case 1:
            return link(name, target)
        case 2:
            return hard_link(name, target)
        case 3:
            pax = draw(st.dictionaries(st.sampled_from(PAX), st.one_of(paths, st.just("-1"), st.just("9" * 30))))
            info, _ = other(name, bytes([draw(st.sampled_from(KINDS))]), target, draw(st.integers(0, 0o7777)), **pax)
            data = draw(st.binary(max_size=600))
            info.size = draw(st.sampled_from([len(data), len(data), 1 << 40]))
            return info, data
        case _:
            return file(name, draw(st.binary(max_size=40)))


dialects = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def as_tar(made: list[Entry], dialect: int) -> bytes:
    """An archive of members whose sizes may be wrong."""
    blocks = [info.tobuf(dialect, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512) for info, data in made]
    return b"".join(blocks) + bytes(1024)


hostile = st.builds(as_tar, st.lists(entries(), min_size=1, max_size=10), dialects)
VALID = [
    pack(tar(*many(8, sizes=(0, 700)), link("l", "images"), hard_link("h", "images/0/0.png"), dialect=dialect))
    for pack in PACKED.values()
    for dialect in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good archive with some bytes changed, taken out or put in."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@contextmanager
def surroundings() -> Iterator[Path]:
    """A folder with a secret and what was there before, in which everything outside `to` must stay."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "secret").write_bytes(b"secret")
        (root / "to").mkdir()
        (root / "to" / "l").symlink_to("../outside")
        (root / "to" / "b").write_bytes(b"mine")
        (root / "outside").mkdir()
        yield root


def leads_nowhere(path: Path) -> bool:
    """Whether it is a link in a circle: Python 3.11 resolves `a`, which links to `a//a`, to `/a`; no system does."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def check(data: bytes) -> None:
    """Unpack it where something is already: only a DataError may come, only the folder may change."""
    with surroundings() as root:
        (root / "archive").write_bytes(data)
        before = tree(root)
        is_whole = False
        try:
            unpack(UnpackConfig(root / "archive", root / "to"))
            is_whole = True
        except DataError:
            pass
        after = tree(root)
        inside = {name for name in after if name.startswith("to/")}
        assert {name: after[name] for name in after.keys() - inside} == {
            name: before[name] for name in before if not name.startswith("to/")
        }
        assert before.items() <= after.items()
        to = root / "to"
        assert not list(to.glob("virc-unpack*"))
        for path in to.rglob("*"):
            assert leads_nowhere(path) or path == to / "l" or path.resolve().is_relative_to(to.resolve())
            assert not path.lstat().st_mode & 0o6000
            assert path.is_symlink() or path.is_file() or path.is_dir()
        if is_whole:
            again = unpack(UnpackConfig(root / "archive", root / "to"))
            assert (again.files, tree(root)) == (0, after)


@given(hostile, st.sampled_from(list(PACKED)))
def test_no_archive_writes_outside_its_folder(data: bytes, packed: str) -> None:
    check(PACKED[packed](data))


@given(mutated())
def test_no_changed_byte_breaks_out(data: bytes) -> None:
    check(data)


@pytest.mark.integration
def test_empty_frames_are_not_held(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(lz4ed(b"", store_size=False) * 100_000 + lz4ed(tar(file("f"))))
    lz4ed(b"")  # imported before memory is measured
    tracemalloc.start()
    try:
        with (tmp_path / "a").open("rb") as opened:
            assert sum(len(chunk.data) for chunk in formats.chunks(opened, tmp_path / "a")) == 10_240
        assert tracemalloc.get_traced_memory()[1] < 4 * formats.ENOUGH
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("target", ["a/a", "a/../a", "a/a/../../../outside", "c", "c//c", "./c/../c"])
@pytest.mark.parametrize("first", [True, False], ids=["link first", "file first"])
def test_a_link_through_a_file_is_the_same_whichever_came_first(target: str, first: bool) -> None:
    made = [link("c", target), file("a")]
    check(as_tar(made if first else made[::-1], tarfile.GNU_FORMAT))
