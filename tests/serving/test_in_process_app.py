"""The app of a model in this process, asked without a socket: what is shown to the model, and what clients are told."""

import asyncio
import base64
import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from PIL import Image

from virc.backends.interface import Sampling, TooLongError
from virc.core.errors import EngineError
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask, Reply
from virc.serving import in_process


class Model:
    """A model that says what it is told to say."""

    model, at_once, context, resample = "tiny", 1, 2, Image.Resampling.NEAREST
    grid = Grid(max_pixels=10 * 28 * 28)

    def __init__(self) -> None:
        self.asked: list[tuple[Ask, Sampling]] = []
        self.says: Reply | Exception = Reply("a dog", finish="length", prompt_tokens=7, completion_tokens=2)

    def reply(self, ask: Ask, sampling: Sampling, on_text: Callable[[str], None]) -> Reply:
        self.asked.append((ask, sampling))
        if isinstance(self.says, Exception):
            raise self.says
        for word in ("a ", "dog"):
            on_text(word)
        return self.says


class Sent(NamedTuple):
    """What a client got."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def sent(
    model: Model, path: str = "/v1/chat/completions", /, key: str | None = None, origin: str = "", ending: bool = False,
    **fields: Any,
) -> Sent:  # fmt: skip
    served: Any = SimpleNamespace(backend=model, name="tiny", published={"virc_grid": 1}, images=2, api_key=key)
    app = in_process.app(served)
    app.state.queue.closing = ending
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "What?"}], **fields}
    body = json.dumps(chat).encode() if "chat" in path else b""
    got: list[dict[str, Any]] = []

    async def one() -> None:
        waiting = [{"type": "http.request", "body": body}]

        async def receive() -> dict[str, Any]:
            if not waiting:
                await asyncio.Event().wait()  # the client stays
            return waiting.pop()

        async def send(message: dict[str, Any]) -> None:
            got.append(message)

        headers = [(b"host", b"127.0.0.1:8000"), (b"content-length", str(len(body)).encode())]
        headers += [(b"origin", origin.encode())] if origin else []
        scope = {
            "type": "http", "method": "POST" if body else "GET", "path": path, "raw_path": path.encode(),
            "root_path": "", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 9), "scheme": "http",
            "server": ("127.0.0.1", 8000), "http_version": "1.1", "asgi": {"version": "3.0"},
        }  # fmt: skip
        await app(scope, receive, send)

    asyncio.run(one())
    named = {name.decode(): value.decode() for name, value in got[0]["headers"]}
    return Sent(got[0]["status"], b"".join(message.get("body", b"") for message in got), named)


def pictured(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What?"}]
    for size in sizes:
        Image.new("RGB", size, "red").save(file := io.BytesIO(), "PNG")
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return [{"role": "user", "content": parts}]


def test_a_reply_comes_whole_and_in_pieces_with_its_count() -> None:
    whole = sent(model := Model(), max_tokens=5, temperature=0.5).json
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    (choice,) = whole["choices"]
    assert (choice["message"]["content"], choice["finish_reason"], whole["usage"]) == ("a dog", "length", usage)
    assert (model.asked[0][1].max_tokens, model.asked[0][1].temperature) == (5, 0.5)
    for options, counted in (({}, []), ({"stream_options": {"include_usage": True}}, [usage])):
        lines = [line for line in sent(Model(), stream=True, **options).body.decode().split("\n\n") if line]
        events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        deltas = [choice["delta"].get("content") for event in events for choice in event["choices"]]
        assert (deltas, lines[-1]) == (["", "a ", "dog", None], "data: [DONE]")
        assert [event["choices"][0]["finish_reason"] for event in events if event["choices"]][-1] == "length"
        assert [event["usage"] for event in events if "usage" in event] == counted


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((56, 56), (56, 56)), ((28, 28), (56, 56)), ((100, 60), (112, 56)), ((112, 112), (84, 84)),
        ((28, 560), (28, 560)),
    ],
)  # fmt: skip
def test_a_picture_is_shown_on_the_models_grid(size: tuple[int, int], seen: tuple[int, int]) -> None:
    assert sent(model := Model(), messages=pictured(size)).status == 200
    assert [image.size for image in model.asked[0][0].images] == [seen]


def test_a_picture_is_resized_by_the_models_own_processor() -> None:
    (message,) = pictured((100, 60))
    Image.effect_noise((100, 60), 90).convert("RGB").save(file := io.BytesIO(), "PNG")
    message["content"][1]["image_url"]["url"] = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    sent(model := Model(), messages=[message])
    nearest = Image.open(file).resize((112, 56), Image.Resampling.NEAREST)
    assert model.asked[0][0].images[0].pixels.tobytes() == nearest.tobytes()


@pytest.mark.parametrize(
    ("path", "open_to_all"), [("/v1/chat/completions", False), ("/v1/models", False), ("/health", True)]
)
def test_each_path_but_that_of_health_asks_for_the_key_and_the_site(path: str, open_to_all: bool) -> None:
    assert sent(Model(), path, key="k").status == (200 if open_to_all else 401)
    assert sent(Model(), path, origin="http://elsewhere").status == (200 if open_to_all else 403)


@pytest.mark.parametrize(
    ("says", "status", "code", "message"),
    [
        (
            TooLongError(3, 2),
            400,
            "context_length_exceeded",
            "the conversation has 3 tokens, the model takes 2: its context length",
        ),
        (EngineError("out of memory"), 500, None, "out of memory"),
        (ValueError("secret"), 500, None, "internal: ValueError"),
    ],
)
def test_what_went_wrong_is_told_in_the_shape_of_the_api(
    says: Exception, status: int, code: str | None, message: str
) -> None:
    model = Model()
    model.says = says
    found = sent(model)
    error = found.json["error"]
    assert (found.status, error["code"], error["message"]) == (status, code, message)
    assert error["type"] == ("server_error" if status == 500 else "invalid_request_error")
    last = sent(model, stream=True)  # nothing was sent yet
    assert (last.status, last.json["error"]) == (status, error)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "large"}, 404, "model_not_found"),
        ({"messages": [{"role": "user", "content": "x" * 129}]}, 400, "context_length_exceeded"),
        ({"messages": pictured((56, 56), (56, 56), (56, 56))}, 400, None),
        ({"n": 2}, 400, None),
    ],
)
def test_what_cannot_be_answered_is_refused_before_the_model_is_asked(
    fields: dict[str, Any], status: int, code: str | None
) -> None:
    found = sent(model := Model(), **fields)
    assert (found.status, found.json["error"]["code"], model.asked) == (status, code, [])
    assert found.json["error"]["param"] == (next(iter(fields)))


def test_the_model_is_listed_with_its_context_and_facts() -> None:
    (listed,) = sent(Model(), "/v1/models").json["data"]
    assert {key: listed[key] for key in ("id", "max_model_len", "virc_grid")} == {
        "id": "tiny", "max_model_len": 2, "virc_grid": 1,
    }  # fmt: skip
    assert sent(Model(), "/v1/models/tiny").json == listed
    assert sent(Model(), "/v1/models/large").status == 404
    assert sent(Model(), "/health").status == 200
