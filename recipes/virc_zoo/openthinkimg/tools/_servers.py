"""Vision tools behind the servers of OpenThinkIMG: one controller, which knows the server of each tool by its name.

The form is that of its clients (zhaochen0110/OpenThinkIMG@45d295f, tool_server/tool_workers/tool_manager/
base_manager.py): `POST CONTROLLER/get_worker_address {"model": NAME}` names a server, and `POST
SERVER/worker_generate {"image": BASE64, "param": TEXT}` answers with a `text` and, where it drew, an `edited_image`.
What a server does wrong is a text for the model, and ends no run.
"""

import base64
import json
import os
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from PIL import Image

from virc.core.errors import DataError, SetupError
from virc.core.http import client
from virc.core.limits.image_memory import BusyError, of_client
from virc.core.text import clause
from virc.reasoning.calls import INDEX_SCHEMA, Call, Result, function_schema
from virc.reasoning.encoded import as_png
from virc.reasoning.images import FEWEST_PIXELS
from virc.reasoning.opening.pictures import opened_all
from virc.reasoning.resize import too_long
from virc.remote import failures

CONTROLLER = "VIRC_TOOL_CONTROLLER"
"""The environment variable with the URL of the controller."""
_SECONDS = 60.0  # of one request
_MAX_BYTES = 32 * 2**20
_MAX_TEXT = 20_000  # characters


def called(name: str) -> Callable[[Call, Image.Image], Result]:
    """Ask the server of a tool, by the controller's name of it. The function raises SetupError where none is named."""
    return partial(_called, name)


def _called(name: str, call: Call, source: Image.Image) -> Result:
    controller = os.environ.get(CONTROLLER, "").rstrip("/")
    if not controller:
        fault = f"the tool {name} needs a server, and none is named"
        raise SetupError(fault, f"export {CONTROLLER}=http://HOST:20001")
    try:
        server = _server(controller, name)
        if not server:
            _server.cache_clear()  # one may come later
            failures.note(f"the controller {controller} knows no server of {name}")
            return outputs(name, f"Tool {name} not found.", source)
        image = base64.b64encode(as_png(source).data).decode()
        reply = _posted(f"{server}/worker_generate", {"image": image, **call.arguments})
        edited = reply.get("edited_image")
        edited = edited[0] if edited and isinstance(edited, list) else edited  # of several subfigures the first
        return outputs(name, str(reply.get("text")), _opened(edited) if edited else source)
    except (OSError, ValueError, DataError, BusyError) as error:
        failures.note(clause(error))
        return outputs(name, f"Failed to call tool {name}: {clause(error)}", source)


def schema_of(name: str, description: str, param: str) -> dict[str, Any]:
    """The schema of a tool that gets a text and an image."""
    text = {"type": "string", "description": param}
    return function_schema(name, description, ("param", "image_index"), param=text, image_index=INDEX_SCHEMA)


def outputs(name: str, text: str, image: Image.Image) -> Result:
    return Result(f"{name} model outputs: {text[:_MAX_TEXT]}", [image])


@lru_cache(64)
def _server(controller: str, name: str) -> str:
    """The URL of the server of a tool; empty where the controller has none."""
    return str(_posted(f"{controller}/get_worker_address", {"model": name}).get("address", "")).rstrip("/")


def _posted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The JSON object that a request is answered with. Raises OSError or ValueError: there is none."""
    status, content = client.ask(url, body, seconds=_SECONDS, max_bytes=_MAX_BYTES)  # as published: without a proxy
    if status >= 400:
        raise ValueError(f"it answers {status}")
    reply = json.loads(content)
    if not isinstance(reply, dict):
        raise ValueError("its reply is no JSON object")
    return reply


def _opened(encoded: object) -> Image.Image:
    """An image of a reply. Raises DataError or ValueError: it is none, or none that can be shown."""
    if not isinstance(encoded, str):
        raise ValueError("its image is no text")
    file = base64.b64decode(encoded.rpartition("base64,")[2]), "its image"
    with opened_all([file], of_client()) as pictures:
        image = pictures[0].pixels
    if too_long(*image.size) or image.width * image.height < FEWEST_PIXELS:
        raise ValueError(f"its image has {image.width} x {image.height} px")
    return image
