"""Archives that are cut off or changed: which byte, what stays, and that nothing half-written has a name."""

import gzip
import random
import re
import resource
from pathlib import Path

import pytest
from archives import PACKED, file, lz4ed, many, tar, tree

from virc.core.errors import DataError
from virc.unpack.archive import writers as writing
from virc.unpack.unpack import UnpackConfig, unpack

ENTRIES = many(30, seed=3, sizes=(0, 20_000))
WHOLE = {info.name: data for info, data in ENTRIES}
FORMS = {
    **PACKED,
    "stored blocks": lambda data: lz4ed(data, block_size=4, block_checksum=True, store_size=False),
    "two frames": lambda data: lz4ed(data[:100_000]) + lz4ed(data[100_000:], block_linked=False),
    "two members": lambda data: gzip.compress(data[:100_000]) + gzip.compress(data[100_000:]),
}
ARCHIVES = {form: pack(tar(*ENTRIES)) for form, pack in FORMS.items()}


def fault(data: bytes, folder: Path) -> tuple[str, dict[str, bytes]]:
    """What is said about a bad archive, and what came out of it; its end is as the tests' names say."""
    archive, to = folder / "archive", folder / "to"
    archive.write_bytes(data)
    with pytest.raises(DataError) as raised:
        unpack(UnpackConfig(archive, to))
    assert archive.read_bytes() == data
    found = {name: data for name, data in tree(to).items() if isinstance(data, bytes)}
    assert {name: len(data) for name, data in found.items()} == {name: len(WHOLE[name]) for name in found}
    return raised.value.message, found


@pytest.mark.parametrize("form", ARCHIVES)
def test_a_cut_archive_says_where_it_ends_and_leaves_complete_files(form: str, tmp_path: Path) -> None:
    data = ARCHIVES[form]
    chance = random.Random(form)
    counts = []
    for number, end in enumerate(sorted(chance.sample(range(600, len(data) - 12), 12))):
        folder = tmp_path / str(number)
        folder.mkdir()
        if form == "tar" and not data[end:].strip(b"\0"):
            continue  # what is cut is padding only
        message, found = fault(data[:end], folder)
        assert message == f"the archive is cut off: it ends at byte {end}, too early"
        assert found.items() <= WHOLE.items()
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] > 3


@pytest.mark.integration
@pytest.mark.parametrize("form", sorted(ARCHIVES.keys() - {"tar"}))
def test_a_changed_byte_is_found_and_placed(form: str, tmp_path: Path) -> None:
    data = ARCHIVES[form]
    chance = random.Random(form)
    head = [] if data.startswith(b"\x1f") else [4, 5, 6, 7, 10]  # gzip does not check its time and system
    for place in [*head, *chance.sample(range(20, len(data) - 8), 20), *range(len(data) - 4, len(data))]:
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        folder = tmp_path / str(place)
        folder.mkdir()
        message, _ = fault(bytes(changed), folder)
        numbers = [int(number) for number in re.findall(r"\d+", message)]
        assert re.search(r"at byte \d|between bytes \d+ and \d", message), message
        assert place <= max(numbers) <= len(data)


def test_an_archive_without_its_end_mark_is_cut_off(tmp_path: Path) -> None:
    data = tar(*ENTRIES).rstrip(b"\0")
    data += bytes(-len(data) % 512)
    message, found = fault(lz4ed(data), tmp_path)
    assert "is cut off" in message
    assert found == WHOLE


@pytest.mark.parametrize("waiting", [0, 8])
def test_a_disk_that_takes_a_part_of_a_file_leaves_none_of_its_name(
    waiting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_WAITING", waiting)
    monkeypatch.setattr(writing, "_FILES", 1)
    (tmp_path / "archive").write_bytes(tar(file("small"), file("large", bytes(5000))))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            unpack(UnpackConfig(tmp_path / "archive", tmp_path / "to"))
        assert raised.value.filename == "large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert tree(tmp_path / "to") == {"small": b"x"}


@pytest.mark.parametrize("missing", [1, 8])
def test_an_archive_that_lacks_the_end_of_its_checksum_is_cut_off(missing: int, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(PACKED["tar.gz"](tar(file("f")))[:-missing])
    with pytest.raises(DataError, match="the archive is cut off"):
        unpack(UnpackConfig(tmp_path / "a.tar.gz", tmp_path / "to"))
