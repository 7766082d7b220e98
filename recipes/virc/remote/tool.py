"""A tool's YAML file as a tool, with the members of `reasoning.calls.Tool`."""

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from virc.reasoning.bodies import BOX, POINT, POINTS
from virc.reasoning.calls import Call, Result, ToolError
from virc.remote import described, failures, http, mcp_client
from virc.remote.kept import Kept
from virc.remote.reply import RemoteError


class RemoteTool:
    """A tool whose calls a server carries out."""

    TEMPLATE = "after_image"

    def __init__(self, found: described.Described, name: str, folder: Path) -> None:
        self.NAME = name
        function = {"name": name, "description": found.description, "parameters": found.parameters}
        self.SCHEMA: dict[str, Any] = {"type": "function", "function": function}
        self.described = found
        self.server: http.Server | mcp_client.Server
        if found.http:
            self.server = http.Server(found, found.http)
        else:
            assert found.mcp
            self.server = mcp_client.Server(found, found.mcp, folder)
        self._kept = Kept()
        self._slots = threading.BoundedSemaphore(found.at_once)

    def ready(self) -> None:
        """Raise SetupError where its server cannot be asked."""
        self.server.check()

    def apply(self, call: Call, source: Image.Image | None) -> Result:
        """The server's result; where there is none, the text `failure` of the file: the model's call was right.

        Raises:
            SetupError: an environment variable is missing.
        """
        if source is not None and source.mode == "1":  # stands for a size (`data check`), and is no image to send
            raise ToolError("what a server makes of an image is not known before it is asked")
        key = _digest(call, source)
        result = self._kept.get(key) if self.described.cache else None
        if result is None:
            try:
                result = self._asked(call, source)
            except RemoteError as error:
                failures.note(str(error))
                return Result(self.described.failure.replace("{error}", str(error)))
            if self.described.cache:
                self._kept.put(key, result)
        return result

    def _asked(self, call: Call, source: Image.Image | None) -> Result:
        until = time.monotonic() + self.described.seconds
        if not self._slots.acquire(timeout=self.described.seconds):
            raise RemoteError(f"its server is busy with other calls for {self.described.seconds:g} seconds")
        return self.server.call(_values(call, source), until, self._slots.release)


def read(file: Path) -> RemoteTool:
    """The tool that a file describes; raises ConfigError where it describes none."""
    found = described.read(file)
    return RemoteTool(found, found.name or file.stem, file.parent)


def _values(call: Call, source: Image.Image | None) -> dict[str, Any]:
    """What placeholders of a body stand for; boxes and points in pixels of the image."""
    values: dict[str, Any] = dict(call.arguments)
    if call.box is not None:
        values[BOX] = list(call.box)
    if call.points:
        values |= {POINTS: list(map(list, call.points)), POINT: list(call.points[0])}
    if source is not None:
        values |= {"image": source, "width": source.width, "height": source.height}
        values |= {"crop": source.crop(call.box)} if call.box is not None else {}
    return values


def _digest(call: Call, source: Image.Image | None) -> bytes:
    """Of all that is sent."""
    written = msgspec.json.encode([call.name, call.box, call.points, call.arguments], order="sorted")
    digest = hashlib.sha256(written)
    if source is not None:
        digest.update(f"{source.mode} {source.size}".encode() + source.tobytes())
    return digest.digest()
