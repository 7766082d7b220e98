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
from virc.core.limits.image_memory import IMAGE_MEMORY, SETTING
from virc.reasoning.calls import Call, Result, ToolError, View
from virc.remote import described, failures, filling, mcp_client, reply
from virc.remote.reply import RemoteError, at
from virc.remote.tool import RemoteTool, ResultCache

REPLY = {
    "boxes": [{"name": "cat"}, {"name": "dog"}, {"name": "cow"}], "text": "three", "none": None,
    "deep": [{"at": {"x": 1, "y": 2}}, {"at": {"x": 3, "y": 4}}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", REPLY), ("text", "three"), ("none", None), ("boxes.0.name", "cat"), ("boxes.2.name", "cow"),
        ("boxes.*.name", ["cat", "dog", "cow"]), ("boxes.*", REPLY["boxes"]), ("deep.*.at.y", [2, 4]),
        ("boxes.3", None), ("boxes.-1", None),
        ("gone", None), ("text.0", None), ("boxes.*.age", None),
    ],
)  # fmt: skip
def test_a_path_leads_to_a_value_of_the_reply(path: str, found: object) -> None:
    if found is None and path != "none":
        with pytest.raises(RemoteError, match=f"its reply has no {path.removeprefix('boxes.*.')}$"):
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
        ("http: {url: 'http://h/x', headers: {X-Key: a$b}}", "X-Key has its value in the file"),
        ("http: {url: 'http://h/x', body: {a: '{words} {wrods}'}}", "the body names {wrods}"),
        (
            "http: {url: 'http://h/x', body: {a: ['{wrods}']}}",
            "the body names {wrods}, which a call of this tool does not have; there are: keys, words",
        ),
        ("http: {url: 'http://h:99999/x'}", "'http://h:99999/x' is no address"),
        ("http: {url: 'http:///x'}", "'http:///x' is no address"),
        ("http: {url: 'http://h/a b'}", "'http://h/a b' is no address"),
        ("mcp: {tool: t, url: 'ftp://h'}", "'ftp://h' is no address"),
        ("mcp: {tool: t, url: 'http://h', headers: {Cookie: a=b}}", "Cookie has its value in the file"),
        ('http: {url: "http://h/x", headers: {A: "x\\ny"}}', "the header 'A' holds characters that no header has"),
        ("http: {url: 'http://h/x', headers: {A b: x}}", "the header 'A b' holds characters that no header has"),
        ("http: {url: 'http://h/x', headers: {é: x}}", "the header 'é' holds characters that no header has"),
        ("mcp: {tool: t, command: [c], url: 'http://h'}", "mcp needs command or url, one of the two"),
        ("mcp: {tool: t}", "mcp needs command or url, one of the two"),
        ("http: {url: 'http://h/x'}\nname: a b", "'a b' is no name of a function"),
        ("seconds: 3\nhttp:\n  url: http://h/x\n  seconds: 3", "spot.yaml:6: unknown key 'http.seconds'"),
        ("http: {url: 'http://h/x', body: {a: {b: '{wrods}'}}}", "the body names {wrods}"),
        ("mcp: {tool: t, command: [c], arguments: {a: [['{wrods}']]}}", "the body names {wrods}"),
        ("http: {url: 'http://h/x', body: {a: '{crop}'}}", "the body names {crop}"),
        (
            "http: {url: 'http://h/x', headers: {Cookie: '${SPOT}', Accept: a}, body: {a: ['{words}']}}\nat_once: '2'",
            None,
        ),
    ],
)
def test_what_a_file_must_not_hold(server: str, fault: str | None) -> None:
    if fault is None:
        assert described.parse(HEAD + server, Path("spot.yaml")).http
    else:
        with pytest.raises(ConfigError) as caught:
            described.parse(HEAD + server, Path("spot.yaml"))
        assert fault in caught.value.message


def test_a_misspelt_key_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'http\.sent'") as caught:
        described.parse(HEAD + "http: {url: 'http://h/x', sent: json}", Path("spot.yaml"))
    assert caught.value.hint == "did you mean 'send'?"


