"""The ASGI app of an agent endpoint: /v1/chat/completions, /v1/responses, /v1/models, /health, and a page at /.

Requests are hostile: all of one is bounded, and the images it names are fetched from public addresses only.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import aclosing, suppress
from functools import partial
from math import ceil
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from virc.core.errors import DataError, NetworkError, VircError
from virc.core.limits.bounded import CLIENT
from virc.core.limits.image_memory import BusyError
from virc.core.timeouts import Deadline
from virc.core.work.threads import started
from virc.reasoning.session import Unit
from virc.serving import chat_http
from virc.serving.agent import delivery, page, responses, wire
from virc.serving.agent.answer import TOO_LONG, Answer, is_too_long
from virc.serving.agent.problems import Report, Solving, SolvingJob, weight
from virc.serving.agent.request import read_problem
from virc.serving.agent.request_queue import LeftError, Ping, RequestQueue, Reservation
from virc.serving.chat_request import RefusedError

_FRESH = 2.0  # seconds for which an answer of the engine is not asked for again
_PATIENCE = 5.0  # seconds after which an engine counts as silent


class Probe:
    """Asks the engine whether it answers, at most once in `_FRESH` seconds and never twice at a time."""

    def __init__(self, answers: Callable[[], bool]) -> None:
        self._answers = answers
        self._asked: Future[bool] | None = None
        self._since = 0.0

    async def answers(self) -> bool:
        now = time.monotonic()
        if not self._asked or (self._asked.done() and now > self._since + _FRESH):
            self._asked, self._since = started(self._answers), now
        with suppress(Exception):
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._asked)), _PATIENCE)
        return False


_CHARACTERS = 200_000  # of a chat's texts, as many as a reply may have
_UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second is for proxies
_RESPONSES = "/v1/responses"
_WAIT = 10  # seconds after which a client may try again if the model is down


class Served(msgspec.Struct, frozen=True):
    """What is served.

    Args:
        solving: the model, and how problems are solved with it.
        name: what clients call it.
        inputs: most images of a chat.
        context: longest conversation in tokens, if that is known.
        api_key: clients must send it, or each its own of several; None: no key is needed.
        trouble: gets errors behind this server, of which clients learn no more than that there was one.
        answers: asks the engine whether it answers; may take seconds.
    """

    solving: Solving
    name: str
    inputs: int
    context: int | None = None
    api_key: str | tuple[str, ...] | None = None
    trouble: Callable[[Exception], None] = lambda _: None
    answers: Callable[[], bool] = lambda: True


def app(served: Served) -> FastAPI:
    """The ASGI app; its `state.queue` is where problems are taken in."""
    refused = partial(failure, served=served)
    guards = (chat_http.check_site, chat_http.check_key)
    chat = partial(delivery.placed, answered=_answered, failure=refused)
    made = chat_http.new_app(_health, _models, chat, refused, *guards, paths=("/v1/chat/completions", _RESPONSES))
    solving = served.solving
    made.state.served, made.state.probe = served, Probe(served.answers)
    made.state.queue = RequestQueue(solving.at_once, solving.ready)
    for path, (kind, content) in page.files(served.name).items():
        made.add_api_route(path, _file(kind, content), methods=["GET"])
    return made


def _file(kind: str, content: bytes) -> Callable[[], Any]:
    async def get() -> Response:
        return Response(content, headers={**page.HEADERS, "Content-Type": kind})

    return get


async def _health(request: Request) -> Response:
    request.app.state.queue.check()
    if not await request.app.state.probe.answers():
        solver = request.app.state.served.solving.solver
        silent = ", ".join(map(repr, solver.silent())) if solver else ""
        what = f"the model of role {silent} does not answer" if silent else "the model does not answer"
        raise RefusedError(what, status=503, wait=_WAIT)
    return Response()


async def _models(request: Request) -> dict[str, Any]:
    served: Served = request.app.state.served
    return chat_http.model_list(served.name, served.context, virc_agent=True)


async def _answered(request: Request, hold: Reservation) -> Response:
    served: Served = request.app.state.served
    CLIENT.set(chat_http.client_of(request))
    deadline = Deadline(served.solving.config.timeout)
    body = await chat_http.body_of(request, hold.add)
    as_response = request.url.path == _RESPONSES
    problem, pictures = read_problem(responses.as_chat(body) if as_response else body, served.inputs, _CHARACTERS)
    del body  # what was read of it is held instead, and counted once
    chat_http.check_model(problem.model, served.name)
    job = SolvingJob(served.solving, problem, pictures, deadline)
    happening = request.app.state.queue.solve(job, hold, partial(chat_http.disconnected, request))
    del job  # it holds the pictures, which it drops once they are read
    while isinstance(first := await anext(happening), Ping) and not problem.streamed:
        pass  # until the first sample begins; a stream begins at once, so that proxies do not close it
    framed = chat_http.frame(served.name)
    solver = served.solving.solver
    unused = problem.ignored + (solver.without_effect(problem) if solver else ())
    ignored = chat_http.ignored_header(unused)
    if problem.streamed:
        stream = responses.Response(framed) if as_response else wire.Events(framed, problem)
        events = _events(stream, first, happening, hold, served)
        return delivery.Delivery(events, hold, headers=_UNBUFFERED | ignored, media_type="text/event-stream")
    return delivery.whole(await (_response if as_response else _whole)(framed, happening), hold, ignored)


async def _whole(framed: dict[str, Any], happening: AsyncGenerator[Report | Ping, None]) -> bytes:
    answers: list[Answer] = []
    choices: list[dict[str, Any]] = []
    thoughts: list[str] = []
    looks: list[wire.Looked] = []
    async with aclosing(happening):
        async for thing in happening:
            if isinstance(thing, wire.Looked):
                looks.append(thing)
            elif isinstance(thing, Unit):
                thoughts.append(thing.think)
            elif isinstance(thing, Answer):
                choices.append(wire.choice(len(answers), thing, thoughts, looks))
                answers.append(thing)
                thoughts, looks = [], []
    completion = {**framed, "object": "chat.completion", "choices": choices, "usage": wire.usage(answers)}
    return msgspec.json.encode(completion)


async def _response(framed: dict[str, Any], happening: AsyncGenerator[Report | Ping, None]) -> bytes:
    made = responses.Response(framed)
    async with aclosing(happening):
        async for thing in happening:
            if not isinstance(thing, Ping):
                made.event(thing)
    return msgspec.json.encode(made.whole())


async def _events(
    stream: wire.Events | responses.Response, first: Report | Ping, happening: AsyncGenerator[Report | Ping, None],
    hold: Reservation, served: Served,
) -> AsyncGenerator[bytes, None]:  # fmt: skip
    def encoded(thing: Report | Ping) -> bytes:
        return (wire.PING if isinstance(thing, Ping) else stream.event(thing)).encode()

    try:
        async with aclosing(happening):
            yield encoded(first)
            async for thing in happening:
                yield encoded(thing)
                if isinstance(stream, wire.Events):  # a `Response` keeps all, and sends it once more at its end
                    hold.release(weight(thing))
        yield stream.ended().encode()
    except LeftError:
        return
    except Exception as error:
        yield stream.failed(failure(error, served)).encode()


def failure(error: Exception, served: Served) -> RefusedError:
    """The error that a client gets: no details of errors behind this server but the role and step of a pipeline."""
    place = error.place if isinstance(error, VircError) else None
    where = f"{place}: " if place else ""
    match error:
        case RefusedError():
            return error
        case DataError() | BusyError():
            return chat_http.of_pictures(error)
        case VircError() if is_too_long(error):
            return RefusedError(where + TOO_LONG, "messages", "context_length_exceeded")
    served.trouble(error)
    if isinstance(error, NetworkError) and (error.broken or error.wait is not None):
        why, wait = "cannot be reached" if error.broken else "is too busy", max(_WAIT, ceil(error.wait or 0))
        return RefusedError(f"{where}the model {why}: ask again later", status=503, wait=wait)
    if isinstance(error, VircError):
        return RefusedError(f"{where}the model did not answer", status=502)
    return RefusedError(f"internal: {type(error).__name__}", status=500)
