"""A server of any kind with a model that really looks at the pictures it is sent.

In its first turn the model finds the coloured place on the last picture of the question, in the pixels it received, and
calls the tool that it was offered with a box around it, counted as its family counts. In every later turn it looks at
the newest pictures: it answers 73 where one of them shows the place alone, and WRONG CROP otherwise.

    with play(Scene(Vllm(), Listed("qwen3-vl"), hermes)) as server:
        virc("solve", "--endpoint", server.url, picture, "What stands there?")
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import targets
from PIL import Image
from speeches import Speech
from support.loopback import Connection, Loopback
from wires import Call, Counts, Json, Listed, OllamaNative, Said, Wire

RIGHT, WRONG = "73", "WRONG CROP"
CHATS = ("/v1/chat/completions", "/api/chat")

Unit = Literal["pixel", "thousand", "thousand_yx", "fraction", "tenths"]
"""What boxes are counted in: `thousand_yx`, top, left, bottom, right; `tenths`, thousandths with a digit behind."""


@dataclass(frozen=True)
class Refusal:
    """An HTTP error."""

    status: int
    body: Any


@dataclass(frozen=True)
class Scene:
    """Who answers, and how.

    Args:
        wire: the server.
        model: as it lists it.
        speech: how the model writes.
        unit: what its boxes are counted in.
        streamed: whether answers are streamed where that is asked for; a gateway may send them whole all the same.
        longest: pixels of the longest side that the server shows the model; larger pictures are scaled down by it.
        refuse: what is refused of a request, before any model reads it.
        instead: what is said in place of the model's turn, by the number of the turn.
        keeps: messages that are read of a conversation beside its system message, where the rest is dropped in silence.
        cut: the body that is sent instead of what the wire makes of a turn; the connection ends behind it.
    """

    wire: Wire
    model: Listed
    speech: Speech
    unit: Unit = "thousand"
    streamed: bool = True
    longest: int | None = None
    refuse: Callable[[Json], Refusal | None] = lambda body: None
    instead: Callable[[int], Said | None] = lambda turn: None
    cut: Callable[[int], bytes | None] = lambda turn: None
    keeps: int | None = None


@dataclass(frozen=True)
class Heard:
    """A message of a request, whatever API it came by."""

    role: str
    text: str
    images: tuple[bytes, ...] = ()


class BadRequestError(Exception):
    """The request is not as the API has it."""


class Player(Loopback):
    """The running server: `url`, `scene`, `chats`. Another `scene` may be put in at any time."""

    def __init__(self, scene: Scene, port: int = 0) -> None:
        super().__init__(_Exchange, port)
        self.scene = scene
        self.chats: list[Json] = []
        self.answered: list[Json] = []
        self.refused: list[Json] = []
        self.faults: list[str] = []
        self.before: Callable[[Player], None] = lambda server: None
        self._changed = threading.Condition()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    def wait_for(self, count: int) -> bool:
        """Wait until as many chats have come; False after a minute without them."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.chats) >= count, timeout=200)

    def heard(self, body: Json) -> None:
        """Note a request for a chat."""
        with self._changed:
            self.chats.append(body)
            self._changed.notify_all()
        self.before(self)


@contextmanager
def play(scene: Scene, port: int = 0) -> Iterator[Player]:
    """Serve a scene on the loopback until the block ends."""
    server = Player(scene, port)
    with server.running():
        yield server


