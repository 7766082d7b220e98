"""One endpoint over HTTP: bounded in bytes and time, every failure one clear sentence.

What it refuses is a ConfigError, what it does not answer a NetworkError. All requests go through `Link._answer`: in a
thread that can be given up, an `_Exchange` sends the request until one try succeeds, and the body is read.
"""

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from virc.backends.chat.causes import AskedServer, as_error
from virc.backends.chat.errors import GATEWAY, StatusError, WireError, parsed
from virc.backends.chat.images import Pieces, whole
from virc.backends.chat.listing import ListedModel, decoded, read_embedding, read_models
from virc.backends.chat.providers import says
from virc.backends.chat.reply import ReceivedReply, read_reply
from virc.backends.interface import CHARACTERS_PER_TOKEN
from virc.config.user import names_user
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.files import expanded, is_folder
from virc.core.http.addresses import is_loopback
from virc.core.http.body import DamagedError, Ending, TooLargeError, bounded, unpacked
from virc.core.http.client import IDENTITY, OwnClient, hidden, open_client, proxy_of
from virc.core.http.library import http_library
from virc.core.retry import Pace, pace_of, retried
from virc.core.text import clause, plain
from virc.core.timeouts import Deadline, LateError, within
from virc.reasoning.images import Shown

if TYPE_CHECKING:
    import httpx2 as httpx

_CONNECT_SECONDS = 5.0
_SHORT_SECONDS = 5.0  # for a question that the user waits for before a reply is drawn
_LONGEST_PAUSE = 8.0  # seconds
_RECENT = 60.0  # seconds: most limits are of requests a minute
_MAX_REDIRECTS = 3
_MAX_LISTING = 8 * 2**20
_MAX_ERROR = 64 * 2**10
# An event of one token is some 250 bytes.
_BYTES_PER_TOKEN = 4096
_SCHEMES = ("basic", "bearer")  # words in front of a key that are no part of it
_PATIENCE = "a slow server needs a longer «--timeout»"
_T = TypeVar("_T")


class GarbageError(NetworkError):
    """The server answers, and not as the API has it."""


