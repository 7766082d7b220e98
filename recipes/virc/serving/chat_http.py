"""What our HTTP servers share: the routes, the check of the key, a bounded body, errors in the form of the API."""

import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from virc.core.errors import DataError
from virc.core.http.body import DamagedError, unpacked
from virc.core.limits.bounded import TooSlowError
from virc.core.limits.image_memory import BusyError, TooLargeError
from virc.core.text import plain
from virc.core.web import site
from virc.serving.chat_request import FIELDS, MAX_BODY, RefusedError

NOBODY = Response(status_code=499)
"""The answer to a client that hung up, which nobody reads; 499 is nginx's number for it."""
_WAIT = 10  # seconds after which a client may try again


def new_app(
    health: Callable[..., Awaitable[Response]],
    models: Callable[[Request], Awaitable[dict[str, Any]]],
    chat: Callable[[Request], Awaitable[Response]],
    failure: Callable[[Exception], RefusedError],
    *guards: Callable[[Request], Awaitable[None]],
    paths: Sequence[str] = ("/v1/chat/completions",),
) -> FastAPI:
    """An ASGI app with /health, /v1/models and /v1/models/NAME.

    Args:
        failure: the refusal for any error but those of HTTP.
        guards: run before each request but /health; they may raise `RefusedError`.
        paths: what `chat` answers.
    """
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    guarded = [Depends(guard) for guard in guards]
    made.add_api_route("/health", health, methods=["GET"])
    made.add_api_route("/v1/models", models, methods=["GET"], dependencies=guarded)
    made.add_api_route("/v1/models/{name:path}", _model_of(models), methods=["GET"], dependencies=guarded)

    async def checked(request: Request) -> Response:
        for guard in guards:
            await guard(request)
        return await chat(request)

    for path in paths:
        made.add_route(path, checked, ["POST"])  # a request that waits there takes 6 kB less than in an `api_route`

    async def refusal(request: Request, error: Exception) -> Response:
        match error:
            case RefusedError():
                refused = error
            case HTTPException():
                outside = not request.url.path.startswith("/v1/")
                where = "the base URL of a client ends with /v1" if outside else f"this serves {' and '.join(paths)}"
                hint = f": {where}" if error.status_code == 404 else ""
                refused = RefusedError(str(error.detail).lower() + hint, status=error.status_code)
            case _:
                refused = failure(error)
        headers = None if refused.wait is None else {"Retry-After": str(refused.wait)}
        return JSONResponse({"error": error_fields(refused)}, refused.status, headers)

    made.add_exception_handler(RefusedError, refusal)
    made.add_exception_handler(HTTPException, refusal)
    return made


def _model_of(models: Callable[[Request], Awaitable[dict[str, Any]]]) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def get(request: Request, name: str) -> dict[str, Any]:
        (model,) = (await models(request))["data"]
        check_model(name, model["id"])
        found: dict[str, Any] = model
        return found

    return get


def model_list(name: str, context: int | None, **fields: Any) -> dict[str, Any]:
    model = {"id": name, "object": "model", "created": 0, "owned_by": "virc", **fields}
    return {"object": "list", "data": [model | ({"max_model_len": context} if context else {})]}


def check_model(requested: str, served: str) -> None:
    if requested != served:
        message = f"there is no model {requested[:200]!r}, served is {served!r}"
        raise RefusedError(message, "model", "model_not_found", 404)


async def disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def frame(model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    return {"X-Virc-Ignored-Parameters": ", ".join(names)} if names else {}


def event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def chunk(framed: Mapping[str, Any], index: int, delta: Mapping[str, Any], finish: str | None = None) -> str:
    return event({**framed, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def check_site(request: Request) -> None:
    here, _ = request.scope["server"]
    reason = site.refusal(request.headers, here, bool(request.app.state.served.api_key))
    if reason:
        raise RefusedError(reason, status=403)


async def check_key(request: Request) -> None:
    if request.app.state.served.api_key and key_of(request) is None:
        raise RefusedError("the API key is missing or wrong", code="invalid_api_key", status=401)


def key_of(request: Request) -> int | None:
    """The number of a request's key among those of the app; None: it has none of them."""
    keys: str | tuple[str, ...] | None = request.app.state.served.api_key
    return site.key_among(request.headers.get("authorization", ""), keys)


def client_of(request: Request) -> str:
    """What distinguishes a client from others: its own key, or its address."""
    is_own = not isinstance(request.app.state.served.api_key, str | None)
    return str(key_of(request)) if is_own else request.client.host if request.client else "?"


async def body_of(request: Request, hold: Callable[[int], None] = lambda _: None) -> bytes:
    """The body, bounded in size.

    Raises:
        ClientDisconnect: the client hung up.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > MAX_BODY:
        raise _too_large()
    body = bytearray()
    async for piece in request.stream():
        hold(len(piece))
        body += piece
        if len(body) > MAX_BODY:
            raise _too_large()
    return _unpacked(bytes(body), request.headers, hold)


def _unpacked(body: bytes, headers: Mapping[str, str], hold: Callable[[int], None]) -> bytes:
    """A body as it was before the client compressed it."""
    encoding, whole = headers.get("content-encoding", "").strip(), bytearray()
    if encoding.lower() in ("", "identity"):
        return body
    try:
        for piece in unpacked(iter([body]), headers):
            hold(len(piece))
            whole += piece
            if len(whole) > MAX_BODY:
                raise _too_large()
    except DamagedError as error:
        if error.is_cut:
            raise RefusedError(f"the body is damaged: it is cut short as {plain(encoding, 60)!r}") from None
        raise RefusedError(f"the body cannot be unpacked as {plain(encoding, 60)!r}", status=415) from None
    return bytes(whole)


def _too_large() -> RefusedError:
    return RefusedError(f"the body is over {MAX_BODY >> 20} MiB", status=413)


def of_pictures(error: DataError | BusyError) -> RefusedError:
    if isinstance(error, BusyError):
        return RefusedError(f"{error.message}: ask again later", status=503, wait=_WAIT)
    message, _ = error.spelled_by(FIELDS)
    status = 413 if isinstance(error, TooLargeError) else 422 if isinstance(error, TooSlowError) else 400
    return RefusedError(message, "messages", status=status)


def error_fields(refused: RefusedError) -> dict[str, Any]:
    kind = "server_error" if refused.status >= 500 else "invalid_request_error"
    return {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}
