"""Each promise of tools behind MCP, once, with a client that is scripted; `test_remote_mcp.py` has real servers."""

import asyncio
import base64
import io
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from remote_server import DETECT, tool_of

from virc.core.errors import SetupError
from virc.reasoning.calls import Call, Result
from virc.remote import mcp_client, relay
from virc.remote.tool import RemoteTool

mcp = pytest.importorskip("mcp")

PICTURE = Image.linear_gradient("L").convert("RGB").resize((60, 40))
HEAD = DETECT.partition("http:")[0]
SCHEMA: dict[str, Any] = {"properties": {"words": {}, "image": {}}, "required": ["words"]}
SECRET = "s3cret-of-the-server"


def text(said: str) -> SimpleNamespace:
    return SimpleNamespace(type="text", text=said)


def image(width: int) -> SimpleNamespace:
    Image.new("RGB", (width, 20)).save(file := io.BytesIO(), "PNG")
    return SimpleNamespace(type="image", data=base64.b64encode(file.getvalue()).decode())


def said(*content: SimpleNamespace, is_error: bool = False, structured: object = None) -> SimpleNamespace:
    return SimpleNamespace(content=content, is_error=is_error, structured_content=structured)


def embedded(**fields: object) -> Any:
    """A resource in a result, by the types of the SDK (mcp 2.3.0)."""
    held = mcp.types.TextResourceContents if "text" in fields else mcp.types.BlobResourceContents
    return mcp.types.EmbeddedResource(type="resource", resource=held(uri="file:///a", **fields))


LINK = mcp.types.ResourceLink(type="resource_link", name="the scan", uri="file:///a.png")
AUDIO = mcp.types.AudioContent(type="audio", data="AAAA", mime_type="audio/wav")
OTHERS = (AUDIO, embedded(blob="AAAA", mime_type="application/pdf"))
"""Parts of a result that are not for a model that sees."""
SVG = mcp.types.ImageContent(type="image", data="PHN2Zy8+", mime_type="image/svg+xml")
LEFT_OUT = "[a part of type audio/wav is left out]\n[a part of type application/pdf is left out]"


class Scripted:
    """In place of the SDK's client; `answers` are what the calls come to, one after the other.

    Attributes:
        sessions: how many connections were opened.
        called: name and arguments of each call.
        ended: whether a connection was closed.
    """

    def __init__(
        self, *answers: object, pages: Sequence[Sequence[str]] = (("detect",),), schema: object = None
    ) -> None:
        self.answers, self.pages, self.schema = list(answers), pages, schema or SCHEMA
        self.sessions, self.called = 0, list[tuple[str, dict[str, Any]]]()
        self.ended = threading.Event()

    def __call__(self, transport: object) -> "Scripted":
        return self

    async def __aenter__(self) -> "Scripted":
        self.sessions += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ended.set()

    async def list_tools(self, cursor: str | None) -> SimpleNamespace:
        page = int(cursor or 0)
        tools = [SimpleNamespace(name=name, input_schema=self.schema) for name in self.pages[page]]
        more = str(page + 1) if page + 1 < len(self.pages) else None
        return SimpleNamespace(tools=tools, next_cursor=more)

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> object:
        self.called.append((name, arguments))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return await answer() if callable(answer) else answer


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RemoteTool]:
    @asynccontextmanager
    async def transport(server: object) -> AsyncIterator[None]:
        yield None

    monkeypatch.setattr(mcp_client.Server, "_transport", transport)
    monkeypatch.setenv("DETECT_KEY", SECRET)

    def made(client: Scripted, more: str = "", tool: str = "detect") -> RemoteTool:
        monkeypatch.setattr(mcp, "Client", client)
        end = (
            f"mcp:\n  tool: {tool}\n  command: [detector, two words]\n  env: {{DETECT_KEY: '${{DETECT_KEY}}'}}\n{more}"
        )
        found = tool_of(tmp_path, "", end, HEAD)
        monkeypatch.setenv("VIRC_ALLOWED_TOOLS", f"0000,{found.permission.digest}")
        return found

    return made


