"""One file of the hub by requests for ranges: where they lead, who is told the token, what is tried again."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hub_server import Fault, Hub, Reply, drop, etag, hang, moved, status
from large_files import CONTENT, NAME, REPO, listed, serving

from virc.core.errors import NetworkError
from virc.download.hub import link
from virc.download.hub.link import ChangedError, Link, Reader

FILE = listed(CONTENT)
MIDDLE = 100_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving(monkeypatch, tmp_path) as running:
        yield running


def linked(server: Hub) -> Link:
    return Link(REPO, server.commit(REPO.id), FILE)


def read(source: Link, begins: int = 0, ends: int = FILE.size, skips: bool = True) -> bytes:
    with Reader(source, begins, ends, skips=skips) as reader:
        return b"".join(iter(reader.read, b""))


def test_another_port_of_the_same_name_is_another_host(server: Hub) -> None:
    source = linked(server)
    read(source, 0, 1)
    path = urlsplit(server.asked("storage")[0].path)
    there = f"http://127.0.0.1:{urlsplit(server.storage_url).port}{path.path}?{path.query}"
    server.misbehave(moved(there), on="resolve")
    source = linked(server)
    assert read(source) == read(source) == CONTENT
    assert server.asked("storage")[-1].headers["host"].startswith("127.0.0.1:")
    assert not any("authorization" in r.headers for r in server.asked("storage"))


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "FILE:/etc/passwd"])
def test_a_redirect_to_no_web_address_is_refused(server: Hub, place: str) -> None:
    server.misbehave(moved(place), on="resolve", times=None)
    with pytest.raises(NetworkError, match=r"redirected to \w+:.*, which is refused"):
        read(linked(server))
    assert len(server.requests) == 1


def test_a_loop_of_redirects_ends(server: Hub) -> None:
    server.misbehave(moved(f"/{REPO.id}/resolve/main/{NAME}"), on="resolve", times=None)
    with pytest.raises(NetworkError, match="redirected over 10 times"):
        read(linked(server))
    assert len(server.requests) == 10


def test_a_file_that_ends_before_a_range_is_another_file(server: Hub) -> None:
    server.misbehave(status(416), times=None)
    with pytest.raises(ChangedError, match="is shorter on the server than the hub lists it"):
        read(linked(server), MIDDLE)


def another_range(reply: Reply) -> None:
    reply.headers["Content-Range"] = f"bytes 7-{FILE.size - 1}/{FILE.size}"


def no_range(reply: Reply) -> None:
    reply.headers["Content-Range"] = "pages 1-2"


@pytest.mark.parametrize("fault", [another_range, no_range])
def test_another_range_than_asked_for_is_not_taken(server: Hub, fault: Fault) -> None:
    server.misbehave(fault, times=2)
    assert read(linked(server)) == CONTENT
    server.misbehave(fault, times=None)
    with pytest.raises(NetworkError, match="another range"):
        read(linked(server))


def test_a_file_of_another_size_is_another_file(server: Hub) -> None:
    def grown(reply: Reply) -> None:
        reply.content = CONTENT + b"more"

    server.misbehave(grown)
    with pytest.raises(ChangedError, match=f"{FILE.size + 4} bytes on the server, not {FILE.size}"):
        read(linked(server))


def test_another_etag_is_another_file_however_it_is_written(server: Hub) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    server.misbehave(drop(300_000), times=2)
    server.misbehave(etag(f'W/"{sha256}"'), skip=1)  # a proxy made it a weak one
    server.misbehave(etag('"other"'), skip=2)
    source = linked(server)
    with pytest.raises(ChangedError, match="changed on the server"):
        read(source)
    assert len(server.asked("storage")) == 3


def test_a_stop_wakes_who_waits(server: Hub) -> None:
    server.misbehave(hang, times=None)
    source = linked(server)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, source)
        assert server.until(lambda: len(server.asked("storage")) == 1)
        source.stop()
        with pytest.raises(link.StoppedError):
            reading.result(timeout=60)