class _Exchange(Connection):
    server: Player

    def get(self) -> None:
        scene = self.server.scene
        wire = scene.wire
        if self.path == "/v1/models":
            self.send_json(wire.listing(scene.model))
        elif isinstance(wire, OllamaNative) and self.path in ("/api/version", "/api/ps"):
            self.send_json(wire.version if self.path == "/api/version" else wire.running(scene.model))
        else:
            self.send_json({"detail": "Not Found"}, 404)

    def post(self) -> None:
        body = json.loads(self.sent())
        if self.path in CHATS:
            self.server.heard(body)
        scene = self.server.scene
        if isinstance(scene.wire, OllamaNative) and self.path == "/api/show":
            self.send_json(scene.wire.shown(scene.model))
        elif self.path == CHATS[0] or (isinstance(scene.wire, OllamaNative) and self.path == CHATS[1]):
            self._chat(body, scene)
        else:
            self.send_json({"detail": "Not Found"}, 404)

    def _chat(self, body: Json, scene: Scene) -> None:
        refusal = scene.refuse(body)
        if refusal:
            self.server.refused.append(body)
            self.send_json(refusal.body, refusal.status)
            return
        native = self.path == CHATS[1]
        try:
            heard = (_native if native else _openai)(body)
            turn = sum(message.role == "assistant" for message in heard)
            said = scene.instead(turn) or _said(scene, heard, body, turn)
        except BadRequestError as error:
            self.server.faults.append(str(error))
            self.send_json({"error": {"message": str(error), "type": "invalid_request_error"}}, 400)
            return
        self.server.answered.append(body)
        cut = scene.cut(turn)
        if cut is not None:
            self._stream([cut], native)
        else:
            read = heard if scene.keeps is None else [heard[0], *heard[1:][-scene.keeps :]]
            self._answer(said, scene, body, _counted(read, body, said, scene.model))

    def _answer(self, said: Said, scene: Scene, body: Json, counts: Counts) -> None:
        wire, model = scene.wire, scene.model
        asked = bool((body.get("stream_options") or {}).get("include_usage"))
        if self.path == CHATS[1] and isinstance(wire, OllamaNative):
            if scene.streamed and body.get("stream", True):
                self._stream(wire.chat_stream(said, model, counts), True)
            else:
                self.send_json(wire.chat(said, model, counts))
        elif scene.streamed and body.get("stream"):
            self._stream(wire.stream(said, model, counts, asked), False)
        else:
            self.send_json(wire.whole(said, model, counts))

    def _stream(self, parts: Iterable[bytes], native: bool) -> None:
        self.start_events(kind="application/x-ndjson" if native else "text/event-stream; charset=utf-8")
        with suppress(OSError):
            for part in parts:
                self.send_chunk(part)
            self.send_chunk(b"")


