"""What a server says of its models, and other bodies that are no replies."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from virc.backends.chat.errors import unreadable
from virc.config.taken import left

_T = TypeVar("_T")
_MAX_NAME = 1000
_BLIND = re.compile(r"embed|rerank|whisper|tts", re.IGNORECASE)
"""Names of models that take no pictures, which some servers list next to the one that does."""
_CONTEXTS = ("max_model_len", "loaded_context_length", "context_length", "context_window", "max_context_length")
"""The longest conversation, as vLLM and SGLang, LM Studio, OpenRouter, Groq, and Mistral call it."""
_SIGHT = re.compile("vision|image|picture|multimodal|vlm", re.IGNORECASE)
_OF_SIGHT = (
    "capabilities",
    "architecture",
    "type",
    "features",
    "input_modalities",
    "supported_input_modalities",
    "modalities",
)


class ListedModel(msgspec.Struct, frozen=True):
    """One entry of /v1/models; `virc serve` publishes its chat protocol, its patch grid, that it keeps images by id,
    and that it runs the loop itself.

    Args:
        context: longest conversation in tokens, if the server tells it.
        is_blind: whether it takes no pictures, by what the entry says, or else by its name.
        left: names of the entry that are not used.
    """

    id: str
    owned_by: Any = None
    virc_protocol: Any = None
    virc_grid: Any = None
    virc_image_ids: Any = None
    virc_agent: Any = None
    root: Any = None
    meta: Any = None
    context: int | None = None
    is_blind: bool = False
    left: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Who it says owns the model, in lower case: most servers name themselves there."""
        return str(self.owned_by or "").lower()

    @property
    def weights_name(self) -> str | None:
        """What the server calls the weights, where that is another name: vLLM names their folder or hub id."""
        return self.root if isinstance(self.root, str) and self.root != self.id else None

    @property
    def weights(self) -> tuple[str, ...]:
        meta = self.meta if isinstance(self.meta, dict) else {}  # llama.cpp sends one
        marks = (self.root, meta.get("n_params"), meta.get("size"))
        return tuple(str(mark)[:_MAX_NAME] for mark in marks if type(mark) in (str, int))


class _Embedding(msgspec.Struct):
    embedding: Annotated[list[float], Meta(min_length=1, max_length=2**16)]


class _Embeddings(msgspec.Struct):
    data: Annotated[list[_Embedding], Meta(min_length=1, max_length=1)]


def read_models(pieces: Iterable[bytes]) -> list[ListedModel]:
    """The body of /v1/models: a list, or an object that holds one or, if there is no model, null.

    Entries whose name cannot be printed and typed are left out.
    """
    data = b"".join(pieces)
    body: Any = decoded(data, Any)
    listed = body
    if isinstance(body, dict):
        otherwise = None if body.get("object") == "list" else body  # the body itself is refused below
        listed = next((body[key] for key in ("data", "models") if key in body), otherwise)
    if not isinstance(listed, list | None):
        raise unreadable(data)
    models = [{**each, "id": each.get("id") or each.get("name")} for each in listed or () if isinstance(each, dict)]
    models += [{"id": each} for each in listed or () if isinstance(each, str)]
    if listed and not models:
        raise unreadable(data)
    entries = [_entry(each) for each in models if isinstance(each["id"], str)]
    return [served for served in entries if served.id.isprintable() and 0 < len(served.id) <= 256]


def _entry(sent: Mapping[str, Any]) -> ListedModel:
    own = {name: value for name, value in sent.items() if name in ListedModel.__struct_fields__[:8]}
    meta = sent.get("meta")
    tokens = [sent.get(name) for name in _CONTEXTS] + [meta.get("n_ctx") if isinstance(meta, dict) else None]
    context = next((each for each in tokens if type(each) is int and each > 0), None)
    told = [*_told_of_sight(sent)]
    is_blind = not any(told) if told else bool(_BLIND.search(sent["id"]))
    used = (*own, *_CONTEXTS, *_OF_SIGHT, *filter(_SIGHT.search, sent))
    return ListedModel(**own, context=context, is_blind=is_blind, left=left("listed model", sent, used))


def _told_of_sight(value: object, name: str = "") -> Iterator[bool]:
    """Each sign in an entry that the model takes pictures, or that it does not."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not re.search("output|generat|meta|pricing", key):
                yield from _told_of_sight(each, key)
    elif isinstance(value, bool) and _SIGHT.search(name):
        yield value
    elif value and "modalit" in name:  # OpenRouter has `text+image->text`, too
        yield bool(_SIGHT.search(str(value).partition("->")[0]))
    elif (name == "type" and value in ("llm", "vlm")) or (name == "capabilities" and "completion" in str(value)):
        yield bool(_SIGHT.search(str(value)))  # LM Studio; Ollama and llama.cpp


def read_embedding(pieces: Iterable[bytes]) -> list[float]:
    return decoded(b"".join(pieces), _Embeddings).data[0].embedding


def decoded(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=kind)
    except (ValueError, RecursionError):  # nesting deeper than the interpreter's limit raises the latter
        raise unreadable(data) from None
