"""An OpenAI-compatible server for a model in this process; what it cannot draw at once waits in order.

Served are /health, /v1/models and /v1/chat/completions (OpenAI API reference), streamed as server-sent events or whole.
Requests are hostile: all of one is bounded, its pictures travel inside it, and nothing is fetched for it.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from PIL import Image
from starlette.requests import ClientDisconnect

from virc.backends.interface import CHARACTERS_PER_TOKEN, TooLongError
from virc.backends.llamacpp import LlamaCppBackend
from virc.backends.local import LocalBackend
from virc.core.errors import DataError, VircError
from virc.reasoning.images import Shown, open_image
from virc.reasoning.resize import Grid, smart_resize
from virc.reasoning.session import Ask, Reply
from virc.serving import chat_http
from virc.serving.chat_request import ChatRequest, RefusedError, read
from virc.solving.image_source import data_url_bytes


class Served(msgspec.Struct, frozen=True):
    """What is served.

    Args:
        backend: the model.
        name: what clients call it.
        published: further fields of /v1/models.
        images: most images of one conversation.
        api_key: clients must send it, or one of them; None: no key is needed.
    """

    backend: LocalBackend | LlamaCppBackend
    name: str
    published: dict[str, Any]
    images: int
    api_key: str | tuple[str, ...] | None = None


class _LeftError(Exception):
    """The client hung up."""


_Report = str | Reply | Exception


def app(served: Served) -> FastAPI:
    """The ASGI app, with threads that draw replies in the order of the requests."""
    made = chat_http.new_app(_health, _models, _chat, _failure, chat_http.check_key)
    made.state.served, made.state.work = served, ThreadPoolExecutor(served.backend.at_once)
    return made


async def _health() -> Response:
    return Response()


async def _models(request: Request) -> dict[str, Any]:
    served: Served = request.app.state.served
    return chat_http.model_list(served.name, served.backend.context, **served.published)


async def _chat(request: Request) -> Response:
    """Answer a chat completion request; errors of the request come before an answer begins."""
    served: Served = request.app.state.served
    try:
        chat = read(await chat_http.body_of(request), served.images, served.backend.context * CHARACTERS_PER_TOKEN)
        chat_http.check_model(chat.model, served.name)
        drawn = _drawn(request, chat)
        first = await anext(drawn)
        framed = chat_http.frame(served.name)
        if chat.streamed:
            return StreamingResponse(_events(framed, chat, first, drawn), media_type="text/event-stream")
        async with aclosing(drawn):
            while not isinstance(first, Reply):
                first = await anext(drawn)
        message = {"role": "assistant", "content": first.text}
        choice = {"index": 0, "message": message, "finish_reason": first.finish}
        return JSONResponse({**framed, "object": "chat.completion", "choices": [choice], "usage": _usage(first)})
    except (ClientDisconnect, _LeftError):
        return chat_http.NOBODY


def _failure(error: Exception) -> RefusedError:
    """The error that a client gets for a reply that could not be drawn."""
    match error:
        case RefusedError():
            return error
        case DataError():
            return RefusedError(error.message, "messages")
        case TooLongError():
            return RefusedError(f"{error.message}: its context length", "messages", "context_length_exceeded")
        case VircError():
            return RefusedError(error.message, status=500)
    return RefusedError(f"internal: {type(error).__name__}", status=500)


async def _drawn(request: Request, chat: ChatRequest) -> AsyncGenerator[str | Reply, None]:
    """The reply piece by piece, and last as a whole; the model stops when the client hangs up."""
    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[_Report] = asyncio.Queue()
    left = threading.Event()

    def send(thing: _Report) -> None:
        with suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(reports.put_nowait, thing)

    def on_text(text: str) -> None:
        if left.is_set():
            raise _LeftError
        send(text)

    def draw() -> None:
        try:
            if not left.is_set():
                send(_reply(request.app.state.served.backend, chat, on_text))
        except Exception as error:
            send(error)

    async def watch() -> None:
        await chat_http.disconnected(request)
        left.set()
        send(_LeftError())

    watching = asyncio.create_task(watch())
    request.app.state.work.submit(draw)
    try:
        while not isinstance(thing := await reports.get(), Reply):
            if isinstance(thing, _LeftError):
                raise thing
            if isinstance(thing, Exception):
                raise _failure(thing) from None
            yield thing
        yield thing
    finally:
        left.set()
        watching.cancel()


def _reply(backend: LocalBackend | LlamaCppBackend, chat: ChatRequest, on_text: Callable[[str], None]) -> Reply:
    shown = []
    for number, url in enumerate(chat.pictures):
        try:
            content = data_url_bytes(url)
        except DataError as error:
            raise DataError(f"image {number}: {error.message}") from None
        picture = open_image(content, f"image {number}")
        shown.append(Shown(_fitted(picture, backend.grid, backend.resample)))
    return backend.reply(Ask(chat.messages, shown), chat.sampling, on_text)


def _fitted(picture: Image.Image, grid: Grid, resample: Image.Resampling) -> Image.Image:
    """A picture as the model sees it: unchanged where it is on the grid, else resized by the model's own processor.

    What `show` made is on the grid: a client that shows images itself gets what this process would.
    """
    width, height = picture.size
    on_grid = width % grid.factor == 0 and height % grid.factor == 0
    # an image one factor high may be over the largest area, as `smart_resize` makes it
    small = width * height <= grid.max_pixels or min(width, height) == grid.factor
    if on_grid and small and width * height >= grid.min_pixels:
        return picture
    return picture.resize(smart_resize(width, height, grid), resample)


def _usage(reply: Reply) -> dict[str, int]:
    return chat_http.usage(reply.prompt_tokens or 0, reply.completion_tokens or 0)


async def _events(
    framed: dict[str, Any], chat: ChatRequest, first: str | Reply, drawn: AsyncGenerator[str | Reply, None]
) -> AsyncIterator[str]:
    """A reply as server-sent events; a failure on the way is the last of them, without `[DONE]`."""
    framed = {**framed, "object": "chat.completion.chunk"}
    try:
        yield chat_http.chunk(framed, 0, {"role": "assistant", "content": ""})
        while not isinstance(first, Reply):
            yield chat_http.chunk(framed, 0, {"content": first})
            first = await anext(drawn)
        yield chat_http.chunk(framed, 0, {}, first.finish)
        if chat.counted:
            yield chat_http.event({**framed, "choices": [], "usage": _usage(first)})
        yield "data: [DONE]\n\n"
    except RefusedError as refused:
        yield chat_http.event({"error": chat_http.error_fields(refused)})
    except _LeftError:
        return
    finally:
        await drawn.aclose()