@pytest.mark.parametrize(
    ("argument", "body", "fits"),
    [
        ("point_2d", "'{image} {width} {height} {point_2d}'", True), ("points", "'{image}'", True),
        ("image_index", "'{image}'", True), ("bbox_2d", "{a: ['{crop}']}", True), ("point_2d", "'{crop}'", False),
        ("image_index", "'{image_index}'", False), ("words", "'{image}'", False),
    ],
)  # fmt: skip
def test_a_body_has_pictures_where_a_call_is_about_some(argument: str, body: str, fits: bool) -> None:
    head = f"description: d\nname: look\nparameters: {{type: object, properties: {{{argument}: {{}}}}}}\n"
    text = f"{head}http: {{url: 'http://h/x', body: {{q: {body}}}}}"
    if fits:
        assert described.parse(text, Path("not a name.yaml")).name == "look"
    else:
        with pytest.raises(ConfigError, match="which a call of this tool does not have"):
            described.parse(text, Path("spot.yaml"))


def test_a_body_is_filled_at_every_depth() -> None:
    written = {"a": ["{x}", "{y}"], "b": {"c": "{y}"}, "d": "x={x}, y={y}, t={t}", "n": 3, "o": "{z}"}
    values = {"x": 1, "z": ["é"], "t": True}
    assert filling.filled(written, values) == {"a": [1], "b": {}, "d": "x=1, y=, t=true", "n": 3, "o": ["é"]}


def test_all_variables_of_a_text_are_sent_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONE", "OTHER"):
        monkeypatch.setenv(name, f"value-of-{name}")
    monkeypatch.setenv("NOTHING", "")
    texts = {"A": "${ONE}:${OTHER}${NOTHING}"}
    assert filling.with_secrets(texts) == {"A": "value-of-ONE:value-of-OTHER"}
    assert filling.hidden("value-of-OTHER and value-of-ONE", texts.values()) == "*** and ***"


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


def test_a_picture_that_finds_no_memory_fails_its_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "1")
    limits = described.parse(HEAD + "http: {url: 'http://h/x'}", Path("spot.yaml"))
    # whoever holds memory is refused more at once
    with IMAGE_MEMORY.hold(2**20, "another"), pytest.raises(RemoteError, match="other pictures hold the 1 MiB"):
        reply.result("", [in_base64((90, 40))], limits)


def result(width: int) -> Result:
    return Result("", [Image.new("1", (width // 2, 1000))] * 2)


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
VIEW = View((PAGE.size,), (PAGE.size,))


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

    with monkeypatch.context() as down, failures.noted() as noted:
        down.setattr(server, "call", fail)
        assert "its server is down" in tool.apply(FIRST, PAGE).text
    assert noted == ["its server is down"]
    assert tool.apply(FIRST, PAGE).text == "said"


def test_the_schema_of_boxes_and_points_is_that_of_their_number_alone(tmp_path: Path) -> None:
    """Their unit is that of the chat protocol, which may count in thousandths."""
    corners = "{type: array, items: {type: integer, minimum: 500}}"
    properties = f"image_index: {{}}, point_2d: {corners}, points: {{type: array, minItems: 2, items: {corners}}}"
    text = f"description: Look there.\nname: look\nparameters: {{type: object, properties: {{{properties}}}}}\n"
    tool, view = (
        tool_of(tmp_path, "", "", text.replace("{", "{{").replace("}", "}}") + "http: {{url: 'http://h'}}"),
        VIEW,
    )
    assert (tool.NAME, tool.SCHEMA["function"]["description"]) == ("look", "Look there.")
    assert tool.check({"image_index": 0, "point_2d": [3, 4]}, view).call.points == ((3, 4),)
    assert tool.check({"image_index": 0, "points": [[3, 4], [5, 6]]}, view).call.points == ((3, 4), (5, 6))
    with pytest.raises(ToolError, match=r"points: .* is too short"):
        tool.check({"image_index": 0, "points": [[3, 4]]}, view)


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


def test_as_much_as_is_allowed_is_shown_without_a_note() -> None:
    limits: Any = SimpleNamespace(most_characters=3, most_images=2)
    first, second, third = (in_base64((width, 40)) for width in (90, 80, 70))
    made = reply.result("abc", [first, second], limits)
    assert (made.text, len(made.images)) == ("abc", 2)
    made = reply.result("", [first, second, third], limits)
    assert (made.text, [shown.size for shown in made.images]) == ("[2 of 3 images are shown]", [(90, 40), (80, 40)])


def test_lists_of_texts_are_lines_and_all_else_is_json() -> None:
    limits: Any = SimpleNamespace(most_characters=99, most_images=2)
    content = b'{"a": ["x", 1], "b": [], "c": ["x", "y"], "d": true}'
    assert reply.of_json(content, described.Reply(text="{a} {b} {c} {d}"), limits).text == '["x",1] [] x\ny true'
