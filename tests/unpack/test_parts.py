"""Archives in several parts, from the standard input, and single files that only look like archives."""

import gzip
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from archives import PACKED, contents, lz4ed, many, tar, tree
from support.called import virc

from virc.core.errors import DataError, UsageError
from virc.unpack.archive import stream
from virc.unpack.unpack import UnpackConfig, unpack

ENTRIES = many(12, sizes=(100, 3000))


def split(folder: Path, data: bytes, names: list[str]) -> list[Path]:
    """Parts of an archive; the last one has the rest."""
    size = -(-len(data) // len(names))
    parts = [folder / name for name in names]
    for number, part in enumerate(parts):
        part.write_bytes(data[number * size : (number + 1) * size])
    return parts


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
def test_parts_are_joined_in_the_order_of_their_names(names: list[str], tmp_path: Path) -> None:
    parts = split(tmp_path, lz4ed(tar(*ENTRIES)), names)
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
