"""One endpoint over the official client: bounded in bytes and time, every failure one clear sentence."""

import json
import math
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from virc.backends.openai import ollama
from virc.backends.openai.body import Served, WireError, bounded, decoded, error_fields, error_text, read_models
from virc.backends.openai.images import MISSED, MissedError
from virc.backends.openai.refusals import RefusedError
from virc.backends.openai.wire import read_reply
from virc.config.user import names_user
from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.files import expanded, is_folder
from virc.core.text import plain
from virc.core.timeouts import LateError, within
from virc.reasoning.session import Reply

if TYPE_CHECKING:
    import openai

_CONNECT_SECONDS = _LOOK_SECONDS = 5.0
_MOST_LISTING = 8 * 2**20
_MOST_ERROR = 64 * 2**10
# An event of one token is some 250 bytes; a token has at most a few dozen characters (runs of spaces).
_BYTES_PER_TOKEN, _CHARACTERS_PER_TOKEN = 4096, 64
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
# What is sent besides the key. The client adds what it finds in OPENAI_ORG_ID, OPENAI_PROJECT_ID and
# OPENAI_CUSTOM_HEADERS, which are meant for another service, and what machine it runs on. The last of these
# is by what the client itself knows that the body is left to us.
_HEADERS = frozenset(
    "host accept accept-encoding connection user-agent content-type content-length transfer-encoding "
    "x-stainless-raw-response".split()
)
_SEES_NOTHING = re.compile(rb"image input is not supported|required for image input|not support image", re.IGNORECASE)
"""The error of a server with a model that takes no pictures."""
_T = TypeVar("_T")


