"""An OpenAI-compatible server on the loopback that answers from a script, and misbehaves where told to.

`with serve(turns) as server:` gives `server.url` (ends in /v1) and `server.requests`. A reply depends on the
request alone: turn k answers a conversation that holds k assistant messages, so tries and parallel
conversations need no state here. A fault (see faults.py) takes the exchange and writes what a broken server
would.

Its model counts boxes in pixels, and answers so when it is asked how it counts them; that is no turn, and `requests`
does not hold it (`about_boxes` counts).
"""

import base64
import copy
import io
import json
import re
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from support.loopback import Connection, Loopback, free_port

MODEL = "virc-scripted"
CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
EMBEDDINGS = "/v1/embeddings"
ABOUT_BOXES = "the box that encloses the red rectangle exactly"
"""What a request says that asks how boxes are counted."""

Body = dict[str, Any]
Turns = Sequence[str] | Callable[[Body], str]


@dataclass
class Request:
    """One request as it arrived: header names in lower case, `body` the decoded JSON, None for a GET."""

    path: str
    headers: Mapping[str, str]
    body: Body | None = None


@dataclass
class Script:
    """What the server serves and how: see `serve`."""

    turns: Turns = ()
    models: Sequence[str] = (MODEL,)
    owned_by: str = "vllm"
    extra: Mapping[str, object] = field(default_factory=dict)
    keep: int | None = None
    usage: bool = True
    cost: float | None = None
    stream: bool = True
    fault: "Fault | None" = None
    fault_on: str = CHAT
    times: int | None = None
    kept: dict[str, Body] | None = None
    embed: Callable[[Any], Sequence[float]] | None = None


