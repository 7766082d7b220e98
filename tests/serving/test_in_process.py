"""The server in this process, with the model in the package, over real connections."""

import base64
import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc
from support.watched_answers import Watched

from virc.backends.interface import Sampling
from virc.backends.local import LocalBackend, load
from virc.models import chat_protocol
from virc.models.local_server import fingerprint
from virc.models.registry import EMBEDDED_FOLDER, Weights
from virc.reasoning.images import open_image, show
from virc.reasoning.session import Ask, Message
from virc.serving import chat_http, in_process
from virc.serving.agent import connections
from virc.serving.in_process import Served
from virc.serving.settings import published

PICTURE = Path(__file__).parents[1] / "pictures" / "triangle.png"
Answer = tuple[int, dict[str, Any]]


@contextmanager
def listening(served: Served) -> Iterator[int]:
    """A running server; gives its port."""
    with running(in_process.app(served)) as port:
        yield port


@contextmanager
def running(app: Any) -> Iterator[int]:
    """An app that is served at a port."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    place.listen()
    watched: Any = Watched(app)
    server = connections.server(watched)
    thread = threading.Thread(target=server.run, args=([place],))
    thread.start()
    try:
        yield place.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
        assert watched.faults == []


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return load(EMBEDDED_FOLDER, "cpu")


@pytest.fixture(scope="module")
def served(backend: LocalBackend) -> Served:
    weights = Weights("tiny", EMBEDDED_FOLDER)
    protocol = chat_protocol.of_weights(weights).protocol
    told = published(backend.grid, protocol, fingerprint(weights), image_ids=False)
    return Served(backend, "tiny", json.loads(told), images=20)


@pytest.fixture(scope="module")
def port(served: Served) -> Iterator[int]:
    with listening(served) as found:
        yield found


def sent(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else {}
    finally:
        connection.close()


def data_url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def body(content: object = "What is this?", **fields: object) -> bytes:
    whole = {"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": content}]}
    return json.dumps({**whole, **fields}).encode()


def asked(port: int, content: object = "What is this?", **fields: object) -> Answer:
    return sent(port, "POST", "/v1/chat/completions", body(content, **fields))


def about(url: str) -> list[dict[str, object]]:
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Go on."}]


def test_the_answer_is_that_of_the_model_whole_and_streamed(port: int, backend: LocalBackend) -> None:
    import openai

    picture = open_image(PICTURE, "a picture")
    expected = backend.reply(
        Ask([Message("user", "Go on.", (0,))], [show(picture, backend.grid)]), Sampling(max_tokens=30)
    )
    shown = show(picture, backend.grid).data_url
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    messages: Any = [{"role": "user", "content": about(shown)}]
    whole = client.chat.completions.create(model="tiny", messages=messages, max_tokens=30, temperature=0)
    assert whole.choices[0].message.content == expected.text
    assert whole.choices[0].finish_reason == expected.finish
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == expected.prompt_tokens
    assert whole.usage.completion_tokens == expected.completion_tokens
    pieces = list(
        client.chat.completions.create(
            model="tiny", messages=messages, max_tokens=30, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces[:-1]) == expected.text
    assert len(pieces) > 5
    assert pieces[-2].choices[0].finish_reason == expected.finish
    assert pieces[-1].usage == whole.usage


@pytest.mark.integration
def test_a_batch_on_it_has_the_answers_of_the_model_in_this_process(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--count", 4, "--seed", 30_000, "--split", "heldout", "--formats", "batch")
    assert virc("data", "synth", "--to", "held", *words).code == 0
    answers = {}
    where = {"served": ("--endpoint", f"http://127.0.0.1:{port}/v1"), "here": ("--model", "tiny")}
    for name, options in where.items():
        out = tmp_path / f"{name}.jsonl"
        done = virc("batch", "held/problems.jsonl", "--to", out, *options)
        assert done.code in (0, 1), done.err
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        answers[name] = {row["id"]: (row["answer"], row["turns"], row["calls"]) for row in rows}
        assert {row["protocol"] for row in rows} == {"trained"}
    assert len(answers["here"]) == 4
    assert answers["served"] == answers["here"]


def test_a_picture_off_the_grid_is_resized_as_the_models_own_processor_does(port: int, backend: LocalBackend) -> None:
    picture = open_image(PICTURE, "a picture").resize((301, 199))
    fitted = in_process._fitted(picture, backend.grid, backend.cached.processor.resample)
    assert fitted.size[0] % 28 == fitted.size[1] % 28 == 0
    for each in (picture, fitted):
        _, said = asked(port, about(data_url(each)), max_tokens=12)
        assert said["usage"]["prompt_tokens"] > fitted.width * fitted.height // 28**2
    long = Image.new("RGB", (28 * 120, 28), "white")  # as `show` makes one: over the largest area
    assert in_process._fitted(long, backend.grid, backend.cached.processor.resample) is long
    large = Image.new("RGB", (28 * 40, 28 * 40), "white")
    assert in_process._fitted(large, backend.grid, backend.cached.processor.resample).width < 28 * 40


def test_a_body_is_bounded_also_where_it_does_not_say_its_size(port: int) -> None:
    most = chat_http.MAX_BODY
    status, said = sent(port, "POST", "/v1/chat/completions", b"x", **{"Content-Length": str(most + 1)})
    assert (status, said["error"]["message"]) == (413, "the body is over 64 MiB")
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        with pytest.raises((BrokenPipeError, ConnectionResetError, AssertionError)):  # noqa: PT012
            for _ in range(2 * most // 2**20):
                connection.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
            raise AssertionError("it took twice its limit")
    assert sent(port, "GET", "/health")[0] == 200


def held(port: int, text: str, stream: bool) -> socket.socket:
    """A request that was sent and not read."""
    connection = socket.create_connection(("127.0.0.1", port), 60)
    content = body(text, stream=stream, max_tokens=2)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection
