"""The body of a chat completion request, read without trust (OpenAI API reference, "Create chat completion").

Two servers read such bodies. `read` is for a model in this process: it refuses every parameter that it cannot honour,
since an answer to another request would look right. `agent.request.read` is for an agent endpoint, which ignores those
in `AGENT_IGNORED`. Both call `read_body` for the parameters and `conversation` for the messages.
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from virc.backends.interface import Sampling
from virc.core.options import in_fields
from virc.core.text import did_you_mean
from virc.reasoning.session import Message
from virc.serving.chat_parts import (
    AnyPart,
    PicturePart,
    Text,
    shown_parts,
    split_pictures,
    unknown_fields,
    written_parts,
)

MAX_BODY = 64 * 2**20
"""Bytes of a request."""
_MAX_MESSAGES = 2048
_MAX_PARTS = 1024  # of a message's content
_MAX_BRACES = 2**18  # of a body, so that no more objects than that are made of it
_MAX_QUOTES = 2**20  # of a body, so that no more names and texts are made of it
_MAX_LONG = {"messages": MAX_BODY, "tools": 2**17, "response_format": 2**15}  # bytes of long parameters
_MAX_PARAMETER = 4096  # bytes of any other parameter
NEUTRAL: Mapping[str, object] = {
    "n": 1, "logprobs": False, "top_logprobs": 0, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {},
    "stop": [], "tools": [], "tool_choice": "none", "parallel_tool_calls": True, "functions": [],
    "response_format": {"type": "text"}, "modalities": ["text"], "store": False, "repetition_penalty": 1,
    "min_tokens": 0, "ignore_eos": False, "reasoning_effort": None, "service_tier": None, "metadata": None,
    "audio": None, "prediction": None, "verbosity": None, "web_search_options": None, "function_call": None,
    "n_predict": -1, "n_probs": 0, "grammar": "", "echo": False, "add_generation_prompt": True, "bad_words": [],
    "continue_final_message": False, "include_stop_str_in_output": False, "stop_token_ids": [], "best_of": 1,
    "return_tokens": False,
}  # fmt: skip
"""Parameter -> the one value, apart from null, that asks for nothing: an endpoint that does not honour the parameter
takes that value, and refuses any other.
"""


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        param: the part of the request that is wrong.
        code: OpenAI's code for it, if it has one.
        status: of HTTP.
        wait: seconds after which the client may try again.
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
        messages: the conversation; their images are numbers of `pictures`.
        pictures: data URLs, not decoded yet.
        sampling: how the reply is drawn; `max_tokens` None: as many as the context has room for.
        counted: the last piece of a stream says how many tokens it took.
        ignored: names of what has no effect in it.
    """

    model: str
    messages: tuple[Message, ...]
    pictures: tuple[str, ...]
    sampling: Sampling
    streamed: bool
    counted: bool
    ignored: tuple[str, ...] = ()


ALWAYS_IGNORED = frozenset(
    "user safety_identifier service_tier store metadata prompt_cache_key prompt_cache_retention cache_control"
    " cache_prompt cache_salt n_cache_reuse n_keep id_slot slot_id keep_alive priority request_id rid timings_per_token"
    " return_progress".split()
)
"""Parameters about accounts, caches and queues: any server takes and ignores them, and names them in a header."""
AGENT_IGNORED = ALWAYS_IGNORED | frozenset(
    "reasoning_effort reasoning think thinking enable_thinking include_reasoning separate_reasoning reasoning_format"
    " verbosity parallel_tool_calls skip_special_tokens spaces_between_special_tokens chat_template_kwargs"
    " mm_processor_kwargs typical_p top_a tfs_z top_n_sigma min_keep samplers mirostat mirostat_tau mirostat_eta"
    " presence_penalty frequency_penalty repetition_penalty repeat_penalty repeat_last_n penalize_nl"
    " dynatemp_range dynatemp_exponent xtc_probability xtc_threshold"
    " dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers".split()
)
"""What an agent endpoint ignores: these tune one reply, and it draws several for an answer, in the way it chooses."""


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    function: _Function


class _Message(msgspec.Struct):
    """A message; other fields are taken, and `unknown_fields` lists them."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[AnyPart], Meta(max_length=_MAX_PARTS)] | None = None
    name: str | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[_ToolCall], Meta(max_length=_MAX_PARTS)] | None = None
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        if self.role != "assistant" and self.content is None:
            raise ValueError("Object missing required field `content`")
        if self.role != "assistant" and self.tool_calls:
            raise ValueError("Object contains unknown field `tool_calls`")


class _StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool = False
    include_obfuscation: bool = False  # of the official client; nothing is padded here


_Count = Annotated[int, Meta(ge=1, le=2**31)]


class Body(msgspec.Struct):
    """What every server of ours honours, by the API's names."""

    model: str
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=_MAX_MESSAGES)]
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @property
    def longest(self) -> int | None:
        """The smaller of the two limits on a reply, in tokens; None: there is none."""
        limits = (self.max_tokens, self.max_completion_tokens)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def counted(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


FIELDS = in_fields("max_tokens", "seed", "temperature", samples="n", strategy="virc_strategy")
"""How clients of our servers read the options in an error."""


class _ModelBody(Body):
    """What a model in this process honours, with the API's defaults; `top_k` as vLLM has it (0 and -1: all)."""

    temperature: Annotated[float, Meta(ge=0)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] = -1
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] = 1.0