class _UnreachedError(Exception):
    """No answer came, or none in time (`is_late`), or one of a proxy in its place."""

    def __init__(self, message: str, is_late: bool = False, is_of_proxy: bool = False) -> None:
        super().__init__(message)
        self.is_late, self.is_of_proxy = is_late, is_of_proxy


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
        self._own_headers = _own_headers(headers or "")
        self._reach(endpoint, api_key)

    def _reach(self, endpoint: str, api_key: str | None) -> None:
        self.endpoint = self.typed = _printed(endpoint)
        if version := re.search(r"[?&](api-version=[\w.-]+)(?:&|\s*\Z)", endpoint):  # the rest may hold a key
            self.typed += f"?{version[1]}"
        key = (api_key or "").strip()
        if foreign := re.search(r"[^!-~]", key):
            sentence = f"the API key holds {foreign[0]!a} at character {foreign.start() + 1}, which no key has"
            raise ConfigError(sentence, "copy it again: set «VIRC_API_KEY», one line")
        self._secret = ({"Authorization": f"Bearer {key}"} if key else {}) | self._own_headers
        http = http_library()
        try:
            self._base: httpx.URL = http.URL(endpoint.strip())
        except http.InvalidURL as error:
            raise _no_address(endpoint, f": {clause(error)}") from None
        self._origin = self._base.copy_with(path="/", query=None)
        headers = {**IDENTITY, "Accept": "application/json", **self._secret}
        seconds = http.Timeout(self.timeout, connect=min(_CONNECT_SECONDS, self.timeout))
        # no redirects to others: pictures go to the endpoint that was named
        self._client = OwnClient(partial(open_client, str(self._base), headers, seconds))
        self._client()  # an error of the environment is raised here
        self._pace = pace_of(str(self._origin))

    def close(self) -> None:
        self._client.close()

    def answers(self) -> bool:
        """Whether it answers now: /v1/models answers within seconds, if only with a refusal."""
        try:
            self.models(_SHORT_SECONDS)
        except NetworkError:
            return False
        except ConfigError:
            pass
        return True

    def models(self, seconds: float | None = None) -> list[ListedModel]:
        """The models that it lists; with `seconds`, it is asked once and for no longer."""
        retries = 0 if seconds else None
        listed = self._answer(
            self._below("/models"), lambda pieces, *_: read_models(pieces), seconds=seconds, retries=retries
        )
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
        return self._answer(
            address or self._below("/chat/completions"),
            lambda pieces, stream, hang_up: read_reply(pieces, max_tokens * CHARACTERS_PER_TOKEN, stream, hang_up),
            request,
            max_tokens * _BYTES_PER_TOKEN + 2**20,
            on_text,
            seconds=deadline.left(),
            whole=deadline.seconds,
        )

    def embedding(self, model: str, of: str | Shown, cuts: bool) -> list[float]:
        """The embedding of a text by OpenAI's API, or of an image by vLLM's; `cuts`: vLLM is to cut a long text."""
        body: dict[str, object] = {"model": model, "encoding_format": "float"}
        if isinstance(of, str):
            body |= {"input": of, **({"truncate_prompt_tokens": -1} if cuts else {})}
        else:
            body["messages"] = [{"role": "user", "content": [whole(of)]}]
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

    def _below(self, path: str) -> str:
        """Where a path below the endpoint is, with the endpoint's query."""
        return str(self._base.copy_with(path=self._base.path.rstrip("/") + path))

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
        sent = None if body is None else Pieces(body)
        exchange = _Exchange(self._client(), self._origin, self._pace, address, sent, retries, until)
        afterwards = ExitStack()

        def once(streams: Iterator[Callable[[str], None]]) -> _T:
            response = afterwards.enter_context(closing(exchange.response()))
            raw = bounded(response.iter_raw(), most, until)
            pieces = _as_wire_errors(bounded(unpacked(raw, response.headers), most, until), most, until)
            answer = read(pieces, next(streams, lambda _: None), exchange.ending.hang_up)
            # A connection serves the next request only if nothing of this answer is left on it.
            afterwards.callback(deque, raw, 0)
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
            exchange.ending.end()
            if not isinstance(error, LateError | WireError | _UnreachedError):
                raise
            # `from None`: these errors quote the server, which may quote the key.
            raise self._explained(error, whole or seconds) from None

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
        failed.broken, failed.is_full = error.broken, says("context", error.quoted)
        self.stale |= error.broken
        return failed

    def _unreached(self, error: _UnreachedError) -> NetworkError:
        cause = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        proxy = None if is_loopback(self._base.host) else proxy_of(str(self._base))
        way, hint = "", f"is it running? curl {self.endpoint}/models"
        if self.endpoint.count("/") < 3:  # it has no path
            hint += f"; or «--endpoint {self.endpoint}/v1»"
        if error.is_of_proxy or proxy:
            way = f" through the proxy {proxy[1]}" if proxy else " through the proxy"
            named = f"{proxy[0]}_proxy names it; " if proxy else ""
            hint = f"{named}to go past it: export no_proxy={self._base.host}"
        if re.search("CERTIFICATE_VERIFY_FAILED|certificate verify failed|self.signed", cause, re.IGNORECASE):
            hint = "of a private authority, name its certificate: export SSL_CERT_FILE=/path/to/authority.pem"
            if re.search("hostname mismatch|not valid for|IP address mismatch|doesn't match", cause, re.IGNORECASE):
                hint = "its certificate is of another host: give «--endpoint» the name that the certificate has"
        elif re.search("WRONG_VERSION_NUMBER|record layer failure", cause):
            hint = f"it may speak without TLS: «--endpoint {self.endpoint.replace('https:', 'http:', 1)}»"
        unreached = NetworkError(f"{self.endpoint} cannot be reached{way}: {self.quoted(cause)}", hint)
        unreached.fails_all_requests = unreached.broken = True
        self.stale = True
        return unreached

    def missing_hint(self) -> str:
        if self.model and is_folder(expanded(self.model)):
            return f"«--endpoint none» runs the folder {self.model} on this machine"
        if self.model in self.names:
            return f"it lists {self.model}, but not for this API, as it says: «--model» names another"
        if self.names:
            return f"it serves {names_hint(self.names)}: «--model {self.names[0]}»"
        if self.is_ollama:
            return f"ollama pull {self.model or 'qwen3-vl'}, then the same command"
        if hint := self._address_hint():
            return hint
        return f"its models are named by: curl {self.endpoint}/models" if self.model else "name one: «--model NAME»"

    def _address_hint(self) -> str | None:
        """What is likelier to be the address; None if this one ends as most do."""
        root = re.sub(r"(/v1)?(/chat/completions|/completions|/models|/api/chat|/api|/)?$", "", self.endpoint)
        return None if self.endpoint.endswith("/v1") else f"most endpoints end in /v1: «--endpoint {root}/v1»"

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


