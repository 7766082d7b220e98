"""docs/remote-tools.md: its server, with models that know a drawn diagram's exact shapes, and its tools."""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from docs.code_blocks import blocks
from PIL import Image
from support import shapes
from support.called import virc
from support.servers import dead_url, images_of, serve
from support.solving import answer, call

from virc.tools import registry as tools

pytest.importorskip("virc_extras")  # virc tools check and try

FIRST = '{"image_index": 0}'


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page's server."""
    (source,) = (block.text for block in blocks("docs/remote-tools.md") if block.language == "python")
    page: dict[str, Any] = {"__name__": "see"}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in shapes.modules().items():
            patch.setitem(sys.modules, name, module)
        exec(compile(source, "see.py", "exec"), page)
    server = uvicorn.Server(uvicorn.Config(page["app"], log_level="critical"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def eyes(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the page's tools, and the diagram."""
    for block in blocks("docs/remote-tools.md"):
        if (file := block.marks.get("file", "")).startswith("eyes/"):
            (tmp_path / Path(file).name).write_text(block.text.replace("http://localhost:8004", address))
    monkeypatch.setattr(tools, "_CUSTOM", {})
    shapes.PICTURE.save(tmp_path / "diagram.png")
    return tmp_path


def tried(eyes: Path, tool: str, arguments: str = FIRST) -> dict[str, Any]:
    made = eyes / f"{tool}-made"
    file = eyes / f"{tool}.yaml"
    done = virc("tools", "try", file, eyes / "diagram.png", "--arguments", arguments, "--to", made, "--json")
    assert done.code == 0, done.err
    return done.json


def test_the_tools_are_listed_beside_their_system(eyes: Path) -> None:
    listed = virc("tools", "ls", "--system", eyes / "seeing.yaml", "--json").json["tools"]
    kinds = {each["name"]: each["kind"] for each in listed if each["kind"] not in ("built in", "of a system")}
    assert kinds == dict.fromkeys(("detect", "read_text", "depth"), "HTTP")


@pytest.mark.parametrize("tool", ["detect", "read_text", "depth"])
def test_the_tools_pass_their_check(eyes: Path, tool: str) -> None:
    assert virc("tools", "check", eyes / f"{tool}.yaml", "--json").json["reason"] is None


def test_a_server_that_is_not_there_is_a_sentence(eyes: Path) -> None:
    server = dead_url()
    text = (eyes / "depth.yaml").read_text()
    url = next(line for line in text.splitlines() if "url:" in line)
    (eyes / "depth.yaml").write_text(text.replace(url, f"  url: {server}/depth"))
    done = virc("tools", "check", eyes / "depth.yaml")
    assert done.code == 4
    assert done.err.startswith(f"error: the server {server}/depth cannot be reached")


def test_the_detector_says_the_exact_boxes(eyes: Path) -> None:
    label = shapes.DIAGRAM.labels[0]
    sent = tried(eyes, "detect", json.dumps({"words": [label.text, "a dog"], "image_index": 0}))["sent"]
    assert json.loads(sent[0]["text"]) == [{"label": label.text, "box": list(label.box)}]


def test_the_reader_says_every_text_and_its_box(eyes: Path) -> None:
    sent = tried(eyes, "read_text")["sent"]
    assert json.loads(sent[0]["text"]) == [{"text": each.text, "box": list(each.box)} for each in shapes.DIAGRAM.labels]


def test_depth_comes_back_as_a_picture(eyes: Path) -> None:
    far = Image.open(tried(eyes, "depth")["images"][0]["file"])
    assert far.size == shapes.PICTURE.size
    assert (far.getpixel((126, 130)), far.getpixel((5, 5))) == ((255, 255, 255), (0, 0, 0))


def test_a_model_that_calls_the_tools_is_sent_what_they_find(eyes: Path) -> None:
    label = shapes.DIAGRAM.labels[0]
    turns = (
        call("detect", words=[label.text], image_index=0),
        call("crop_image", bbox_2d=list(label.box), image_index=0),
        call("depth", image_index=0),
        answer("7"),
    )
    with serve(turns) as server:
        words = ("--endpoint", server.url, "--system", eyes / "seeing.yaml")
        done = virc("solve", eyes / "diagram.png", "Which letter is at the top?", *words)
        assert (done.code, done.out) == (0, "7\n"), done.err
        last = server.chats()[-1]
    assert f'[{{"label":"{label.text}","box":{json.dumps(list(label.box), separators=(",", ":"))}}}]' in str(last)
    assert len(images_of(last)) == 3
