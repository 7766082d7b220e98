"""Tools that look into a clip or document again: a server gets the frame or page that the call names."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from extras.mcp.mcp_server import called, tool_calls
from extras.video.drawn_clips import KINDS, number_of
from extras.video.drawn_documents import scanned
from PIL import Image
from pyarrow import parquet
from serving.agent.agent_server import scripted
from support.called import virc
from support.servers import Server, image_bytes, serve
from support.solving import CROP, answer, call
from support.tables import cases_of

import virc as library
from virc.reasoning import history
from virc.reasoning.images import Shown
from virc.reasoning.media import MediaPlace
from virc.reasoning.protocol import own_protocol
from virc.tools import registry

CASES = cases_of(__file__)

NAMES = ("select_frames", "watch", "turn_to")
TOOLS = ("--tools", ",".join(f"+{name}" for name in NAMES))
QWEN = ("--family", "qwen3-vl")  # a model of it is told why a call cannot be carried out
WATCH = call("watch", start=1.5)


@cache
def drawn() -> Mapping[str, bytes]:
    named = {"phone": "turned", "screen": "still screen", "a/phone": "two rates"}
    return {name: KINDS[kind]().data for name, kind in named.items()} | {"scan": scanned(40, (40, 56))}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    for name, data in drawn().items():
        Path(name).write_bytes(data)


def last_turn(server: Server) -> list[str | int]:
    """The lines and the numbers in the pictures of the last turn, without those of the chat protocol."""
    content = server.chats()[-1]["messages"][-1]["content"]
    parts: list[str | int] = []
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        if part["type"] == "text":
            parts += [
                each for each in part["text"].splitlines() if each and not each.startswith(("Image ", "<", "Go on"))
            ]
        else:
            parts.append(number_of(Image.open(io.BytesIO(image_bytes(part)))))
    return parts


def solved(turns: Sequence[str], *words: str) -> tuple[list[str | int], Any]:
    with serve([*turns, answer("97")]) as server:
        done = virc("solve", *words, "q", "--endpoint", server.url, *TOOLS)
        assert (done.code, done.out) == (0, "97\n")
        return last_turn(server), done


@pytest.mark.parametrize(
    ("files", "named", "arguments", "seen"),
    CASES["the_server_gets_what_the_call_names"],
)  # fmt: skip
def test_the_server_gets_what_the_call_names(files: str, named: str, arguments: Any, seen: list[str | int]) -> None:
    assert solved([call(named, **arguments)], *files.split())[0] == seen


@pytest.mark.parametrize(("files", "named", "arguments", "reason"), CASES["a_call_that_names_nothing_is_refused"])
def test_a_call_that_names_nothing_is_refused(files: str, named: str, arguments: Any, reason: str) -> None:
    assert reason in str(solved([call(named, **arguments)], *files.split(), *QWEN)[0])


def test_frames_are_counted_on_cropped_and_traced_with_their_lines() -> None:
    crop = call("crop_image", bbox_2d=[0, 0, 168, 56], image_index=4)
    turns = [call("watch", start=1), crop, WATCH, call("select_frames", target_frames=[5, 6])]
    seen, _ = solved(turns, "phone", "--trace", "t")
    assert seen == ["Frame 5 at 0:01:", 29, "Frame 6 at 0:01.5:", 44]
    images = json.loads(Path("t/trace.json").read_text())["images"]
    assert [each["place"]["seconds"] for each in images[6:]] == [1.5, 1.0, 1.5]
    assert [number_of(Image.open(f"t/{images[at]['file']}")) for at in (4, 5, 6)] == [29, 29, 44]
    page = Path("t/index.html").read_text()
    assert "Image 6, frame 6 at 0:01.5, " in page
    lines = re.findall(r'<rect x="(-?\d+)"[^>]*><title>(.*?)</title>', page)  # of 1000 for 2.002 s
    assert lines[-4:] == [
        ("497", "Image 4, frame 5 at 0:01"), ("746", "Image 6, frame 6 at 0:01.5"),
        ("497", "Image 7, frame 5 at 0:01"), ("746", "Image 8, frame 6 at 0:01.5"),
    ]  # fmt: skip
    with serve([*turns, answer("97"), call("watch", start=0.5), answer("97")]) as server:
        words = ("--continue", "t", "and then?", "--endpoint", server.url, *TOOLS)
        assert virc("solve", *words).out == "97\n"
        assert last_turn(server) == ["Frame 7 at 0:00.5:", 14]


def test_frames_and_pages_are_held_as_files_and_not_counted_as_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_PIXELS", 0)  # no room for crops
    turns = [call("turn_to", pages=[at]) for at in (2, 3, 4)]
    assert solved(turns, "scan", "--page", "1")[0] == ["Page 4 of 40:", 4]
    frame = Shown(Image.new("RGB", (56, 56)))
    frame.place = MediaPlace("clip", 1, "Frame 1:", "")
    assert frame.pixels is frame.pixels
    assert frame.url
    assert frame.pixels is not frame.pixels


def test_a_chat_protocol_has_a_line_of_its_own_for_frames() -> None:
    own = own_protocol(registry.schemas(["watch"]))
    protocol = msgspec.structs.replace(
        own, image_line="", after_image="", frame_line="{frame}, {number} at {seconds}: "
    )
    Path("numbers.json").write_bytes(msgspec.json.encode(protocol))
    words = ("a/phone", "--at", "1.9", "--protocol", "numbers.json", "q")
    with serve([call("watch", start="0:01"), answer("97")]) as server:
        assert virc("solve", *words, "--endpoint", server.url).code == 0
        first = "".join(each.get("text", "") for each in server.chats()[0]["messages"][1]["content"])
        assert first.startswith("35, 1 at 1.9: ")
        assert last_turn(server) == ["30, 2 at 1: ", 30]
    Path("rows.jsonl").write_text('{"id": 1, "video": "a/phone", "question": "q", "answer": "97"}\n')
    words = ("data", "convert", "rows.jsonl", "--to", "rows", "--format", "prompts", "--frames", "2", "--workers", 1)
    assert virc(*words, "--protocol", "numbers.json").code == 0
    (row,) = parquet.read_table("rows/rows.parquet").to_pylist()
    assert row["prompt"][1]["content"].startswith("0, 1 at 0: <image>\n59, 2 at 5.84: <image>\n")


FRAME = ["Frame 2 at 0:01.5:", 44]


def test_batch_and_python_get_the_same_frame() -> None:
    with serve([WATCH, answer("97")] * 2) as server:
        Path("rows.jsonl").write_text('{"id": 1, "video": "phone", "question": "q"}\n')
        virc("batch", "rows.jsonl", "--endpoint", server.url, "--frames", "1", *TOOLS)
        assert last_turn(server) == FRAME
        library.solve(Path("phone").read_bytes(), "q", endpoint=server.url, frames=1, tools=NAMES)
        assert last_turn(server) == FRAME


def test_the_agent_and_mcp_get_the_same_frame() -> None:
    clip = f"data:video/mp4;base64,{base64.b64encode(Path('phone').read_bytes()).decode()}"
    protocol = own_protocol(registry.schemas(["crop_image", *NAMES]))
    with scripted([CROP, WATCH, answer("97")], protocol=protocol) as running:
        assert running.ask("q", {"type": "video_url", "video_url": {"url": clip}})[0] == 200
        assert last_turn(running.behind) == ["Frame 5 at 0:01.5:", 44]
    with serve([WATCH, answer("97")]) as server:
        called(tool_calls([Path()], server.url, tools=NAMES), "ask", image="phone", question="q", frames=1)
        assert last_turn(server) == FRAME


def test_a_call_on_a_clip_is_tried_without_a_model() -> None:
    done = virc("tools", "try", "watch", "phone", "--arguments", '{"start": 1.5}', "--to", "made")
    assert (done.code, done.out.splitlines()[0]) == (0, "Frame 5 at 0:01.5:")
    assert number_of(Image.open("made/image-1.png")) == FRAME[1]
