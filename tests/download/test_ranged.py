"""A large file in parts over several connections: what comes is right, or nothing has its name."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import drop, status, wrong
from large_files import CONTENT, NAME, PART, REPO, Place, asked_for, listed, serving

from virc.core.errors import NetworkError, SetupError
from virc.download.hub import ranged

SIZE = len(CONTENT)
PARTS = -(-SIZE // PART)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    with serving(monkeypatch, tmp_path / "home") as server:
        yield Place(server, tmp_path)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request a part."""
    monkeypatch.setattr(ranged, "ASKED", 1)


def broken_off(place: Place, after: int) -> int:
    """An earlier run whose connection breaks after so many parts, for good; returns the bytes it kept."""
    place.server.misbehave(drop(after * PART + 100))
    place.server.misbehave(status(404), times=None, skip=1)
    with pytest.raises(NetworkError, match="answers 404"):
        place.fetch(connections=1)
    place.server.behave()
    place.told.clear()
    return ranged.bytes_on_disk(place.work, listed(place.content), PART)


def test_every_byte_is_asked_for_once_and_the_token_stays_at_the_hub(place: Place) -> None:
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE
    each = -(-PARTS // ranged.CONNECTIONS) * PART
    spans = [range(at, min(at + each, SIZE)) for at in range(0, SIZE, each)]
    assert sorted(asked_for(place.server), key=min) == spans
    assert len(place.server.asked("resolve")) == 1
    assert all("authorization" in r.headers for r in place.server.asked("resolve"))
    assert not any("authorization" in r.headers for r in place.server.asked("storage"))


@pytest.mark.parametrize("size", [0, PART, PART + 1])
def test_files_of_any_size(place: Place, size: int) -> None:
    place.content = CONTENT[:size]
    place.server.put(REPO.id, {NAME: place.content})
    place.fetch()
    assert place.is_whole()


def test_signed_addresses_that_expire_in_the_midst_of_a_part(place: Place) -> None:
    place.server.address_bytes = PART + PART // 2
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE


def test_a_later_run_fetches_what_is_missing_alone(place: Place) -> None:
    assert broken_off(place, 4) == 4 * PART
    before = len(asked_for(place.server))
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 4 * PART
    spans = asked_for(place.server)[before:]
    assert min(map(min, spans)) == 4 * PART
    assert sum(map(len, spans)) == SIZE - 4 * PART


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_kept_part_that_rotted_is_fetched_again_alone(place: Place) -> None:
    assert broken_off(place, 4) == 4 * PART
    (data,) = place.work.glob("*.part")
    flip(data, PART + 7)
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 4 * PART
    assert -PART in place.told
    assert range(PART, 2 * PART) in asked_for(place.server)[2:]
    assert sum(map(len, asked_for(place.server)[2:])) == SIZE - 3 * PART


@pytest.mark.parametrize("left", [0, PART // 2, 3 * PART])
def test_kept_parts_that_are_gone_are_fetched_again(place: Place, left: int) -> None:
    assert broken_off(place, 4) == 4 * PART
    (data,) = place.work.glob("*.part")
    os.truncate(data, left)
    assert ranged.bytes_on_disk(place.work, listed(CONTENT), PART) == left // PART * PART
    place.fetch()
    assert place.is_whole()


@pytest.mark.parametrize("tail", [b'\n{"begins": 1048576, "si', b"\0" * 900, b"\xff\n[[[[", b"\n3\n"])
def test_a_journal_with_a_torn_end_is_read_up_to_it_and_written_on(place: Place, tail: bytes) -> None:
    broken_off(place, 3)
    (notes,) = place.work.glob("*.journal")
    notes.write_bytes(notes.read_bytes() + tail)
    assert broken_off(place, 3) == 6 * PART
    assert b"\n{" in notes.read_bytes().replace(tail, b"", 1)
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 6 * PART


def test_the_same_content_at_another_commit_goes_on(place: Place) -> None:
    assert broken_off(place, 4) == 4 * PART
    assert ranged.bytes_on_disk(place.work, listed(CONTENT[::-1]), PART) == 0  # of another content nothing is here
    place.server.put(REPO.id, {NAME: CONTENT, "README.md": b"new"})
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 4 * PART


def test_wrong_bytes_of_an_earlier_run_are_fetched_once_more(place: Place) -> None:
    place.server.misbehave(wrong(PART + 1), times=4)
    assert broken_off(place, 4) == 4 * PART
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 4 * PART


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("most", [PART // 2, 5 * PART + 1])
def test_a_full_disk_is_named_and_later_it_goes_on(place: Place, most: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        with pytest.raises(SetupError, match="the disk is full") as raised:
            place.fetch(connections=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "run the same command to resume" in str(raised.value.hint)
    kept = ranged.bytes_on_disk(place.work, listed(CONTENT), PART)
    assert kept >= most // PART * PART - PART
    place.told.clear()
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - kept
