"""A large file in parts over several connections: what comes is right, or nothing has its name."""

import itertools
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hub_server import Fault, Reply, drop, etag, ignore_range, short, slow, status, wrong
from large_files import CONTENT, NAME, PART, REPO, Place, asked_for, listed, serving

from virc.core.errors import NetworkError, SetupError
from virc.download.hub import ranged
from virc.download.hub.link import ChangedError

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
    return ranged.kept(place.work, listed(place.content), PART)


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


@pytest.mark.parametrize(
    ("fault", "times"),
    [(drop(100_000, reset=True), 8), (short(5), 3), (status(429, retry_after="0"), 5), (status(403), 5)],
)
def test_passing_faults_cost_no_byte_twice(place: Place, fault: Fault, times: int) -> None:
    place.server.misbehave(fault, times=times)
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE
    assert min(place.told) > 0


def test_signed_addresses_that_expire_in_the_midst_of_a_part(place: Place) -> None:
    place.server.address_bytes = PART + PART // 2
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE


def test_a_server_that_ignores_ranges_is_asked_for_the_whole_once_more(place: Place) -> None:
    place.server.misbehave(ignore_range, times=None)
    place.server.misbehave(slow(20_000_000), times=None)
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE
    assert len(place.server.asked("storage")) <= 6  # four at once, then one


def test_a_later_run_fetches_what_is_missing_alone(place: Place) -> None:
    assert broken_off(place, 4) == 4 * PART
    before = len(asked_for(place.server))
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 4 * PART
    spans = asked_for(place.server)[before:]
    assert min(map(min, spans)) == 4 * PART
    assert sum(map(len, spans)) == SIZE - 4 * PART


def test_parts_are_noted_in_the_midst_of_a_request(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "_NOTE_SECONDS", 0)
    seen = set()

    def told(_count: int) -> None:
        seen.add(ranged.kept(place.work, listed(CONTENT), PART))

    place.fetch(told, connections=1)
    assert len(place.server.asked("storage")) == 1
    assert seen == {at * PART for at in range(PARTS)}


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
    assert ranged.kept(place.work, listed(CONTENT), PART) == left // PART * PART
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


def test_parts_of_another_size_are_not_mixed(place: Place) -> None:
    broken_off(place, 4)
    to, file = place.to, listed(CONTENT)
    ranged.fetch_large(REPO, place.server.commit(REPO.id), file, to, place.work, part=PART // 2 + 1)
    assert place.is_whole()


def test_the_same_content_at_another_commit_goes_on(place: Place) -> None:
    assert broken_off(place, 4) == 4 * PART
    assert ranged.kept(place.work, listed(CONTENT[::-1]), PART) == 0  # of another content nothing is here
    place.server.put(REPO.id, {NAME: CONTENT, "README.md": b"new"})
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 4 * PART


@pytest.mark.usefixtures("one_by_one")
def test_a_file_that_changes_once_is_fetched_anew(place: Place) -> None:
    place.server.misbehave(etag('"other"'), skip=5)
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE
    assert min(place.told) < 0
    assert place.server.sent(NAME) > SIZE + PART


@pytest.mark.usefixtures("one_by_one")
def test_a_file_that_keeps_changing_is_given_up(place: Place) -> None:
    numbers = itertools.count()

    def new_each_time(reply: Reply) -> None:
        reply.etag = f'"{next(numbers)}"'

    place.server.misbehave(new_each_time, times=None)
    with pytest.raises(ChangedError, match="changed on the server while it was fetched"):
        place.fetch(connections=1)
    assert len(place.server.asked("storage")) == 4
    assert not place.to.exists()


def test_without_a_hash_another_etag_in_the_next_run_begins_anew(place: Place) -> None:
    no_hash = msgspec.structs.replace(listed(CONTENT), sha256=None, git=None)
    commit = place.server.commit(REPO.id)
    place.server.misbehave(etag('"before"'), times=4)
    place.server.misbehave(drop(4 * PART + 100))
    place.server.misbehave(status(404), times=None, skip=1)
    with pytest.raises(NetworkError):
        ranged.fetch_large(REPO, commit, no_hash, place.to, place.work, part=PART, connections=1)
    assert ranged.kept(place.work, no_hash, PART) == 4 * PART
    place.server.behave()
    ranged.fetch_large(REPO, commit, no_hash, place.to, place.work, place.told.append, PART)
    assert place.is_whole()
    assert min(place.told) < 0
    assert sum(place.told) == SIZE - 4 * PART  # those four were counted as there, and are thrown away


def test_wrong_bytes_never_get_the_name_and_the_sentence_has_both_hashes(place: Place) -> None:
    place.server.misbehave(wrong(5 * PART + 1), times=None)
    other = bytearray(CONTENT)
    other[5 * PART + 1] ^= 1
    with pytest.raises(NetworkError) as raised:
        place.fetch()
    assert str(listed(bytes(other)).sha256) in raised.value.message
    assert str(listed(CONTENT).sha256) in raised.value.message
    assert not place.to.exists()
    assert not list(place.work.iterdir())
    assert place.server.until(lambda: place.server.sent(NAME) == SIZE)


def test_wrong_bytes_of_an_earlier_run_are_fetched_once_more(place: Place) -> None:
    place.server.misbehave(wrong(PART + 1), times=4)
    assert broken_off(place, 4) == 4 * PART
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - 4 * PART


@pytest.mark.usefixtures("one_by_one")
def test_one_part_that_fails_for_good_ends_all_and_keeps_the_others(place: Place) -> None:
    place.server.misbehave(status(500), times=None, skip=6)
    with pytest.raises(NetworkError, match="answers 500"):
        place.fetch()
    assert ranged.kept(place.work, listed(CONTENT), PART) == 6 * PART
    assert no_threads()


def no_threads() -> bool:
    """Whether no thread of a fetch is left; those of the server have other names."""
    return not any("_work" in thread.name for thread in threading.enumerate())


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
    kept = ranged.kept(place.work, listed(CONTENT), PART)
    assert kept >= most // PART * PART - PART
    place.told.clear()
    place.fetch()
    assert place.is_whole()
    assert sum(place.told) == SIZE - kept


def test_the_name_is_safe_before_the_journal_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.to.parent.mkdir()
    folder = place.to.parent.stat()
    moments: list[tuple[bool, int]] = []

    def watched(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), folder):
            moments.append((place.to.exists(), len(list(place.work.glob("*.journal")))))

    monkeypatch.setattr(os, "fsync", watched)
    place.fetch()
    assert moments == [(True, 1)]
