"""A chat as a problem: `read` makes a `Problem` and the addresses of its images of the body of a request."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from virc.core.errors import UsageError
from virc.reasoning.session import Message
from virc.reasoning.turns import MARK, PLACE, texts_around
from virc.serving.chat_parts import PicturePart, Video, VideoUrl
from virc.serving.chat_request import AGENT_IGNORED, FIELDS, NEUTRAL, Body, RefusedError, conversation, read_body
from virc.solving.one import SolveConfig
from virc.solving.strategies import registry as strategies

MAX_SAMPLES = 8
STRATEGY = "majority"
"""The strategy that a request may name."""
_IMAGE = "(image)"
"""Stands for the image in the result of a tool, where all images are shown before the conversation."""
_NAMES = {"user": "User: ", "assistant": "Assistant: ", "system": ""}
_MAX_URL = 8192  # characters
_MAX_STOPS, _MAX_TOOLS = 16, 128
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}
_Stop = Annotated[str, Meta(min_length=1)]


class ClientTool(msgspec.Struct, frozen=True):
    """A tool of the client's own: `schema` is that of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]


class AgentProblem(msgspec.Struct, frozen=True):
    """A request that can be honoured.

    Args:
        question: the text that the model is asked, with the earlier messages.
        messages: those of a chat without images, which one turn answers; empty if there are images.
        temperature, top_p, top_k, min_p: as of `SolveConfig`.
        max_tokens: longest answer.
        turn_tokens: longest reply of a turn; None: as `virc solve` has it.
        stop: texts before which the answer ends.
        schema: JSON schema that the answer must fit; None: it is text.
        forced: tools of the client of which one must be called; empty: the answer is enough.
        counted: the last piece of a stream says how many tokens it took.
        ignored: parameters that were given and have no effect.
        strategy: how the answer is found; None: by one sample.
        clips: numbers of the images that the client calls clips.
    """

    model: str
    question: str
    messages: tuple[Message, ...] = ()
    samples: int = 1
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int = 0
    max_tokens: int | None = None
    turn_tokens: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    forced: tuple[ClientTool, ...] = ()
    streamed: bool = False
    counted: bool = False
    ignored: tuple[str, ...] = ()
    strategy: str | None = None
    clips: tuple[int, ...] = ()


class _Format(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """What an answer is to be: text, some JSON object, or JSON that fits a schema."""


class _TextFormat(_Format, tag="text"):
    pass


class _ObjectFormat(_Format, tag="json_object"):
    pass


class _NamedSchema(msgspec.Struct, rename={"value": "schema"}):
    value: dict[str, Any] = {}


class _SchemaFormat(_Format, tag="json_schema"):
    json_schema: _NamedSchema


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    """A tool of the client; those of other kinds than `function` have no effect, as nobody calls them."""

    type: str
    function: _Function | None = None

    def __post_init__(self) -> None:
        if self.type == "function" and self.function is None:
            raise ValueError("Object missing required field `function`")


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct, tag_field="type", tag="function"):
    function: _Named


class _Body(Body):
    n: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] = 1
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    virc_max_turn_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    virc_strategy: Annotated[str, Meta(max_length=200)] | None = None
    stop: _Stop | Annotated[list[_Stop], Meta(max_length=_MAX_STOPS)] = msgspec.field(default_factory=list)
    response_format: _TextFormat | _ObjectFormat | _SchemaFormat | None = None
    tools: Annotated[list[_Tool], Meta(max_length=_MAX_TOOLS)] = msgspec.field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | _Choice = "auto"


def read_problem(body: bytes, most_images: int, most_characters: int) -> tuple[AgentProblem, list[str]]:
    """The problem in the body of a request, and the addresses of its images: data and https URLs, unread.

    `most_images` and `most_characters`, and errors: as of `chat_request.read`.
    """
    request, ignored = read_body(body, _Body, NEUTRAL, AGENT_IGNORED)
    ignored += tuple(dict.fromkeys(_kind(tool) for tool in request.tools if not tool.function))
    parts: list[PicturePart] = []

    def url_of(picture: PicturePart, place: str) -> str:
        parts.append(picture)
        return _url(picture, place)

    messages, pictures = conversation(request, url_of, most_images, most_characters)
    clips = tuple(number for number, each in enumerate(parts) if isinstance(each, VideoUrl | Video))
    question = _question(messages, {n for n, each in enumerate(request.messages) if each.role == "tool"})
    form = request.response_format
    schema: Mapping[str, Any] | None = form.json_schema.value if isinstance(form, _SchemaFormat) else None
    if isinstance(form, _ObjectFormat):
        schema = {"type": "object"}
    problem = AgentProblem(
        request.model, question, messages=() if pictures else messages, samples=request.n,
        temperature=request.temperature, top_p=request.top_p, top_k=request.top_k, min_p=request.min_p,
        seed=request.seed or 0, max_tokens=request.longest, turn_tokens=request.virc_max_turn_tokens,
        schema=schema, forced=_forced(request),
        stop=(request.stop,) if isinstance(request.stop, str) else tuple(request.stop), streamed=request.stream,
        counted=request.counted, ignored=ignored, strategy=_strategy(request), clips=clips,
    )  # fmt: skip
    return problem, list(pictures)


