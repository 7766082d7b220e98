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

import msgspec
import pytest
from PIL import Image
from remote_server import DETECT, tool_of

from virc.core.errors import SetupError
from virc.reasoning.calls import Call, Result, ToolError
from virc.reasoning.resample import STAND_IN
from virc.remote import mcp_client, relay, reply
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


OTHERS = (SimpleNamespace(type="audio", data="AAAA"), SimpleNamespace(type="resource", text="no"))
"""Parts of a result that are not for a model that sees."""


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
            ("one\ntwo", [(30, 20), (40, 20)]),
        ),
        (said(image(30), structured={"a": 1}), ("", [(30, 20)])),
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


def test_a_server_that_hangs_costs_its_seconds_and_not_the_next_call(behind: Callable[..., RemoteTool]) -> None:
    client = Scripted(None, said(text("again")))
    tool = behind(client, "seconds: 60\nat_once: 1\n")
    tool.ready()
    long = tool.described
    tool.described = tool.server.described = msgspec.structs.replace(long, seconds=0.2)
    assert asked(tool)[0] == "The tool failed: no reply within 0.2 seconds"
    tool.described = tool.server.described = long
    assert asked(tool, "dog")[0] == "again"


def test_a_session_that_has_ended_is_opened_again(behind: Callable[..., RemoteTool]) -> None:
    client = Scripted(said(text("one")), said(text("two")))
    tool = behind(client)
    assert asked(tool)[0] == "one"
    assert isinstance(tool.server, mcp_client.Server)
    session = tool.server._session
    assert session
    session.loop.call_soon_threadsafe(session._stop.set)
    asyncio.run_coroutine_threadsafe(asyncio.wait([session.task]), session.loop).result(60)
    assert (asked(tool, "dog")[0], client.sessions) == ("two", 2)


def test_the_end_of_an_earlier_session_leaves_the_one_in_use(behind: Callable[..., RemoteTool]) -> None:
    waiting, go, closed = threading.Event(), threading.Event(), mcp.MCPError(-32000, "Connection closed")

    async def late() -> None:
        waiting.set()
        await asyncio.to_thread(go.wait, 60)
        raise closed

    client = Scripted(late, closed, said(text("three")), said(text("four")))
    tool = behind(client, "seconds: 60\n")
    first = threading.Thread(target=asked, args=(tool, "one"))
    first.start()
    assert waiting.wait(60)
    assert "connection closed" in asked(tool, "two")[0]
    assert (asked(tool, "three")[0], client.sessions) == ("three", 2)
    assert not client.ended.is_set()
    go.set()
    first.join(60)
    assert client.ended.wait(60)  # after its last call
    assert (asked(tool, "four")[0], client.sessions) == ("four", 2)


@pytest.mark.parametrize(("cache", "asks"), [("true", 1), ("false", 2)])
def test_results_are_kept_where_the_file_says_so(behind: Callable[..., RemoteTool], cache: str, asks: int) -> None:
    client = Scripted(said(text("one")), said(text("one")))
    tool = behind(client, f"cache: {cache}\n")
    assert asked(tool) == asked(tool)
    assert len(client.called) == asks


def test_rows_are_checked_without_asking_the_server(behind: Callable[..., RemoteTool]) -> None:
    client = Scripted()
    with pytest.raises(ToolError, match="is not known before it is asked"):
        behind(client).apply(Call("detect", 0, arguments={"words": "cat"}), Image.new(STAND_IN, (9, 9)))
    assert client.called == []


def test_a_failed_call_is_made_again(behind: Callable[..., RemoteTool]) -> None:
    tool = behind(Scripted(said(is_error=True), said(text("one"))))
    assert asked(tool)[0].startswith("The tool failed")
    assert asked(tool)[0] == "one"


def test_a_call_waits_for_its_turn_no_longer_than_its_time(behind: Callable[..., RemoteTool]) -> None:
    tool = behind(Scripted(), "seconds: 0.1\nat_once: 1\n")
    with tool._slots:
        assert "its server is busy with other calls for 0.1 seconds" in asked(tool)[0]


