"""What a server says of the weights behind a model name, apart from the name, which anybody may have chosen."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from virc.backends.chat import providers
from virc.backends.chat.backend import OpenAIBackend
from virc.core.errors import ConfigError, NetworkError

_OF_TWO = "qwen2vl"
"""Architecture of llama.cpp that stands for both Qwen2-VL and Qwen2.5-VL, whose boxes differ."""


class Identity(msgspec.Struct, frozen=True):
    """What is known of the weights.

    Args:
        names: what they are called by the server itself: their folder, file or hub id, their architecture.
        digest: changes with them; None: nothing tells them from others.
    """

    names: tuple[str, ...] = ()
    digest: str | None = None


def identify(backend: OpenAIBackend) -> Identity:
    """Ask a server what is behind the name of its model; this costs no reply.

    vLLM and SGLang tell the folder or hub id, llama.cpp the file, Ollama and LM Studio the architecture.
    """
    root = backend.server.weights_name
    is_told = backend.server.weights and (root or backend.kind == providers.VLLM)  # others repeat the name
    names = [root or backend.model] if is_told else []
    about = [] if names else [each for each in _asked(backend) if each]
    names += [each for each in about if not each.startswith("=")]
    known = sorted({*backend.server.weights, *about} - {backend.model})
    digest = hashlib.sha256("\n".join(known).encode(errors="replace")).hexdigest()[:16] if known else None
    return Identity(tuple(name for name in names if name != _OF_TWO), digest)


def _asked(backend: OpenAIBackend) -> Iterator[str]:
    """What the server says at other addresses; behind `=` stands what names nothing."""
    with suppress(ConfigError, NetworkError):
        match backend.kind:
            case "llamacpp":
                yield _text(backend.json_object("/props"), "model_path")
            case "sglang":
                yield _text(backend.json_object("/get_model_info"), "model_path")
            case "organization_owner":
                listed = backend.json_object("/api/v0/models").get("data")
                for each in listed if isinstance(listed, list) else ():
                    if isinstance(each, Mapping) and each.get("id") == backend.model:
                        yield _text(each, "arch")
            case providers.OLLAMA:
                shown = backend.json_object("/api/show", {"model": backend.model})
                about = shown.get("model_info")
                about = about if isinstance(about, Mapping) else {}
                yield from (_text(about, f"general.{key}") for key in ("architecture", "basename", "name"))
                size, changed = about.get("general.parameter_count"), _text(shown, "modified_at")
                yield f"={size}" if type(size) is int else ""
                yield f"={changed}" if changed else ""


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value[:1000].removeprefix("=") if isinstance(value, str) else ""
