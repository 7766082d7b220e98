"""The content of a file, piece by piece: redirects, connections that break, tries again."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.http.client import OwnClient, open_client
from virc.core.http.library import http_library
from virc.core.http.waiting import seconds_asked
from virc.core.retry import pause_before
from virc.core.text import plain
from virc.download.hub.origin import check_online, request_for
from virc.download.hub.refusals import AGAIN, MAX_WAIT, PASSING, PassingError, by_status, reason, unreachable
from virc.download.hub.repository import File, Repo

if TYPE_CHECKING:
    import httpx2 as httpx

SECONDS = 30.0
"""Longest wait for a connection, and for the next byte."""
TRIES = 6
"""Tries in a row that bring next to nothing; the waits between them take about 15 seconds."""
FIRST_WAIT = 0.5
"""Seconds before the second try; doubled each time."""
_ENOUGH = 1 << 16  # bytes that show that a connection works
_EXPIRED = {401, 403, 410}  # of a storage: its address is asked for anew


class ChangedError(NetworkError):
    """The server has another file than the hub lists, or than it had at the last request."""


class StoppedError(Exception):
    """The download ended elsewhere."""


def answer(url: str, headers: Mapping[str, str]) -> "httpx.Response":
    """Ask once, on a connection of this process; its content is what the server sends, never compressed on the way."""
    web = _shared_web(frozenset(getproxies().items()))()
    request = web.build_request("GET", url, headers={**headers, "Accept-Encoding": "identity"}, timeout=SECONDS)
    return web.send(request, stream=True)


@lru_cache(1)
def _shared_web(_proxies: frozenset[tuple[str, str]]) -> OwnClient:
    """The connections; new ones if the environment names other proxies."""
    return OwnClient(lambda: open_client("https:", redirects=10))


def failures() -> tuple[type[Exception], ...]:
    http = http_library()
    return (http.HTTPError, http.InvalidURL, OSError, ValueError)


def pieces(
    repo: Repo,
    commit: str,
    file: File,
    begins: int = 0,
    ends: int | None = None,
    stopping: threading.Event | None = None,
) -> Iterator[bytes]:
    """Yield the bytes of a file in order, through a new request where a connection breaks.

    Args:
        begins, ends: which bytes; None: up to the end of the file.
        stopping: when it is set, StoppedError ends this.

    Raises:
        ChangedError: the server has another file.
        VircError: the hub refuses; a redirect leads astray; too many tries failed.
    """
    check_online(repo)
    source, stopping = _Source(repo, commit, file), stopping or threading.Event()
    at, ends, failed, came = begins, file.size if ends is None else ends, 0, 0
    while at < ends:
        try:
            for piece in source.pieces(at, ends):
                if stopping.is_set():
                    raise StoppedError
                at += len(piece)
                came += len(piece)
                yield piece
        except PassingError as failure:
            failed, came = (1 if came >= _ENOUGH else failed + 1), 0
            if failed >= TRIES:
                raise
            asked = min(failure.wait or 0, MAX_WAIT)
            if stopping.wait(max(asked, pause_before(failed, FIRST_WAIT))):
                raise StoppedError from None


class _Source:
    """One file at one commit; every answer must come with the ETag of the first."""

    def __init__(self, repo: Repo, commit: str, file: File) -> None:
        self._repo, self._commit, self._file = repo, commit, file
        self._url, self._headers = request_for(repo, commit, file)
        self._etag: str | None = None
        self._name = plain(file.name, 100)

    def pieces(self, begins: int, ends: int) -> Iterator[bytes]:
        """Ask once for these bytes; a server that ignores ranges sends all, of which the rest is dropped.

        Raises:
            PassingError: another try may help.
        """
        http = http_library()
        headers = {**self._headers, "Range": f"bytes={begins}-{ends - 1}"}
        at = begins
        try:
            with closing(answer(self._url, headers)) as response:
                dropped = self._checked(response, begins)
                for piece in response.iter_raw():
                    wanted = piece[dropped : dropped + ends - at]
                    dropped = max(0, dropped - len(piece))
                    at += len(wanted)
                    if wanted:
                        yield wanted
                    elif at == ends:  # it sends more than it was asked for
                        return
        except http.TooManyRedirects:
            raise NetworkError(f"{self._name} is redirected too often") from None
        except http.UnsupportedProtocol as error:
            to = plain(error.request.url, 60)
            raise NetworkError(f"{self._name} is redirected to {to}, which is refused") from None
        except failures() as error:
            raise self._lost(error) from None
        if at < ends:
            raise self._lost(ConnectionError(0, "the connection broke"))

    def _checked(self, response: "httpx.Response", begins: int) -> int:
        """Whether this is the file, and the part of it; returns how many bytes precede that part."""
        if response.status_code not in (200, 206):
            raise self._refusal(response)
        headers, size = response.headers, self._file.size
        if response.status_code == 200:
            at, total = 0, headers.get("Content-Length") or str(size)
        else:
            found = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", headers.get("Content-Range", "").strip())
            at, total = (int(found[1]), found[2]) if found else (-1, "*")
            if at != begins:
                raise PassingError(f"{self._name} came with another range than was asked for", AGAIN)
        if total not in (str(size), "*"):
            said = plain(total, 20)
            raise ChangedError(f"{self._name} has {said} bytes on the server, not {size} as the hub lists it")
        etag = (headers.get("ETag") or "").removeprefix("W/") or None
        self._etag = self._etag or etag
        if etag not in (None, self._etag):
            raise ChangedError(f"{self._name} changed on the server while it was fetched", AGAIN)
        return begins - at

    def _refusal(self, response: "httpx.Response") -> VircError:
        status, place = response.status_code, str(response.url)
        if status == 416:
            return ChangedError(f"{self._name} is shorter on the server than the hub lists it", AGAIN)
        if urlsplit(place).netloc == urlsplit(self._url).netloc:
            return by_status(status, response.headers, self._repo, self._commit)
        if status == 401:
            sentence = f"{self._name} is redirected to {_host(place)}, which answers 401: no token goes to another host"
            return ConfigError(sentence, f"accept its terms at {self._repo.url}, and unset HF_ENDPOINT, if it is set")
        sentence = f"{_host(place)}, where {self._name} is stored, answers {status}"
        if status in PASSING | _EXPIRED:
            return PassingError(sentence, AGAIN, seconds_asked(response.headers))
        return NetworkError(sentence, AGAIN)

    def _lost(self, error: Exception) -> NetworkError:
        """What to raise where there is no answer, or no more of it."""
        place = self._url
        with suppress(AttributeError, RuntimeError):  # errors of the library alone know it
            place = str(error.request.url)  # type: ignore[attr-defined]
        kind = type(unreachable(error, self._repo))
        return kind(f"cannot fetch {self._name} from {_host(place)}: {reason(error)}", AGAIN)


def _host(url: str) -> str:
    """Where an address leads, for people; the rest of a signed one is a secret."""
    return plain(urlsplit(url).hostname, 100)
