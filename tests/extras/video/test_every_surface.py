"""What a clip or page is shown as, and what is said of it, is the same wherever it is asked about or converted."""

import base64
import http.client
import io
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from extras.mcp.mcp_server import called, tool_calls
from extras.video.drawn_clips import KINDS, number_of, written
from extras.video.drawn_documents import annotated, by_hand, lettered
from extras.video.test_agent_media import url
from extras.video.test_drawn_pages import _CHINESE, _FILES, _LINE, _XFA
from extras.video.test_reads import tracks
from extras.video.test_shown_frames import _HD, _HDR, _INTERLACED, _UNTAGGED, _WHITE, Stored, stored, transparent
from PIL import Image
from serving.agent.agent_server import chat, scripted
from support.called import virc
from support.servers import Server, image_bytes, serve
from support.solving import answer

from virc_extras.video.choosing import choice_of


class Case(NamedTuple):
    """A file, and of its picture at a time, or of its first page: what `look` finds; `said` begins the warnings."""

    make: Callable[[], bytes]
    look: Callable[[Image.Image], Any]
    seen: Any
    said: str = ""
    at: str | None = "0"


def _middle(picture: Image.Image) -> Any:
    """The colour right below the middle, in steps of 20."""
    return [round(each / 20) for each in picture.getpixel((picture.width * 3 // 4, picture.height * 3 // 4))]  # type: ignore[union-attr]


def _width(picture: Image.Image) -> int:
    """In hundreds of px: models are shown multiples of 28."""
    return round(picture.width / 100)


_RED, _BRIGHT = [13, 0, 0], [13, 13, 13]
CASES = {
    "HDR": Case(lambda: stored(Stored((721, 512, 512), 9, 18, 9, bits=10)), _middle, _BRIGHT, _HDR),
    "tagged colours": Case(lambda: stored(Stored((63, 102, 240), 1, 1, 1, _HD)), _middle, _RED),
    "untagged HD": Case(lambda: stored(Stored((63, 102, 240), size=_HD)), _middle, _RED, _UNTAGGED),
    "shape of pixels": Case(lambda: written("mp4", frames=3, size=(704, 576), shape=Fraction(64, 45)).data, _width, 10),
    "alpha": Case(lambda: transparent("mov", "qtrle", "argb", {}), _middle, _BRIGHT, _WHITE),
    "interlaced": Case(
        lambda: written("mp4", options={"x264-params": "tff=1"}).data, number_of, 30, _INTERLACED, "1.01"
    ),
    "clock": Case(lambda: KINDS["TS, joined"]().data, number_of, 90, at="3.01"),
    "tracks": Case(lambda: tracks(0, (320, 160), 0), number_of, 100, "has 2 video tracks, and number 1 (320 x 48 px)"),
    "times of subtitles": Case(lambda: written("mp4").data, number_of, 36, at="00:00:01,202"),
    "MPEG": Case(lambda: KINDS["MPEG, joined"]().data, number_of, 30, at="1.01"),
    "WMV": Case(lambda: KINDS["WMV"]().data, number_of, 30, at="1.01"),
    "FLV": Case(lambda: KINDS["FLV"]().data, number_of, 30, at="1.01"),
    "XFA": Case(lambda: by_hand(root=_XFA), _width, 6, "is an XFA form, which cannot be drawn", None),
    "portfolio": Case(
        lambda: by_hand(root=f"/Collection <</Type /Collection>> {_FILES}"), _width, 6, "encloses 1 file", None
    ),
    "fonts": Case(lambda: lettered("<4e2d6587>", _CHINESE), _width, 6, "needs fonts neither", None),
    "unit": Case(lambda: by_hand(page="/UserUnit 3"), _width, 17, at=None),
    "annotations": Case(lambda: annotated(_LINE), _width, 6, "has annotations that are not drawn: 1", None),
}
Found = tuple[Image.Image, Sequence[str]]


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _sent(server: Server) -> Image.Image:
    parts = [part for part in server.chats()[-1]["messages"][1]["content"] if part["type"] == "image_url"]
    return _opened(image_bytes(parts[0]))


def _by_solve(file: Path, at: str | None) -> Found:
    with serve([answer("97")]) as server:
        done = virc("solve", file, "q", *(("--at", at) if at else ()), "--endpoint", server.url, "--json")
        return _sent(server), done.json["warnings"]


def _by_batch(file: Path, at: str | None) -> Found:
    rows = file.with_name("rows.jsonl")
    rows.write_text(json.dumps({"id": 1, "video": file.name, "question": "q"}))
    with serve([answer("97")]) as server:
        done = virc("batch", rows, *(("--at", at) if at else ()), "--endpoint", server.url)
        return _sent(server), done.lines[0]["warnings"]


def _by_agent(file: Path, at: str | None) -> Found:
    with scripted(config={"media": choice_of(at=at)}) as running:
        part = {"type": "file", "file": {"file_data": url("application/octet-stream", file.read_bytes())}}
        status, answered = running.ask("q", part)
        assert status == 200, answered
        return _sent(running.behind), answered["choices"][0]["message"].get("virc_warnings", [])


def _by_mcp(file: Path, at: str | None) -> Found:
    reply = called(tool_calls([file.parent]), "show", image=file.name, at=choice_of(at=at or "0").at[0], max_side=2048)
    data = next(each.data for each in reply.content if each.type == "image")
    return _opened(base64.b64decode(data)), reply.structured_content["warnings"]


def _by_convert(file: Path, at: str | None) -> Found:
    rows, to = file.with_name("rows.jsonl"), file.with_name("converted")
    clip = {"path": file.name, **({"at": at} if at else {})}
    rows.write_text(json.dumps({"video": clip, "question": "q", "answer": "97"}))
    done = virc("data", "convert", rows, "--to", to, "--format", "batch", "--json")
    assert done.code == 0, done.err
    row = json.loads(next(to.glob("*.jsonl")).read_text())
    return Image.open(to / row["image"]), done.json["reasons"]


@pytest.mark.parametrize("surface", [_by_solve, _by_batch, _by_agent, _by_mcp, _by_convert])
@pytest.mark.parametrize("kind", CASES)
def test_the_same_is_shown_and_said(kind: str, surface: Callable[[Path, str | None], Found], tmp_path: Path) -> None:
    case, file = CASES[kind], tmp_path / "medium"
    file.write_bytes(case.make())
    picture, warnings = surface(file, case.at)
    assert case.look(picture.convert("RGB")) == case.seen
    said = [each for each in warnings if "medium " in each or "image 0 " in each]
    assert [case.said in each for each in said] == [True] * bool(case.said), warnings


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_clients_of_an_agent_are_told_once_what_is_not_shown(path: str, stream: bool) -> None:
    part = {"type": "video_url", "video_url": url("video/mp4", transparent("mov", "qtrle", "argb", {}))}
    body = chat("q", part, stream=stream)
    with scripted() as running:
        if path.endswith("responses"):
            content = [{"type": "input_text", "text": "q"}, {"type": "input_file", "file_data": part["video_url"]}]
            body = {"model": body["model"], "input": [{"role": "user", "content": content}], "stream": stream}
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        connection.request("POST", path, json.dumps(body))
        text = connection.getresponse().read().decode()
        connection.close()
    assert f'"virc_warnings":["image 0 {_WHITE}"]' in text.replace('": [', '":[')
