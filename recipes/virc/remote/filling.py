"""Bodies and headers with their placeholders replaced."""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from PIL import Image

from virc.core.errors import SetupError
from virc.core.http import client
from virc.reasoning.bodies import INDEX
from virc.reasoning.encoded import as_png
from virc.remote.described import PLACEHOLDER, SECRET, Described

LEFT_OUT = object()
"""What stands for an argument that a call does not have."""


def body(written: Mapping[str, Any] | None, values: Mapping[str, Any], of: Described) -> dict[str, Any]:
    """A body as a file has it; where it has none: all arguments, and the image."""
    if written is None:
        known = (of.parameters.get("properties", {}).keys() - {INDEX}) | {"image"}
        written = {name: f"{{{name}}}" for name in values if name in known}
    return filled(dict(written), values)  # type: ignore[no-any-return]


def filled(written: Any, values: Mapping[str, Any]) -> Any:
    """Plain values with their placeholders replaced; what a call does not have is left out."""
    if isinstance(written, dict):
        inner = {key: filled(each, values) for key, each in written.items()}
        return {key: each for key, each in inner.items() if each is not LEFT_OUT}
    if isinstance(written, list):
        return [each for each in (filled(each, values) for each in written) if each is not LEFT_OUT]
    if not isinstance(written, str):
        return written
    if whole := PLACEHOLDER.fullmatch(written):
        return values.get(whole[1], LEFT_OUT)
    return PLACEHOLDER.sub(lambda found: as_text(values.get(found[1], "")), written)


def in_json(values: Mapping[str, Any], images: Literal["base64", "data_url"]) -> dict[str, Any]:
    prefix = "data:image/png;base64," if images == "data_url" else ""
    return {
        name: prefix + base64.b64encode(as_png(each).data).decode() if isinstance(each, Image.Image) else each
        for name, each in values.items()
    }


def with_secrets(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts with the values of environment variables. Raises SetupError: one is not set."""

    def value(name: str) -> str:
        if name not in os.environ:
            raise SetupError(f"a tool's server needs the environment variable {name}", f"export {name}=...")
        return os.environ[name].strip()

    return {key: SECRET.sub(lambda found: value(found[1]), text) for key, text in texts.items()}


def hidden(text: str, texts: Iterable[str]) -> str:
    """A text without the values that `with_secrets` filled into those texts."""
    for name in (name for each in texts for name in SECRET.findall(each)):
        text = client.hidden(text, os.environ.get(name, "").strip())
    return text


def as_text(value: object) -> str:
    """A text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
