"""One call over HTTP."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image

from virc.core.errors import SetupError
from virc.core.http.body import TooLargeError, within_bytes
from virc.core.http.client import IDENTITY, OwnClient, open_client
from virc.core.http.library import http_library
from virc.core.text import clause, plain
from virc.core.timeouts import LateError, within
from virc.reasoning.calls import Result
from virc.reasoning.encoded import as_png
from virc.remote import filling, reply
from virc.remote.described import Described, Http
from virc.remote.reply import RemoteError

if TYPE_CHECKING:
    pass

_CONNECT_SECONDS = 5.0
_KEPT_SECONDS = 2.0  # a connection that waits longer may have been closed by the server


class Server:
    def __init__(self, described: Described, http: Http) -> None:
        self.described, self.http = described, http
        self._client = OwnClient(lambda: open_client(http.url, IDENTITY, idle=_KEPT_SECONDS))

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
                self._client().head(self.http.url, headers=headers, timeout=_CONNECT_SECONDS).close()
            except http_library().TransportError as error:
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
            RemoteError, SetupError: there is none; a variable of its headers is missing.
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
        except (LateError, http_library().TimeoutException):
            raise RemoteError(f"no reply within {self.described.seconds:g} seconds") from None
        except (http_library().HTTPError, OSError) as error:
            raise RemoteError(f"the connection failed: {self.hidden(clause(error))}") from None
        return self._read(kind, content)

    def hidden(self, text: str) -> str:
        return filling.hidden(text, self.http.headers.values())

    def _read(self, kind: str, content: bytes) -> Result:
        if kind.startswith("image/"):
            return reply.result("", [content], self.described)
        if kind == "text/plain" and self.http.result.text is None and self.http.result.images is None:
            return reply.result(self.hidden(content.decode(errors="replace")), [], self.described)
        found = reply.of_json(content, self.http.result, self.described)
        return Result(self.hidden(found.text), found.images)

    def _exchanged(self, request: Mapping[str, Any], until: float, say: Callable[[None], None]) -> tuple[str, bytes]:
        left = max(until - time.monotonic(), 0.001)
        timeout = http_library().Timeout(left, connect=min(_CONNECT_SECONDS, left))
        with self._client().stream("POST", self.http.url, timeout=timeout, **request) as response:
            if response.headers.get("content-encoding", "identity") != "identity":  # what it unpacks to has no bound
                raise RemoteError("its reply is compressed")
            try:
                content = within_bytes(response.iter_raw(), reply.MAX_BYTES, lambda _: say(None))
            except TooLargeError:
                raise RemoteError(f"its reply is over {reply.MAX_BYTES >> 20} MiB") from None
            if not response.is_success:
                said = self.hidden(plain(content[:2000].decode(errors="replace"), 200))
                raise RemoteError(
                    f"it answers {response.status_code}: {said}" if said else f"it answers {response.status_code}"
                )
            return response.headers.get("content-type", "").partition(";")[0].strip().lower(), content

    def _request(self, values: Mapping[str, Any]) -> dict[str, Any]:
        headers = self._headers()
        if self.http.send == "multipart":
            return {"headers": headers, "files": self._form(values)}
        written = filling.in_json(values, self.http.images)
        return {"headers": headers, "json": filling.body(self.http.body, written, self.described)}

    def _form(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: (f"{key}.png", as_png(value).data, "image/png")
            if isinstance(value, Image.Image)
            else (None, filling.as_text(value).encode())
            for key, value in filling.body(self.http.body, values, self.described).items()
        }

    def _headers(self) -> dict[str, str]:
        filled = filling.with_secrets(self.http.headers)
        for key, text in filled.items():
            if not text.isascii() or not text.isprintable():
                raise SetupError(f"the header {key} holds characters that no header has", "set its variable again")
        return filled

    @property
    def _silent(self) -> tuple[type[Exception], ...]:
        """What is raised where a server is there and does not say what it should."""
        return (http_library().ReadTimeout, http_library().RemoteProtocolError, http_library().ReadError)
