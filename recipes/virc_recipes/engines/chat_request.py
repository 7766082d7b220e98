"""The body of a chat completion request, read with nothing believed (OpenAI API reference, "Create chat completion").

What a server of ours cannot honour is refused, never ignored: an answer to another question than the one that was asked
would look like a right one. `read` is for a model in this process; an agent endpoint puts the parts together otherwise.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from virc_recipes.backends import Sampling
from virc_recipes.nearest import did_you_mean
from virc_recipes.reasoning.session import Message

_MOST_MESSAGES = 2048
NEUTRAL: Mapping[str, object] = {
    "n": 1, "logprobs": False, "top_logprobs": 0, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {},
    "stop": [], "tools": [], "tool_choice": "none", "parallel_tool_calls": True, "functions": [],
    "response_format": {"type": "text"}, "modalities": ["text"], "store": False, "repetition_penalty": 1, "min_p": 0,
    "min_tokens": 0, "ignore_eos": False,
}  # fmt: skip
"""Parameters that are known and not honoured -> the one value that asks for nothing."""


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        message: lower-case sentence without a full stop.
        param: the part of the request that is wrong.
        code: OpenAI's word for it, where it has one.
        status: of the HTTP answer.
        wait: seconds after which it may be asked again, where that helps.
    """

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
        wait: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.code, self.status, self.wait = message, param, code, status, wait


class ChatRequest(msgspec.Struct, frozen=True):
    """A request that can be honoured.

    Args:
        model: the name it asks for.
        messages: the conversation; their images count through `pictures`.
        pictures: data URLs, unread.
        sampling: how the reply is drawn; `max_tokens` None: as many as the context has room for.
        streamed: piece by piece.
        counted: a last piece says how many tokens it took.
    """

    model: str
    messages: tuple[Message, ...]
    pictures: tuple[str, ...]
    sampling: Sampling
    streamed: bool
    counted: bool


class _Part(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """A piece of a message's content."""


class _Text(_Part, tag="text"):
    text: str


class _Url(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    detail: Literal["auto", "low", "high", "original"] = "auto"


class Picture(_Part, tag="image_url"):
    """An image in a message; `uuid` is vLLM's, by which a client names an image that it sent before."""

    image_url: _Url
    uuid: str | None = None


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str | list[_Text | Picture]


class _StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool = False


_Count = Annotated[int, Meta(ge=1, le=2**31)]


class Body(msgspec.Struct):
    """What every server of ours honours, by the API's names."""

    model: str
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=_MOST_MESSAGES)]
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None
    user: str | None = None  # whoever asks, the answer is the same

    @property
    def longest(self) -> int | None:
        """The smaller of the two limits on a reply, in tokens; None: there is none."""
        limits = (self.max_tokens, self.max_completion_tokens)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def counted(self) -> bool:
        """Whether a last piece is to say how many tokens it took."""
        return bool(self.stream_options and self.stream_options.include_usage)


class _Plain(Body):
    """What a model in this process honours, with the API's defaults; `top_k` as vLLM has it (0 and -1: all)."""

    temperature: Annotated[float, Meta(ge=0)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] = -1


_B = TypeVar("_B", bound=Body)


def read(body: bytes, most_images: int, most_characters: int) -> ChatRequest:
    """Read the body of a request to a model in this process.

    Args:
        most_images: of a conversation.
        most_characters: of all its texts together.

    Raises:
        RefusedError: it is no such request, or cannot be honoured.
    """
    asked = read_body(body, _Plain, NEUTRAL)
    messages, pictures = conversation(asked, _data_url, most_images, most_characters)
    sampling = Sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k if asked.top_k > 0 else None,
        max_tokens=asked.longest or 2**31,
        seed=asked.seed,
    )
    return ChatRequest(asked.model, messages, pictures, sampling, asked.stream, asked.counted)