_B = TypeVar("_B", bound=Body)
_Role = Literal["system", "user", "assistant"]
_ROLES: Mapping[str, _Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "user",
}  # fmt: skip
"""Role in a request -> role that every model knows; `developer` is the newer name of `system`."""


def read_chat_request(body: bytes, most_images: int, most_characters: int) -> ChatRequest:
    """Read the body of a request to a model in this process; `most_characters` are those of all its texts together."""
    request, ignored = read_body(body, _ModelBody, NEUTRAL, ALWAYS_IGNORED)
    for index, message in enumerate(request.messages):
        if message.role == "tool" or message.tool_calls:
            place = f"messages[{index}].{'tool_calls' if message.tool_calls else 'role'}"
            raise RefusedError(f"{place}: tool calls cannot be honoured by this server", place)
    messages, pictures = conversation(request, _data_url, most_images, most_characters)
    sampling = Sampling(
        temperature=request.temperature, top_p=request.top_p, top_k=request.top_k if request.top_k > 0 else None,
        max_tokens=request.longest or 2**31, seed=request.seed, repetition_penalty=request.repetition_penalty,
        min_p=request.min_p,
    )  # fmt: skip
    return ChatRequest(request.model, messages, pictures, sampling, request.stream, request.counted, ignored)


def read_body(
    body: bytes, kind: type[_B], neutral: Mapping[str, object], ignored: Collection[str]
) -> tuple[_B, tuple[str, ...]]:
    """Read a body as that kind of request; `ignored` parameters may have any value.

    Returns:
        The request, and the names of what has no effect in it: ignored parameters, sorted, and fields of parts.
    """
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    given = _given(body, {*fields, *neutral, *ignored})
    # Clients send -1 for no limit.
    no_effect = [
        each for each in ("max_tokens", "max_completion_tokens") if bytes(given.get(each, b"")).strip() == b"-1"
    ]
    for name in no_effect:
        del given[name]
    values: dict[str, Any] = {}
    for name, raw in given.items():
        max_bytes = _MAX_LONG.get(name, _MAX_PARAMETER)
        is_long = len(memoryview(raw)) > max_bytes
        if name in fields:
            if is_long:
                raise RefusedError(f"{name}: the value is over {max_bytes} bytes", name)
            values[name] = _decoded(raw, fields[name].type, name)
            continue
        asks_for_nothing = name in neutral and not is_long and _decoded(raw, Any, name) == neutral[name]
        if not asks_for_nothing and name not in ignored:
            raise RefusedError(f"{name} cannot be honoured by this server: leave it out", name)
        if not asks_for_nothing:
            no_effect.append(name)
    for name, field in fields.items():
        if field.required and name not in values:
            raise RefusedError(f"the parameter {name} is missing", name)
    try:
        return kind(**values), (*sorted(no_effect), *unknown_fields(given["messages"], _Message.__struct_fields__))
    except ValueError as error:
        raise RefusedError(str(error), str(error).partition(":")[0]) from None