def asked(tool: RemoteTool, words: str = "cat") -> tuple[str, list[tuple[int, int]]]:
    made = tool.apply(Call("detect", 0, arguments={"words": words}), PICTURE)
    assert isinstance(made, Result)
    return made.text, [shown.size for shown in made.images]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            said(text("one"), image(30), OTHERS[0], text("two"), OTHERS[1], image(40)),
            (f"one\ntwo\n{LEFT_OUT}", [(30, 20), (40, 20)]),
        ),
        (said(embedded(blob=image(30).data, mime_type="image/png")), ("", [(30, 20)])),
        (said(embedded(text="a file", mime_type="text/plain")), ("a file", [])),
        (said(LINK), ("the scan: file:///a.png", [])),
        (said(image(30), structured={"boats": 2}), ('{"boats": 2}', [(30, 20)])),
        (said(image(30), structured={"result": [{"data": image(30).data}]}), ("", [(30, 20)])),
        (said(SVG, image(30)), ("[a part of type image/svg+xml is left out]", [(30, 20)])),
        (said(structured={"key": SECRET}), ('{"key": "***"}', [])),
        (said(structured={"boxes": [[1, 2]]}), ('{"boxes": [[1, 2]]}', [])),
        (said(text("one"), structured={"boxes": []}), ("one", [])),
        (said(text(f"the key is {SECRET}")), ("the key is ***", [])),
    ],
)
def test_texts_pictures_and_values_come_back(
    behind: Callable[..., RemoteTool], answer: object, found: tuple[str, list[tuple[int, int]]]
) -> None:
    client = Scripted(answer)
    assert asked(behind(client)) == found
    ((name, arguments),) = client.called
    assert (name, arguments["words"], arguments.keys()) == ("detect", "cat", {"words", "image"})


@pytest.mark.parametrize(
    ("answer", "reason", "sessions"),
    [
        (said(text(f"no {SECRET}"), is_error=True), r"no \*\*\*", 1),
        (said(is_error=True), "it says no more", 1),
        (said(*OTHERS), "its result is audio/wav, application/pdf, which cannot be shown to a model", 1),
        (said(SVG), r"its result is image/svg\+xml, which cannot be shown to a model", 1),
        (said(SimpleNamespace(type="image", data="AAAA")), "an image of its reply", 1),
        (mcp.MCPError(-32602, f"bad {SECRET}"), r"bad \*\*\*", 1),
        (mcp.MCPError(-32000, "Connection closed"), "connection closed", 2),
        (ExceptionGroup("several", [ExceptionGroup("in", [OSError("pipe gone")])]), ": pipe gone$", 2),
    ],
)
def test_what_fails_costs_a_sentence_and_another_session_where_it_ended(
    behind: Callable[..., RemoteTool], answer: object, reason: str, sessions: int
) -> None:
    client = Scripted(answer, said(text("again")))
    tool = behind(client)
    first = asked(tool)[0]
    assert first.startswith("The tool failed: ")
    assert re.search(reason, first)
    assert asked(tool, "dog") == ("again", [])
    assert client.sessions == sessions


@pytest.mark.parametrize(
    ("client", "tool", "sentence"),
    [
        (Scripted(pages=[["crop"], ["scale"], ["detect"]]), "detect", None),
        (Scripted(pages=[["crop"], ["scale"]]), "detect", "it has no tool 'detect'; it has: crop, scale"),
        (Scripted(pages=[[]]), "detect", "it has no tool 'detect'; it has: none"),
        (Scripted(pages=[[f"t{at}" for at in range(25)]]), "detect", "it has: t0, .*, t19$"),
        (Scripted(schema={"required": ["words", "size", "hue"]}), "detect", "its tool detect needs size, hue$"),
        (
            Scripted(schema={"required": ["size"], "properties": {"words": {}}, "additionalProperties": False}),
            "detect", "its tool detect needs size and takes no bbox_2d, image$",
        ),
        (
            Scripted(schema={"properties": {"words": {}}, "additionalProperties": False}),
            "detect", "its tool detect takes no bbox_2d, image",
        ),
    ],
)  # fmt: skip
def test_a_tool_that_does_not_fit_is_found_at_the_start(
    behind: Callable[..., RemoteTool], client: Scripted, tool: str, sentence: str | None
) -> None:
    made = behind(client, tool=tool)
    if sentence is None:
        made.ready()
    else:
        with pytest.raises(SetupError, match=f"^the MCP server detector 'two words' cannot be used: .*{sentence}"):
            made.ready()


@pytest.mark.parametrize(
    ("script", "out", "error"),
    [
        ("echo {1}; echo two; exit 3", b"{1}\n", b"not JSON: two\n"),
        ("printf '%0200d\\n' 7; echo never", b"", b"a line of the server is too long\n"),
    ],
)
def test_a_line_of_a_server_is_bounded(script: str, out: bytes, error: bytes) -> None:
    command = [sys.executable, "-I", "-S", relay.__file__, "100", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, timeout=240)
    assert (done.stdout, done.stderr) == (out, error)
    assert (done.returncode == 3) == (out != b"")


def test_a_server_ends_with_the_process_that_wanted_it() -> None:
    relayed = shlex.join([sys.executable, "-I", "-S", relay.__file__, "100", "sh", "-c", "echo {up}; exec sleep 120"])
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", f"{relayed} & wait"], stdout=pipe, stderr=pipe) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"{up}\n"
        parent.kill()
        assert parent.communicate(timeout=60) == (b"", b"")  # no process holds the other ends any more
