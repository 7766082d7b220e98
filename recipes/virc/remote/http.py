"""One call over HTTP."""

import importlib
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image

from virc.core.errors import SetupError
from virc.core.fetch import is_loopback
from virc.core.text import clause, plain
from virc.core.timeouts import LateError, within
from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import Result
from virc.reasoning.encoded import as_png
from virc.remote import reply
from virc.remote.described import PLACEHOLDER, SECRET, Described, Http
from virc.remote.reply import RemoteError

if TYPE_CHECKING:
    import httpx2 as httpx

_CONNECT_SECONDS = 5.0
_KEPT_SECONDS = 2.0  # a connection that waits longer may have been closed by the server
_LEFT_OUT = object()


class Server:
    """The server of one tool; threads may share it."""

    def __init__(self, described: Described, http: Http) -> None:
        self.described, self.http = described, http

    @property
    def address(self) -> str:
        """Where it is, as it may be printed."""
        parts = urlsplit(self.http.url)
        return parts._replace(query="", fragment="").geturl()

    def check(self) -> None:
        """Raise SetupError where nothing listens at its address, or a variable of its headers is missing."""
        headers = self._headers()
        with suppress(*self._silent):
            try:
                self._client.head(self.http.url, headers=headers, timeout=_CONNECT_SECONDS).close()
            except self._library.TransportError as error:
                if isinstance(error, self._silent):
                    raise
                hint = "start it first"
                raise SetupError(f"the server {self.address} cannot be reached: {clause(error)}", hint) from None

    def call(self, values: Mapping[str, Any], until: float, afterwards: Callable[[], None]) -> Result:
        """The server's result.

        Args:
            values: arguments and images of the call by the names of their placeholders.
            until: end of its time, as `time.monotonic` counts.
            afterwards: called when the server is no longer asked.

        Raises:
            RemoteError: there is none.
            SetupError: a variable of its headers is missing.
        """
        try:
            request = self._request(values)
        except BaseException:
            afterwards()
            raise

        def work(say: Callable[[None], None]) -> tuple[str, bytes]:
            return self._exchanged(request, until, say)

        try:
            kind, content = within(until, work, afterwards=afterwards)
        except (LateError, self._library.TimeoutException):
            raise RemoteError(f"no reply within {self.described.seconds:g} seconds") from None
        except (self._library.HTTPError, OSError) as error:
            raise RemoteError(f"the connection failed: {self.hidden(clause(error))}") from None
        return self._read(kind, content)

    def hidden(self, text: str) -> str:
        """A text without what the environment filled in."""
        for name in self._secrets():
            if value := os.environ.get(name):
                text = text.replace(value, "***")
        return text

    def _read(self, kind: str, content: bytes) -> Result:
        if kind.startswith("image/"):
            return reply.result("", [content], self.described)
        if kind == "text/plain" and self.http.result.text is None and self.http.result.images is None:
            return reply.result(self.hidden(content.decode(errors="replace")), [], self.described)
        found = reply.of_json(content, self.http.result, self.described)
        return Result(self.hidden(found.text), found.images)

    def _exchanged(self, request: Mapping[str, Any], until: float, say: Callable[[None], None]) -> tuple[str, bytes]:
        """The media type and the bytes of the reply."""
        left = max(until - time.monotonic(), 0.001)
        timeout = self._library.Timeout(left, connect=min(_CONNECT_SECONDS, left))
        with self._client.stream("POST", self.http.url, timeout=timeout, **request) as response:
            if response.headers.get("content-encoding", "identity") != "identity":  # what it unpacks to has no bound
                raise RemoteError("its reply is compressed")
            content = bytearray()
            for piece in response.iter_raw():
                say(None)
                content += piece
                if len(content) > reply.MOST_BYTES:
                    raise RemoteError(f"its reply is over {reply.MOST_BYTES >> 20} MiB")
            if not response.is_success:
                said = self.hidden(plain(content[:2000].decode(errors="replace"), 200))
                raise RemoteError(f"it answers {response.status_code}: {said}" if said else f"{response.status_code}")
            return response.headers.get("content-type", "").partition(";")[0].strip().lower(), bytes(content)

    def _request(self, values: Mapping[str, Any]) -> dict[str, Any]:
        headers = self._headers()
        body = self.http.body
        if body is None:
            known = (self.described.parameters.get("properties", {}).keys() - {INDEX}) | {"image"}
            body = {name: f"{{{name}}}" for name in values if name in known}
        if self.http.send == "multipart":
            return {"headers": headers, "files": self._form(body, values)}
        filled = _filled(body, {name: self._in_json(value) for name, value in values.items()})
        return {"headers": headers, "json": filled}

    def _form(self, body: Mapping[str, Any], values: Mapping[str, Any]) -> list[tuple[str, Any]]:
        form: list[tuple[str, Any]] = []
        for key, written in body.items():
            value = _filled(written, values)
            if isinstance(value, Image.Image):
                form.append((key, (f"{key}.png", as_png(value).data, "image/png")))
            elif value is not _LEFT_OUT:
                text = value if isinstance(value, str) else json.dumps(value)
                form.append((key, (None, text.encode())))
        return form

    def _in_json(self, value: object) -> object:
        if not isinstance(value, Image.Image):
            return value
        import base64

        text = base64.b64encode(as_png(value).data).decode()
        return f"data:image/png;base64,{text}" if self.http.images == "data_url" else text

    def _headers(self) -> dict[str, str]:
        def value(name: str) -> str:
            if name not in os.environ:
                raise SetupError(f"a tool's server needs the environment variable {name}", f"export {name}=...")
            return os.environ[name].strip()

        filled = {key: SECRET.sub(lambda found: value(found[1]), text) for key, text in self.http.headers.items()}
        for key, text in filled.items():
            if not text.isascii() or not text.isprintable():
                raise SetupError(f"the header {key} holds characters that no header has", "set its variable again")
        return filled

    def _secrets(self) -> list[str]:
        return [name for text in self.http.headers.values() for name in SECRET.findall(text)]

    @property
    def _silent(self) -> tuple[type[Exception], ...]:
        """What is raised where a server is there and does not say what it should."""
        return (self._library.ReadTimeout, self._library.RemoteProtocolError, self._library.ReadError)

    @cached_property
    def _library(self) -> Any:
        try:
            return importlib.import_module("httpx2")
        except ModuleNotFoundError:  # before version 2 of huggingface-hub, which brings it
            return importlib.import_module("httpx")

    @cached_property
    def _client(self) -> "httpx.Client":
        secure = self.http.url.startswith("https:")
        try:
            made: httpx.Client = self._library.Client(
                headers={"User-Agent": "virc", "Accept-Encoding": "identity"},
                limits=self._library.Limits(max_connections=None, keepalive_expiry=_KEPT_SECONDS),
                follow_redirects=False,
                verify=self._library.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                trust_env=not is_loopback(urlsplit(self.http.url).hostname or ""),
            )
        except (OSError, ImportError, ValueError, self._library.InvalidURL) as error:  # of certificates and proxies
            raise SetupError(f"the server {self.address} cannot be asked: {clause(error)}") from None
        return made


def _filled(written: Any, values: Mapping[str, Any]) -> Any:
    """A body with its placeholders replaced; what a call does not have is left out."""
    if isinstance(written, dict):
        inner = {key: _filled(each, values) for key, each in written.items()}
        return {key: each for key, each in inner.items() if each is not _LEFT_OUT}
    if isinstance(written, list):
        return [each for each in (_filled(each, values) for each in written) if each is not _LEFT_OUT]
    if not isinstance(written, str):
        return written
    whole = PLACEHOLDER.fullmatch(written)
    if whole:
        return values.get(whole[1], _LEFT_OUT)
    return PLACEHOLDER.sub(lambda found: _text(values.get(found[1], "")), written)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