def conversation(
    request: Body, url_of: Callable[[PicturePart, str], str], most_images: int, most_characters: int
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """The messages of a request, and the addresses of its images, numbered through the conversation.

    `url_of` gives the address of an image at a place of the request, and refuses those that are not taken.
    """
    pictures: list[str] = []
    messages = tuple(_message(each, f"messages[{n}]", pictures, url_of) for n, each in enumerate(request.messages))
    if len(pictures) > most_images:
        raise RefusedError(f"at most {most_images} images are taken in a conversation, not {len(pictures)}", "messages")
    characters = sum(len(message.text) for message in messages)
    if characters > most_characters:
        message = f"the texts have {characters} characters, more than the model's context length holds"
        raise RefusedError(message, "messages", "context_length_exceeded")
    return messages, tuple(pictures)


def check_amount(body: bytes, param: str) -> None:
    """Refuse a body that would be decoded into more objects than its bytes are counted for."""
    if body.count(b"{") > _MAX_BRACES or body.count(b'"') > _MAX_QUOTES:
        raise RefusedError("the body holds too many objects", param)


_ABSENT = msgspec.Raw()
_OF_SERVER = ("endpoint", "pipeline", "role", "roles", "system")
_HINT_OF_SERVER = "it is chosen when the server starts, and by no request"


def _given(body: bytes, known: Collection[str]) -> dict[str, msgspec.Raw]:
    """The parameters of a body, undecoded, without those that are null: clients send that for what they do not set."""
    check_amount(body, "messages")
    try:
        given = msgspec.json.decode(body, type=_all_raw(frozenset(known)))
    except msgspec.ValidationError as error:
        name = re.fullmatch(r"Object contains unknown field `(.*)`", str(error), re.DOTALL)
        if not name:
            raise RefusedError("the body is not a JSON object") from None
        unknown = name[1][:200]
        near = _HINT_OF_SERVER if unknown in _OF_SERVER else did_you_mean(unknown, known, "it is not honoured here")
        raise RefusedError(f"unknown parameter {unknown!r}: {near}", unknown) from None
    except (ValueError, RecursionError):
        raise RefusedError("the body is not valid JSON") from None
    values = {name: getattr(given, name) for name in known}
    return {name: raw for name, raw in values.items() if raw is not _ABSENT and bytes(memoryview(raw)[:5]) != b"null"}


@cache
def _all_raw(names: frozenset[str]) -> type[msgspec.Struct]:
    fields = [(name, msgspec.Raw, _ABSENT) for name in names]
    return msgspec.defstruct("Given", fields, forbid_unknown_fields=True)


def _decoded(raw: msgspec.Raw, kind: Any, name: str) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        place = name + path.strip("`")
        sentence = re.sub(r"`(\w+)`", r"\1", reason[:1].lower() + reason[1:])
        raise RefusedError(f"{place}: {sentence}", place) from None
    except (ValueError, RecursionError):
        raise RefusedError("the body is not valid JSON") from None


def _message(message: _Message, place: str, pictures: list[str], url_of: Callable[[PicturePart, str], str]) -> Message:
    """One message as the model is shown it: its parts in their order, and white space between texts.

    The addresses of its images are added to `pictures`.
    """
    role, content = _ROLES[message.role], message.content
    if message.role == "tool":
        if isinstance(content, str):
            try:
                content = written_parts(content) or content
            except ValueError as error:
                raise RefusedError(f"{place}.content: {error}".replace("`", ""), f"{place}.content") from None
        content = _without_data_urls(content)
    if not isinstance(content, list):
        return Message(role, _with_calls(message, content or ""))
    first, text, offsets = len(pictures), "", list[int]()  # offsets: where in the text each image stands
    for number, part in ((number, part) for number, each in enumerate(content) for part in shown_parts(each)):
        if isinstance(part, PicturePart):
            pictures.append(url_of(part, f"{place}.content[{number}]"))
            offsets.append(len(text))
        elif isinstance(part, Text):
            follows_image = bool(offsets) and offsets[-1] == len(text)
            if text and not follows_image and not (text[-1].isspace() or part.text[:1].isspace()):
                text += "\n"
            text += part.text
    if offsets and role != "user":
        raise RefusedError(f"{place}: only a message of role user or tool can hold images", place)
    whole = _with_calls(message, text)
    if message.role == "tool":  # the result of the tool is shown by a message of the user, which can hold images
        offsets = [len(whole) - len(text) + offset for offset in offsets]
    at = tuple(offsets) if any(offsets) else ()  # without it, all images come before the text
    return Message(role, whole, tuple(range(first, len(pictures))), at=at)


def _without_data_urls(content: str | list[AnyPart] | None) -> list[AnyPart]:
    """The parts of a tool's result, in which data URLs of pictures in texts are pictures of their own."""
    parts = [Text(content or "")] if not isinstance(content, list) else content
    split: list[AnyPart] = []
    for part in (shown for each in parts for shown in shown_parts(each)):
        split += split_pictures(part.text) if isinstance(part, Text) else [part]
    return split


def _with_calls(message: _Message, text: str) -> str:
    """The text of a message with its calls of tools, or as the result of one; the model calls no tools of clients."""
    if message.role == "tool":
        return f"Result of the tool: {text}"
    calls = [f"Called {call.function.name}({call.function.arguments})" for call in message.tool_calls or ()]
    return "\n".join([*([text] if text or not calls else []), *calls])


def _data_url(picture: PicturePart, place: str) -> str:
    if picture.unmet:
        raise RefusedError(f"{place}: {picture.unmet} of an image cannot be honoured by this server", place)
    url = picture.address.strip()
    if url[:5].lower() != "data:":
        field, what, kind = picture.TAKES
        needed = f"{what} must be a data URL, such as data:{kind};base64,...; this server fetches nothing"
        raise RefusedError(f"{place}.{field}: {needed}", f"{place}.{field}")
    return url
