"""Pieces of remote tools without a server: paths into replies, what placeholders stand for, what is kept and noted."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from PIL import Image
from remote_server import DETECT, tool_of

from virc.core.errors import ConfigError, SetupError
from virc.reasoning.calls import Call, Result
from virc.remote import described, failures, filling, mcp_client, reply
from virc.remote.reply import RemoteError, at
from virc.remote.tool import RemoteTool, ResultCache

REPLY = {"boxes": [{"name": "cat"}, {"name": "dog"}, {"name": "cow"}], "text": "three", "none": None}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", REPLY), ("text", "three"), ("none", None), ("boxes.0.name", "cat"), ("boxes.2.name", "cow"),
        ("boxes.*.name", ["cat", "dog", "cow"]), ("boxes.*", REPLY["boxes"]), ("boxes.3", None), ("boxes.-1", None),
        ("gone", None), ("text.0", None), ("boxes.*.age", None),
    ],
)  # fmt: skip
def test_a_path_leads_to_a_value_of_the_reply(path: str, found: object) -> None:
    if found is None and path != "none":
        with pytest.raises(RemoteError, match="its reply has no "):
            at(REPLY, path)
    else:
        assert at(REPLY, path) == found


HEAD = "description: d\nparameters: {type: object, properties: {words: {type: string}, keys: {type: array}}}\n"


@pytest.mark.parametrize(
    ("server", "fault"),
    [
        ("http: {url: 'http://h/x', headers: {Cookie: a=b}}", "Cookie has its value in the file"),
        ("http: {url: 'http://h/x', headers: {X-Api-Key: abc}}", "X-Api-Key has its value in the file"),
        ("http: {url: 'http://h/x', headers: {Authorization: Bearer abc}}", "Authorization has its value in the file"),
        ("mcp: {tool: t, command: [c], env: {DETECT_TOKEN: abc}}", "DETECT_TOKEN has its value in the file"),
        ("http: {url: 'http://user@h/x'}", "the address holds a user and password"),
        ("http: {url: 'http://:pass@h/x'}", "the address holds a user and password"),
        ("http: {url: 'http://h/x', body: {a: ['{wrods}']}}", "the body names {wrods}"),
        ("http: {url: 'http://h/x', body: {a: {b: '{wrods}'}}}", "the body names {wrods}"),
        ("mcp: {tool: t, command: [c], arguments: {a: [['{wrods}']]}}", "the body names {wrods}"),
        ("http: {url: 'http://h/x', body: {a: '{crop}'}}", "the body names {crop}"),
        ("http: {url: 'http://h/x', headers: {Cookie: '${SPOT}', Accept: a}, body: {a: ['{words}']}}", None),
    ],
)
def test_what_a_file_must_not_hold(server: str, fault: str | None) -> None:
    if fault is None:
        assert described.parse(HEAD + server, Path("spot.yaml")).http
    else:
        with pytest.raises(ConfigError) as caught:
            described.parse(HEAD + server, Path("spot.yaml"))
        assert fault in caught.value.message


def test_each_block_notes_the_failures_inside_it() -> None:
    failures.note("nobody wants it")
    with failures.noted() as outer:
        failures.note("first")
        with failures.noted() as inner:
            failures.note("second")
        failures.note("third")
    failures.note("nobody wants it")
    assert (outer, inner) == (["first", "third"], ["second"])


@pytest.mark.parametrize("kept", ["s3cret", "s3cret\n", " s3cret \r\n"])
def test_a_variable_is_sent_and_hidden_without_its_line_end(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOT_KEY", kept)
    headers = {"Authorization": "Bearer ${SPOT_KEY}"}
    assert filling.with_secrets(headers) == {"Authorization": "Bearer s3cret"}
    assert filling.hidden("it was s3cret, s3cret!", headers.values()) == "it was ***, ***!"


def in_base64(size: tuple[int, int]) -> bytes:
    Image.new("RGB", size, "red").save(file := io.BytesIO(), "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "written",
    [
        lambda file: base64.b64encode(file).decode(),
        lambda file: base64.encodebytes(file).decode(),  # in lines, as MIME has it
        lambda file: f" {base64.b64encode(file).decode()}\r\n",
        lambda file: f"data:image/png;base64,{base64.b64encode(file).decode()}",
        lambda file: file,
    ],
)
def test_a_picture_of_a_reply_is_read_in_any_usual_form(written: Callable[[bytes], str | bytes]) -> None:
    limits = described.parse(HEAD + "http: {url: 'http://h/x'}", Path("spot.yaml"))
    (made,) = reply.result("", [written(in_base64((90, 40)))], limits).images
    assert isinstance(made, Image.Image)
    assert made.size == (90, 40)
    with pytest.raises(RemoteError, match="is not base64"):
        reply.result("", ["no picture!"], limits)


def result(width: int) -> Result:
    return Result("", [Image.new("1", (width, 1000))])


def test_what_was_used_last_is_kept() -> None:
    """Results of 20 megapixels each, of which two fit."""
    store = ResultCache()
    for name in (b"a", b"b", b"b", b"a"):  # the same again takes no further room
        store.put(name, result(20_000))
    assert store.get(b"a")
    store.put(b"c", result(20_000))
    assert [bool(store.get(name)) for name in (b"a", b"b", b"c")] == [True, False, True]


class Heard:
    """In place of a server."""

    def __init__(self) -> None:
        self.values: list[dict[str, Any]] = []

    def call(self, values: dict[str, Any], until: float, afterwards: Any) -> Result:
        self.values.append(values)
        afterwards()
        return Result("said")


def heard(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[RemoteTool, Heard]:
    tool, server = tool_of(folder, "http://127.0.0.1:9", "", text), Heard()
    monkeypatch.setattr(tool, "server", server)
    return tool, server


def test_a_point_is_the_first_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool, server = heard(tmp_path, DETECT, monkeypatch)
    picture = Image.new("RGB", (30, 20))
    tool.apply(Call("detect", 0, points=((3, 4), (5, 6)), arguments={"words": "cat"}), picture)
    tool.apply(Call("detect", 0, box=(1, 2, 11, 8), arguments={"words": "cat"}), picture)
    points, box = server.values
    assert (points["points"], points["point_2d"]) == ([[3, 4], [5, 6]], [3, 4])
    assert (box["bbox_2d"], box["crop"].size, box["width"], box["height"]) == ([1, 2, 11, 8], (10, 6), 30, 20)


FIRST = Call("detect", 0, box=(1, 2, 11, 8), points=((3, 4),), arguments={"words": "cat", "most": 2})
PAGE = Image.new("RGB", (30, 20))


def spotted(page: Image.Image, mode: str = "RGB") -> Image.Image:
    """The page with one other pixel."""
    other = page.convert(mode)
    other.putpixel((29, 19), 1)
    return other


@pytest.mark.parametrize(
    ("call", "page", "is_same"),
    [
        (FIRST, PAGE.copy(), True),
        (replace(FIRST, arguments={"most": 2, "words": "cat"}), PAGE, True),
        (replace(FIRST, box=(1, 2, 11, 9)), PAGE, False),
        (replace(FIRST, box=None), PAGE, False),
        (replace(FIRST, points=((3, 4), (5, 6))), PAGE, False),
        (replace(FIRST, points=()), PAGE, False),
        (replace(FIRST, arguments={"words": "dog", "most": 2}), PAGE, False),
        (replace(FIRST, arguments={"words": "cat"}), PAGE, False),
        (FIRST, spotted(PAGE), False),
        (FIRST, PAGE.convert("L"), False),
        (FIRST, Image.new("RGB", (20, 30)), False),
        (FIRST, None, False),
    ],
)
def test_a_kept_result_is_that_of_the_same_call_on_the_same_picture(
    call: Call, page: Image.Image | None, is_same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool, server = heard(tmp_path, DETECT, monkeypatch)
    for made, on in ((FIRST, PAGE), (call, page), (FIRST, PAGE), (call, page)):
        assert tool.apply(made, on).text == "said"
    assert len(server.values) == (1 if is_same else 2)


def test_results_that_are_not_to_be_kept_and_failures_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool, server = heard(tmp_path, DETECT + "cache: false\n", monkeypatch)
    for _ in range(2):
        tool.apply(FIRST, PAGE)
    assert len(server.values) == 2
    tool, server = heard(tmp_path, DETECT, monkeypatch)

    def fail(*_: object) -> Result:
        raise RemoteError("its server is down")

    with monkeypatch.context() as down:
        down.setattr(server, "call", fail)
        assert "its server is down" in tool.apply(FIRST, PAGE).text
    assert tool.apply(FIRST, PAGE).text == "said"


def test_a_call_that_cannot_be_made_leaves_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time: the second call is refused for want of its variable too, and does not wait."""
    more = "  headers: {X-Key: '${SPOT_KEY}'}\nat_once: 1\nseconds: 0.2\n"
    tool = tool_of(tmp_path, "http://127.0.0.1:9", more)
    monkeypatch.setenv("VIRC_ALLOWED_TOOLS", tool.permission.digest)
    monkeypatch.delenv("SPOT_KEY", raising=False)
    for _ in range(3):
        with pytest.raises(SetupError, match="needs the environment variable SPOT_KEY"):
            tool.apply(Call("detect", 0, arguments={"words": "cat"}), Image.new("RGB", (30, 20)))