def _openai(body: Json) -> list[Heard]:
    """The conversation of a request to /v1/chat/completions, held against its rules."""
    called: set[str] = set()
    heard = []
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        _hold(role in ("system", "user", "assistant", "tool"), f"role {role}")
        calls = message.get("tool_calls") or ()
        _hold(content is not None or bool(calls), "invalid message content type: <nil>")
        for call in calls:
            arguments = call["function"]["arguments"]
            _hold(isinstance(arguments, str), "invalid tool call arguments")
            _hold(isinstance(json.loads(arguments), dict), "invalid tool call arguments")
            called.add(call["id"])
        if role == "tool":
            _hold(message.get("tool_call_id") in called, "tool_call_id of no call")
        parts: list[Json] = [{"type": "text", "text": content or ""}] if not isinstance(content, list) else content
        images = [_of_url(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
        _hold(role == "user" or not images, f"images in a message of {role}")
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        heard.append(Heard(role, text, tuple(images)))
    return heard


def _native(body: Json) -> list[Heard]:
    """The conversation of a request to Ollama's /api/chat."""
    heard = []
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            _hold(isinstance(call["function"]["arguments"], dict), "arguments must be an object")
        images = tuple(base64.b64decode(image, validate=True) for image in message.get("images") or ())
        heard.append(Heard(message["role"], message["content"], images))
    tokens = sum(_tokens(image, 32) for message in heard for image in message.images)
    context = body.get("options", {}).get("num_ctx", 4096)
    _hold(tokens < context, f"{tokens} tokens of pictures do not fit in a context of {context}")
    return heard


def _hold(is_right: bool, sentence: str) -> None:
    if not is_right:
        raise BadRequestError(sentence)


def _of_url(url: str) -> bytes:
    kind, _, data = url.partition(",")
    _hold(kind in ("data:image/png;base64", "data:image/jpeg;base64"), "invalid image input")
    return base64.b64decode(data, validate=True)


def _said(scene: Scene, heard: list[Heard], body: Json, turn: int) -> Said:
    """The model's turn."""
    images = [image for message in heard for image in message.images]
    if turn:
        newest = next((message.images for message in reversed(heard) if message.images), ())
        seen = [_seen(image, scene.longest) for image in newest]
        alone = len(images) > 1 and any(map(targets.shows_the_target_alone, seen))
        return scene.speech.answer(RIGHT if alone else WRONG)
    picture = _seen(images[-1], scene.longest)
    found = targets.find(picture)
    _hold(found is not None, "the model sees no coloured place")
    box = cast(targets.Box, found)
    return scene.speech.call(_call(_offered(body, heard), counted(box, picture.size, scene.unit)))


def _seen(data: bytes, longest: int | None) -> Image.Image:
    """A picture as the model sees it behind a server that scales down."""
    image = targets.opened(data)
    if longest and max(image.size) > longest:
        image = image.copy()
        image.thumbnail((longest, longest))
    return image


def counted(box: targets.Box, size: targets.Size, unit: Unit) -> list[float]:
    """A box in pixels of a picture of that size, as a model writes it."""
    if unit == "pixel":
        return [int(side) for side in box]
    across, down = size
    left, top, right, bottom = box.scaled(1 / across, 1 / down)
    if unit == "fraction":
        return [round(side, 3) for side in (left, top, right, bottom)]
    if unit == "tenths":
        return [round(side * 1000, 1) + 0.04 for side in (left, top, right, bottom)]
    sides = (top, left, bottom, right) if unit == "thousand_yx" else (left, top, right, bottom)
    return [round(side * 1000) for side in sides]


def _offered(body: Json, heard: list[Heard]) -> Json:
    """The tool to look closer that the request offers, by `tools` or in the system message."""
    listed = [tool["function"] for tool in body.get("tools") or ()]
    for message in heard:
        found = re.search(r"<tools>\n(.*?)\n</tools>", message.text, re.DOTALL)
        if message.role == "system" and found:
            listed += [json.loads(line)["function"] for line in found[1].splitlines()]
    for tool in listed:
        if re.search(r"crop|zoom_in", tool["name"]):
            return cast(Json, tool)
    raise BadRequestError("the request offers no tool to look closer")


def _call(tool: Mapping[str, Any], box: list[float]) -> Call:
    """A call of a tool with all of its arguments, whatever they are named."""
    arguments: Json = {}
    for name in tool["parameters"]["properties"]:
        if "box" in name:
            arguments[name] = box
        elif "idx" in name or "index" in name:
            arguments[name] = 0
        elif name == "label":
            arguments[name] = "the coloured place"
    return Call(tool["name"], arguments)


def _counted(heard: list[Heard], body: Json, said: Said, model: Listed) -> Counts:
    """The tokens of an exchange, as that model's tokenizer would roughly count them."""
    words = sum(len(message.text) // 4 + 5 for message in heard) + len(json.dumps(body.get("tools", ""))) // 4
    pixels = sum(_tokens(image, model.pixels_of_token) for message in heard for image in message.images)
    drawn = len(said.content + said.thought) + sum(len(str(call.arguments)) + 20 for call in said.calls)
    return Counts(words + pixels, drawn // 4 + 1)


def _tokens(image: bytes, side: int) -> int:
    width, height = targets.size_of(image)
    return (width // side) * (height // side) + 2


def asks(body: Json, name: str) -> bool:
    """Whether a request has a parameter; not to stream is what every server does where it is not asked to."""
    return name in body and not (name == "stream" and body[name] is False)


@dataclass
class Refusing:
    """Refuses each of these parameters while a request has it, one at a time unless `together`.

    `how` makes the error of the names.
    """

    names: tuple[str, ...]
    how: Callable[[Mapping[str, Any]], Refusal]
    together: bool = False
    seen: list[str] = field(default_factory=list)

    def __call__(self, body: Json) -> Refusal | None:
        there = {name: body[name] for name in self.names if asks(body, name)}
        if not there:
            return None
        named = there if self.together else dict([next(iter(there.items()))])
        self.seen += named
        return self.how(named)
