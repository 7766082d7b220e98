"""What a server says of its models, and other bodies that are no replies."""

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from virc.backends.chat.errors import unreadable

_T = TypeVar("_T")
_MAX_NAME = 1000


class ListedModel(msgspec.Struct, frozen=True):
    """One entry of /v1/models; `virc serve` publishes its chat protocol, its patch grid, that it keeps images by id,
    and that it runs the loop itself.
    """

    id: str
    owned_by: Any = None
    virc_protocol: Any = None
    virc_grid: Any = None
    virc_image_ids: Any = None
    virc_agent: Any = None
    max_model_len: Any = None
    root: Any = None
    meta: Any = None

    @property
    def kind(self) -> str:
        """Who it says owns the model, in lower case: most servers name themselves there."""
        return str(self.owned_by or "").lower()

    @property
    def weights_name(self) -> str | None:
        """What the server calls the weights, where that is another name: vLLM names their folder or hub id."""
        return self.root if isinstance(self.root, str) and self.root != self.id else None

    @property
    def context(self) -> int | None:
        """Longest conversation in tokens, if the server tells it: vLLM, SGLang and llama.cpp do."""
        of_llama_cpp = self.meta.get("n_ctx") if isinstance(self.meta, dict) else None
        tokens = self.max_model_len if type(self.max_model_len) is int else of_llama_cpp
        return tokens if type(tokens) is int and tokens > 0 else None

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
    entries = [msgspec.convert(each, ListedModel) for each in models if isinstance(each["id"], str)]
    return [served for served in entries if served.id.isprintable() and 0 < len(served.id) <= 256]


def read_embedding(pieces: Iterable[bytes]) -> list[float]:
    return decoded(b"".join(pieces), _Embeddings).data[0].embedding


def decoded(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=kind)
    except (ValueError, RecursionError):  # nesting deeper than the interpreter's limit raises the latter
        raise unreadable(data) from None