class Server(Loopback):
    """The running server: `url`, `requests`, `wait_for(n)`."""

    def __init__(self, script: Script, port: int = 0) -> None:
        super().__init__(Exchange, port)
        self.script = script
        self.requests: list[Request] = []
        self.about_boxes = 0
        self._changed = threading.Condition()
        self._faults_left = script.times

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    def chats(self) -> list[Body]:
        """The bodies of all completion requests so far."""
        return [request.body for request in self.requests if request.path == CHAT and request.body is not None]

    def record(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def wait_for(self, count: int, path: str = CHAT) -> bool:
        """Wait until `count` requests for `path` have arrived; False after a minute without them."""
        with self._changed:
            return self._changed.wait_for(lambda: sum(r.path == path for r in self.requests) >= count, timeout=200)

    def takes_fault(self, path: str) -> bool:
        """Whether the request now at hand is one that shall go wrong."""
        with self._changed:
            if self.script.fault is None or path != self.script.fault_on or self._faults_left == 0:
                return False
            if self._faults_left is not None:
                self._faults_left -= 1
            return True


class Exchange(Connection):
    """One connection; faults get it to write on, with the body of the request."""

    server: Server
    body: Body | None

    def get(self) -> None:
        self._handle(None)

    def post(self) -> None:
        self._handle(json.loads(self.sent()))

    def _handle(self, body: Body | None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.body = body
        script = self.server.script
        if body is not None and ABOUT_BOXES in str(body.get("messages")):
            self.server.about_boxes += 1
            self.send_events("The red rectangle is [1400, 210, 1960, 490].", None)
            return
        self.server.record(Request(self.path, headers, body))
        if self.server.takes_fault(self.path):
            assert script.fault is not None
            script.fault(self)
        elif self.path == MODELS:
            told = script.extra if script.kept is None else {"virc_image_ids": True, **script.extra}
            models = [{"id": name, "owned_by": script.owned_by, **told} for name in script.models]
            self.send_json({"object": "list", "data": models})
        elif self.path == CHAT and body is not None:
            self.complete(body)
        elif self.path == EMBEDDINGS and body is not None and script.embed:
            self._embed(body, script.embed)
        else:
            self.send_json({"detail": "Not Found"}, 404)

    def complete(self, body: Body) -> None:
        """Answer as the script says."""
        script = self.server.script
        if body["model"] not in script.models:
            self.send_json(error(f"The model `{body['model']}` does not exist."), 404)
            return
        if script.kept is not None:
            body = with_kept(body, script.kept)
            there = [bool(image["image_url"]) for image in images_of(body)]
            if not all(there):
                sentence = f"Cache miss for image at index {there.index(False)} but data is not provided."
                self.send_json(error(sentence), 400)
                return
        text = script.turns(body) if callable(script.turns) else script.turns[turn_of(body)]
        usage: Body | None = count_usage(body, text, script.keep) if script.usage else None
        if usage and script.cost is not None:
            usage["cost"] = script.cost
        if body.get("stream") and script.stream:
            asked = (body.get("stream_options") or {}).get("include_usage")
            self.send_events(text, usage if asked else None)
        else:
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            facts = {"id": "chatcmpl-scripted", "created": 0, "model": body["model"]}
            self.send_json({**facts, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _embed(self, body: Body, embed: Callable[[Any], Sequence[float]]) -> None:
        """As OpenAI's API documents it, where an empty text is refused; or the content of messages, as vLLM has it."""
        given = body["input"] if "input" in body else [each["content"] for each in body["messages"]]
        texts = [given] if isinstance(given, str) else given
        if not all(texts):
            self.send_json(error("'$.input' is invalid. Please check the API reference."), 400)
            return
        vectors: list[object] = [list(embed(text)) for text in texts]
        if body.get("encoding_format", "float") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in map(embed, texts)]
        data = [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)]
        usage = dict.fromkeys(("prompt_tokens", "total_tokens"), len(texts))
        self.send_json({"object": "list", "data": data, "model": body["model"], "usage": usage})

    def send_event(self, value: object) -> None:
        self.send_chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def send_events(self, text: str, usage: Mapping[str, Any] | None, finish: str | None = "stop") -> None:
        self.start_events()
        for start in range(0, len(text), 16):
            self.send_event(piece(text[start : start + 16]))
        self.send_event(piece("", finish))
        if usage is not None:
            self.send_event({"object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.send_chunk(b"data: [DONE]\n\n")
        self.send_chunk(b"")


Fault = Callable[[Exchange], None]


@contextmanager
def serve(turns: Turns = (), *, port: int = 0, **options: Any) -> Iterator[Server]:
    """Serve `turns` on the loopback until the block ends.

    Args:
        port: where; 0: on a free one.
        turns: assistant turns in order, or a function of the request body.
        options: `models` and `owned_by` of /v1/models, `extra` keys of each of its entries; `keep`: count
            (as a server that dropped the rest would) only the system message and the last `keep` messages;
            `usage` and `stream`: whether the server knows them; `cost`: of a reply, as it says; `fault`: what to do
            wrong, `fault_on` which path (CHAT or MODELS), for the first `times` requests (None: always); `kept`: where
            the server keeps images by id as vLLM does, and says so in /v1/models; `embed`: the vector of a text,
            or of the parts of a message, of a server of embeddings.
    """
    server = Server(Script(turns, **options), port)
    with server.running():
        yield server


def dead_url() -> str:
    """An endpoint on which nothing listens."""
    return f"http://127.0.0.1:{free_port()}/v1"


def piece(text: str, finish: str | None = None) -> Body:
    """One streamed chunk."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def error(message: str) -> Body:
    """An error object as the API words it."""
    return {"error": {"message": message, "type": "error", "code": None}}


def turn_of(body: Body) -> int:
    """How many assistant turns the conversation already holds."""
    return sum(message["role"] == "assistant" for message in body["messages"])


def count_usage(body: Body, reply: str, keep: int | None = None) -> dict[str, int]:
    """Token counts of a model with 28 px image patches and words of at most five letters."""
    messages = body["messages"]
    if keep is not None:
        messages = [m for i, m in enumerate(messages) if m["role"] == "system" or i >= len(messages) - keep]
    prompt = sum(3 + sum(map(_part_tokens, _parts(message))) for message in messages)
    completion = _text_tokens(reply)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _parts(message: Body) -> list[Body]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _part_tokens(part: Body) -> int:
    if part["type"] == "text":
        return _text_tokens(part["text"])
    with Image.open(io.BytesIO(image_bytes(part))) as image:
        return image.width * image.height // 28**2


def images_of(body: Body) -> list[Body]:
    """The image parts of a conversation, in order."""
    return [part for message in body["messages"] for part in _parts(message) if part["type"] == "image_url"]


def with_kept(body: Body, kept: dict[str, Body]) -> Body:
    """The request with the images that it only names, as far as they are kept; those that it brings are kept."""
    whole: Body = copy.deepcopy(body)
    for image in images_of(whole):
        url, id = image["image_url"], image.get("uuid")
        if url and id:
            kept[id] = url
        image["image_url"] = url or kept.get(id)
    return whole


def image_bytes(part: Body) -> bytes:
    """The PNG or JPEG inside an image part of a message."""
    kind, _, data = part["image_url"]["url"].partition(",")
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    return base64.b64decode(data, validate=True)


def _text_tokens(text: str) -> int:
    return len(re.findall(r" ?\w{1,5}|[^\w\s]|\s+", text))
