"""A tool behind HTTP: what is sent, what comes back, and what a server that misbehaves costs."""

import base64
import io
import threading
import time
from pathlib import Path

import pytest
from PIL import Image
from remote_server import hang, in_json, serving, tool_of

from virc.reasoning.calls import Call, Result, ToolError

PICTURE = Image.linear_gradient("L").convert("RGB").resize((60, 40))
CALL = Call("detect", 0, arguments={"words": "cat"})


def png(size: tuple[int, int] = (30, 20), color: str = "red") -> str:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def pixels(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_arguments_and_image_are_sent_and_the_reply_comes_back(tmp_path: Path) -> None:
    with serving(lambda _: in_json({"found": ["cat"]})) as server:
        made = tool_of(tmp_path, server.address).apply(CALL, PICTURE)
    assert made == Result('{"found":["cat"]}')
    [sent] = server.requests
    assert sent.path == "/detect"
    assert sent.json.keys() == {"words", "image"}
    assert sent.json["words"] == "cat"
    assert pixels(sent.json["image"]).tobytes() == PICTURE.tobytes()


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
        tool_of(tmp_path, server.address, "  send: multipart\n").apply(CALL, PICTURE)
    [sent] = server.requests
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
    replies = iter(
        [(200, {"Content-Type": "image/png"}, base64.b64decode(png())), (200, {"Content-Type": "text/plain"}, b"two")]
    )
    with serving(lambda _: next(replies)) as server:
        tool = tool_of(tmp_path, server.address, "cache: false\n")
        assert [image.size for image in tool.apply(CALL, PICTURE).images] == [(30, 20)]
        assert tool.apply(CALL, PICTURE) == Result("two")


def test_the_same_call_on_the_same_pixels_is_sent_once(tmp_path: Path) -> None:
    with serving(lambda _: in_json({})) as server:
        tool = tool_of(tmp_path, server.address)
        for index in (0, 1):
            tool.apply(Call("detect", index, arguments={"words": "cat"}), PICTURE.copy())
        assert len(server.requests) == 1
        tool.apply(Call("detect", 0, arguments={"words": "dog"}), PICTURE)
        tool.apply(CALL, PICTURE.rotate(180))
        assert len(server.requests) == 3
        uncached = tool_of(tmp_path, server.address, "cache: false\n")
        uncached.apply(CALL, PICTURE)
        uncached.apply(CALL, PICTURE)
        assert len(server.requests) == 5


def test_no_more_calls_at_once_than_allowed(tmp_path: Path) -> None:
    with serving(hang(0.05)) as server:
        tool = tool_of(tmp_path, server.address, "at_once: 2\n")
        calls = [Call("detect", 0, arguments={"words": str(number)}) for number in range(8)]
        threads = [threading.Thread(target=tool.apply, args=(each, PICTURE)) for each in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 8
    assert server.most_at_once == 2


def test_a_server_that_hangs_costs_its_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    with serving(hang(3)) as server, pytest.raises(ToolError, match=r"^the tool failed: no reply within 0.3 seconds$"):
        tool_of(tmp_path, server.address, "seconds: 0.3\n").apply(CALL, PICTURE)
    assert time.monotonic() - began < 2
