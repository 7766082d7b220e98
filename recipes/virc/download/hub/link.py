"""A file by ranges: signed addresses that expire, connections that break, tries again."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

from virc.core.errors import NetworkError, VircError
from virc.core.retry import pause_before, seconds_asked
from virc.core.text import plain
from virc.core.web.client import Downloads, http_library
from virc.download.hub.origin import check_online, request_for
from virc.download.hub.refusals import AGAIN, PASSING, PassingError, by_status, reason, unreachable
from virc.download.hub.repository import File, OnBytes, Repo, endpoint

if TYPE_CHECKING:
    import httpx2 as httpx

SECONDS = 30.0
"""Longest wait for a connection, and for the next byte."""
TRIES = 9
"""Tries in a row that bring next to nothing; with the waits between them, about half a minute."""
FIRST_WAIT = 0.25
"""Seconds before the second try; doubled each time."""
_MAX_WAIT, _MAX_ASKED = 30.0, 300.0  # our own waits, and those that Retry-After asks for
_ENOUGH = 1 << 16  # bytes that show that a connection works
_AT_ONCE = 1 << 20
_MAX_REDIRECTS = 10
_EXPIRED = {401, 403, 410}


class ChangedError(NetworkError):
    """The server has another file now than it had at the last request."""


class NoRangesError(Exception):
    """The server sends the whole file, whatever part it is asked for."""


class StoppedError(Exception):
    """`Link.stop` was called."""


class Web(Downloads):
    """Connections to the hub, GitHub and their storages.

    Attributes:
        caches: addresses in the hub's cache, each of a repository's commit, that small files were redirected to.
    """

    def __init__(self) -> None:
        super().__init__(_MAX_REDIRECTS)
        self.caches: set[str] = set()


def shared_web() -> Web:
    """The connections of this process, for what is small; new ones if the environment names other proxies."""
    return _shared_web(frozenset(getproxies().items()))


@lru_cache(1)
def _shared_web(_proxies: frozenset[tuple[str, str]]) -> Web:
    return Web()


def failures() -> tuple[type[Exception], ...]:
    http = http_library()
    return (http.HTTPError, http.InvalidURL, OSError, ValueError)


def wrong(file: File, found: str) -> NetworkError:
    kind = "SHA-256" if file.sha256 else "git id"
    who, listed = "GitHub" if file.url else "the hub", plain(file.sha256 or file.git, 64)
    sentence = f"{plain(file.name, 100)} came with {kind} {found}, but {who} lists {listed}"
    return NetworkError(sentence, "once more; if it stays so, tell its owner")


class Link:
    """One file of the hub at one commit. Threads may share it.

    Args:
        commit: or any other revision; errors name it.
        etag: what an earlier run got with the file; every answer must come with the same. None: that of the first.
        web: connections that others use too; None: its own, which `stop` shuts down.
    """

    def __init__(self, repo: Repo, commit: str, file: File, etag: str | None = None, web: Web | None = None) -> None:
        check_online(repo)
        self.file, self.etag = file, etag
        self.stopping = threading.Event()
        self._repo, self._commit = repo, commit
        self._url, self._headers = request_for(repo, commit, file)
        self._signed: str | None = None
        self._resolving = threading.Lock()
        self._web = web or Web()
        self._cache = f"{endpoint()}/api/resolve-cache/{repo.kind}s/{repo.id}/{commit}/"

    def stop(self) -> None:
        """End every wait for the network, in all threads, with StoppedError."""
        self.stopping.set()
        self._web.shut()

    def get(self, begins: int, ends: int) -> "tuple[httpx.Response, int]":
        """Ask once for these bytes of the file; the response is to be closed.

        Returns:
            The response, and how many bytes of its body precede those asked for: `begins`, where the server
            ignores ranges.

        Raises:
            PassingError: another try may help.
            VircError: the hub refuses; the file changed; a redirect leads astray.
        """
        response = self._answer({"Range": f"bytes={begins}-{ends - 1}"})
        try:
            return response, self._checked(response, begins)
        except BaseException:
            response.close()
            raise

    def received(self, pieces: Iterator[bytes]) -> bytes:
        """The next bytes of a body, at least one; raises as `get`."""
        try:
            return next(pieces)
        except StopIteration:
            raise self._lost(ConnectionError(0, "the connection broke")) from None
        except failures() as error:
            raise self._lost(error) from None

    def _answer(self, asked: Mapping[str, str]) -> "httpx.Response":
        """A good answer, through the signed address if there is one, else through a new one."""
        response = self._from_cache(asked)
        if response is not None:
            return response
        with self._resolving:  # one asks for a new address, the others wait for it
            signed = self._signed
            if signed is None:
                response = self._sent(self._url, asked)
                if self._is_elsewhere(response) and response.status_code in (200, 206):
                    self._signed = str(response.url)
        if signed is not None:
            response = self._sent(signed, asked)
        assert response is not None
        if response.status_code in (200, 206):
            return response
        response.close()
        raise self._refusal(response, signed)

    def _from_cache(self, asked: Mapping[str, str]) -> "httpx.Response | None":
        """An answer of the hub's cache, asked without asking for its address first; None: it has none.

        The hub redirects each small file that git keeps to an address of the same form; the first ones show whether
        this hub does.
        """
        if self.file.git is None or self._cache not in self._web.caches:
            return None
        response = self._sent(f"{self._cache}{quote(self.file.name)}?etag=%22{self.file.git}%22", asked)
        if response.status_code in (200, 206):
            return response
        response.close()
        self._web.caches.discard(self._cache)
        return None

    def _sent(self, url: str, asked: Mapping[str, str]) -> "httpx.Response":
        at_home = _origin(url) == _origin(self._url)
        known = {name: value for name, value in self._headers.items() if at_home or name.lower() == "user-agent"}
        try:
            response = self._web.get(url, {**known, **asked}, SECONDS)
        except http_library().TooManyRedirects:
            raise NetworkError(f"{self._name} is redirected over {_MAX_REDIRECTS} times") from None
        except http_library().UnsupportedProtocol as error:
            raise NetworkError(
                f"{self._name} is redirected to {plain(error.request.url, 60)}, which is refused"
            ) from None
        except failures() as error:
            raise self._lost(error) from None
        if response.history and str(response.url).partition("?")[0] == self._cache + quote(self.file.name):
            self._web.caches.add(self._cache)
        return response

    def _is_elsewhere(self, response: "httpx.Response") -> bool:
        """Whether another host than the hub answers, or once was on the way."""
        places = (each.url for each in (*response.history, response))
        return any(_origin(str(place)) != _origin(self._url) for place in places)

    def _checked(self, response: "httpx.Response", begins: int) -> int:
        """Whether this is the file, and the part of it; returns how many bytes precede that part."""
        headers, size = response.headers, self.file.size
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
        etag = (headers.get("ETag") or "").removeprefix("W/")[:1000] or None
        with self._resolving:
            self.etag = self.etag or etag
            if etag not in (None, self.etag):
                raise ChangedError(f"{self._name} changed on the server while it was fetched", AGAIN)
        return begins - at

    def _refusal(self, response: "httpx.Response", signed: str | None) -> VircError:
        """Why there is no file; a storage often says 403 where the address it was asked at has expired."""
        status, headers = response.status_code, response.headers
        if status == 416:
            return ChangedError(f"{self._name} is shorter on the server than the hub lists it", AGAIN)
        if signed is None and not self._is_elsewhere(response):
            return by_status(status, headers, self._repo, self._commit)
        sentence = f"{_host(str(response.url))}, where {self._name} is stored, answers {status}"
        wait = seconds_asked(headers)
        if status in _EXPIRED and signed is not None:
            with self._resolving:
                if self._signed == signed:
                    self._signed = None
            wait = 0.0
        if status in PASSING | _EXPIRED:
            return PassingError(sentence, AGAIN, wait)
        return NetworkError(sentence, AGAIN)

    def _lost(self, error: Exception) -> Exception:
        """What to raise where there is no answer, or no more of it."""
        if self.stopping.is_set():
            return StoppedError()
        failure = unreachable(error, self._repo)
        where = _host(self._signed or self._url)
        return type(failure)(f"cannot fetch {self._name} from {where}: {reason(error)}", AGAIN)

    @property
    def _name(self) -> str:
        return plain(self.file.name, 100)


class Reader:
    """Bytes of a file in order, on through a new request where a connection breaks; a context manager.

    Where the server ignores ranges, what precedes them is read and dropped if it `skips`; else it raises NoRangesError.
    """

    def __init__(
        self, link: Link, begins: int, ends: int, on_bytes: OnBytes = lambda _: None, skips: bool = True
    ) -> None:
        self._link, self._at, self._ends = link, begins, ends
        self._on_bytes, self._skips = on_bytes, skips
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._rest = b""  # came already
        self._failures = self._since = 0

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, most: int = _AT_ONCE) -> bytes:
        """The next bytes, as many as are there but `most`; none at the end.

        Raises:
            ChangedError: the server has another file now.
            NoRangesError: see `skips`.
            StoppedError: the link was stopped.
        """
        while self._at < self._ends:
            if self._link.stopping.is_set():
                raise StoppedError
            try:
                data = self._some(min(most, self._ends - self._at))
            except PassingError as failure:
                self._close()
                self._wait(failure)
                continue
            self._at += len(data)
            self._since += len(data)
            self._on_bytes(len(data))
            return data
        return b""

    def _some(self, most: int) -> bytes:
        if self._response is None:
            self._response, before = self._link.get(self._at, self._ends)
            if before and not self._skips:
                raise NoRangesError
            self._pieces = self._response.iter_raw()
            while before:
                dropped = self._taken(before)
                before -= len(dropped)
        return self._taken(most)

    def _taken(self, most: int) -> bytes:
        data = self._rest or self._link.received(self._pieces)
        self._rest = data[most:]
        return data[:most]

    def _wait(self, failure: PassingError) -> None:
        self._failures = 1 if self._since >= _ENOUGH else self._failures + 1
        self._since = 0
        if self._failures >= TRIES:
            raise failure
        wait = failure.wait if failure.wait is None else min(failure.wait, _MAX_ASKED)
        if wait is None or self._failures > 2:  # an address that expires at once is no reason to hurry
            own = pause_before(self._failures, FIRST_WAIT, _MAX_WAIT)
            wait = max(own, wait or 0)
        if self._link.stopping.wait(wait):
            raise StoppedError

    def _close(self) -> None:
        if self._response is None:
            return
        is_whole = self._response.status_code == 206 or self._ends == self._link.file.size
        if self._at == self._ends and is_whole and "Content-Length" in self._response.headers:
            with suppress(*failures()):
                next(self._pieces, None)  # its end, already there: the connection stays for the next request
        self._response.close()
        self._response, self._rest = None, b""


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _host(url: str) -> str:
    """Where an address leads, for people; the rest of a signed one is a secret."""
    return plain(urlsplit(url).hostname, 100)