class _Exchange:
    """One request: what is sent, and whether it is sent again where that fails, and when.

    Args:
        origin: of the endpoint, which no redirect leaves.
        body: None: it is a GET.
        retries: how often it is sent again at most.
        until: monotonic time in seconds after which no try begins.
    """

    def __init__(
        self,
        client: "httpx.Client",
        origin: "httpx.URL",
        pace: Pace,
        address: str,
        body: Pieces | None,
        retries: int,
        until: float,
    ) -> None:
        self._client, self._origin, self._pace, self._address = client, origin, pace, address
        self._body, self._left, self._may_retry, self._until = body, retries, retries > 0, until
        self.ending = Ending()
        self.was_away = False  # the server could not be reached meanwhile: another may have come in its place
        self._redirects = 0  # to other paths of the server that were followed
        self._began = 0.0  # when the last try began, in monotonic seconds
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
            in_time = time.monotonic() < self._until and not self.ending.has_ended
            may_help = is_away = isinstance(error, _UnreachedError) and in_time
            pause = max(0.0, min(pause, self._until - time.monotonic()))
        self.was_away |= is_away and self._may_retry
        if is_busy and may_help:
            self._pace.slow(self._began, pause)
            # If one of several requests is answered, the others will be, too: then a try costs none of those left.
            self._is_one_of_several |= self._pace.asking > 1
            if self._is_one_of_several and self._pace.has_answered(_RECENT):
                self._left += 1
        self._left -= 1
        if not may_help or self._left < 0:
            return None
        return max(pause, self._pace.turn(self._until)) if is_busy else pause

    def response(self) -> "httpx.Response":
        """The response to one try, redirects followed. Raises StatusError: its status is not a success."""
        response = self._sent()
        while response.status_code in (307, 308) and self._follows(response):
            response = self._sent()
        if response.status_code >= 300:
            raise _status_error(response, self._until)
        return response

    def _sent(self) -> "httpx.Response":
        body, headers = self._body, {}
        if body is not None:  # some servers do not know the chunked encoding that stands for an unknown length
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        method = "GET" if body is None else "POST"
        request = self._client.build_request(method, self._address, content=body, headers=headers)
        self._began = time.monotonic()
        if self._began > self._until:
            raise _UnreachedError("the time is over", is_late=True)
        try:
            return self.ending.send(self._client, request)
        except Exception as error:  # one class for each thing that goes wrong, of two versions of the library
            name = type(error).__name__.lower()
            is_late = "timeout" in name or self.ending.has_ended
            raise _UnreachedError(str(error), is_late, "proxy" in name) from None

    def _follows(self, response: "httpx.Response") -> bool:
        """Go to where a redirect leads; False: that is another server, or there were too many."""
        try:
            target = response.url.join(response.headers.get("location", ""))
        except Exception:  # an address that is none: one class in each version of the library
            return False
        self._redirects += 1
        is_here = target.copy_with(path="/", query=None, fragment=None) == self._origin
        if not is_here or self._redirects > _MAX_REDIRECTS:
            return False
        response.close()
        self._address = str(target)
        return True


def _as_wire_errors(pieces: Iterator[bytes], most: int, until: float) -> Iterator[bytes]:
    """Yield the pieces of a body of at most `most` bytes; what ends it early is a WireError, or a LateError."""
    try:
        yield from pieces
    except LateError:
        raise
    except TooLargeError:
        raise WireError(f"sent over {most:,} bytes for one answer") from None
    except DamagedError as error:
        raise WireError(str(error), broken=error.is_cut) from None
    except Exception:  # its class depends on the HTTP library under the client; all mean the connection
        if time.monotonic() > until:  # it was closed here
            raise LateError from None
        raise WireError("cut the connection before its answer was whole", broken=True) from None


def _status_error(response: "httpx.Response", until: float) -> StatusError:
    """The error that a response is, by the first bytes of its body; its connection is closed."""
    data = b""
    with closing(response), suppress(Exception):  # a connection that fails in the midst of an error has said enough
        for piece in unpacked(response.iter_raw(), response.headers):
            data += piece
            if len(data) > _MAX_ERROR or time.monotonic() > until:
                break
    return StatusError(response.status_code, response.headers, parsed(data[:_MAX_ERROR]))


def names_hint(names: tuple[str, ...]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _printed(endpoint: str) -> str:
    """The endpoint as it may be printed: without query."""
    try:
        parts = urlsplit(endpoint.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if names_user(endpoint):
        raise ConfigError("the endpoint's address must hold no user and password", "«export VIRC_API_KEY=...»")
    if not host or parts.scheme not in {"http", "https"} or not re.fullmatch(r"[!-~]+", endpoint.strip()):
        raise _no_address(endpoint)
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _no_address(endpoint: str, reason: str = "") -> ConfigError:
    hint = "like «--endpoint http://localhost:8000/v1»"
    return ConfigError(f"{plain(endpoint, 100)!r} is no address of an endpoint{reason}", hint)


def _own_headers(text: str) -> dict[str, str]:
    """Read headers that are set for an endpoint, one a line; an error quotes none."""
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    found = {name.strip().title(): value.strip() for name, _, value in lines}
    if not all(re.fullmatch(r"[\w-]+", name) and re.fullmatch(r"[ -~]+", value) for name, value in found.items()):
        raise ConfigError("«VIRC_HEADERS» must hold NAME: VALUE, one a line", "«export VIRC_HEADERS='api-key: ...'»")
    return found
