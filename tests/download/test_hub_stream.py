"""A large file read once as a stream: it goes on after a drop, and says in the end whether it was right."""

import io
import random
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lz4.frame
import pytest
from hub_server import Hub, drop, hang, status, wrong
from large_files import CONTENT, NAME, REPO, asked_for, listed, serving

from virc.core.errors import NetworkError
from virc.download.hub.link import StoppedError
from virc.download.hub.small import Stream
from virc.unpack.archive.formats import chunks

FILE = listed(CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving(monkeypatch, tmp_path) as running:
        yield running


def test_it_reads_as_a_file_does_and_is_right(server: Hub) -> None:
    told: list[int] = []
    chance, like = random.Random(1), io.BytesIO(CONTENT)
    with Stream(REPO, server.commit(REPO.id), FILE, told.append) as source:
        assert source.read(512) == like.read(512)
        while expected := like.read(count := chance.choice([0, 1, 3, 600, 5000, 1 << 18, 1 << 19]) or 7):
            assert source.read(count) == expected
        assert source.read(1) == b""
        source.verify()
    assert sum(told) == FILE.size
    assert len(server.asked("storage")) == 1


def test_drops_and_expired_addresses_are_gone_on_from(server: Hub) -> None:
    server.misbehave(drop(300_000), times=4)
    server.misbehave(status(403), skip=2)
    with Stream(REPO, server.commit(REPO.id), FILE) as source:
        assert source.read(FILE.size + 1) == CONTENT
        source.verify()
    assert [span.start for span in asked_for(server)] == [0, 300_000, 600_000, 600_000, 900_000]
    assert len(server.asked("resolve")) == 2


@pytest.mark.parametrize("read", [700, FILE.size])
def test_wrong_bytes_are_coordinates_from_both_hashes_however_much_was_read(server: Hub, read: int) -> None:
    server.misbehave(wrong(FILE.size - 1))
    with Stream(REPO, server.commit(REPO.id), FILE) as source:
        source.read(read)
        with pytest.raises(NetworkError, match=f"came with SHA-256 .*, but the hub lists {FILE.sha256}"):
            source.verify()


def test_a_read_that_waits_is_ended_from_another_thread(server: Hub) -> None:
    server.misbehave(hang)
    with Stream(REPO, server.commit(REPO.id), FILE) as source, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(source.read, 10)
        assert server.until(lambda: len(server.asked("storage")) == 1)
        source.stop()
        with pytest.raises(StoppedError):
            reading.result(timeout=60)


def test_an_archive_is_unpacked_from_it(server: Hub) -> None:
    """Through the readers of archives as they are, with a connection that breaks again and again."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        info = tarfile.TarInfo("images/one.png")
        info.size = len(CONTENT)
        tar.addfile(info, io.BytesIO(CONTENT))
    archive = lz4.frame.compress(plain.getvalue(), content_checksum=True)
    commit = server.put(REPO.id, {NAME: archive})
    server.misbehave(drop(400_000), times=None)
    with Stream(REPO, commit, listed(archive)) as source:
        assert b"".join(piece.data for piece in chunks(source, Path(NAME))) == plain.getvalue()
        source.verify()
