"""A tool's YAML file as a tool, with the members of `reasoning.calls.Tool`."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from PIL import Image

from virc.config import yaml as plain_yaml
from virc.core.limits import bounded
from virc.reasoning.bodies import BOX, INDEX, POINT, POINTS
from virc.reasoning.calls import Call, Checked, Result, Tool, ToolError, View
from virc.reasoning.checking import by_schema
from virc.reasoning.resample import STAND_IN
from virc.remote import described, failures, http, mcp_client, permission
from virc.remote.permission import Permission
from virc.remote.reply import RemoteError

_MAX_RESULTS = 1000  # of a tool that are kept
_MAX_PIXELS = 50_000_000


class ResultCache:
    """The results that were used last, so many that their images fit in 150 MB; threads may share it."""

    def __init__(self) -> None:
        self._results: OrderedDict[bytes, Result] = OrderedDict()
        self._pixels = 0
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Result | None:
        with self._lock:
            if found := self._results.get(key):
                self._results.move_to_end(key)
            return found

    def put(self, key: bytes, result: Result) -> None:
        with self._lock:
            if key in self._results:
                return
            self._results[key] = result
            self._pixels += _pixels(result)
            while self._results and (len(self._results) > _MAX_RESULTS or self._pixels > _MAX_PIXELS):
                self._pixels -= _pixels(self._results.popitem(last=False)[1])


def _pixels(result: Result) -> int:
    return sum(image.size[0] * image.size[1] for image in result.images)


class RemoteTool:
    TEMPLATE = "after_image"

    def __init__(self, found: described.Described, name: str, file: Path, permission: Permission) -> None:
        self.NAME, self.permission = name, permission
        function = {"name": name, "description": found.description, "parameters": found.parameters}
        self.SCHEMA: dict[str, Any] = {"type": "function", "function": function}
        self.described = found
        self.server: http.Server | mcp_client.Server
        if found.http:
            self.server = http.Server(found, found.http)
        else:
            assert found.mcp
            self.server = mcp_client.Server(found, found.mcp, file.parent)
        properties = found.parameters.get("properties", {})
        self._allowed = _allowed(found.parameters)
        # The file's schema is checked in another process; here, by a tool with the same arguments of any type.
        untyped = {"name": name, "parameters": {"properties": {key: {} for key in properties}}}
        self._untyped = cast(Tool, SimpleNamespace(NAME=name, SCHEMA={"function": untyped}))
        self._cache = ResultCache()
        self._slots = threading.BoundedSemaphore(found.at_once)

    def ready(self) -> None:
        """Raise SetupError where its server cannot be asked, ConfigError where it would send what is not allowed."""
        self.permission.check()
        self.server.check()

    def check(self, arguments: Mapping[str, Any], view: View) -> Checked:
        """Return a call as the schema allows it. The schema is a file's of others: a bounded process reads it.

        Raises:
            ToolError: the schema does not allow it, or takes too long to tell.
        """
        try:
            reason = bounded.misfit(self._allowed, dict(arguments))
        except bounded.CostlyError as error:
            reason = f"the schema of {self.NAME}: {error.message}"
        if reason:
            raise ToolError(reason, "arguments")
        return by_schema(self._untyped, arguments, view)

    def apply(self, call: Call, source: Image.Image | None) -> Result:
        """The server's result; where there is none, the text `failure` of the file: the model's call was right.

        Raises:
            SetupError: an environment variable is missing.
            ConfigError: it would send one that it is not allowed to.
        """
        if source is not None and source.mode == STAND_IN:  # stands for a size (`data check`), and is no image to send
            raise ToolError("what a server makes of an image is not known before it is asked")
        key = _digest(call, source)
        result = self._cache.get(key) if self.described.cache else None
        if result is None:
            try:
                self.permission.check()
                until = time.monotonic() + self.described.seconds
                if not self._slots.acquire(timeout=self.described.seconds):
                    raise RemoteError(f"its server is busy with other calls for {self.described.seconds:g} seconds")
                result = self.server.call(_values(call, source), until, self._slots.release)
            except RemoteError as error:
                failures.note(str(error))
                return Result(self.described.failure.replace("{error}", str(error)))
            if self.described.cache:
                self._cache.put(key, result)
        return result


def read_tool(file: Path) -> RemoteTool:
    """The tool that a file describes; raises ConfigError where it describes none."""
    text = plain_yaml.read_text(file)  # once: what is allowed is what was read
    found = described.parse(text, file)
    return RemoteTool(found, found.name or file.stem, file, permission.variables_wanted(file, text.encode(), found))


def _allowed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the arguments but for an image, a box and points, which are resolved by the chat protocol."""
    known = schema.get("properties", {})
    resolved: dict[str, Any] = {name: {} for name in (INDEX, BOX, POINT) if name in known}
    if POINTS in known:  # how many there may be is for the schema
        resolved[POINTS] = {**known[POINTS], "items": {}}
    return {"additionalProperties": False, **schema, "properties": {**known, **resolved}}


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
    written = msgspec.json.encode([call.name, call.box, call.points, call.arguments], order="sorted")
    digest = hashlib.sha256(written)
    if source is not None:
        digest.update(f"{source.mode} {source.size}".encode() + source.tobytes())
    return digest.digest()
