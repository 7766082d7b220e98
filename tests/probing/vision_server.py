"""Scripted servers whose model looks at the pixels that it is sent.

`with see(Vision(...)) as server:` answers on the loopback. Each picture is decoded, scaled as that server scales it,
and put on the model's patch grid; the red rectangle is looked for in what is left, and its box is told in the model's
unit, with a few pixels of noise. How calls, thoughts, counts and errors look is as /v1 of the named servers has it.
"""

import base64
import io
import json
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from PIL import Image, ImageChops
from support.servers import CHAT, MODELS, Body, Exchange, Request, Script, Server

COLORS = {
    "red": (220, 20, 20), "green": (20, 160, 40), "blue": (20, 40, 220), "grey": (128, 128, 128), "white": (255,) * 3,
}  # fmt: skip
Size = tuple[int, int]
Box = tuple[float, float, float, float]
_ASKED = re.compile(r"colours have images ([\d, ]+)\?")
_MARKS = 2  # tokens around each picture
_WORD = re.compile(r" ?[A-Za-z]{1,9}|\d| ?[^\w\s]{1,3}|[_\n]| +")


@dataclass(frozen=True)
class Eyes:
    """What becomes of a picture before the model sees it.

    Args:
        longest: longest side in px that the server lets through (LM Studio).
        factor: px of a side that one token stands for, of a model that counts by area.
        least, most: px of the smallest and largest picture on the grid.
        fixed: (width, height) in px to which every picture is brought.
        budget: tokens that every picture is brought to, whatever its size (Gemma 4).
    """

    longest: int | None = None
    factor: int = 28
    least: int = 3136
    most: int = 12_845_056
    fixed: Size | None = None
    budget: int | None = None

    def shown(self, size: Size) -> tuple[Size, int]:
        """(width, height) in px of a picture as it is seen, and the tokens that it takes."""
        width, height = size
        if self.longest and max(size) > self.longest:
            ratio = self.longest / max(size)
            width, height = max(1, round(width * ratio)), max(1, round(height * ratio))
        if self.fixed:
            return self.fixed, 256
        if self.budget:
            side = self.factor
            ratio = math.sqrt(self.budget * side * side / (width * height))
            columns, rows = (max(1, math.floor(each * ratio / side)) for each in (width, height))
            return (columns * side, rows * side), columns * rows
        return self._on_grid(width, height)

    def _on_grid(self, width: int, height: int) -> tuple[Size, int]:
        """As the processors of Qwen's models do it."""
        side = self.factor
        wide, high = (max(side, round(each / side) * side) for each in (width, height))
        if wide * high > self.most:
            beta = math.sqrt(width * height / self.most)
            wide, high = (max(side, math.floor(each / beta / side) * side) for each in (width, height))
        elif wide * high < self.least:
            beta = math.sqrt(self.least / (width * height))
            wide, high = (math.ceil(each * beta / side) * side for each in (width, height))
        return (wide, high), wide * high // side**2


Calls = Literal["hermes", "parsed", "native", "json"]
"""How a call comes: as text; `parsed` taken out by the server where it was sent `tools`; `native` only then made;
`json`: a box, and no call."""