class Streamed:
    """A body as it comes."""

    def __init__(self, pieces: int, size: int) -> None:
        self.pieces, self.size, self.closed = pieces, size, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.pieces):
            yield b"x" * self.size

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("headers", "pieces", "says"),
    [
        ({}, 10, None),
        ({"content-type": "application/json"}, 10, None),
        ({"content-type": "application/json"}, 11, "its reply is over"),
        ({"content-type": "text/event-stream; charset=utf-8"}, 99, None),  # each of its events has a bound of its own
        ({"content-encoding": "identity"}, 10, None),
        ({"content-encoding": "gzip"}, 1, "its reply is compressed"),
    ],
)
def test_a_reply_of_an_mcp_server_is_bounded(
    headers: dict[str, str], pieces: int, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply, "MAX_BYTES", 100)
    client = mcp_client._http_client({"X-Key": "secret"})
    assert (client.headers["x-key"], client.headers["accept-encoding"]) == ("secret", "identity")
    body = Streamed(pieces, 10)
    response: Any = SimpleNamespace(headers=headers, stream=body)

    async def read() -> int:
        await client.event_hooks["response"][0](response)
        count = 0
        async for piece in response.stream:
            count += len(piece)
        await response.stream.aclose()
        return count

    if says is None:
        assert asyncio.run(read()) == 10 * pieces
        assert body.closed
    else:
        with pytest.raises(Exception, match=says):
            asyncio.run(read())