class Link:
    """A connection pool to one endpoint; threads may share it.

    Its `names` are the models that were listed, its `model` the one in use: both are for hints. It is `stale`
    where another server may have come in place of the one before: a connection failed, or the server
    calls itself otherwise; `reconnected` where a connection is new, as it then is too.

    Args:
        endpoint: address up to and with /v1.
        api_key: sent as the bearer token; None sends none, nor one from the environment.
        timeout: seconds after which one answer is given up: tries, pauses and all that trickles in together.
        max_retries: further tries after a refused connection, a time-out, 408, 409, 429 or 5xx, by the
            client's own back-off (0.5 s doubled each time, or what Retry-After asks for if that is in time).

    Raises:
        ConfigError: the address or the key cannot be used.
    """

    def __init__(self, endpoint: str, api_key: str | None, timeout: float, max_retries: int) -> None:
        import openai

        self.endpoint = _address(endpoint)
        key = (api_key or "").strip()
        if not re.fullmatch(r"[!-~]*", key):
            raise ConfigError("the API key holds characters that no key has", "set VIRC_API_KEY again, one line")
        self.timeout = timeout
        self.names: tuple[str, ...] = ()
        self.model: str | None = None
        self.stale = self.reconnected = False
        self._ports: set[int] = set()
        self._pauses = tuple(0.5 * 2**number for number in range(max_retries))
        self._server: str | None = None
        self._key = key
        self._thread = threading.local()
        self._http = openai.DefaultHttpxClient(
            # Pictures go to the endpoint that was named and to no other.
            follow_redirects=False,
            # To read the trusted certificates takes longer than a short answer; without TLS none are needed.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.endpoint.startswith("http:") else True,
            event_hooks={"request": [self._before], "response": [self._after]},
        )
        self._client = openai.OpenAI(
            base_url=endpoint.strip(),
            api_key=self._key or "none",
            timeout=openai.Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout)),
            max_retries=max_retries,
            # A compressed body would be bounded only after it was unpacked.
            default_headers={"Accept-Encoding": "identity"},
            http_client=self._http,
        )

    def answers(self) -> bool:
        """Whether it answers now: /v1/models answers within seconds, if only with a refusal."""
        try:
            self._listed(self._client.with_options(max_retries=0), _LOOK_SECONDS)
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
        client = self._client if seconds is None else self._client.with_options(max_retries=0)
        listed = self._listed(client, seconds)
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
        create: Any = self._client.chat.completions.with_streaming_response.create
        # The client goes through messages part by part, which takes longer than to send it.
        send = partial(
            create, model=request["model"], messages=(), stream=request.get("stream", False), extra_body=request
        )

        def read(kind: str, pieces: Iterator[bytes], say: Callable[[str], None]) -> Reply:
            most = max_tokens * _CHARACTERS_PER_TOKEN
            return ollama.read(pieces, most, say) if address else read_reply(pieces, "json" not in kind, most, say)

        sent = partial(self._sent, address, request) if address else send
        return self._answer(sent, read, max_tokens * _BYTES_PER_TOKEN + 2**20, on_text, seconds)

    def json_object(self, address: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object from another address of the same server, one try, within seconds; `body` None is a GET.

        Raises:
            ConfigError, NetworkError: it could not be had.
        """

        def read(kind: str, pieces: Iterator[bytes], _: Callable[[str], None]) -> dict[str, Any]:
            return decoded(b"".join(pieces), dict[str, Any])

        stale = self.stale
        try:
            return self._answer(partial(self._sent, address, body), read, _MOST_LISTING, seconds=_LOOK_SECONDS)
        finally:
            self.stale = stale  # a server without that address is no other server

    @contextmanager
    def _sent(self, address: str, body: Mapping[str, Any] | None) -> Iterator[Any]:
        """The response of an address that the client has no function for."""
        import openai

        headers = {"Accept-Encoding": "identity"}
        request = self._http.build_request(
            "GET" if body is None else "POST", address, json=body, headers=headers, timeout=self._client.timeout
        )
        for pause in (*self._pauses, None):
            try:
                response = self._http.send(request, stream=True)
            except openai.OpenAIError:
                raise
            except Exception as error:  # its class depends on the HTTP library under the client
                late = "timeout" in type(error).__name__.lower()
                kind = openai.APITimeoutError if late else openai.APIConnectionError
                raise kind(request=request) from error
            if pause is None or body is None or response.status_code not in _GATEWAY | _BUSY:
                break
            response.close()
            time.sleep(min(pause, max(0, self._thread.until - time.monotonic())))
        with closing(response):
            if response.status_code >= 300:
                raise openai.APIStatusError("", response=response, body=_parsed(response.read()))
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _listed(self, client: "openai.OpenAI", seconds: float | None = None) -> list[Served]:
        send = client.models.with_streaming_response.list
        return self._answer(send, lambda _, pieces, __: read_models(pieces), _MOST_LISTING, seconds=seconds)

    def _answer(
        self,
        send: Callable[[], AbstractContextManager[Any]],
        read: Callable[[str, Iterator[bytes], Callable[[str], None]], _T],
        most: int,
        on_text: Callable[[str], None] | None = None,
        seconds: float | None = None,
    ) -> _T:
        """What `read` makes of the response's type, its body of up to `most` bytes, and `on_text`."""
        import openai

        seconds = self.timeout if seconds is None else min(seconds, self.timeout)
        until = time.monotonic() + seconds
        afterwards = ExitStack()

        def work(say: Callable[[str], None]) -> _T:
            self._thread.until, self._thread.sent, self._thread.status = until, False, None
            response = afterwards.enter_context(send())
            pieces = bounded(response.iter_bytes(), most, until)
            answer = read(response.headers.get("content-type", ""), pieces, say)
            # A connection serves the next request only if nothing of this answer is left on it.
            afterwards.callback(deque, pieces, 0)
            return answer

        try:
            return within(until, work, on_text or (lambda _: None), afterwards.close)
        # `from None`: these errors quote the server, which may quote the key.
        except LateError:
            raise self._silent(seconds) from None
        except openai.APIStatusError as error:
            refusal = self._refusal(error)
            refusal.everywhere = error.status_code in _OF_ALL or error.status_code >= 500
            raise refusal from None
        except openai.OpenAIError as error:
            raise self._unreached(error, seconds) from None
        except WireError as error:
            quoted = self.quoted(error.quoted)
            failed = NetworkError(f"{self.endpoint} {error}{quoted and ': ' + quoted}", self._address_hint())
            failed.broken = error.broken
            self.stale |= error.broken
            raise failed from None

    def _before(self, request: Any) -> None:
        """Keep the client from another try when the time is over, and from sending more than is meant."""
        import openai

        if time.monotonic() > self._thread.until:
            raise openai.APITimeoutError(request=request)
        # Tried again for no connection, or by a gateway without its server: who answers now may be another.
        if self._thread.sent and (self._thread.status is None or self._thread.status in _GATEWAY):
            self.stale = True
        self._thread.sent, self._thread.status = True, None
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        if self._key:
            request.headers["authorization"] = f"Bearer {self._key}"

    def _after(self, response: Any) -> None:
        """Bound what the client itself reads of a response: an error's body, and how long to wait."""
        headers = response.headers
        headers.pop("content-encoding", None)
        self._thread.status = response.status_code
        self._note_server(response)
        if response.status_code < 300:
            return
        until = self._thread.until
        headers["content-type"] = "application/json"
        start = _start(response.stream, until)
        response.stream = type(response)(200, content=start).stream
        if _SEES_NOTHING.search(start):  # llama.cpp says so by 500, which would be tried again
            headers["x-should-retry"] = "false"
        headers.pop("retry-after-ms", None)
        wait = headers.get("retry-after")
        if wait is not None and _seconds(wait) > until - time.monotonic():
            headers["x-should-retry"] = "false"

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

    def _unreached(self, error: "openai.OpenAIError", seconds: float) -> NetworkError:
        import openai

        # Version 2 of the client wraps the error that `_before` raises; version 3 passes it on.
        if openai.APITimeoutError in {type(error), type(error.__cause__)}:
            return self._silent(seconds)
        cause = re.sub(r"^\[Errno -?\d+\] ", "", str(error.__cause__ or error))
        hint = f"is it running? curl {self.endpoint}/models"
        unreached = NetworkError(f"{self.endpoint} cannot be reached: {self.quoted(cause)}", hint)
        unreached.everywhere = unreached.broken = self.stale = True
        return unreached

    def _refusal(self, error: "openai.APIStatusError") -> VircError:
        """The sentence for an HTTP error (D29)."""
        code = error.status_code
        answer = self.quoted(error_text(error.body))
        tail = f" ({code}): {answer}" if answer else f" ({code})"
        if (code in _BUSY or code >= 500) and not _SEES_NOTHING.search(answer.encode()):
            wait = error.response.headers.get("retry-after")
            hint = next((hint for pattern, hint in _HINTS if re.search(pattern, answer.lower())), None)
            if wait and _seconds(wait) < math.inf:
                hint = f"it asks to be left alone for {wait} s"
            return NetworkError(f"{self.endpoint} {'is too busy' if code in _BUSY else 'fails'}{tail}", hint)
        if code < 400:
            target = self.quoted(error.response.headers.get("location", "nowhere"))
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


def _address(endpoint: str) -> str:
    """The endpoint as it may be printed: without query."""
    hint = "like --endpoint http://localhost:8000/v1"
    try:
        parts = urlsplit(endpoint.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if names_user(endpoint):
        raise ConfigError("the endpoint's address must hold no user and password", "export VIRC_API_KEY=...")
    if not host or parts.scheme not in {"http", "https"} or not re.fullmatch(r"[!-~]+", endpoint.strip()):
        raise ConfigError(f"{plain(endpoint, 100)!r} is no address of an endpoint", hint)
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _parsed(data: bytes) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(data)
    return data.decode(errors="replace")


def _start(stream: Any, until: float) -> bytes:
    """The first bytes of an error's body; the rest is not read."""
    data = b""
    for piece in stream:
        data += piece
        if len(data) > _MOST_ERROR or time.monotonic() > until:
            break
    stream.close()
    return data[:_MOST_ERROR]


def _seconds(retry_after: str) -> float:
    """Seconds that a Retry-After header asks for; infinite where it is a date."""
    return float(retry_after) if re.fullmatch(r"\d{1,9}(\.\d{1,3})?", retry_after) else math.inf
