"""Starts the MCP server: over stdio, or over HTTP."""

import asyncio
import errno
import signal
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from virc.core.errors import ConfigError, SetupError, UsageError, errors_as
from virc.core.events import Reporter
from virc.core.extras import install
from virc.core.interpreter import collection_paused

if TYPE_CHECKING:
    from pathlib import Path

    from virc.solving.setup import Setup
    from virc_extras.mcp.calls import ToolCalls
    from virc_extras.mcp.result_store import ResultStore
    from virc_extras.mcp.server import Served

_HINT = "«--http 127.0.0.1:8000»"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class McpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is served.

    Args:
        setup: which model, and how it is asked; made when the first call comes, as its imports take time.
        folders: that clients may name files in.
        offline: fetch nothing for clients.
        http: HOST:PORT; None: stdio.
        api_key: clients over HTTP must send it.
        concurrency: questions at a time; None: as many as suit the model.
        max_result: characters of a result; None: as many as common clients take.
        structured: results with pictures have `structuredContent` too.
    """

    setup: "Callable[[], Setup]"
    folders: Sequence[str] = ()
    offline: bool = False
    http: str | None = None
    api_key: str | None = None
    concurrency: int | None = None
    max_result: int | None = None
    structured: bool = True


def serve(request: McpRequest, report: Reporter, on_url: Callable[[str], None]) -> None:
    folders = _folders(request.folders)
    address = None if request.http is None else host_and_port(request.http)
    is_local = address is None or address[0] in _LOOPBACK
    if address and not is_local and not request.api_key:
        raise UsageError(
            f"whoever reaches {address[0]} could read the folders and ask the model", "«--api-key env:NAME»"
        )
    with collection_paused():
        try:
            from virc_extras.mcp import server
        except ImportError as error:
            raise SetupError(f"virc mcp needs the MCP SDK: {error}", install("mcp")) from None
    from virc_extras.mcp.result_store import ResultStore

    store = ResultStore()
    served = server.Served(_tool_calls(request, folders, store, report), report.failure, is_local, request.structured)
    if address is None:
        _until_a_signal(server.over_stdio(served))
    else:
        _over_http(request, served, store, address, report, on_url)


def _until_a_signal(serving: Coroutine[Any, Any, None]) -> None:
    """Run to the end, or until SIGINT or SIGTERM: what is under way is cancelled before the signal is raised again.

    A handler that raises an error in the midst of a task would have asyncio write a traceback.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    async def main() -> None:
        task = asyncio.current_task()
        assert task

        def leave(number: int) -> None:
            received.append(number)
            task.cancel()

        loop = asyncio.get_running_loop()
        for number in before:
            try:
                loop.add_signal_handler(number, leave, number)
            except NotImplementedError:  # on Windows
                signal.signal(number, lambda number, _frame: loop.call_soon_threadsafe(leave, number))
        await serving

    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])  # for whoever handles it in this process


def check_model(model: str | None, endpoint: str | None, system: str | None) -> None:
    """Refuse what no question could be answered with, at the start: a host shows why a server has ended.

    An endpoint is not asked: it may start later.
    """
    if system is None and (endpoint is not None or model is None):
        return  # the embedded model and an endpoint need no look, and the imports for one take time
    from pathlib import Path

    from virc.models import registry as models
    from virc.systems import registry as systems

    if system is not None and systems.get(system).pipeline:
        fault = f"the system {system} answers by a pipeline, and `ask` runs none"
        raise UsageError(fault, f"virc solve IMAGE 'QUESTION' --system {system}, or leave «--system» out")
    if endpoint is None:
        models.find(model, Path(), system, with_gguf=True)


def host_and_port(text: str) -> tuple[str, int]:
    """The parts of HOST:PORT; `[::1]:8000` for IPv6."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or "/" in bare or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
        raise UsageError(f"«--http {text[:60]}» is not HOST:PORT", _HINT)
    return bare, int(port)


def _folders(names: Sequence[str]) -> "list[Path]":
    from pathlib import Path

    found = []
    for name in names:
        with errors_as(UsageError, f"«--folder {name}»", caught=(OSError, RuntimeError, ValueError)):
            folder = Path(name).expanduser().resolve(strict=True)
        if not folder.is_dir():
            raise UsageError(f"«--folder {name}» is no folder", f"«--folder {Path(name).parent}»")
        found.append(folder)
    return found


def _tool_calls(
    request: McpRequest, folders: "Sequence[Path]", store: "ResultStore", report: Reporter
) -> "Callable[[], ToolCalls]":
    @cache
    def made() -> "ToolCalls":
        from virc_extras.mcp.asking import Model
        from virc_extras.mcp.calls import ToolCalls
        from virc_extras.mcp.messages import RESULT
        from virc_extras.mcp.pictures import Readable

        model, readable = Model(request.setup, report, request.concurrency), Readable(folders, request.offline)
        return ToolCalls(model, readable, store, request.max_result or RESULT)

    return made


def _over_http(
    request: McpRequest,
    served: "Served",
    store: "ResultStore",
    address: tuple[str, int],
    report: Reporter,
    on_url: Callable[[str], None],
) -> None:
    from virc.serving import connections
    from virc.serving.address import bound_socket
    from virc.stages.serve import Config
    from virc_extras.mcp import over_http

    host, port = address
    bare = f"[{host}]" if ":" in host else host
    try:
        bound = bound_socket(Config(host=host, port=port))
    except ConfigError as error:
        in_use = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
        raise ConfigError(error.message, f"«--http {bare}:{port % 65_535 + 1}»" if in_use else _HINT) from error
    with bound as listening:
        app = over_http.app(served, host, request.api_key, store.drop)
        listening.listen(connections.MAX_CONNECTIONS)
        on_url(f"http://{bare}:{port}{over_http.PATH}")
        over_http.run(app, listening, report)
