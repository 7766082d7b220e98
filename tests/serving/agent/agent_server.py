"""An agent endpoint in a thread of the test, in front of a scripted server, and clients for it."""

import base64
import http.client
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from support import servers

from virc.backends.chat.backend import OpenAIBackend
from virc.backends.interface import Sampling
from virc.core.events import Reporter
from virc.models import chat_protocol
from virc.models.registry import Weights
from virc.reasoning.protocol import Protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Reply
from virc.serving import http_server
from virc.serving.agent import server
from virc.serving.agent.problems import Solving
from virc.serving.agent.request_queue import RequestQueue
from virc.serving.agent.server import Served
from virc.solving.one import SolveConfig

OWN = chat_protocol.of_weights(Weights("m", Path()), "default")
CALL = '{"name": "crop_image", "arguments": {"image_index": 0, "bbox_2d": [0, 0, 100, 60]}}'
LOOK = f"<think>I look.</think><tool_call>{CALL}</tool_call>"
ANSWER = "<think>It reads 97.</think><answer>97</answer>"
MODEL = servers.MODEL
Answer = tuple[int, dict[str, Any]]


def png(width: int, height: int, colour: str = "white") -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def data_url(size: tuple[int, int] = (280, 140), colour: str = "white") -> str:
    """It as a client sends it."""
    return f"data:image/png;base64,{base64.b64encode(png(*size, colour)).decode()}"


PICTURE = {"type": "image_url", "image_url": {"url": data_url()}}


def chat(text: str = "What does it read?", *pictures: Any, **fields: Any) -> dict[str, Any]:
    """A request about pictures; a white one where none is given."""
    content = [*(pictures or (PICTURE,)), {"type": "text", "text": text}]
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], **fields}


@contextmanager
def listening(
    backend: Any,
    *,
    served: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    protocol: Protocol = OWN,
    **solving: Any,
) -> Iterator["Running"]:
    """An agent endpoint; the words are those of `Served`, `SolveConfig` and `Solving`."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        place.listen(512)
        how = Solving(backend, protocol, SolveConfig(**{"timeout": 60, **(config or {})}), **solving)
        about = {"name": MODEL, "inputs": 4, **(served or {})}
        made = server.app(Served(how, **about))
        running = http_server.Server(made, Reporter())
        thread = threading.Thread(target=running.run, args=([place],))
        thread.start()
        try:
            yield Running(place.getsockname()[1], made.state.queue, running)
        finally:
            running.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def scripted(
    turns: servers.Turns = (LOOK, ANSWER),
    upstream: dict[str, Any] | None = None,
    served: dict[str, Any] | None = None,
    **words: Any,
) -> Iterator["Running"]:
    """An agent endpoint in front of a server that answers from a script."""
    with servers.serve(turns, **(upstream or {})) as behind:
        backend = OpenAIBackend(behind.url, max_retries=0, timeout=60)
        served = {"answers": backend.link.answers, **(served or {})}
        try:
            with listening(backend, served=served, **words) as running:
                running.behind = behind
                yield running
        finally:
            backend.close()


class Held:
    """Draws replies when it is let, and sees what is drawn: what no server of another could be made to tell."""

    model, grid = "held", QWEN2

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.error: Exception | None = None
        self.after = 0
        self.look = LOOK

    def reply(self, ask: Ask, sampling: Sampling, on_text: Callable[[str], None], seconds: float | None) -> Reply:
        name = ask.messages[1].text.partition("Question: ")[2].partition("\n")[0]
        self.begun.append(name)
        try:
            while not self.go.wait(0.01):
                on_text("…")
            if self.error and len(self.begun) > self.after:
                raise self.error
            return Reply(self.look if len(ask.messages) == 2 else ANSWER, prompt_tokens=1, completion_tokens=1)
        finally:
            self.ended.append(name)

    def close(self) -> None:
        pass


class Running:
    """A running endpoint."""

    behind: servers.Server

    def __init__(self, port: int, queue: RequestQueue, running: http_server.Server) -> None:
        self.port, self.queue, self.running = port, queue, running
        self.url = f"http://127.0.0.1:{port}/v1"

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """The status of a request, and the object in its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content else {}
        finally:
            connection.close()

    def ask(self, text: str = "What does it read?", *pictures: Any, **fields: Any) -> Answer:
        """What a question is answered."""
        return self.send("POST", "/v1/chat/completions", json.dumps(chat(text, *pictures, **fields)).encode())

    def start(self, source: str = "127.0.0.1", **fields: Any) -> socket.socket:
        """A question that was sent, from an address of this machine, and whose answer is not read."""
        connection = socket.create_connection(("127.0.0.1", self.port), 60, (source, 0))
        connection.sendall(raw(chat(fields.pop("text", "?"), fields.pop("picture", PICTURE), **fields)))
        return connection


def raw(body: dict[str, Any], path: str = servers.CHAT) -> bytes:
    """A request as it stands on the wire."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def received(connection: socket.socket, end: bytes = b"0\r\n\r\n") -> bytes:
    """All that comes up to that end."""
    found = bytearray()
    while not found.endswith(end):
        piece = connection.recv(2**16)
        assert piece, bytes(found[-2000:])
        found += piece
    return bytes(found)