@dataclass(frozen=True)
class Vision:
    """A server and its model.

    Args:
        model, owned_by: as /v1/models names them; "" leaves the owner out.
        eyes: what the model sees of a picture.
        unit, yx: what its boxes are counted in, and whether top stands before left.
        noise: of each side of a box, as a part of the side of the picture, drawn by `seed`.
        calls, thoughts: how they come; `thoughts` is a field's name, `tags` or "".
        usage: whether it counts; `wordy`: tokens of its text for one of ours; `hidden`: tokens that it adds itself.
        pictures: most that it takes, and `says` of more.
        order: how the model gets them: `kept`, `last` (all on the last message), `reversed`.
        refuses: parameters, one an answer, as openai.com does.
        context: tokens that fit; `context_in`: where it tells them.
        extra: further keys of its entry of /v1/models.
        answers: what the model says in place of all this, by the request.
        facts: path -> what is answered there beside all this.
    """

    model: str = "qwen2.5-vl-7b-instruct"
    owned_by: str = "vllm"
    eyes: Eyes = Eyes()
    unit: Literal["pixel", "thousand", "unit", "percent"] = "pixel"
    yx: bool = False
    noise: float = 0.0
    seed: int = 0
    calls: Calls = "hermes"
    thoughts: str = ""
    usage: bool = True
    wordy: float = 1.0
    hidden: int = 0
    pictures: int | None = None
    says: str = "At most {most} image(s) may be provided in one prompt."
    order: Literal["kept", "last", "reversed"] = "kept"
    refuses: tuple[str, ...] = ()
    context: int | None = None
    context_in: Literal["models", "props", "error", "nowhere"] = "nowhere"
    extra: Mapping[str, object] = field(default_factory=dict)
    answers: Callable[[Body], Body | None] | None = None
    facts: Mapping[str, Body] = field(default_factory=dict)


class VisionServer(Server):
    """The running server: `url`, `requests`, `posts()`."""

    def __init__(self, vision: Vision, port: int = 0) -> None:
        super().__init__(Script(models=(vision.model,)), port)
        self.RequestHandlerClass = _VisionExchange
        self.vision = vision

    def posts(self) -> list[Body]:
        """The bodies of all requests for a completion, refused ones too."""
        return [r.body for r in self.requests if r.path == CHAT and r.body is not None]


@contextmanager
def see(vision: Vision, port: int = 0) -> Iterator[VisionServer]:
    """Serve such a model until the block ends."""
    server = VisionServer(vision, port)
    with server.running():
        yield server


class _VisionExchange(Exchange):
    server: VisionServer

    def _handle(self, body: Body | None) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.record(Request(self.path, headers, body))
        vision = self.server.vision
        if body is not None and self.path == CHAT:
            self._chat(body, vision)
            return
        found = _settings(vision, self.path)
        self.send_json(found) if found is not None else self.send_json({"detail": "Not Found"}, 404)

    def _chat(self, body: Body, vision: Vision) -> None:
        refusal = _refusal(body, vision)
        if refusal:
            self.send_json(*refusal)
            return
        said = (vision.answers and vision.answers(body)) or _said(body, vision)
        counted = _counted(body, vision) if vision.usage else None
        if body.get("stream"):
            asked = (body.get("stream_options") or {}).get("include_usage")
            self._events(said, counted if asked else None)
        else:
            choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": _finish(said)}
            whole = {"object": "chat.completion", "choices": [choice]}
            self.send_json(whole | ({"usage": _usage(counted)} if counted else {}))

    def _events(self, said: Body, counted: int | None) -> None:
        self.start_events()
        for delta in _deltas(said):
            self.send_event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        self.send_event({"choices": [{"index": 0, "delta": {}, "finish_reason": _finish(said)}]})
        if counted is not None:
            self.send_event({"choices": [], "usage": _usage(counted)})
        self.send_chunk(b"data: [DONE]\n\n")
        self.send_chunk(b"")


def _settings(vision: Vision, path: str) -> Body | None:
    """What a GET of a path is answered with."""
    entry: Body = {"id": vision.model, "object": "model", "created": 1_766_000_000, **vision.extra}
    entry |= {"owned_by": vision.owned_by} if vision.owned_by else {}
    held = vision.context
    if path in vision.facts:
        return vision.facts[path]
    if path == MODELS:
        entry |= {"max_model_len": held} if held and vision.context_in == "models" else {}
        return {"object": "list", "data": [entry]}
    if path == "/props" and vision.context_in == "props":
        return {"default_generation_settings": {"n_ctx": held}, "total_slots": 1}
    return None


