"""A tool behind HTTP: what is sent, what comes back, and what a server that misbehaves costs."""

import base64
import gzip
import io
import re
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image
from remote_server import DETECT, Reply, Sent, failure, in_json, serving, tool_of
from support.costly_pictures import COSTLY
from support.loopback import Connection, Loopback

from virc.core.errors import SetupError
from virc.core.limits import bounded
from virc.reasoning.calls import Call, Result, ToolError, View
from virc.remote import permission
from virc.remote.tool import read_tool

PICTURE = Image.linear_gradient("L").convert("RGB").resize((60, 40))
CALL = Call("detect", 0, arguments={"words": "cat"})


def png(size: tuple[int, int] = (30, 20), color: str | int = "red", mode: str = "RGB") -> str:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def pixels(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_body_is_filled_and_lacking_arguments_are_left_out(tmp_path: Path) -> None:
    body = """\
  images: data_url
  body:
    inputs: {image: "{image}", part: "{crop}", sides: ["{width}", "{height}"]}
    parameters: {query: "find {words}", box: "{bbox_2d}", threshold: 0.3}
"""
    with serving(lambda _: in_json([])) as server:
        tool = tool_of(tmp_path, server.address, body)
        tool.apply(CALL, PICTURE)
        tool.apply(Call("detect", 0, (10, 5, 30, 25), arguments={"words": "dog"}), PICTURE)
    without, with_box = (sent.json for sent in server.requests)
    assert without["parameters"] == {"query": "find cat", "threshold": 0.3}
    assert without["inputs"].keys() == {"image", "sides"}
    assert with_box["parameters"]["box"] == [10, 5, 30, 25]
    assert with_box["inputs"]["sides"] == [60, 40]
    head, _, part = with_box["inputs"]["part"].partition(",")
    assert head == "data:image/png;base64"
    assert pixels(part).tobytes() == PICTURE.crop((10, 5, 30, 25)).tobytes()


def test_a_form_has_the_image_as_a_file(tmp_path: Path) -> None:
    with serving(lambda _: in_json([])) as server:
        tool_of(tmp_path, server.address, "  send: multipart\n  headers: {X-Mode: fast}\n").apply(CALL, PICTURE)
        body = "  send: multipart\n  body: {photo: '{image}', n: 3}\n"
        tool_of(tmp_path, server.address, body).apply(CALL, PICTURE)
    sent, other = server.requests
    assert b'name="photo"; filename="photo.png"\r\n' in other.body
    assert b'name="n"\r\n\r\n3\r\n' in other.body
    assert b'name="words"' not in other.body
    assert sent.headers["X-Mode"] == "fast"
    assert sent.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="image"; filename="image.png"\r\nContent-Type: image/png\r\n' in sent.body
    assert b'name="words"\r\n\r\ncat\r\n' in sent.body


def test_parts_of_the_reply_are_taken_by_path(tmp_path: Path) -> None:
    value = {"objects": [{"label": "cat", "mask": png()}, {"label": "dog", "mask": png((40, 30))}], "n": 2}
    result = '  result: {text: "{n} found:\\n{objects.*.label}", images: objects.*.mask}\n'
    with serving(lambda _: in_json(value)) as server:
        made = tool_of(tmp_path, server.address, result).apply(CALL, PICTURE)
    assert made.text == "2 found:\ncat\ndog"
    assert [image.size for image in made.images] == [(30, 20), (40, 30)]


def test_an_image_or_a_text_may_be_the_whole_reply(tmp_path: Path) -> None:
    Image.new("RGB", (50, 20)).save(jpeg := io.BytesIO(), "JPEG")
    replies = iter(
        [
            (200, {"Content-Type": "image/png"}, base64.b64decode(png())),
            (200, {"Content-Type": "text/plain"}, b"two"),
            (200, {"Content-Type": "Image/JPEG ; q=1"}, jpeg.getvalue()),
            (200, {"Content-Type": "Text/Plain; charset=latin-1"}, b"caf\xe9"),
        ]
    )
    with serving(lambda _: next(replies)) as server:
        tool = tool_of(tmp_path, server.address, "cache: false\n")
        assert [image.size for image in tool.apply(CALL, PICTURE).images] == [(30, 20)]
        assert tool.apply(CALL, PICTURE) == Result("two")
        assert [image.size for image in tool.apply(CALL, PICTURE).images] == [(50, 20)]
        assert tool.apply(CALL, PICTURE) == Result("caf\ufffd")


@pytest.mark.parametrize(("name", "reason"), [("webp that fits", "of memory to decode"), ("ico", "is not a picture")])
def test_an_image_that_costs_too_much_fails_the_call(name: str, reason: str, tmp_path: Path) -> None:
    image = base64.b64encode(COSTLY[name]()).decode()
    with serving(lambda _: in_json({"image": image})) as server:
        tool = tool_of(tmp_path, server.address, "  result: {images: image}\n")
        assert reason in failure(tool, "cat", PICTURE)


def test_the_same_call_on_the_same_pixels_is_sent_once(tmp_path: Path) -> None:
    with serving(lambda _: in_json({})) as server:
        tool = tool_of(tmp_path, server.address)
        for index in (0, 1):
            tool.apply(Call("detect", index, arguments={"words": "cat"}), PICTURE.copy())
        assert len(server.requests) == 1
        tool.apply(Call("detect", 0, arguments={"words": "dog"}), PICTURE)
        tool.apply(CALL, PICTURE.rotate(180))
        for point in ((3, 4), (4, 3)):
            tool.apply(Call("detect", 0, points=(point,), arguments={"words": "cat"}), PICTURE)
        assert len(server.requests) == 5
        uncached = tool_of(tmp_path, server.address, "cache: false\n")
        uncached.apply(CALL, PICTURE)
        uncached.apply(CALL, PICTURE)
        assert len(server.requests) == 7


def test_a_server_that_drips_costs_its_seconds(tmp_path: Path) -> None:
    """Each byte comes in time, and all of them together do not."""

    class Dripping(Connection):
        def do_POST(self) -> None:  # noqa: N802
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            while not self.server.stopping.wait(0.02):
                self.wfile.write(b" ")

    server = Loopback(Dripping)
    with server.running():
        tool = tool_of(tmp_path, server.address, "seconds: 0.3\n")
        assert failure(tool, "cat", PICTURE) == "no reply within 0.3 seconds"


GZIP = gzip.compress(b"0" * 100_000_000)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ((500, {}, b"out of memory"), "it answers 500: out of memory"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b"moved"), "it answers 302: moved"),
        ((200, {}, b"<html>"), "its reply is not JSON"),
        ((200, {}, b'{"image": NaN}'), "its reply is not JSON"),
        ((200, {}, b"[" * 1_000_000), "its reply is not JSON"),
        ((200, {}, b'"\xff\xfe"'), "its reply is not JSON"),
        (in_json({"picture": ""}), "its reply has no image"),
        (in_json([1, 2]), "its reply has no image"),
        (in_json({"image": 0}), "its reply has something other than images in their place"),
        (in_json({"image": "?"}), "an image of its reply is not base64"),
        (in_json({"image": "é"}), "an image of its reply is not base64"),
        (in_json({"image": "AAAA"}), "an image of its reply is "),
        (in_json({"image": png((4097, 4096), 1, "1")}), "an image of its reply has 4097 x 4096 pixels, over 16"),
        (in_json({"image": png((2000, 2))}), "an image of its reply has 2000 x 2 px, one side over 200"),
        ((200, {"Content-Encoding": "gzip"}, GZIP), "its reply is compressed"),
        ((200, {}, b" " * (33 << 20)), "its reply is over 32 MiB"),
        ((200, {"Content-Length": "500"}, b"{}"), "no reply within 0.2 seconds"),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_server_that_misbehaves_costs_a_sentence(tmp_path: Path, reply: Reply, sentence: str) -> None:
    with serving(lambda _: reply) as server:
        seconds = 0.2 if sentence.startswith("no reply") else 30
        tool = tool_of(tmp_path, server.address, f"  result: {{images: image}}\nseconds: {seconds}\n")
        said = failure(tool, "cat", PICTURE)
    assert said.startswith(sentence)
    assert len(said) < 300


