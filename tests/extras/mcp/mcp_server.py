"""An MCP server in this process with a scripted model behind it, and what the official client gets from it."""

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.types import CallToolResult
from PIL import Image, ImageChops
from support.servers import MODEL

from virc.core.events import Reporter
from virc.core.http.fetch import Rules
from virc.models.load import Choice
from virc.serving.agent.fetch import RULES
from virc.solving.one import SolveConfig
from virc.solving.setup import Setup
from virc_extras.mcp.asking import Model
from virc_extras.mcp.calls import ToolCalls
from virc_extras.mcp.messages import RESULT
from virc_extras.mcp.pictures import Readable
from virc_extras.mcp.result_store import ResultStore
from virc_extras.mcp.server import Served, made

QUESTION = "What is x?"


class Failures(list[Exception]):
    """Errors behind the server that no client caused."""


def tool_calls(
    folders: Sequence[Path] = (),
    endpoint: str = "http://127.0.0.1:9/v1",
    store: ResultStore | None = None,
    offline: bool = False,
    rules: Rules = RULES,
    most: int = RESULT,
    tools: tuple[str, ...] = (),
) -> ToolCalls:
    setup = Setup(Choice(MODEL, endpoint, tools=tools), SolveConfig(timeout=60))
    readable = Readable([folder.resolve() for folder in folders], offline, rules)
    return ToolCalls(Model(lambda: setup, Reporter()), readable, store or ResultStore(), most)


def talk(
    behind: ToolCalls,
    work: Callable[[Client], Awaitable[Any]],
    trouble: Failures | None = None,
    frank: bool = True,
    structured: bool = True,
) -> Any:
    """What `work` does with a client of a server in this process."""
    served = Served(lambda: behind, (trouble if trouble is not None else Failures()).append, frank, structured)

    async def connected() -> Any:
        async with Client(made(served)) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    finally:
        behind.close()


def called(behind: ToolCalls, tool: str, **arguments: object) -> CallToolResult:
    """The result of one call."""
    result: CallToolResult = talk(behind, lambda client: client.call_tool(tool, arguments))
    return result


def refused(behind: ToolCalls, tool: str, **arguments: object) -> str:
    """The sentence with which a call is refused."""
    result = called(behind, tool, **arguments)
    assert result.is_error, result
    (part,) = result.content
    return str(part.text)


def pixels(part: Any) -> Image.Image:
    """The picture in a part of a result."""
    return Image.open(io.BytesIO(base64.b64decode(part.data))).convert("RGB")


def are_same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


def noise(path: Path, size: tuple[int, int]) -> Image.Image:
    """Write a picture in which no two places look alike, and return it."""
    image = Image.effect_noise(size, 90).convert("RGB")
    image.save(path)
    return image
