"""Archives in several parts, from the standard input, and single files that only look like archives."""

import gzip
import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import lz4.frame
import pytest
from archives import PACKED, contents, file, lz4ed, many, tar, tree
from support.called import virc

from virc.core.errors import DataError, UsageError
from virc.core.text import sized
from virc.unpack.archive import formats, stream
from virc.unpack.archive.members import members
from virc.unpack.archive.names import Names
from virc.unpack.archive.parts import is_shard
from virc.unpack.unpack import UnpackConfig, unpack, unpacking

ENTRIES = many(12, sizes=(100, 3000))


def split(folder: Path, data: bytes, names: list[str]) -> list[Path]:
    """Parts of an archive; the last one has the rest."""
    size = -(-len(data) // len(names))
    parts = [folder / name for name in names]
    for number, part in enumerate(parts):
        part.write_bytes(data[number * size : (number + 1) * size])
    return parts


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(
    "names",
    [
        ["a.partay", "a.partaz", "a.partba"],
        ["a.tar.lz4.part8", "a.tar.lz4.part9", "a.tar.lz4.part10"],
        ["a.001", "a.002"],
        ["xyy", "xyz", "xzaaa"],
        ["x88", "x89", "x9000"],
    ],
)
def test_parts_are_joined_in_the_order_of_their_names(names: list[str], packed: str, tmp_path: Path) -> None:
    parts = split(tmp_path, PACKED[packed](tar(*ENTRIES)), names)
    done = virc("unpack", *reversed(parts), "--to", tmp_path / "to", "--remove")
    assert (done.code, tree(tmp_path / "to")) == (0, contents(ENTRIES))
    assert not any(part.exists() for part in parts)


def test_parts_of_which_one_lacks_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    one, _, three = split(tmp_path, lz4ed(tar(*ENTRIES)), ["a.part1", "a.part2", "a.part3"])
    with pytest.raises(DataError, match=r"between a\.part1 and a\.part3 a part is missing"):
        unpack(UnpackConfig(one, tmp_path / "to", more=(three,)))
    assert not (tmp_path / "to").exists()


def test_one_part_alone_names_the_others(tmp_path: Path) -> None:
    parts = split(tmp_path, lz4ed(tar(*ENTRIES)), ["a b.partaa", "a b.partab", "a b.partac"])
    split(tmp_path, lz4ed(tar(*ENTRIES)), ["other.partaa", "other.partab"])
    with pytest.raises(DataError, match="partab is one of 3 parts") as raised:
        unpack(UnpackConfig(parts[1], tmp_path / "to"))
    assert raised.value.hint == f"virc unpack '{tmp_path}/a b.part'*"


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.tar", "b.tar"), ("shard-00.tar", "shard-01.tar"), ("a.1", "b.2"), ("a.1", "a.01"), ("a.1", "a.1")],
)
def test_two_archives_are_no_parts_of_one(one: str, other: str, tmp_path: Path) -> None:
    for name in (one, other):
        (tmp_path / name).write_bytes(tar(*ENTRIES))
    with pytest.raises(UsageError, match="are not two parts of one archive"):
        unpack(UnpackConfig(tmp_path / one, tmp_path / "to", more=(tmp_path / other,)))


def test_a_home_folder_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    config = UnpackConfig(Path("~/a.tar"))
    assert (config.parts, config.folder) == ([Path("/home/somebody/a.tar")], Path("/home/somebody"))
    several = UnpackConfig(Path("~/b.2"), Path("~/to"), more=(Path("~/b.1"),))
    assert (several.parts, several.folder) == (
        [Path(f"/home/somebody/b.{at}") for at in (1, 2)],
        Path("/home/somebody/to"),
    )


@pytest.mark.parametrize("packed", PACKED)
def test_an_archive_comes_from_the_standard_input(packed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_SMALL", 0)  # so that the ratio to the bytes that came so far counts
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(PACKED[packed](tar(*ENTRIES)))))
    done = unpack(UnpackConfig(Path("-"), tmp_path / "to", remove=True))
    assert tree(tmp_path / "to") == contents(ENTRIES)
    assert (done.removed, done.kept) == (False, "it came from the standard input")


