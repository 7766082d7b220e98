"""One endpoint over HTTP: bounded in bytes and time, every failure one clear sentence."""

import json
import math
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from virc.backends.interface import CHARACTERS_PER_TOKEN
from virc.backends.openai import ollama
from virc.backends.openai.body import (
    Served,
    WireError,
    bounded,
    decoded,
    error_fields,
    error_text,
    read_embedding,
    read_models,
)
from virc.backends.openai.client import client, printed
from virc.backends.openai.images import MISSED, MissedError
from virc.backends.openai.pieces import Pieces
from virc.backends.openai.refusals import RefusedError
from virc.backends.openai.wire import read_reply
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.files import expanded, is_folder
from virc.core.text import plain
from virc.core.timeouts import LateError, within
from virc.reasoning.session import Reply

if TYPE_CHECKING:
    import httpx2 as httpx

_LOOK_SECONDS = 5.0
_LONGEST_PAUSE = 8.0  # seconds
_MOST_LISTING = 8 * 2**20
_MOST_ERROR = 64 * 2**10
# An event of one token is some 250 bytes.
_BYTES_PER_TOKEN = 4096
_GATEWAY = frozenset({502, 503, 504})
_BUSY = frozenset({408, 409, 425, 429})
_OF_ALL = frozenset({401, 403, 404, 429})  # what is wrong is not in the request
_PATIENCE = "a slow server needs a longer --timeout"
_HINTS = (
    (
        r"context|input (?:tokens|length)|prompt is too long",
        "serve it with a longer context (llama.cpp: -c, vLLM: --max-model-len), or send smaller images: --max-pixels",
    ),
    (
        r"(at most|too many|limit|maximum)[^.]{0,40}\bimage",
        "allow as many images a prompt as --max-turns and the pictures of the question together, 17 by default "
        "(vLLM: --limit-mm-per-prompt '{\"image\": 17}')",
    ),
    (
        r"mmproj|required for image input",
        "serve a vision model, and with the file of its vision tower (llama.cpp: -hf, or --mmproj)",
    ),
    (r"not support[^.]{0,20}\bimage|\bimage[^.]{0,20}not support|multi-?modal", "serve a vision model"),
)
_SEES_NOTHING = re.compile(r"image input is not supported|required for image input|not support image", re.IGNORECASE)
"""The error of a server with a model that takes no pictures."""
_T = TypeVar("_T")


class Exchange(msgspec.Struct, frozen=True):
    """What is sent: to which address, with which body (None: it is a GET), and how often again where it fails."""

    address: str
    body: Pieces | None = None
    retries: int = 0


class _StatusError(Exception):
    """The server answers with an error, of which the body is read as far as it is needed."""

    def __init__(self, code: int, headers: Mapping[str, str], body: object) -> None:
        super().__init__(code)
        self.code, self.headers, self.body = code, headers, body

    @property
    def wait(self) -> float:
        """Seconds after which the server asks to be tried again; 0: it does not say, infinite: at a date."""
        return _seconds(self.headers.get("retry-after", "0"))

    @property
    def is_passing(self) -> bool:
        """Whether the same request may be answered later; llama.cpp says by 500 that its model sees nothing."""
        if _SEES_NOTHING.search(error_text(self.body)):
            return False
        said = self.headers.get("x-should-retry")  # of OpenAI's own servers
        return said == "true" if said in ("true", "false") else self.code in _BUSY or self.code >= 500


class _UnreachedError(Exception):
    """No answer came, or none in time (`is_late`)."""

    def __init__(self, message: str, is_late: bool) -> None:
        super().__init__(message)
        self.is_late = is_late