def test_a_call_that_cannot_be_written_gives_its_turn_back(
    behind: Callable[..., RemoteTool], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = behind(Scripted(), "seconds: 0.1\nat_once: 1\n")
    monkeypatch.setattr(mcp_client.filling, "body", lambda *_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            asked(tool)


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


def test_a_command_gets_its_own_variables_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(mcp, "StdioServerParameters", lambda **how: started.append(how))
    monkeypatch.setattr("mcp.client.stdio.stdio_client", lambda *_, **__: None)
    monkeypatch.setattr(mcp, "Client", Scripted(said(text("one"))))
    monkeypatch.setenv("DETECT_KEY", SECRET)
    end = "mcp:\n  tool: detect\n  command: [detector, --fast]\n  cwd: inner\n  env: {KEY: '${DETECT_KEY}'}\n"
    tool = tool_of(tmp_path, "", end, HEAD)
    monkeypatch.setenv("VIRC_ALLOWED_TOOLS", tool.permission.digest)
    assert asked(tool)[0] == "one"
    (how,) = started
    assert (how["env"], how["cwd"]) == ({"KEY": SECRET}, tmp_path / "inner")
    assert (how["args"][0], how["args"][-2:]) == ("-I", ["detector", "--fast"])
    monkeypatch.delenv("DETECT_KEY")
    with pytest.raises(SetupError, match="needs the environment variable DETECT_KEY"):
        asked(tool_of(tmp_path, "", end, HEAD))


def test_why_a_command_ended_is_said_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ends(Scripted):
        async def __aenter__(self) -> "Scripted":
            raise OSError("pipe gone")

    monkeypatch.setattr(mcp, "StdioServerParameters", lambda **_: None)
    said_last = f"loading\nno weights of {SECRET}\n"
    monkeypatch.setattr("mcp.client.stdio.stdio_client", lambda _, errlog: errlog.write(said_last))
    monkeypatch.setattr(mcp, "Client", Ends())
    monkeypatch.setenv("DETECT_KEY", SECRET)
    end = "mcp:\n  tool: detect\n  command: [detector]\n  env: {KEY: '${DETECT_KEY}'}\n"
    tool = tool_of(tmp_path, "", end, HEAD)
    monkeypatch.setenv("VIRC_ALLOWED_TOOLS", tool.permission.digest)
    with pytest.raises(SetupError, match=r"cannot be used: pipe gone; its last line: no weights of \*\*\*$"):
        tool.ready()


def test_a_server_behind_an_address_gets_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, str, int]] = []

    def client(url: str, http_client: Any, max_sse_event_size: int) -> None:
        opened.append((url, http_client.headers["x-key"], max_sse_event_size))

    monkeypatch.setattr("mcp.client.streamable_http.streamable_http_client", client)
    monkeypatch.setattr(mcp, "Client", Scripted(said(text(f"it is {SECRET}"))))
    monkeypatch.setenv("DETECT_KEY", SECRET)
    end = "mcp:\n  tool: detect\n  url: http://127.0.0.1:9/mcp?a=1\n  headers: {X-Key: '${DETECT_KEY}'}\n"
    tool = tool_of(tmp_path, "", end, HEAD)
    monkeypatch.setenv("VIRC_ALLOWED_TOOLS", tool.permission.digest)
    assert asked(tool)[0] == "it is ***"
    assert opened == [("http://127.0.0.1:9/mcp?a=1", SECRET, reply.MAX_BYTES)]
    assert tool.server.address == "http://127.0.0.1:9/mcp"


def test_a_server_that_does_not_start_in_time_is_said(behind: Callable[..., RemoteTool]) -> None:
    class Late(Scripted):
        async def __aenter__(self) -> "Scripted":
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
            return self

    given_up = threading.Event()
    late = "^the MCP server detector 'two words' did not start within 0.1 seconds"
    with pytest.raises(SetupError, match=late):
        behind(Late(), "seconds: 0.1\n").ready()
    assert given_up.wait(60)  # nothing of it is left


def test_arguments_are_sent_as_the_file_names_them(behind: Callable[..., RemoteTool]) -> None:
    schema = {"properties": {"text": {}, "pic": {}}, "required": ["text"], "additionalProperties": False}
    client = Scripted(said(text("one")), schema=schema)
    assert asked(behind(client, "  arguments: {text: 'a {words}', pic: '{image}'}\n  images: data_url\n"))[0] == "one"
    ((_, arguments),) = client.called
    assert (arguments["text"], arguments["pic"][:22]) == ("a cat", "data:image/png;base64,")


def test_a_compressed_reply_is_not_unpacked() -> None:
    bound = mcp_client._http_client({"X-Key": "one"}).event_hooks["response"][0]
    for encoding in ("gzip", "br"):
        response = SimpleNamespace(headers={"content-encoding": encoding, "content-type": "application/json"})
        with pytest.raises(Exception, match="its reply is compressed"):
            asyncio.run(bound(response))


@pytest.mark.parametrize(
    ("script", "out", "error"),
    [
        ("echo one; echo two; exit 3", b"one\ntwo\n", b""),
        ("printf '%0200d\\n' 7; echo never", b"", b"a line of the server is too long\n"),
    ],
)
def test_a_line_of_a_server_is_bounded(script: str, out: bytes, error: bytes) -> None:
    command = [sys.executable, "-I", "-S", relay.__file__, "100", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, timeout=240)
    assert (done.stdout, done.stderr) == (out, error)
    assert (done.returncode == 3) == (error == b"")


def test_a_server_ends_with_the_process_that_wanted_it() -> None:
    relayed = shlex.join([sys.executable, "-I", "-S", relay.__file__, "100", "sh", "-c", "echo ready; exec sleep 120"])
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", f"{relayed} & wait"], stdout=pipe, stderr=pipe) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        assert parent.communicate(timeout=60) == (b"", b"")  # no process holds the other ends any more
