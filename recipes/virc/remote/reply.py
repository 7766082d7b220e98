"""The text and the images of a server's reply; whatever the server sends, it fails with a `RemoteError` at most."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.core.limits.image_memory import BusyError, of_client
from virc.core.text import plain
from virc.reasoning.calls import Result
from virc.reasoning.opening.pictures import opened_all
from virc.remote.described import PLACEHOLDER, Described, ReplySettings

MAX_BYTES = 32 * 2**20

_MAX_PIXELS = 16_777_216  # of an image


class RemoteError(Exception):
    """Why a call failed, as a clause for the model."""


def of_json(content: bytes, reply: ReplySettings, limits: Described) -> Result:
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RemoteError("its reply is not JSON") from None
    template = reply.text if reply.text is not None or reply.images is not None else "{}"
    text = PLACEHOLDER.sub(lambda found: _written(at(value, found[1])), template or "")
    images = _listed(at(value, reply.images)) if reply.images is not None else []
    return result(text, images, limits)


def result(text: str, images: Sequence[str | bytes], limits: Described) -> Result:
    """A text and images (in base64, or files) within the limits."""
    notes = []
    if len(text) > limits.most_characters:
        notes.append(f"[cut after {limits.most_characters} of {len(text)} characters]")
    if len(images) > limits.most_images:
        notes.append(f"[{limits.most_images} of {len(images)} images are shown]")
    shown = tuple(_opened(each) for each in images[: limits.most_images])
    return Result("\n".join(filter(None, [text[: limits.most_characters], *notes])), shown)


def at(value: object, path: str) -> Any:
    """The value at a path; raises RemoteError where there is none."""
    for number, key in enumerate(keys := path.split(".") if path else []):
        if key == "*" and isinstance(value, list):
            return [at(each, ".".join(keys[number + 1 :])) for each in value]
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise RemoteError(f"its reply has no {path}")
    return value


def _written(value: object) -> str:
    if isinstance(value, str):
        return value
    if value and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    return msgspec.json.encode(value).decode()


def _listed(value: object) -> list[str]:
    images: list[object] = [] if value is None else value if isinstance(value, list) else [value]
    found = [each for each in images if isinstance(each, str)]
    if len(found) < len(images):
        raise RemoteError("its reply has something other than images in their place")
    return found


def _opened(image: str | bytes) -> Image.Image:
    """An image of a reply, in base64 or as a file, that can be shown; raises RemoteError."""
    name = "an image of its reply"
    try:
        data = _bytes(image) if isinstance(image, str) else image
        with opened_all([(data, name)], of_client()) as pictures:
            width, height = pictures[0].size
            if width * height > _MAX_PIXELS:
                raise RemoteError(f"{name} has {width} x {height} pixels, over {_MAX_PIXELS // 10**6} million")
            return pictures[0].pixels
    except (binascii.Error, ValueError):
        raise RemoteError(f"{name} is not base64") from None
    except (DataError, BusyError) as error:
        raise RemoteError(plain(error.message)) from None


def _bytes(image: str) -> bytes:
    head, comma, body = image.partition(",")
    written = body if comma and head.startswith("data:") and head.endswith(";base64") else image
    return base64.b64decode("".join(written.split()), validate=True)
