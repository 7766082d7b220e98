"""One endpoint over HTTP: bounded in bytes and time, every failure one clear sentence.

What it refuses is a ConfigError, what it does not answer a NetworkError. All requests go through `Link._answer`: in a
thread that can be given up it sends an `Exchange` until one try succeeds (`_response`, `_send`), and reads the body.
"""

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from virc.backends.chat.body import ListedModel, bounded, decoded, read_embedding, read_models, unpacked
from virc.backends.chat.causes import AskedServer, as_error
from virc.backends.chat.client import client, own_headers, printed
from virc.backends.chat.errors import GATEWAY, StatusError, WireError, parsed
from virc.backends.chat.images import Pieces
from virc.backends.chat.providers import says
from virc.backends.chat.reply import ReceivedReply, read_reply
from virc.backends.interface import CHARACTERS_PER_TOKEN
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.files import expanded, is_folder
from virc.core.retry import Pace, pace_of, retried
from virc.core.text import plain
from virc.core.timeouts import Deadline, LateError, within
from virc.core.web.addresses import is_loopback
from virc.core.web.client import hidden, proxy_of, sends_unless, shut_down
from virc.core.work import forks

if TYPE_CHECKING:
    import httpx2 as httpx

_SHORT_SECONDS = 5.0  # for a question that the user waits for before a reply is drawn
_LONGEST_PAUSE = 8.0  # seconds
_RECENT = 60.0  # seconds: most limits are of requests a minute
_MAX_REDIRECTS = 3
_MAX_LISTING = 8 * 2**20
_MAX_ERROR = 64 * 2**10
# An event of one token is some 250 bytes.
_BYTES_PER_TOKEN = 4096
_SCHEMES = ("basic", "bearer")  # words in front of a key that are no part of it
_PATIENCE = "a slow server needs a longer --timeout"
_T = TypeVar("_T")


class Exchange:
    """What is sent, how far that is, and whether it is sent again where that fails, and when.

    Args:
        body: None: it is a GET.
        retries: how often it is sent again at most.
        until: monotonic time in seconds after which no try begins.
    """

    def __init__(self, address: str, body: Pieces | None, retries: int, pace: Pace, until: float) -> None:
        self.address, self.body, self.until = address, body, until
        self.request: httpx.Request | None = None  # of the last try
        self.given_up = False  # nobody waits for the answer any more
        self.redirects = 0  # to other paths of the server that were followed
        self.began = 0.0  # when the last try began, in monotonic seconds
        self.was_away = False  # the server could not be reached meanwhile: another may have come in its place
        self._pace, self._left, self._may_retry = pace, retries, retries > 0
        self._asked_before = False  # the server has asked to wait, and refused after that wait
        self._is_one_of_several = False  # other requests met the busy server at the same time

    def pause(self, error: Exception, pause: float) -> float | None:
        """The seconds before another try: `pause`, or more if the server asks for it. None: there is no other try."""
        is_busy = False
        if isinstance(error, StatusError):
            may_help, is_away, is_busy = error.is_transient, error.code in GATEWAY, error.is_busy
            if error.wait:
                # A server that refuses after the wait that it asked for itself has asked for too little.
                pause = max(error.wait, pause) if self._asked_before else error.wait
                self._asked_before = True
        else:
            in_time = time.monotonic() < self.until and not self.given_up
            may_help = is_away = isinstance(error, _UnreachedError) and in_time
            pause = max(0.0, min(pause, self.until - time.monotonic()))
        self.was_away |= is_away and self._may_retry
        if is_busy and may_help:
            self._pace.slow(self.began, pause)
            # If one of several requests is answered, the others will be, too: then a try costs none of those left.
            self._is_one_of_several |= self._pace.asking > 1
            if self._is_one_of_several and self._pace.has_answered(_RECENT):
                self._left += 1
        self._left -= 1
        if not may_help or self._left < 0:
            return None
        return max(pause, self._pace.turn(self.until)) if is_busy else pause


class _UnreachedError(Exception):
    """No answer came, or none in time (`is_late`), or one of a proxy in its place."""

    def __init__(self, message: str, is_late: bool, is_of_proxy: bool = False) -> None:
        super().__init__(message)
        self.is_late, self.is_of_proxy = is_late, is_of_proxy


class GarbageError(NetworkError):
    """The server answers, and not as the API has it."""