def _refusal(body: Body, vision: Vision) -> tuple[Body, int] | None:
    """An error, and its status."""
    for name in vision.refuses:
        if name in body:
            sentence = f"Unsupported parameter: '{name}' is not supported with this model."
            kind = {"type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}
            return {"error": {"message": sentence, **kind}}, 400
    count = len(_pictures(body))
    if vision.pictures is not None and count > vision.pictures:
        return _error(vision.says.format(most=vision.pictures, sent=count)), 400
    if vision.context and _counted(body, vision) > vision.context:
        sentence = (
            f"This model's maximum context length is {vision.context} tokens. However, your prompt contains at least "
            f"{_counted(body, vision)} input tokens. Please reduce the length of the input prompt."
            if vision.context_in in ("models", "error")
            else f"request ({_counted(body, vision)} tokens) exceeds the available context size "
            f"({vision.context} tokens), try increasing it"
        )
        return _error(sentence), 400
    return None


def _error(sentence: str) -> Body:
    return {"error": {"message": sentence, "type": "BadRequestError", "param": None, "code": 400}}


# What the model says


def _said(body: Body, vision: Vision) -> Body:
    """The message of a reply."""
    texts = "\n".join(_texts(body))
    asked = _ASKED.search(texts)
    rng = random.Random(vision.seed)
    if asked:
        said = {"content": ", ".join(_colors(body, vision, [int(each) for each in asked[1].split(",")]))}
    elif any(message["role"] == "assistant" for message in body["messages"]):
        said = {"content": "It is clear now. <answer>red</answer>"}
    else:
        said = looks(body, vision, rng)
    return _thinks(said, vision.thoughts)


def _thinks(said: Body, thoughts: str) -> Body:
    thought = "The red rectangle stands right of the middle, [1, 2, 3, 4] is not its place."
    if thoughts == "tags":
        return said | {"content": f"<think>\n{thought}\n</think>\n\n{said.get('content') or ''}"}
    return said | ({thoughts: thought} if thoughts else {})


def looks(body: Body, vision: Vision, rng: random.Random) -> Body:
    """The box around what is red, as this model and server tell it."""
    seen = found(_pictures(body)[-1], vision.eyes)
    if seen is None:
        return {"content": "I see a picture, and nothing that I would look at closer."}
    size, corners = seen
    box = _written(_noisy(corners, size, vision.noise, rng), size, vision)
    tools = body.get("tools")
    name, arguments = _function(body, box)
    call = {"name": name, "arguments": arguments}
    structured = {"id": "call_ab12cd34", "type": "function", "index": 0}
    structured["function"] = {"name": name, "arguments": json.dumps(arguments)}
    if tools and vision.calls in ("parsed", "native"):
        return {"content": None, "tool_calls": [structured]}
    match vision.calls:
        case "native":
            text = "It stands right of the middle; no function was given to me."
        case "json":
            text = f"```json\n{json.dumps([{'bbox_2d': box, 'label': 'red rectangle'}])}\n```"
        case _:
            text = f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
    return {"content": text}


def _function(body: Body, box: list[float]) -> tuple[str, Body]:
    """The first function that the model was told of, with its arguments."""
    listed = body.get("tools") or [
        json.loads(line)
        for line in "\n".join(_texts(body)).partition("<tools>\n")[2].partition("\n</tools>")[0].splitlines()
    ]
    if not listed:
        return "image_zoom_in_tool", {"bbox_2d": box, "label": "red rectangle", "img_idx": 0}
    function = listed[0]["function"]
    arguments: Body = {}
    for key in function["parameters"]["properties"]:
        whole = len(_pictures(body)) - 1
        arguments[key] = box if "2d" in key else "red rectangle" if key == "label" else whole
    return function["name"], arguments


def _noisy(box: Box, size: Size, noise: float, rng: random.Random) -> list[float]:
    """A box whose sides are up to a part of the picture's side from where they were, inside of it."""
    moved = [side + rng.uniform(-noise, noise) * whole for side, whole in zip(box, size * 2, strict=True)]
    return [min(max(0.0, side), whole) for side, whole in zip(moved, size * 2, strict=True)]


def _written(box: list[float], size: Size, vision: Vision) -> list[float]:
    whole = {"pixel": size, "thousand": (1000, 1000), "unit": (1, 1), "percent": (100, 100)}[vision.unit]
    sides = [side * part / most for side, part, most in zip(box, whole * 2, size * 2, strict=True)]
    box = [round(side, 3) if vision.unit in ("unit", "percent") else round(side) for side in sides]
    return [box[1], box[0], box[3], box[2]] if vision.yx else box


def _colors(body: Body, vision: Vision, asked: list[int]) -> list[str]:
    """The colours of pictures by their number, as far as the model got them."""
    pictures = _pictures(body)
    if vision.order == "reversed":
        pictures = pictures[::-1]
    return [color(pictures[index]) for index in asked]


# What it sees


def _parts(body: Body) -> Iterator[tuple[str, str]]:
    """(`text` or `image`, the text or base64 data) of all messages, of either API."""
    for message in body["messages"]:
        content = message.get("content") or ""
        for data in message.get("images", ()):
            yield "image", data
        parts: list[Body] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] == "text":
                yield "text", part["text"]
            else:
                yield "image", part["image_url"]["url"].partition("base64,")[2]


