"""The body of a chat completion request, read with nothing believed (OpenAI API reference, "Create chat completion").

What a server in this process cannot honour is refused, never ignored: an answer to another question than the one that
was asked would look like a right one.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc_recipes.backends import Sampling
from virc_recipes.nearest import did_you_mean
from virc_recipes.reasoning.session import Message

_MOST_MESSAGES = 2048
_NEUTRAL: Mapping[str, object] = {
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
    """

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.code, self.status = message, param, code, status


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
    detail: Literal["auto"] = "auto"


class _Picture(_Part, tag="image_url"):
    image_url: _Url


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str | list[_Text | _Picture]


class _StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool = False


_Count = Annotated[int, Meta(ge=1, le=2**31)]


class _Body(msgspec.Struct):
    """What is honoured, by the API's names and with its defaults; `top_k` as vLLM has it (0 and -1: all)."""

    model: str
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=_MOST_MESSAGES)]
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    temperature: Annotated[float, Meta(ge=0)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] = -1
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None
    user: str | None = None  # whoever asks, the answer is the same


def read(body: bytes, most_images: int, most_characters: int) -> ChatRequest:
    """Read the body of a request.

    Args:
        most_images: of a conversation.
        most_characters: of all its texts together.

    Raises:
        RefusedError: it is no such request, or cannot be honoured.
    """
    asked = _convert(_honoured(_decoded(body)))
    messages: list[Message] = []
    pictures: list[str] = []
    for number, message in enumerate(asked.messages):
        messages.append(_message(message, f"messages[{number}]", pictures))
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
    return ChatRequest(
        asked.model,
        tuple(messages),
        tuple(pictures),
        _sampling(asked),
        asked.stream,
        bool(asked.stream_options and asked.stream_options.include_usage),
    )


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


def _honoured(content: dict[str, Any]) -> dict[str, Any]:
    """The parameters that are honoured, where the others ask for nothing."""
    known = {field.name for field in msgspec.structs.fields(_Body)}
    for name in content.keys() - known:
        if name not in _NEUTRAL:
            near = did_you_mean(name[:200], known | _NEUTRAL.keys(), "it is not honoured here")
            raise RefusedError(f"unknown parameter {name[:200]!r}: {near}", name[:200])
        if content[name] != _NEUTRAL[name]:
            raise RefusedError(f"{name} cannot be honoured by this server: leave it out", name)
    return {name: content[name] for name in known & content.keys()}


def _convert(content: dict[str, Any]) -> _Body:
    try:
        return msgspec.convert(content, _Body)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$")
        place = where.strip("`.") or "the body"
        sentence = re.sub(r"`(\w+)`", r"\1", said[:1].lower() + said[1:])
        raise RefusedError(f"{place}: {sentence}", place) from None


def _message(message: _Message, place: str, pictures: list[str]) -> Message:
    """One message as the model is shown it: images before the text, as these families were trained.

    Args:
        pictures: data URLs before it; its own are added.
    """
    if isinstance(message.content, str):
        return Message(message.role, message.content)
    before = len(pictures)
    for number, part in enumerate(message.content):
        if isinstance(part, _Picture):
            pictures.append(_data_url(part.image_url.url, f"{place}.content[{number}].image_url"))
    if len(pictures) > before and message.role != "user":
        raise RefusedError(f"{place}: only a message of role user can hold images", place)
    text = "".join(part.text for part in message.content if isinstance(part, _Text))
    return Message(message.role, text, tuple(range(before, len(pictures))))


def _data_url(url: str, place: str) -> str:
    if url[:5].lower() != "data:":
        raise RefusedError(
            f"{place}: an image must be a data URL, such as data:image/png;base64,...; this server fetches nothing",
            place,
        )
    return url


def _sampling(asked: _Body) -> Sampling:
    """A reply may be as long as the smaller of the two limits says, and the context has room for."""
    limits = [limit for limit in (asked.max_tokens, asked.max_completion_tokens) if limit is not None]
    return Sampling(
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k if asked.top_k > 0 else None,
        max_tokens=min(limits, default=2**31),
        seed=asked.seed,
    )