class Link:
    """A connection pool to one endpoint; threads may share it.

    Attributes:
        endpoint, typed: the address as it is printed; and with the API version that the user gave, for commands.
        names, model, is_ollama: the models that were listed, the one in use, and whether `ollama pull` can fetch one;
            for hints.
        stale: whether another server may have come in place of the one before: a connection failed.

    Args:
        endpoint: address up to and with /v1.
        api_key: sent as the bearer token; None sends none, nor one from the environment.
        headers: further ones of each request, as lines `NAME: VALUE`, never printed.
        timeout: seconds after which one answer is given up: tries, pauses and all that trickles in together.
        max_retries: further tries after a refused connection, a time-out, 408, 409, 425, 429 or 5xx, each after a pause
            (0.5 s doubled each time, or what the server asks for if that is in time). Where several requests meet a
            busy server that has answered within the last minute, there are further ones until the time is over.

    Raises:
        ConfigError: the address, the key, or a proxy or certificates of the environment cannot be used.
    """

    def __init__(
        self, endpoint: str, api_key: str | None, timeout: float, max_retries: int, headers: str | None = None
    ) -> None:
        self.timeout = timeout
        self.names: tuple[str, ...] = ()
        self.model: str | None = None
        self.is_ollama = False
        self.stale = False
        self.max_retries = max_retries
        self._own_headers = own_headers(headers or "")
        self._reach(endpoint, api_key)
        forks.renew_in_child(self._renew)

    def _renew(self) -> None:
        """Open connections of one's own: on those of the parent, answers to its questions come."""
        self._client, _ = self._new_client()

    def _reach(self, endpoint: str, api_key: str | None) -> None:
        self.endpoint = self.typed = printed(endpoint)
        if version := re.search(r"[?&](api-version=[\w.-]+)(?:&|\s*\Z)", endpoint):  # the rest may hold a key
            self.typed += f"?{version[1]}"
        key = (api_key or "").strip()
        if foreign := re.search(r"[^!-~]", key):
            sentence = f"the API key holds {foreign[0]!a} at character {foreign.start() + 1}, which no key has"
            raise ConfigError(sentence, "copy it again: set VIRC_API_KEY or api_key=, one line")
        # A compressed body would be bounded only after it was unpacked.
        headers = {"User-Agent": "virc", "Accept": "application/json", "Accept-Encoding": "identity"}
        self._secret = ({"Authorization": f"Bearer {key}"} if key else {}) | self._own_headers
        self._new_client = partial(client, endpoint, headers | self._secret, self.timeout)
        self._client, self._base = self._new_client()
        self._pace = pace_of(str(self._base.copy_with(path="/", query=None)))

    def move(self, endpoint: str, api_key: str | None) -> None:
        before = self._client
        self._reach(endpoint, api_key)
        before.close()

    def answers(self) -> bool:
        """Whether it answers now: /v1/models answers within seconds, if only with a refusal."""
        try:
            self._listed(_SHORT_SECONDS)
        except NetworkError:
            return False
        except ConfigError:
            pass
        return True

    def models(self, seconds: float | None = None) -> list[ListedModel]:
        listed = self._listed(seconds)
        self.names = tuple(served.id for served in listed)
        return listed

    def complete(
        self,
        request: Mapping[str, Any],
        max_tokens: int,
        on_text: Callable[[str], None],
        deadline: Deadline,
        address: str | None = None,
    ) -> ReceivedReply:
        """Draw one completion, streamed if the server can; `address` is of Ollama's own API, if that is used.

        Raises:
            ConfigError: the endpoint refuses the request (400, 401, 403, 404 and the like).
            NetworkError: it is down, busy, silent, broken off, or its answer is garbage or endless.
        """
        most = max_tokens * CHARACTERS_PER_TOKEN

        def read(pieces: Iterator[bytes], stream: Callable[[str], None], hang_up: Callable[[], None]) -> ReceivedReply:
            return read_reply(pieces, most, stream, hang_up)

        return self._answer(
            address or self._below("/chat/completions"),
            read,
            request,
            max_tokens * _BYTES_PER_TOKEN + 2**20,
            on_text,
            seconds=deadline.left(),
            whole=deadline.seconds,
        )

    def embedding(self, model: str, text: str, cuts: bool) -> list[float]:
        """The embedding of a text by OpenAI's API; `cuts`: it is vLLM, and is to cut a text that is too long."""
        body: dict[str, object] = {"model": model, "input": text, "encoding_format": "float"}
        body |= {"truncate_prompt_tokens": -1} if cuts else {}
        return self._answer(self._below("/embeddings"), lambda pieces, *_: read_embedding(pieces), body)

    def json_object(self, address: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object from another address of the same server, one try, within seconds; `body` None is a GET."""

        def read(pieces: Iterator[bytes], *_: object) -> dict[str, Any]:
            return decoded(b"".join(pieces), dict[str, Any])

        stale = self.stale
        try:
            return self._answer(address, read, body, seconds=_SHORT_SECONDS, retries=0)
        finally:
            self.stale = stale  # a server without that address is no other server

    def close(self) -> None:
        self._client.close()

    def _below(self, path: str) -> str:
        """Where a path below the endpoint is, with the endpoint's query."""
        return str(self._base.copy_with(path=self._base.path.rstrip("/") + path))

    def _listed(self, seconds: float | None) -> list[ListedModel]:
        retries = 0 if seconds else None
        return self._answer(
            self._below("/models"), lambda pieces, *_: read_models(pieces), seconds=seconds, retries=retries
        )

    def _answer(
        self,
        address: str,
        read: Callable[[Iterator[bytes], Callable[[str], None], Callable[[], None]], _T],
        body: Mapping[str, Any] | None = None,
        most: int = _MAX_LISTING,
        on_text: Callable[[str], None] = lambda _: None,
        *,
        seconds: float | None = None,
        whole: float | None = None,
        retries: int | None = None,
    ) -> _T:
        """Send a request, and return what `read` makes of the body of the response.

        Args:
            read: gets the pieces of the body, a function that passes text on to `on_text`, and one that ends the
                connection from another thread.
            body: None: it is a GET.
            most: bytes that the body of the response may have, compressed and unpacked.
            seconds: the time for this answer.
            whole: the time that errors name: that for the reply, earlier requests for it included; None: `seconds`.
            retries: how often it is sent again at most; None: `max_retries`.
        """
        seconds = self.timeout if seconds is None else min(seconds, self.timeout)
        until = time.monotonic() + seconds
        retries = self.max_retries if retries is None else retries
        exchange = Exchange(address, None if body is None else Pieces(body), retries, self._pace, until)
        afterwards = ExitStack()

        def once(streams: Iterator[Callable[[str], None]]) -> _T:
            response = afterwards.enter_context(closing(self._response(exchange)))
            sent = bounded(response.iter_raw(), most, until)
            pieces = bounded(unpacked(sent, response.headers), most, until)
            answer = read(pieces, next(streams, lambda _: None), partial(self._hang_up, exchange))
            # A connection serves the next request only if nothing of this answer is left on it.
            afterwards.callback(deque, sent, 0)
            return answer

        def work(stream: Callable[[str], None]) -> _T:
            # An iterator of one: only the first try that gets a body streams it, so that no text is streamed twice.
            ask = partial(once, iter([stream]))
            self._pace.wait(until)
            try:
                with self._pace.asks():
                    answer = retried(ask, exchange.pause, longest=_LONGEST_PAUSE, until=until)
            finally:
                self.stale |= exchange.was_away
            self._pace.note_answer()
            return answer

        try:
            return within(until, work, on_text, afterwards.close)
        except BaseException as error:  # nobody waits any more, such as at the end of the time: the request is ended
            exchange.given_up = True
            self._hang_up(exchange)
            if not isinstance(error, LateError | WireError | _UnreachedError):
                raise
            # `from None`: these errors quote the server, which may quote the key.
            raise self._explained(error, whole or seconds) from None

    def _hang_up(self, exchange: Exchange) -> None:
        if exchange.request:
            shut_down(self._client, exchange.request)

    def _explained(self, error: Exception, seconds: float) -> VircError:
        """What is raised where no answer came within `seconds`, or one that is none."""
        if isinstance(error, StatusError):
            hints = self.missing_hint(), self._address_hint()
            return as_error(error, AskedServer(self.endpoint, self.quoted, bool(self._secret), *hints))
        if isinstance(error, _UnreachedError) and not error.is_late:
            return self._unreached(error)
        if not isinstance(error, WireError):
            waited = math.ceil(seconds * 10) / 10
            return NetworkError(f"{self.endpoint} gave no whole answer in {waited:g} s", _PATIENCE)
        quoted, hint = self.quoted(error.quoted), self._address_hint()
        if not hint and error.is_page:
            hint = "a login, a proxy or another service answers there: open the address in a browser"
        kind = NetworkError if error.broken else GarbageError
        failed = kind(f"{self.endpoint} {error}{quoted and ': ' + quoted}", hint)
        failed.broken = error.broken
        failed.is_full = says("context", error.quoted)
        self.stale |= error.broken
        return failed

    def _response(self, exchange: Exchange) -> "httpx.Response":
        """The response to one try, redirects followed. Raises StatusError: its status is not a success."""
        response = self._send(exchange)
        while response.status_code in (307, 308) and self._follows(exchange, response):
            response = self._send(exchange)
        if response.status_code >= 300:
            raise _status_error(response, exchange.until)
        return response

    def _send(self, exchange: Exchange) -> "httpx.Response":
        body, headers = exchange.body, {}
        if body is not None:  # some servers do not know the chunked encoding that stands for an unknown length
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        method = "GET" if body is None else "POST"
        trace = sends_unless(lambda: exchange.given_up, lambda: _UnreachedError("given up", is_late=True))
        request = self._client.build_request(
            method, exchange.address, content=body, headers=headers, extensions={"trace": trace}
        )
        exchange.request, exchange.began = request, time.monotonic()
        if time.monotonic() > exchange.until:
            raise _UnreachedError("the time is over", is_late=True)
        try:
            return self._client.send(request, stream=True)
        except Exception as error:  # one class for each thing that goes wrong, of two versions of the library
            name = type(error).__name__.lower()
            raise _UnreachedError(str(error), "timeout" in name, "proxy" in name) from None

    def _follows(self, exchange: Exchange, response: Any) -> bool:
        """Point the exchange to where a redirect leads; False: that is another server, or there were too many."""
        before = self._base.copy_with(path="/", query=None)
        try:
            target = response.url.join(response.headers.get("location", ""))
        except Exception:  # an address that is none: one class in each version of the library
            return False
        exchange.redirects += 1
        if target.copy_with(path="/", query=None, fragment=None) != before or exchange.redirects > _MAX_REDIRECTS:
            return False
        response.close()
        exchange.address = str(target)
        return True

    def _unreached(self, error: "_UnreachedError") -> NetworkError:
        cause = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        proxy = None if is_loopback(self._base.host) else proxy_of(str(self._base))
        way, hint = "", f"is it running? curl {self.endpoint}/models"
        if self.endpoint.count("/") < 3:  # it has no path
            hint += f"; or --endpoint {self.endpoint}/v1"
        if error.is_of_proxy or proxy:
            way = f" through the proxy {proxy[1]}" if proxy else " through the proxy"
            named = f"{proxy[0]}_proxy names it; " if proxy else ""
            hint = f"{named}to go past it: export no_proxy={self._base.host}"
        if re.search("CERTIFICATE_VERIFY_FAILED|certificate verify failed|self.signed", cause, re.IGNORECASE):
            hint = "of a private authority, name its certificate: export SSL_CERT_FILE=/path/to/authority.pem"
            if re.search("hostname mismatch|not valid for|IP address mismatch|doesn't match", cause, re.IGNORECASE):
                hint = "its certificate is of another host: give --endpoint the name that the certificate has"
        elif re.search("WRONG_VERSION_NUMBER|record layer failure", cause):
            hint = f"it may speak without TLS: --endpoint {self.endpoint.replace('https:', 'http:', 1)}"
        unreached = NetworkError(f"{self.endpoint} cannot be reached{way}: {self.quoted(cause)}", hint)
        unreached.fails_all_requests = unreached.broken = True
        self.stale = True
        return unreached

    def missing_hint(self) -> str:
        if self.model and is_folder(expanded(self.model)):
            return f"--endpoint none runs the folder {self.model} on this machine"
        if self.names:
            return f"it serves {names_hint(self.names)}: --model {self.names[0]}"
        if self.is_ollama:
            return f"ollama pull {self.model or 'qwen3-vl'}, then the same command"
        if hint := self._address_hint():
            return hint
        if not self.model:
            return "name one: --model NAME"
        return f"its models are named by: curl {self.endpoint}/models"

    def _address_hint(self) -> str | None:
        """What is likelier to be the address; None if this one ends as most do."""
        root = re.sub(r"(/v1)?(/chat/completions|/completions|/models|/api/chat|/api|/)?$", "", self.endpoint)
        return None if self.endpoint.endswith("/v1") else f"most endpoints end in /v1: --endpoint {root}/v1"

    def quoted(self, text: object) -> str:
        """A server's text as part of a printed line, without the key and the values of own headers."""
        text = str(text)
        query = parse_qsl(self._base.query.decode())  # a gateway may take a key there
        query_values = [value for name, value in query if name != "api-version"]
        for value in (*self._secret.values(), *query_values):
            scheme, _, rest = value.partition(" ")
            secret = rest if scheme.lower() in _SCHEMES else value
            for part in (secret, *secret.split()):
                text = hidden(text, part)
        return plain(text)


def names_hint(names: tuple[str, ...]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _status_error(response: "httpx.Response", until: float) -> StatusError:
    """The error that a response is, by the first bytes of its body; its connection is closed."""
    data = b""
    with closing(response), suppress(Exception):  # a connection that fails in the midst of an error has said enough
        for piece in unpacked(response.iter_raw(), response.headers):
            data += piece
            if len(data) > _MAX_ERROR or time.monotonic() > until:
                break
    return StatusError(response.status_code, response.headers, parsed(data[:_MAX_ERROR]))
