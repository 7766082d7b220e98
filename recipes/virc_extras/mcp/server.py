"""The MCP server itself, by the official SDK: over stdio for one client, or over HTTP for many."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from virc.core.errors import DataError, NoAnswerError, VircError
from virc.core.limits.bounded import CLIENT
from virc.core.options import in_fields
from virc_extras.mcp import messages
from virc_extras.mcp.result_store import OF_ADDRESS

if TYPE_CHECKING:
    from mcp.server import ServerRequestContext

    from virc_extras.mcp.calls import CallReply, ToolCalls

INSTRUCTIONS = """\
Tools to look at pictures closely. `ask` lets a vision model answer a question about a picture: it crops and zooms by \
itself and is better at details than looking at the whole picture once. `crop`, `scale` and `show` return pixels. A \
picture is named by a path inside one of the readable folders, an image_id of an earlier result, base64, or an https \
URL. Results are kept for this session only."""

SESSION = "mcp-session-id"
_AHEAD = 16  # messages that are read before the SDK wants them


class Served(msgspec.Struct, frozen=True):
    """What is served.

    Args:
        tool_calls: makes what carries out the calls, at the first call: its imports are slow for a waiting client.
        trouble: gets errors behind this server.
        frank: clients get the reason of such an error; only clients on the same machine should.
        structured: results with pictures have `structuredContent` too.
    """

    tool_calls: "Callable[[], ToolCalls]"
    trouble: Callable[[Exception], None]
    frank: bool = True
    structured: bool = True


def made(served: Served) -> "Server[Any]":
    tools = [_tool(name, tool, served.structured or name == "evaluate") for name, tool in messages.TOOLS.items()]

    async def list_tools(_: Any, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(
        context: "ServerRequestContext[Any, Any]", params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        try:
            return _result(await _called(served, context, params), served.structured or params.name == "evaluate")
        except VircError as error:
            return _error(_sentence(error, served, params.name))
        except Exception as error:  # the connection outlives whatever a call meets
            served.trouble(error)
            return _error(f"internal: {type(error).__name__}")

    return Server(
        "virc", version=version("virc"), title="virc", instructions=INSTRUCTIONS, on_list_tools=list_tools,
        on_call_tool=call_tool,
    )  # fmt: skip


async def over_stdio(served: Served) -> None:
    """Serve one client until it closes stdin; whatever else is written to stdout goes to stderr meanwhile."""
    server = made(served)
    lines: Any = _Lines()
    async with stdio_server(lines) as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


class _Lines:
    """The lines of stdin, read in a daemon thread: the SDK's own thread would keep the process alive after a signal.

    Anything else that reads stdin from here on, such as a child process, reads an empty file.
    """

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(_AHEAD)
        self._loop = asyncio.get_running_loop()
        stdin, null = os.dup(0), os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        threading.Thread(target=self._read, args=(stdin,), daemon=True).start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return line

    def _read(self, stdin: int) -> None:
        with suppress(RuntimeError, CancelledError), open(stdin, encoding="utf-8", errors="replace") as file:
            for line in file:
                self._put(line)
            self._put(None)

    def _put(self, line: str | None) -> None:
        """Wait until there is room for it; a RuntimeError if the loop has ended."""
        waiting = self._lines.put(line)
        try:
            asyncio.run_coroutine_threadsafe(waiting, self._loop).result()
        finally:
            waiting.close()


async def _called(
    served: Served, context: "ServerRequestContext[Any, Any]", params: types.CallToolRequestParams
) -> "CallReply":
    steps: asyncio.Queue[str | None] = asyncio.Queue()
    done = 0

    async def report() -> None:
        nonlocal done
        while (line := await steps.get()) is not None:
            if line:
                done += 1
                await context.session.report_progress(done, None, line)

    request = context.request
    CLIENT.set(request.client.host if request and request.client else "")
    tool_calls = served.tool_calls()
    reporting = asyncio.create_task(report())
    try:
        reply = await tool_calls.call(params.name, params.arguments or {}, _session(context), steps.put_nowait)
        steps.put_nowait(None)
        await reporting
        return reply
    finally:
        reporting.cancel()


def _session(context: "ServerRequestContext[Any, Any]") -> str:
    """The session whose results a call may use: that of HTTP, which the transport checks; "" over stdio.

    Requests of the version 2026-07-28 have no session over HTTP, so a header that names one is not believed. Their
    results are kept for their address, and found by names that nobody can guess.
    """
    if context.request is None:
        return ""
    if context.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return OF_ADDRESS + (context.request.client.host if context.request.client else "")
    found: str = context.request.headers.get(SESSION, "")
    return found


def _tool(name: str, tool: messages.Tool, structured: bool) -> types.Tool:
    return types.Tool(
        name=name,
        title=tool.title,
        description=tool.description,
        input_schema=messages.schema(tool.takes),
        output_schema=messages.schema(tool.returns) if structured else None,
        annotations=types.ToolAnnotations(
            read_only_hint=True, destructive_hint=False, open_world_hint=name not in ("evaluate", "trace")
        ),
    )


def _result(reply: "CallReply", structured: bool) -> types.CallToolResult:
    from virc_extras.mcp.calls import in_base64

    content: list[Any] = [
        types.TextContent(type="text", text=part)
        if isinstance(part, str)
        else types.ImageContent(type="image", data=in_base64(part), mime_type=f"image/{part.media}")
        for part in reply.parts
    ]
    fields = msgspec.to_builtins(reply.fields) if structured else None
    return types.CallToolResult(content=content, structured_content=fields)


def _error(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _sentence(error: VircError, served: Served, tool: str) -> str:
    """What a client is told of an error; of one behind this server only if clients may know it."""
    if not isinstance(error, DataError | NoAnswerError):
        served.trouble(error)
        if not served.frank:
            return "the model cannot be asked now"
    arguments = messages.TOOLS[tool].takes.__struct_fields__ if tool in messages.TOOLS else ()
    message, hint = error.spelled_by(in_fields(*arguments))
    return f"{message} ({hint})" if hint else message
