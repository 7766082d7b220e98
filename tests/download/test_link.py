"""One file of the hub by requests for ranges: where they lead, who is told the token, what is tried again."""

import hashlib
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hub_server import Fault, Hub, Reply, drop, etag, hang, ignore_range, moved, status
from large_files import CONTENT, NAME, REPO, TOKEN, listed, serving

from virc.core.errors import NetworkError
from virc.core.web.client import http_library
from virc.download.hub import link
from virc.download.hub.link import TRIES, ChangedError, Link, NoRangesError, Reader

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


def test_any_range_is_read_and_the_address_is_asked_for_once(server: Hub) -> None:
    source = linked(server)
    for begins, ends in ((0, 1), (5, 5), (MIDDLE, 2 * MIDDLE), (FILE.size - 1, FILE.size), (0, FILE.size)):
        assert read(source, begins, ends) == CONTENT[begins:ends]
    assert len(server.asked("resolve")) == 1
    assert server.until(lambda: server.sent(NAME) == 1 + MIDDLE + 1 + FILE.size)


@pytest.mark.parametrize(
    "failure",
    [OSError("no route"), ssl.SSLError("bad record"), ValueError("a port"), http_library().InvalidURL("none")],
)
def test_whatever_the_network_raises_is_one_sentence(failure: Exception, server: Hub) -> None:
    def broken() -> Iterator[bytes]:
        raise failure
        yield b""

    source = linked(server)
    with pytest.raises(NetworkError, match=f"cannot fetch {NAME} from "):
        source.received(broken())
    source._web.get = lambda *_: next(broken())  # type: ignore[method-assign,assignment]
    with pytest.raises(NetworkError, match=f"cannot fetch {NAME} from "):
        source.get(0, 1)


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


def test_a_relative_redirect_stays_at_the_hub_and_keeps_the_token(server: Hub) -> None:
    there = f"/{REPO.id}/resolve/{server.commit(REPO.id)}/{NAME}?once=more"
    server.misbehave(moved(there, 307), on="resolve")
    assert read(linked(server)) == CONTENT
    assert [r.headers["authorization"] for r in server.asked("resolve")] == 2 * [f"Bearer {TOKEN}"]


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


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_connection_goes_on_where_it_broke(server: Hub, reset: bool) -> None:
    server.misbehave(drop(300_000, reset), times=5)
    assert read(linked(server)) == CONTENT
    if not reset:  # a reset also takes what was on its way
        assert server.until(lambda: server.sent(NAME) == FILE.size)
    assert len(server.asked("storage")) == 6
    assert len(server.asked("resolve")) == 1


@pytest.mark.parametrize("code", [401, 403, 410])
def test_an_address_that_expires_is_asked_for_again(server: Hub, code: int) -> None:
    server.misbehave(drop(300_000), times=4)
    server.misbehave(status(code), skip=2)
    assert read(linked(server)) == CONTENT
    assert len(server.asked("resolve")) == 2


def test_a_storage_that_refuses_for_good_is_named(server: Hub) -> None:
    server.misbehave(status(403), times=None)
    with pytest.raises(NetworkError, match=f"localhost, where {NAME} is stored, answers 403"):
        read(linked(server))
    assert len(server.asked("storage")) == TRIES


@pytest.mark.parametrize("on", ["resolve", "storage"])
@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(server: Hub, on: str, code: int) -> None:
    server.misbehave(status(code), on=on, times=3)
    assert read(linked(server)) == CONTENT
    assert len(server.asked(on)) == 4


def test_a_file_that_ends_before_a_range_is_another_file(server: Hub) -> None:
    server.misbehave(status(416), times=None)
    with pytest.raises(ChangedError, match="is shorter on the server than the hub lists it"):
        read(linked(server), MIDDLE)


def test_where_ranges_are_ignored_what_stands_before_is_dropped(server: Hub) -> None:
    server.misbehave(ignore_range, times=None)
    assert read(linked(server), MIDDLE, 2 * MIDDLE) == CONTENT[MIDDLE : 2 * MIDDLE]
    assert read(linked(server), 0, MIDDLE, skips=False) == CONTENT[:MIDDLE]
    with pytest.raises(NoRangesError):
        read(linked(server), MIDDLE, 2 * MIDDLE, skips=False)


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
