"""One call over MCP, by the official SDK: a background thread keeps a session open, and opens another if it ends."""

import asyncio
import logging
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from virc.core import extras
from virc.core.errors import SetupError
from virc.core.text import clause, plain
from virc.core.work.threads import scheduled
from virc.reasoning.calls import Result
from virc.remote import filling, relay, reply
from virc.remote.described import Described, Mcp
from virc.remote.reply import RemoteError

_CONNECT_SECONDS = 5.0
_SPARE_SECONDS = 2.0  # to give up a call after its time
_PAGES = 20  # of a list of tools
_Result = TypeVar("_Result")


class Server:
    def __init__(self, described: Described, mcp: Mcp, folder: Path) -> None:
        self.described, self.mcp, self.folder = described, mcp, folder
        self._session: _Session | None = None

    @property
    def address(self) -> str:
        """Its address, or its command, as it may be printed."""
        if self.mcp.url is None:
            return shlex.join(self.mcp.command)
        return urlsplit(self.mcp.url)._replace(query="", fragment="").geturl()

    def check(self) -> None:
        """Raise SetupError where the server does not start, or has no such tool."""
        extras.require("mcp", "a tool behind MCP", "mcp")
        until = time.monotonic() + self.described.seconds
        try:
            _waited(self._opened(), until, lambda: None)
        except futures.TimeoutError:
            late = f"the MCP server {self.address} did not start within {self.described.seconds:g} seconds"
            raise SetupError(late, "see `seconds` of the tool's file") from None
        except RemoteError as error:
            raise SetupError(f"the MCP server {self.address} cannot be used: {error}") from None

    def call(self, values: Mapping[str, Any], until: float, afterwards: Callable[[], None]) -> Result:
        try:
            arguments = filling.body(self.mcp.arguments, filling.in_json(values, self.mcp.images), self.described)
            work = self._called(arguments, until)
        except BaseException:
            afterwards()
            raise
        try:
            return _waited(work, until + _SPARE_SECONDS, afterwards)
        except futures.TimeoutError:
            raise RemoteError(f"no reply within {self.described.seconds:g} seconds") from None

    def hidden(self, text: str) -> str:
        return filling.hidden(text, [*self.mcp.env.values(), *self.mcp.headers.values()])

    async def _called(self, arguments: dict[str, Any], until: float) -> Result:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                session = await self._opened()
                with self._in_use(session):
                    return self._read(await session.client.call_tool(self.mcp.tool, arguments))
        except TimeoutError:
            raise RemoteError(f"no reply within {self.described.seconds:g} seconds") from None

    @contextmanager
    def _in_use(self, session: "_Session") -> Iterator[None]:
        """Count a call of a session, and drop the session if the call shows that it has ended."""
        session.calls += 1
        try:
            yield
        except RemoteError:
            raise
        except asyncio.CancelledError:
            self._drop(session)
            raise
        except Exception as error:
            if _is_end(error):
                self._drop(session)
            raise RemoteError(self.hidden(plain(clause(_cause(error)), 300))) from None
        finally:
            session.calls -= 1
            session.end_if_unused()

    def _read(self, found: Any) -> Result:
        texts, images, others = _sorted(found.content)
        text = self.hidden("\n".join(texts))
        if found.is_error:
            raise RemoteError(plain(text, 300) or "it says no more")
        if not text and found.structured_content is not None:
            structured = filling.as_text(found.structured_content)
            if not any(image in structured for image in images):  # the SDK writes a tool's whole result there
                text = self.hidden(structured)
        if others and not text and not images:
            raise RemoteError(f"its result is {plain(', '.join(others), 100)}, which cannot be shown to a model")
        notes = [f"[a part of type {plain(other, 40)} is left out]" for other in others]
        return reply.result("\n".join(filter(None, [text, *notes])), images, self.described)

    async def _opened(self) -> "_Session":
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.loop is not loop or self._session.task.done():
            self._session = _Session(self._connected, loop)
        session = self._session
        try:
            await asyncio.shield(session.ready)
        except asyncio.CancelledError:
            self._drop(session)
            raise
        except RemoteError:
            self._drop(session)
            raise
        return session

    def _drop(self, session: "_Session") -> None:
        session.is_dropped = True
        session.end_if_unused()
        if self._session is session:
            self._session = None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        from mcp import Client

        logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it logs tracebacks of what servers do wrong
        async with self._transport() as transport, Client(transport) as client:
            await self._check_tool(client)
            yield client

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        if self.mcp.url:
            async with _http_client(filling.with_secrets(self.mcp.headers)) as client:
                from mcp.client.streamable_http import streamable_http_client

                yield streamable_http_client(self.mcp.url, http_client=client, max_sse_event_size=reply.MAX_BYTES)
            return
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        words = ["-I", str(Path(relay.__file__).resolve()), str(reply.MAX_BYTES), *self.mcp.command]
        folder = self.folder / (self.mcp.cwd or ".")
        environment = filling.with_secrets(self.mcp.env)
        started = StdioServerParameters(command=sys.executable, args=words, env=environment, cwd=folder)
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            try:
                yield stdio_client(started, errlog=errors)
            except Exception as error:
                if last := _last_line(errors):
                    raise RemoteError(self.hidden(f"{clause(_cause(error))}; its last line: {last}")) from None
                raise

    async def _check_tool(self, client: Any) -> None:
        names, cursor = [], None
        for _ in range(_PAGES):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                if tool.name == self.mcp.tool:
                    self._check_schema(tool.input_schema)
                    return
                names.append(plain(tool.name, 40))
            if (cursor := page.next_cursor) is None:
                break
        raise RemoteError(f"it has no tool {self.mcp.tool!r}; it has: {', '.join(names[:20]) or 'none'}")

    def _check_schema(self, schema: Mapping[str, Any]) -> None:
        values = dict.fromkeys(self.described.parameters.get("properties", {}), 0)
        sent = filling.body(
            self.mcp.arguments, {**values, "image": 0, "crop": 0, "width": 0, "height": 0}, self.described
        )
        known = schema.get("properties", {})
        lacking = [name for name in schema.get("required", ()) if name not in sent]
        unknown = [name for name in sent if name not in known and schema.get("additionalProperties") is False]
        needs = f"needs {', '.join(lacking)}" if lacking else ""
        takes = f"takes no {', '.join(unknown)}" if unknown else ""
        if needs or takes:
            raise RemoteError(f"its tool {self.mcp.tool} {' and '.join(filter(None, (needs, takes)))}")