def _kind(tool: _Tool) -> str:
    return "tools." + re.sub(r"[^!-+\--~]", "?", tool.type[:40])


def _strategy(request: _Body) -> str | None:
    """The strategy, if it is the one that needs nothing but the model; no file is loaded for a request."""
    text = request.virc_strategy
    if text is None:
        return None
    if text.partition(":")[0] != STRATEGY:
        raise RefusedError(f"virc_strategy must be {STRATEGY}", "virc_strategy")
    if request.n > 1:
        raise RefusedError("virc_strategy gives one answer: leave n out", "n")
    try:
        config = strategies.resolved(SolveConfig(temperature=request.temperature, strategy=text))
    except UsageError as error:
        raise RefusedError(error.spelled_by(FIELDS)[0], "virc_strategy") from None
    if config.samples > MAX_SAMPLES:
        raise RefusedError(f"virc_strategy draws {config.samples} answers, over {MAX_SAMPLES}", "virc_strategy")
    return config.strategy


def _forced(request: _Body) -> tuple[ClientTool, ...]:
    chosen = request.tool_choice
    if chosen in ("none", "auto"):
        return ()
    functions = [tool.function for tool in request.tools if tool.function]
    if isinstance(chosen, _Choice):
        functions = [function for function in functions if function.name == chosen.function.name][:1]
    if not functions:
        raise RefusedError("tool_choice names none of the tools", "tool_choice")
    return tuple(ClientTool(each.name, each.description or "", each.parameters or _NO_ARGUMENTS) for each in functions)


def _question(messages: Sequence[Message], results: Collection[int]) -> str:
    """The last text of the user, after the earlier messages in order; `results` are the places of tools' results.

    The places of images are marked if their order matters: several messages have some, or text stands between them.
    Else the images are shown before the conversation, and words stand in their place in the result of a tool.
    """
    last = next((message for message in reversed(messages) if message.role != "system"), None)
    if last is None or last.role != "user":
        raise RefusedError("the last message must be of role user or tool: that is the question", "messages")
    if not last.text.strip():
        raise RefusedError("the last message has no text: it must hold the question", "messages")
    with_images = [each for each in messages if each.images]
    is_between = any(len(texts_around("".join(_parts(each, PLACE)), len(each.images))) > 1 for each in with_images)
    marked = len(with_images) > 1 or is_between or (with_images and any(MARK in each.text for each in messages))
    texts = [
        "".join(_parts(each, PLACE)) if marked else _without_places(each, is_result=number in results)
        for number, each in enumerate(messages)
    ]
    others = [(each, text) for each, text in zip(messages, texts, strict=True) if each is not last and text.strip()]
    question = next(text for each, text in zip(messages, texts, strict=True) if each is last)
    return "\n\n".join([*(f"{_NAMES[each.role]}{text}" for each, text in others), question])


def _without_places(message: Message, is_result: bool) -> str:
    if is_result and message.images:
        return " ".join(part.strip() for part in _parts(message, _IMAGE))
    return "\n".join(_parts(message, ""))


def _parts(message: Message, place: str) -> list[str]:
    parts = (place if isinstance(part, int) else part.replace(PLACE, "") for part in message.parts())
    return [*filter(None, parts)]


def _url(picture: PicturePart, place: str) -> str:
    """The address of an image; its `uuid` is dropped, since an engine might find another client's image by it."""
    url, (field, what, kind) = picture.address.strip(), picture.TAKES
    place += f".{field}"
    if url[:5].lower() == "data:" and url.isascii():  # another text would take four bytes a character in memory
        return url
    if not re.match(r"https://", url, re.IGNORECASE):
        needed = f"{what} must be a data URL (data:{kind};base64,...) or an https URL; no file is read"
        raise RefusedError(f"{place}: {needed}", place)
    with suppress(ValueError):
        parts = urlsplit(url)
        names_host = parts.hostname and "@" not in parts.netloc and parts.port != 0
        if names_host and len(url) <= _MAX_URL and re.fullmatch(r"[!-~]+", url):
            return url
    raise RefusedError(f"{place}: this is no https URL that can be fetched", place)