@pytest.mark.parametrize(
    ("said", "last"),
    [("", ""), ("one\ntwo\n\n  \n", "two"), ("x" * 5000 + "\nbad \x1b[31mkey\n", "bad [31mkey"), ("\n", "")],
)
def test_why_a_command_ended_is_its_last_line(said: str, last: str) -> None:
    with io.StringIO(said) as file:
        assert mcp_client._last_line(file) == last
    assert mcp_client._last_line(file) == ""  # it is closed


@pytest.mark.parametrize(
    ("text", "images", "shown"),
    [
        (None, "pictures", ("", 1)),
        (None, None, (None, 0)),
        ("{said}", "pictures", ("it", 1)),
        ("{said}", None, ("it", 0)),
    ],
)
def test_a_reply_of_images_alone_is_no_text(
    text: str | None, images: str | None, shown: tuple[str | None, int]
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (60, 60)).save(file, "PNG")
    content = msgspec.json.encode({"said": "it", "pictures": [base64.b64encode(file.getvalue()).decode()]})
    limits: Any = SimpleNamespace(most_characters=10_000, most_images=4)
    made = reply.of_json(content, described.Reply(text=text, images=images), limits)
    whole = (
        msgspec.json.decode(made.text) == msgspec.json.decode(content) if shown[0] is None else made.text == shown[0]
    )
    assert (whole, len(made.images)) == (True, shown[1])