def _sorted(content: Sequence[Any]) -> tuple[list[str], list[str], list[str]]:
    """The texts and pictures (base64) of a result, embedded ones too, and the types of what no model is shown."""
    texts, images, others = list[str](), list[str](), list[str]()
    for part in content:
        held = getattr(part, "resource", part)
        kind = str(getattr(held, "mime_type", None) or part.type)
        if isinstance(text := getattr(held, "text", None), str):
            texts.append(text)
        elif part.type == "resource_link":
            texts.append(f"{part.title or part.name}: {part.uri}")
        elif (part.type == "image" or kind.startswith("image/")) and not kind.startswith("image/svg"):
            images.append(getattr(held, "data", None) or held.blob)
        else:
            others.append(kind)
    return texts, images, others


class _Session:
    """A connection to a server, held open by a task of the background thread."""

    def __init__(self, connected: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.ready = loop, loop.create_future()
        self.client: Any = None
        self.calls, self.is_dropped = 0, False
        self._stop = asyncio.Event()
        self.task = loop.create_task(self._hold(connected))

    async def _hold(self, connected: Callable[[], Any]) -> None:
        try:
            async with connected() as self.client:
                self.ready.set_result(None)
                await self._stop.wait()
        except asyncio.CancelledError:
            self._fail(RemoteError("its server was given up"))
            raise
        except BaseException as error:  # the SDK raises groups of errors
            cause = _cause(error)
            self._fail(cause if isinstance(cause, RemoteError | SetupError) else RemoteError(plain(clause(cause), 300)))

    def _fail(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # nobody may wait for it any more

    def end_if_unused(self) -> None:
        """Close a connection that was dropped, and end a server that was started for it, after its last call."""
        if not self.is_dropped or self.calls:
            return
        self._stop.set()
        if not self.ready.done():
            self.task.cancel()


def _waited(work: Coroutine[Any, Any, _Result], until: float, afterwards: Callable[[], None]) -> _Result:
    """The result of a coroutine in the background thread; raises TimeoutError when its time is over."""
    future = scheduled(work)
    future.add_done_callback(lambda _: afterwards())
    try:
        return future.result(max(until - time.monotonic(), 0.001))
    finally:
        future.cancel()


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _is_end(error: Exception) -> bool:
    """Whether a session cannot go on after an error: one that the server answered with leaves it open."""
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

    return not isinstance(error, MCPError) or error.code in {CONNECTION_CLOSED, REQUEST_TIMEOUT}


def _last_line(file: Any) -> str:
    """The last line of stderr, that of the server before what it wrote to stdout."""
    with suppress(OSError, ValueError):
        file.seek(max(file.seek(0, 2) - 2000, 0))
        lines = [line for line in file.read().split("\n") if line.strip()]
        own = [line for line in lines if not line.startswith(relay.NOT_JSON)]
        return plain((own or lines or [""])[-1], 200)
    return ""


def _http_client(headers: Mapping[str, str]) -> Any:
    """A client whose responses are bounded in bytes."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, stream: Any, most: int) -> None:
            self._stream, self._left = stream, most

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in self._stream:
                self._left -= len(piece)
                if self._left < 0:
                    raise httpx2.ReadError(f"its reply is over {reply.MAX_BYTES >> 20} MiB")
                yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: Any) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("its reply is compressed")
        if not response.headers.get("content-type", "").startswith("text/event-stream"):  # each event is bounded
            response.stream = Bounded(response.stream, reply.MAX_BYTES)

    timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
    return httpx2.AsyncClient(
        headers={**headers, "Accept-Encoding": "identity"}, timeout=timeout, event_hooks={"response": [bound]}
    )
