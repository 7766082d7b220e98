"""An OpenAI-compatible server for a model in this process; clients take turns for what it cannot draw at once.

Served are /health, /v1/models and /v1/chat/completions (OpenAI API reference), streamed as server-sent events or whole.
Requests are hostile: all of one is bounded, its pictures travel inside it, and nothing is fetched for it.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from PIL import Image

from virc.backends import llamacpp, local
from virc.backends.interface import CHARACTERS_PER_TOKEN, TooLongError
from virc.backends.llamacpp import LlamaCppBackend
from virc.backends.local import LocalBackend
from virc.core.errors import DataError, VircError, at_place
from virc.core.events import Reporter
from virc.core.limits.image_memory import BusyError, of_client
from virc.core.timeouts import Deadline
from virc.models import load as opened
from virc.reasoning.images import Shown
from virc.reasoning.opening.pictures import opened_all
from virc.reasoning.resize import Grid, smart_resize
from virc.reasoning.session import Ask, Reply
from virc.serving import chat_http, vllm_process
from virc.serving.agent import delivery
from virc.serving.agent.request_queue import Job, LeftError, Ping, RequestQueue, Reservation
from virc.serving.agent.wire import PING
from virc.serving.chat_request import ChatRequest, RefusedError, read_chat_request
from virc.serving.plan import ServePlan
from virc.solving.image_source import data_url_bytes

_Report = str | Reply | Ping
"""What happens on the way to a reply: its next piece; the whole reply; nothing for a while."""


class Served(msgspec.Struct, frozen=True):
    backend: LocalBackend | LlamaCppBackend
    name: str
    published: dict[str, Any]
    images: int
    api_key: str | tuple[str, ...] | None = None


def app(served: Served) -> FastAPI:
    """Return the ASGI app; its `state.queue` is where requests are taken in."""
    guards = (chat_http.check_site, chat_http.check_key)
    chat = partial(delivery.placed, answered=_answered, failure=_failure)
    made = chat_http.new_app(_health, _models, chat, _failure, *guards)
    made.state.served, made.state.queue = served, RequestQueue(served.backend.at_once)
    return made


async def _health(request: Request) -> Response:
    request.app.state.queue.check()
    return Response()


async def _models(request: Request) -> dict[str, Any]:
    served: Served = request.app.state.served
    return chat_http.model_list(served.name, served.backend.context, **served.published)


async def _answered(request: Request, hold: Reservation) -> Response:
    served: Served = request.app.state.served
    body = await chat_http.body_of(request, hold.add)
    chat = read_chat_request(body, served.images, served.backend.context * CHARACTERS_PER_TOKEN)
    chat_http.check_model(chat.model, served.name)
    drawn = request.app.state.queue.solve(_Drawing(served, chat), hold, partial(chat_http.disconnected, request))
    while isinstance(first := await anext(drawn), Ping):
        pass
    framed = chat_http.frame(served.name)
    ignored = chat_http.ignored_header(chat.ignored)
    if chat.streamed:
        events = _events(framed, chat.counted, first, drawn)
        return delivery.Delivery(events, hold, headers=ignored, media_type="text/event-stream")
    async with aclosing(drawn):
        while not isinstance(first, Reply):
            first = await anext(drawn)
    message = {"role": "assistant", "content": first.text}
    choice = {"index": 0, "message": message, "finish_reason": first.finish}
    completion = {**framed, "object": "chat.completion", "choices": [choice], "usage": _usage(first)}
    return delivery.whole(msgspec.json.encode(completion), hold, ignored)


def _failure(error: Exception) -> RefusedError:
    match error:
        case RefusedError():
            return error
        case DataError() | BusyError():
            return chat_http.of_pictures(error)
        case TooLongError():
            return RefusedError(f"{error.message}: its context length", "messages", "context_length_exceeded")
        case VircError():
            return RefusedError(error.message, status=500)
    return RefusedError(f"internal: {type(error).__name__}", status=500)


class _Drawing(Job[str | Reply]):
    def __init__(self, served: Served, chat: ChatRequest) -> None:
        super().__init__(Deadline(None))
        self._backend, self._chat = served.backend, chat

    def run(self, send: Callable[[str | Reply], None], release: Callable[[], None]) -> None:
        self.check()

        def on_text(text: str) -> None:
            self.check()
            send(text)

        shown = []
        for number, url in enumerate(self._chat.pictures):
            name = f"image {number}"
            with at_place(name):
                content = data_url_bytes(url)
            with opened_all([(content, name)], of_client(self.check)) as pictures:
                shown.append(Shown(_fitted(pictures[0].pixels, self._backend.grid, self._backend.resample)))
        send(self._backend.reply(Ask(self._chat.messages, shown), self._chat.sampling, on_text))


def loaded(plan: ServePlan, report: Reporter) -> LocalBackend | LlamaCppBackend:
    config, weights, facts = plan.config, plan.weights, msgspec.json.decode(plan.published)
    assert weights
    report.start(f"loading the model {plan.name}")
    backend: LocalBackend | LlamaCppBackend
    if plan.source == "llamacpp":
        grid = msgspec.convert(facts["virc_grid"], Grid)
        backend = llamacpp.load(opened.gguf_of(weights), config.device, grid, context=config.max_model_len)
    else:
        dtype = None if config.dtype == "auto" else config.dtype
        stock = facts.get("virc_protocol", {}).get("reading", "lenient") == "lenient"
        limits = {"context": config.max_model_len, "stock": stock}
        backend = local.load(weights.folder, config.device, dtype, adapter=weights.adapter, **limits)
    for warning in backend.warnings:
        report.warn(warning)
    for sentence in backend.left.sentences():
        report.note(sentence)
    vllm_process.ask_first(backend)
    return backend


def _fitted(picture: Image.Image, grid: Grid, resample: Image.Resampling) -> Image.Image:
    """A picture as the model sees it: unchanged if it is on the grid, else resized by the model's own processor.

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
    framed: dict[str, Any], is_counted: bool, thing: _Report, drawn: AsyncGenerator[_Report, None]
) -> AsyncGenerator[bytes, None]:
    framed = {**framed, "object": "chat.completion.chunk"}
    try:
        async with aclosing(drawn):
            yield chat_http.chunk(framed, 0, {"role": "assistant", "content": ""}).encode()
            while not isinstance(thing, Reply):
                yield (PING if isinstance(thing, Ping) else chat_http.chunk(framed, 0, {"content": thing})).encode()
                thing = await anext(drawn)
        yield chat_http.chunk(framed, 0, {}, thing.finish).encode()
        if is_counted:
            yield chat_http.event({**framed, "choices": [], "usage": _usage(thing)}).encode()
        yield b"data: [DONE]\n\n"
    except LeftError:
        return
    except Exception as error:
        yield chat_http.event({"error": chat_http.error_fields(_failure(error))}).encode()