def test_a_server_that_dies_costs_a_sentence_and_serves_again(tmp_path: Path) -> None:
    def die(_: Sent) -> Reply:
        raise ConnectionAbortedError

    with serving(die) as server:
        tool = tool_of(tmp_path, server.address, "failure: 'no eyes: {error}'\n")
        assert tool.apply(CALL, PICTURE).text.startswith("no eyes: the connection failed: ")
        server.answer = lambda _: in_json("back")
        assert tool.apply(CALL, PICTURE).text == "back"
    dog = Call("detect", 0, arguments={"words": "dog"})
    assert tool.apply(dog, PICTURE).text.startswith("no eyes: the connection failed: ")


def test_long_texts_and_many_images_are_cut_with_a_note(tmp_path: Path) -> None:
    value = {"text": "x" * 51, "images": [png()] * 20_000}
    more = "  result: {text: '{text}', images: images}\nmost_characters: 10\nmost_images: 2\n"
    with serving(lambda _: in_json(value)) as server:
        made = tool_of(tmp_path, server.address, more).apply(CALL, PICTURE)
    assert made.text == "x" * 10 + "\n[cut after 10 of 51 characters]\n[2 of 20000 images are shown]"
    assert len(made.images) == 2


def test_a_key_is_sent_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    header = '  headers: {Accept: "*/*", Authorization: "Bearer ${DETECT_KEY}"}\n'

    def echo(sent: Sent) -> Reply:
        status = 200 if b"cat" in sent.body else 401
        said = f"you are {sent.headers['Authorization']}"
        return (200, {"Content-Type": "text/plain"}, said.encode()) if b"cow" in sent.body else in_json(said, status)

    with serving(echo) as server:
        tool = tool_of(tmp_path, server.address, header)
        permission.allow(tool.permission, tool.permission.secrets)
        with pytest.raises(SetupError, match="a tool's server needs the environment variable DETECT_KEY"):
            tool.ready()
        monkeypatch.setenv("DETECT_KEY", "s3cret")
        tool.ready()
        assert tool.apply(CALL, PICTURE).text == "you are Bearer ***"
        assert tool.apply(Call("detect", 0, arguments={"words": "cow"}), PICTURE).text == "you are Bearer ***"
        assert failure(tool, "dog", PICTURE) == 'it answers 401: "you are Bearer ***"'
    assert server.requests[0].headers["Authorization"] == "Bearer s3cret"
    unsent = mock.Mock(**{"return_value.stream.side_effect": OSError("no way with s3cret")})
    monkeypatch.setattr(tool.server, "_client", unsent)
    assert failure(tool, "ox", PICTURE) == "the connection failed: no way with ***"


def test_arguments_are_those_of_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SECONDS", 0.1)
    file = tmp_path / "detect.yaml"
    described = DETECT.format(url="http://127.0.0.1:9")
    file.write_text(described.replace("type: string", "type: string, pattern: '^(\\w+\\s?)*$'"))
    tool, view = read_tool(file), View((PICTURE.size,), (PICTURE.size,))
    checked = tool.check({"words": "a cat", "image_index": 0}, view)
    assert (checked.call.arguments, checked.call.index) == ({"words": "a cat"}, 0)
    for arguments, said in (
        ({"words": 3}, "words: 3 is not of type 'string'"),
        ({"words": "!"}, "words: '!' does not match"),
        ({"words": "cat", "box": 1}, "Additional properties are not allowed"),
        ({"words": "a" * 60 + "!"}, "the schema of detect: it is too costly"),
    ):
        with pytest.raises(ToolError, match=re.escape(said)) as refused:
            tool.check(arguments, view)
        assert refused.value.kind == "arguments"  # a chat protocol may have words of its own for it
