"""One file by requests that break: what comes is right, or nothing has its name, and a later run goes on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import drop, status, wrong
from large_files import CONTENT, NAME, REPO, Place, asked_for, listed, serving

from virc.core.errors import NetworkError
from virc.download.hub.file import bytes_on_disk

SIZE = len(CONTENT)
BROKEN = 1_000_000


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    with serving(monkeypatch, tmp_path / "home") as server:
        yield Place(server, tmp_path)


def broken_off(place: Place) -> int:
    """An earlier run whose connection breaks for good; returns the bytes it left."""
    place.server.misbehave(drop(BROKEN))
    place.server.misbehave(status(404), times=None, skip=1)
    with pytest.raises(NetworkError, match="answers 404"):
        place.fetch()
    place.server.behave()
    place.told.clear()
    return bytes_on_disk(place.work, listed(place.content))


def test_every_byte_is_asked_for_once_and_the_token_stays_at_the_hub(place: Place) -> None:
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE
    assert asked_for(place.server) == [range(SIZE)]
    assert all("authorization" in r.headers for r in place.server.asked("resolve"))
    assert not any("authorization" in r.headers for r in place.server.asked("storage"))


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_files_of_any_size(place: Place, size: int) -> None:
    place.content = CONTENT[:size]
    place.server.put(REPO.id, {NAME: place.content})
    place.fetch()
    assert place.is_whole()


def test_signed_addresses_that_expire_in_the_midst_of_a_file(place: Place) -> None:
    place.server.address_bytes = SIZE // 3
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE
    assert len(place.server.asked("resolve")) == 4


def test_a_later_run_fetches_what_is_missing_alone(place: Place) -> None:
    assert broken_off(place) == BROKEN
    assert bytes_on_disk(place.work, listed(CONTENT[::-1])) == 0  # of another content nothing is here
    place.server.put(REPO.id, {NAME: CONTENT, "README.md": b"another commit"})
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - BROKEN
    assert asked_for(place.server)[2:] == [range(BROKEN, SIZE)]


def rot(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-1] + b"?")


def shorten(part: Path) -> None:
    os.truncate(part, 1000)


def empty(part: Path) -> None:
    """As a loss of power may leave it: the size is there, the bytes are not."""
    part.write_bytes(bytes(part.stat().st_size))


def extend(part: Path) -> None:
    part.write_bytes(CONTENT + b"more")


@pytest.mark.parametrize("damage", [rot, shorten, empty, extend])
def test_what_an_earlier_run_left_and_is_wrong_is_fetched_again(place: Place, damage: object) -> None:
    assert callable(damage)
    broken_off(place)
    (part,) = place.work.glob("*.part")
    damage(part)
    left = bytes_on_disk(place.work, listed(CONTENT))
    place.fetch()
    assert place.is_whole()
    assert left + sum(place.told) in (SIZE, SIZE - len(b"more"))


def test_wrong_bytes_are_fetched_once_more_and_then_refused(place: Place) -> None:
    place.server.misbehave(wrong(SIZE // 2))
    place.fetch()
    assert place.is_whole()
    place.to.unlink()
    place.server.misbehave(wrong(SIZE // 2), times=None)
    before = len(asked_for(place.server))
    with pytest.raises(NetworkError, match=r"came with SHA-256 \w{64}, but the hub lists \w{64}"):
        place.fetch()
    assert len(asked_for(place.server)) == before + 2
    assert not place.to.exists()
    assert not list(place.work.iterdir())


def test_a_file_without_a_hash_never_goes_on_from_an_earlier_run(place: Place) -> None:
    from virc.download.hub.file import fetch_file
    from virc.download.hub.repository import File

    bare = File(NAME, SIZE)
    place.server.misbehave(drop(BROKEN))
    place.server.misbehave(status(404), times=None, skip=1)
    with pytest.raises(NetworkError, match="answers 404"):
        fetch_file(REPO, place.server.commit(REPO.id), bare, place.to, place.work)
    place.server.behave()
    fetch_file(REPO, place.server.commit(REPO.id), bare, place.to, place.work, place.told.append)
    assert place.is_whole()
    assert sum(place.told) == SIZE