def _texts(body: Body) -> list[str]:
    return [value for kind, value in _parts(body) if kind == "text"]


def _pictures(body: Body) -> list[str]:
    return [value for kind, value in _parts(body) if kind == "image"]


def sizes(body: Body) -> list[Size]:
    """(width, height) in px of the pictures of a request, as sent."""
    return [opened(data).size for data in _pictures(body)]


def pixels(body: Body) -> list[Image.Image]:
    """The pictures of a request, as sent."""
    return [opened(data) for data in _pictures(body)]


@lru_cache(256)
def opened(data: str) -> Image.Image:
    """A picture from base64 data."""
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB")


@lru_cache(256)
def color(data: str) -> str:
    """What colour most of a picture has."""
    mean = opened(data).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(mean, tuple)
    return min(COLORS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLORS[name], mean, strict=True)))


@lru_cache(256)
def found(data: str, eyes: Eyes) -> tuple[Size, Box] | None:
    """The size in px at which a picture is seen, and the box in its pixels around what is red."""
    size, _ = eyes.shown(opened(data).size)
    picture = opened(data)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    red, green, blue = picture.split()
    some = [
        red.point(lambda value: 255 * (value > 150)),
        *(band.point(lambda value: 255 * (value < 110)) for band in (green, blue)),
    ]
    box = ImageChops.multiply(ImageChops.multiply(some[0], some[1]), some[2]).getbbox()
    return (size, box) if box else None


# How it counts and how it is sent


def _counted(body: Body, vision: Vision) -> int:
    """Prompt tokens: of the text, of each message's frame, and of the pictures as seen."""
    texts = "\n".join(_texts(body)) + (json.dumps(body["tools"]) if body.get("tools") else "")
    text = round(len(_WORD.findall(texts)) * vision.wordy) + 5 * len(body["messages"]) + 3 + vision.hidden
    return text + sum(vision.eyes.shown(size)[1] + _MARKS for size in sizes(body))


def _usage(prompt: int) -> Body:
    return {"prompt_tokens": prompt, "completion_tokens": 20, "total_tokens": prompt + 20}


def _finish(said: Body) -> str:
    return "tool_calls" if said.get("tool_calls") else "stop"


def _deltas(said: Body) -> Iterator[Body]:
    """A message in pieces: its thought, its text, its calls by name and then by their arguments."""
    yield {"role": "assistant", "content": ""}
    for key in said.keys() - {"content", "tool_calls"}:
        yield {key: said[key]}
    content = said.get("content") or ""
    for start in range(0, len(content), 4096):
        yield {"content": content[start : start + 4096]}
    for position, call in enumerate(said.get("tool_calls") or ()):
        function: dict[str, Any] = call["function"]
        yield {"tool_calls": [call | {"index": position, "function": {"name": function["name"], "arguments": ""}}]}
        half = len(function["arguments"]) // 2
        for piece in (function["arguments"][:half], function["arguments"][half:]):
            yield {"tool_calls": [{"index": position, "function": {"arguments": piece}}]}
