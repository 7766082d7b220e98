"""Archives with one checksum behind all content: what is wrong in them is found at their end alone."""

import gzip
import os
import random
from pathlib import Path
from typing import Any

import pytest
from archives import file, lz4ed, tar, tree

from virc.core.errors import DataError
from virc.unpack.archive.folder import UNVERIFIED
from virc.unpack.unpack import UnpackConfig, unpack

CONTENT = {"block_checksum": False, "content_checksum": True}
BIG = file("big.bin", random.Random(5).randbytes(3 << 20))


def stored(data: bytes) -> bytes:
    """As LZ4 blocks without compression, in which a changed byte is found by no decoder."""
    return lz4ed(data, compression_level=0, store_size=False, **CONTENT)


def noise(count: int, seed: int) -> list[Any]:
    """Files that no compression makes smaller."""
    draw = random.Random(seed)
    return [file(f"n{number}", draw.randbytes(9_000)) for number in range(count)]


NOISE = [*noise(40, 1), BIG]


@pytest.mark.parametrize("at", [0.1, 0.9])
@pytest.mark.parametrize("pack", [stored, gzip.compress], ids=["lz4", "gzip"])
def test_the_right_archive_replaces_what_a_damaged_one_left(pack: Any, at: float, tmp_path: Path) -> None:
    right = pack(tar(*NOISE))
    wrong = bytearray(right)
    wrong[int(len(wrong) * at)] ^= 0x20
    archive, to = tmp_path / "archive", tmp_path / "to"
    archive.write_bytes(wrong)
    with pytest.raises(DataError, match="damaged"):
        unpack(UnpackConfig(archive, to))
    archive.write_bytes(right)
    unpack(UnpackConfig(archive, to))
    found = {name: data for name, data in tree(to).items() if isinstance(data, bytes)}
    assert found == {info.name: data for info, data in NOISE}
    assert not (to / UNVERIFIED).exists()


@pytest.mark.parametrize("mine", [b"mine", bytes(9_000)], ids=["another size", "the same size"])
def test_a_file_that_its_owner_changed_meanwhile_is_not_replaced(mine: bytes, tmp_path: Path) -> None:
    right = stored(tar(*NOISE))
    wrong = right[:-40_000]
    archive, to = tmp_path / "archive", tmp_path / "to"
    archive.write_bytes(wrong)
    with pytest.raises(DataError, match="cut off"):
        unpack(UnpackConfig(archive, to))
    (to / "n3").write_bytes(mine)
    archive.write_bytes(right)
    with pytest.raises(DataError, match="something else is there already"):
        unpack(UnpackConfig(archive, to))
    assert (to / "n3").read_bytes() == mine


def test_what_a_cut_archive_left_is_compared_and_not_written_again(tmp_path: Path) -> None:
    right = stored(tar(*NOISE[:30]))
    archive, to = tmp_path / "archive", tmp_path / "to"
    archive.write_bytes(right[: len(right) // 2])
    with pytest.raises(DataError):
        unpack(UnpackConfig(archive, to))
    there = len(list(to.glob("n*")))
    archive.write_bytes(right)
    done = unpack(UnpackConfig(archive, to))
    assert done.skipped == there > 5


def test_the_list_is_no_name_for_a_member_and_no_link_is_followed(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(tar(file(UNVERIFIED)))
    with pytest.raises(DataError, match="virc itself uses that name"):
        unpack(UnpackConfig(archive, tmp_path / "a"))
    outside, to = tmp_path / "outside", tmp_path / "to"
    outside.write_text("keep")
    to.mkdir()
    (to / UNVERIFIED).symlink_to(outside)
    archive.write_bytes(gzip.compress(tar(*NOISE)))
    with pytest.raises(DataError, match="symbolic links"):
        unpack(UnpackConfig(archive, to))
    assert outside.read_text() == "keep"


def test_on_a_disk_that_folds_case_no_file_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_there = os.path.lexists
    monkeypatch.setattr(os.path, "lexists", lambda path: is_there(Path(path).with_name(Path(path).name.lower())))
    (tmp_path / "a").write_bytes(tar(file("\u00e9.png"), file("E\u0301.png", b"other")))
    with pytest.raises(DataError, match="this disk, which folds case, takes its name for that of another file"):
        unpack(UnpackConfig(tmp_path / "a", tmp_path / "to"))
    assert tree(tmp_path / "to") == {"\u00e9.png": b"x"}