class Link:
    """A connection pool to one endpoint; threads may share it.

    Its `names` are the models that were listed, its `model` the one in use: both are for hints. It is `stale`
    where another server may have come in place of the one before: a connection failed, or the server
    calls itself otherwise; `reconnected` where a connection is new, as it then is too.

    Args:
        endpoint: address up to and with /v1.
        api_key: sent as the bearer token; None sends none, nor one from the environment.
        timeout: seconds after which one answer is given up: tries, pauses and all that trickles in together.
        max_retries: further tries after a refused connection, a time-out, 408, 409, 425, 429 or 5xx, each after a
            pause (0.5 s doubled each time, or what Retry-After asks for if that is in time).

    Raises:
        ConfigError: the address, the key, or a proxy or certificates of the environment cannot be used.
    """

    def __init__(self, endpoint: str, api_key: str | None, timeout: float, max_retries: int) -> None:
        self.timeout = timeout
        self.names: tuple[str, ...] = ()
        self.model: str | None = None
        self.stale = self.reconnected = False
        self._ports: set[int] = set()
        self._max_retries = max_retries
        self._server: str | None = None
        self._reach(endpoint, api_key)

    def _reach(self, endpoint: str, api_key: str | None) -> None:
        self.endpoint = printed(endpoint)
        self._key = (api_key or "").strip()
        if not re.fullmatch(r"[!-~]*", self._key):
            raise ConfigError("the API key holds characters that no key has", "set VIRC_API_KEY again, one line")
        # A compressed body would be bounded only after it was unpacked.
        headers = {"User-Agent": "virc", "Accept": "application/json", "Accept-Encoding": "identity"}
        headers |= {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client, self._base = client(endpoint, headers, self.timeout)

    def move(self, endpoint: str, api_key: str | None) -> None:
        """Go on at another address, with another key."""
        before = self._client
        self._reach(endpoint, api_key)
        before.close()

    def answers(self) -> bool:
        """Whether it answers now: /v1/models answers within seconds, if only with a refusal."""
        try:
            self._listed(_LOOK_SECONDS)
        except NetworkError:
            return False
        except ConfigError:
            pass
        return True

    def models(self, seconds: float | None = None) -> list[Served]:
        """What /v1/models lists; one try where the seconds are limited.

        Raises:
            ConfigError, NetworkError: it could not be had.
        """
        listed = self._listed(seconds)
        self.names = tuple(served.id for served in listed)
        return listed

    def complete(
        self,
        request: Mapping[str, Any],
        max_tokens: int,
        on_text: Callable[[str], None] | None,
        seconds: float | None = None,
        address: str | None = None,
    ) -> Reply:
        """Draw one completion, streamed where the server can; `address` is of Ollama's own API, where that is used.

        Raises:
            ConfigError: the endpoint refuses the request (400, 401, 403, 404 and the like).
            NetworkError: it is down, busy, silent, broken off, or its answer is garbage or endless.
        """

        def read(kind: str, pieces: Iterator[bytes], say: Callable[[str], None]) -> Reply:
            most = max_tokens * CHARACTERS_PER_TOKEN
            return ollama.read(pieces, most, say) if address else read_reply(pieces, "json" not in kind, most, say)

        exchange = Exchange(address or self._below("/chat/completions"), Pieces(request), self._max_retries)
        return self._answer(exchange, read, max_tokens * _BYTES_PER_TOKEN + 2**20, on_text, seconds)

    def embedding(self, model: str, text: str, cuts: bool) -> list[float]:
        """The embedding of a text, as OpenAI's API has it; `cuts`: it is vLLM, which is to cut a text that is too long.

        Raises:
            ConfigError, NetworkError: as of `complete`.
        """
        body: dict[str, object] = {"model": model, "input": text, "encoding_format": "float"}
        body |= {"truncate_prompt_tokens": -1} if cuts else {}
        exchange = Exchange(self._below("/embeddings"), Pieces(body), self._max_retries)
        return self._answer(exchange, lambda _, pieces, __: read_embedding(pieces), _MOST_LISTING)

    def json_object(self, address: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object from another address of the same server, one try, within seconds; `body` None is a GET.

        Raises:
            ConfigError, NetworkError: it could not be had.
        """

        def read(kind: str, pieces: Iterator[bytes], _: Callable[[str], None]) -> dict[str, Any]:
            return decoded(b"".join(pieces), dict[str, Any])

        stale = self.stale
        try:
            exchange = Exchange(address, None if body is None else Pieces(body))
            return self._answer(exchange, read, _MOST_LISTING, seconds=_LOOK_SECONDS)
        finally:
            self.stale = stale  # a server without that address is no other server

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _below(self, path: str) -> str:
        """Where a path below the endpoint is, with the endpoint's query."""
        return str(self._base.copy_with(path=self._base.path.rstrip("/") + path))

    def _listed(self, seconds: float | None) -> list[Served]:
        exchange = Exchange(self._below("/models"), None, 0 if seconds else self._max_retries)
        return self._answer(exchange, lambda _, pieces, __: read_models(pieces), _MOST_LISTING, seconds=seconds)

    def _answer(
        self,
        exchange: Exchange,
        read: Callable[[str, Iterator[bytes], Callable[[str], None]], _T],
        most: int,
        on_text: Callable[[str], None] | None = None,
        seconds: float | None = None,
    ) -> _T:
        """What `read` makes of the response's type, its body of up to `most` bytes, and `on_text`."""
        seconds = self.timeout if seconds is None else min(seconds, self.timeout)
        until = time.monotonic() + seconds
        afterwards = ExitStack()

        def work(say: Callable[[str], None]) -> _T:
            response = afterwards.enter_context(closing(self._sent(exchange, until)))
            pieces = bounded(response.iter_raw(), most, until)
            answer = read(response.headers.get("content-type", ""), pieces, say)
            # A connection serves the next request only if nothing of this answer is left on it.
            afterwards.callback(deque, pieces, 0)
            return answer

        try:
            return within(until, work, on_text or (lambda _: None), afterwards.close)
        # `from None`: these errors quote the server, which may quote the key.
        except LateError:
            raise self._silent(seconds) from None
        except _StatusError as error:
            refusal = self._refusal(error)
            refusal.everywhere = error.code in _OF_ALL or error.code >= 500
            raise refusal from None
        except _UnreachedError as error:
            raise self._unreached(error, seconds) from None
        except WireError as error:
            quoted = self.quoted(error.quoted)
            failed = NetworkError(f"{self.endpoint} {error}{quoted and ': ' + quoted}", self._address_hint())
            failed.broken = error.broken
            self.stale |= error.broken
            raise failed from None

    def _sent(self, exchange: Exchange, until: float) -> "httpx.Response":
        """The response to a request, which is sent again where that may help, until the monotonic time `until`.

        Raises:
            _StatusError, _UnreachedError: why the last one failed.
        """
        for number in range(exchange.retries + 1):
            pause = min(0.5 * 2**number, _LONGEST_PAUSE) * random.uniform(0.75, 1)
            try:
                response = self._sent_once(exchange, until)
                if response.status_code < 300:
                    return response
                refused = _refused(response, until)
                # Tried again by a gateway without its server: who answers then may be another.
                is_elsewhere = refused.code in _GATEWAY
                pause = refused.wait or pause
                if number == exchange.retries or not refused.is_passing or pause > until - time.monotonic():
                    raise refused
            except _UnreachedError:
                is_elsewhere = True
                if number == exchange.retries or time.monotonic() > until:
                    raise
            time.sleep(max(0, min(pause, until - time.monotonic())))
            self.stale |= is_elsewhere
        raise AssertionError

    def _sent_once(self, exchange: Exchange, until: float) -> "httpx.Response":
        """The response to one try, of which the headers are there."""
        body, headers = exchange.body, {}
        if body is not None:  # some servers do not know the chunked encoding that stands for an unknown length
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        method = "GET" if body is None else "POST"
        request = self._client.build_request(method, exchange.address, content=body, headers=headers)
        if time.monotonic() > until:
            raise _UnreachedError("the time is over", is_late=True)
        try:
            response = self._client.send(request, stream=True)
        except Exception as error:  # one class for each thing that goes wrong, of two versions of the library
            raise _UnreachedError(str(error), "timeout" in type(error).__name__.lower()) from None
        self._note_server(response)
        return response

    def _note_server(self, response: Any) -> None:
        """Notice where another server may answer than did before."""
        server = response.headers.get("server", "")
        self.stale |= self._server not in (None, server)
        self._server = server
        port = 0
        with suppress(OSError, AttributeError, TypeError, KeyError):  # no socket, or one that is closed already
            port = response.extensions["network_stream"].get_extra_info("client_addr")[1]
        self.reconnected |= bool(self._ports) and port not in self._ports
        self._ports.add(port)

    def _silent(self, seconds: float) -> NetworkError:
        return NetworkError(f"{self.endpoint} gave no whole answer in {math.ceil(seconds * 10) / 10:g} s", _PATIENCE)

    def _unreached(self, error: "_UnreachedError", seconds: float) -> NetworkError:
        if error.is_late:
            return self._silent(seconds)
        cause = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        hint = f"is it running? curl {self.endpoint}/models"
        unreached = NetworkError(f"{self.endpoint} cannot be reached: {self.quoted(cause)}", hint)
        unreached.everywhere = unreached.broken = self.stale = True
        return unreached

    def _refusal(self, error: "_StatusError") -> VircError:
        """The sentence for an HTTP error."""
        code = error.code
        answer = self.quoted(error_text(error.body))
        tail = f" ({code}): {answer}" if answer else f" ({code})"
        if (code in _BUSY or code >= 500) and not _SEES_NOTHING.search(answer):
            wait = error.headers.get("retry-after")
            hint = next((hint for pattern, hint in _HINTS if re.search(pattern, answer.lower())), None)
            if wait and _seconds(wait) < math.inf:
                hint = f"it asks to be left alone for {wait} s"
            return NetworkError(f"{self.endpoint} {'is too busy' if code in _BUSY else 'fails'}{tail}", hint)
        if code < 400:
            target = self.quoted(error.headers.get("location", "nowhere"))
            return ConfigError(f"{self.endpoint} redirects to {target}", "give --endpoint the address it moved to")
        if code in {401, 403}:
            return ConfigError(f"{self.endpoint} refuses the key{tail}", "set VIRC_API_KEY to a key it accepts")
        if code == 404:
            sentence = f"{self.endpoint} does not know what was requested{tail}"
            return RefusedError(sentence, self._missing_hint(), answer, None)
        hints = [hint for pattern, hint in _HINTS if re.search(pattern, answer.lower())]
        if re.search(r"invalid model|model.{0,40}(not found|not exist)", answer.lower()):
            hints.insert(0, self._missing_hint())
        sentence, hint = f"{self.endpoint} refuses the request{tail}", hints[0] if hints else None
        if MISSED in answer.lower():
            return MissedError(sentence, hint)
        parameter = error_fields(error.body).get("param")
        return RefusedError(sentence, hint, answer, parameter if isinstance(parameter, str) else None)

    def _missing_hint(self) -> str:
        if self.model and is_folder(expanded(self.model)):
            return f"--endpoint none runs the folder {self.model} on this machine"
        if self.names:
            return f"it serves {names_hint(self.names)}: --model {self.names[0]}"
        if hint := self._address_hint():
            return hint
        return f"its models are named by: curl {self.endpoint}/models"

    def _address_hint(self) -> str | None:
        """What is likelier to be the address; None where this one ends as most do."""
        root = re.sub(r"(/v1)?(/chat/completions|/completions|/models|/api/chat|/api|/)?$", "", self.endpoint)
        return None if self.endpoint.endswith("/v1") else f"most endpoints end in /v1: --endpoint {root}/v1"

    def quoted(self, text: object) -> str:
        """A server's text as part of a printed line, without the key."""
        return plain(str(text).replace(self._key, "***") if self._key else text)


def names_hint(names: tuple[str, ...]) -> str:
    """Model names to choose from, on one line."""
    more = f", … ({len(names)} in all)" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _refused(response: "httpx.Response", until: float) -> _StatusError:
    """The error that a response is; its connection is closed."""
    with closing(response):
        body = _parsed(_start(response.iter_raw(), until))
    return _StatusError(response.status_code, response.headers, body)


def _parsed(data: bytes) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(data)
    return data.decode(errors="replace")


def _start(stream: Iterator[bytes], until: float) -> bytes:
    """The first bytes of an error's body; the rest is not read."""
    data = b""
    with suppress(Exception):  # a connection that fails in the midst of an error has said enough
        for piece in stream:
            data += piece
            if len(data) > _MOST_ERROR or time.monotonic() > until:
                break
    return data[:_MOST_ERROR]


def _seconds(retry_after: str) -> float:
    """Seconds that a Retry-After header asks for; infinite where it is a date."""
    return float(retry_after) if re.fullmatch(r"\d{1,9}(\.\d{1,3})?", retry_after) else math.inf