def test_a_bomb_from_the_standard_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(tar(*many(1, sizes=(1, 2))) + bytes(4 << 20), 1)
    monkeypatch.setattr(stream, "_SMALL", 1 << 20)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bomb)))
    with pytest.raises(DataError, match="more than 100 times its size") as raised:
        unpack(UnpackConfig(Path("-"), tmp_path / "to"))
    assert raised.value.hint == "if you trust it: --max-ratio 1000"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n" + bytes(900), "a PNG picture"),
        (b"\xff\xd8\xff" + bytes(900), "a JPEG picture"),
        (b'{"a": 1}\n' * 100, "JSON"),
        (b"words" * 200, "a single file"),
    ],
)
def test_a_packed_file_that_is_no_archive_is_named(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png.gz"
    for data, form, command in (
        (gzip.compress(content), "gzip", "gunzip -k"),
        (lz4.frame.compress(content, content_checksum=True), "LZ4", "lz4 -dk"),
    ):
        path.write_bytes(data[:-6])
        with pytest.raises(DataError, match="the archive is cut off"):
            unpack(UnpackConfig(path, tmp_path / "to"))
        path.write_bytes(data)
        with pytest.raises(DataError) as raised:
            unpack(UnpackConfig(path, tmp_path / "to"))
        assert raised.value.message == f"{path} is {what} in {form}, not a tar archive"
        assert raised.value.hint == f"{command} {path}"


def test_an_archive_alone_is_unpacked_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "a b.tar.part1").touch()
    assert unpacking(tmp_path / "a b.tar.part1") == f"virc unpack '{tmp_path}/a b.tar.part1'"


@pytest.mark.parametrize(
    ("flags", "stated"), [(0b0110_1100, 5 << 32), (0b0110_0100, None)], ids=["with its size", "without"]
)
def test_the_size_that_an_lz4_frame_states_is_known(flags: int, stated: int | None) -> None:
    """FLG and BD are followed by eight bytes of the size of the content, where bit 3 of FLG is set."""
    head = b"\x04\x22\x4d\x18" + bytes([flags, 0x70]) + (5 << 32).to_bytes(8, "little")
    assert formats.stated(head, 99) == stated
    assert formats.stated(b"\x5a\x2a\x4d\x18" + bytes(10), 99) is None  # frames to be skipped say nothing
    assert formats.stated(tar(file("a")), 99) == 99


def test_members_lie_across_pieces_of_any_size() -> None:
    data = tar(file("a", b"1" * 700)) + bytes(5120) + tar(file("b", b"2" * 512)) + b"no archive"
    for size in (100, 700, len(data)):
        pieces = (formats.Chunk(data[at : at + size], at, at + size) for at in range(0, len(data), size))
        whole = stream.Stream(pieces, len(data), 100, lambda _: None)
        found = {member.name: whole.take(member.size) for member in members(whole, Names())}
        assert found == {"a": b"1" * 700, "b": b"2" * 512}
        assert not whole.is_blank_to_its_end()


def room(free: int) -> Callable[[Path], object]:
    """A disk with so much room; others have none."""
    return lambda place: shutil._ntuple_diskusage(1 << 40, 0, free if place.name == "disk" else 0)


def test_an_archive_that_fits_to_the_byte_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(*ENTRIES)
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "a.tar").write_bytes(data)
    monkeypatch.setattr(shutil, "disk_usage", room(len(data)))
    assert unpack(UnpackConfig(tmp_path / "a.tar", disk)).files == len(ENTRIES)


def test_the_room_is_that_of_the_target_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(*ENTRIES)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.tar").write_bytes(data)
    monkeypatch.setattr(shutil, "disk_usage", room(len(data)))
    with pytest.raises(DataError, match="there is room for 0 bytes"):
        unpack(UnpackConfig(tmp_path / "disk" / "a.tar", tmp_path / "to"))
    monkeypatch.setattr(shutil, "disk_usage", room(len(data) - 1))
    said = re.escape(f"a.tar unpacks to {sized(len(data))}, and there is room for {sized(len(data) - 1)}")
    with pytest.raises(DataError, match=f"{said}$"):
        unpack(UnpackConfig(tmp_path / "disk" / "a.tar"))  # beside itself, where no file is one of an earlier try
    assert [each.name for each in (tmp_path / "disk").iterdir()] == ["a.tar"]


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("a/0.jpg", "a/0.json", True),
        ("0.jpg", "0.json", True),
        ("a/0.jpg", "b/0.json", False),
        ("0.jpg", "1.jpg", False),
        ("0.jpg", "0.jpg", False),
    ],
)
def test_a_shard_has_the_files_of_a_sample_in_one_folder(first: str, second: str, is_one: bool, tmp_path: Path) -> None:
    (tmp_path / "train-000000.tar").write_bytes(tar(file(first), file(second)))
    assert is_shard(tmp_path / "train-000000.tar") is is_one
    (tmp_path / "train-000001.tar").write_bytes(b"no archive")
    assert not is_shard(tmp_path / "train-000001.tar")
