"""A server for remote tools that answers as it is scripted, and keeps what it was sent."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from support.loopback import Connection, Loopback

from virc.reasoning.calls import Call
from virc.remote.tool import RemoteTool, read_tool

DETECT = """\
description: Find objects by words.
parameters:
  type: object
  properties:
    words: {{type: string}}
    image_index: {{type: integer}}
    bbox_2d: {{type: array, items: {{type: integer}}, minItems: 4, maxItems: 4, description: "in {{unit}}"}}
  required: [words, image_index]
http:
  url: {url}/detect
"""


class Sent:
    """A request: its path, headers and body."""

    def __init__(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.path, self.headers, self.body = path, headers, body

    @property
    def json(self) -> Any:
        """The body of JSON."""
        return json.loads(self.body)


Reply = tuple[int, Mapping[str, str], bytes]


class Scripted(Loopback):
    """Answers each request with what `answer` makes of it."""

    def __init__(self) -> None:
        super().__init__(_Connection)
        self.requests: list[Sent] = []
        self.answer: Callable[[Sent], Reply] = lambda _: in_json({})
        self.lock = threading.Lock()


class _Connection(Connection):
    server: Scripted

    def do_HEAD(self) -> None:  # noqa: N802
        self.send_body(b"", 405)

    def do_POST(self) -> None:  # noqa: N802
        server = self.server
        sent = Sent(self.path, dict(self.headers), self.sent())
        with server.lock:
            server.requests.append(sent)
        status, headers, body = server.answer(sent)
        self.send_body(body, status, headers)


def in_json(value: object, status: int = 200) -> Reply:
    """A reply in JSON."""
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


@contextmanager
def serving(answer: Callable[[Sent], Reply]) -> Iterator[Scripted]:
    """A server that answers so."""
    server = Scripted()
    server.answer = answer
    with server.running():
        yield server


def tool_of(folder: Path, url: str, more: str = "", text: str = DETECT) -> RemoteTool:
    """The tool of a file `detect.yaml` with that server."""
    file = folder / "detect.yaml"
    file.write_text(text.format(url=url) + more)
    return read_tool(file)


def failure(tool: RemoteTool, words: str, image: Image.Image) -> str:
    """What the model is told of a call that fails."""
    made = tool.apply(Call("detect", 0, arguments={"words": words}), image)
    start = "The tool failed: "
    assert made.text.startswith(start), made
    assert not made.images
    return made.text.removeprefix(start)