def read_body(body: bytes, kind: type[_B], neutral: Mapping[str, object]) -> _B:
    """Read a body as that kind of request.

    Args:
        neutral: parameters that are known and not honoured -> the one value that asks for nothing.

    Raises:
        RefusedError: it is no such request, or cannot be honoured.
    """
    return _convert(_honoured(_decoded(body), kind, neutral), kind)


def conversation(
    asked: Body, url_of: Callable[[Picture, str], str], most_images: int, most_characters: int
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """The messages of a request, and the addresses of its images, which count through the conversation.

    Args:
        url_of: the address of an image at a place; refuses those that are not taken.
        most_images, most_characters: as `read` takes them.

    Raises:
        RefusedError: there are more, or an image stands where none can be.
    """
    messages: list[Message] = []
    pictures: list[str] = []
    for number, message in enumerate(asked.messages):
        messages.append(_message(message, f"messages[{number}]", pictures, url_of))
    if len(pictures) > most_images:
        raise RefusedError(
            f"at most {most_images} images are taken in a conversation, not {len(pictures)}", "messages"
        )
    characters = sum(len(message.text) for message in messages)
    if characters > most_characters:
        raise RefusedError(
            f"the texts have {characters} characters, more than the model's context length holds", "messages",
            "context_length_exceeded",
        )  # fmt: skip
    return tuple(messages), tuple(pictures)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise RefusedError("the body is no JSON") from None
    if not isinstance(content, dict):
        raise RefusedError("the body is no JSON object")
    return _without_nulls(content)


def _without_nulls(content: dict[str, Any]) -> dict[str, Any]:
    """The body without what is null in it and in its messages: clients send that for what they do not set."""
    messages = content.get("messages")
    if isinstance(messages, list):
        content["messages"] = [
            {key: value for key, value in message.items() if value is not None}
            if isinstance(message, dict)
            else message
            for message in messages
        ]
    return {key: value for key, value in content.items() if value is not None}


def _honoured(content: dict[str, Any], kind: type[Body], neutral: Mapping[str, object]) -> dict[str, Any]:
    """The parameters that are honoured, where the others ask for nothing."""
    known = {field.name for field in msgspec.structs.fields(kind)}
    for name in content.keys() - known:
        if name not in neutral:
            near = did_you_mean(name[:200], known | neutral.keys(), "it is not honoured here")
            raise RefusedError(f"unknown parameter {name[:200]!r}: {near}", name[:200])
        if content[name] != neutral[name]:
            raise RefusedError(f"{name} cannot be honoured by this server: leave it out", name)
    return {name: content[name] for name in known & content.keys()}


def _convert(content: dict[str, Any], kind: type[_B]) -> _B:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$")
        place = where.strip("`.") or "the body"
        sentence = re.sub(r"`(\w+)`", r"\1", said[:1].lower() + said[1:])
        raise RefusedError(f"{place}: {sentence}", place) from None


def _message(
    message: _Message, place: str, pictures: list[str], url_of: Callable[[Picture, str], str]
) -> Message:
    """One message as the model is shown it: images before the text, as these families were trained.

    Args:
        pictures: addresses before it; its own are added.
    """
    if isinstance(message.content, str):
        return Message(message.role, message.content)
    before = len(pictures)
    for number, part in enumerate(message.content):
        if isinstance(part, Picture):
            pictures.append(url_of(part, f"{place}.content[{number}]"))
    if len(pictures) > before and message.role != "user":
        raise RefusedError(f"{place}: only a message of role user can hold images", place)
    text = "".join(part.text for part in message.content if isinstance(part, _Text))
    return Message(message.role, text, tuple(range(before, len(pictures))))


def _data_url(picture: Picture, place: str) -> str:
    if picture.uuid is not None or picture.image_url.detail != "auto":
        name = "detail" if picture.uuid is None else "uuid"
        raise RefusedError(f"{place}: {name} of an image cannot be honoured by this server", place)
    url = picture.image_url.url
    if url[:5].lower() != "data:":
        place = f"{place}.image_url"
        raise RefusedError(
            f"{place}: an image must be a data URL, such as data:image/png;base64,...; this server fetches nothing",
            place,
        )
    return url
