"""Clips and documents of clients: content parts of the agent endpoint, and pictures of the MCP server."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from extras.mcp.mcp_server import called, refused, tool_calls
from extras.video.drawn_clips import KINDS, number_of, painted
from extras.video.drawn_documents import ENCRYPTED, scanned
from PIL import Image
from serving.agent.agent_server import PICTURE, scripted
from support.servers import image_bytes, serve
from support.solving import answer


def url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


CLIP, PAGES = url("video/mp4", KINDS["turned"]().data), url("application/pdf", scanned(2))


def _still() -> bytes:
    file = io.BytesIO()
    painted(7).save(file, "JPEG")
    return file.getvalue()


STILL = url("image/jpeg", _still())
FRAMES = url("video/jpeg", _still()) + "," + STILL.partition(",")[2]


def numbers(running: Any) -> list[int]:
    """The numbers in the pictures of the last request, in order."""
    content = [part for message in running.behind.chats()[-1]["messages"] for part in message["content"]]
    shown = [part for part in content if isinstance(part, dict) and part["type"] == "image_url"]
    return [number_of(Image.open(io.BytesIO(image_bytes(part)))) for part in shown]


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        ({"type": "video_url", "video_url": {"url": CLIP}}, [0, 19, 39, 59]),
        ({"type": "file", "file": {"file_data": PAGES, "filename": "a.pdf"}}, [1, 2]),
        ({"type": "file", "file": {"file_data": PAGES.partition(",")[2]}}, [1, 2]),
        ({"type": "file", "file": {"file_data": url("application/pdf", b"x" * 999 + scanned(2))}}, [1, 2]),
        ({"type": "input_file", "file_data": PAGES, "filename": "a.pdf"}, [1, 2]),
    ],
    ids=["video_url", "file", "base64 alone", "bytes before it", "input_file"],
)
def test_the_agent_takes_clips_and_files(part: dict[str, Any], seen: list[int]) -> None:
    with scripted() as running:
        status, answer = running.ask("What falls?", part)
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "97")
        assert numbers(running)[: len(seen)] == seen


@pytest.mark.parametrize(
    ("part", "lines"),
    [
        ({"type": "video_url", "video_url": {"url": FRAMES}}, ["Frame 1:", "Frame 2:"]),  # as vLLM 0.33 takes them
        ({"type": "video", "video": [STILL, STILL], "sample_fps": 2.0}, ["Frame 1 at 0 s:", "Frame 2 at 0.5 s:"]),
        ({"type": "video", "video": CLIP}, ["Frame 1 at 0:00:", "Frame 2 at 0:00.66:"]),
    ],
    ids=["data:video/jpeg", "list of frames", "one address"],
)
def test_the_agent_takes_the_frames_of_a_clip(part: dict[str, Any], lines: list[str]) -> None:
    with scripted() as running:
        status, answer = running.ask("What falls?", part)
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "97")
        assert numbers(running)[:2] == ([7, 7] if part.get("video") != CLIP else [0, 19])
        text = json.dumps(running.behind.chats()[0]["messages"])
        assert [text.count(line) for line in lines] == [1, 1]


def test_clips_stand_where_the_client_puts_them() -> None:
    with scripted() as running:
        running.ask("Same?", PICTURE, {"type": "text", "text": "then"}, {"type": "video_url", "video_url": CLIP})
        content = running.behind.chats()[-1]["messages"][1]["content"]
        words = [part["text"].strip() for part in content if part["type"] == "text"]
        assert "then\nClip 2, frame 1 at 0:00:" in "\n".join(words)
        assert numbers(running)[:5] == [-1, 0, 19, 39, 59]


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"type": "file", "file": {"file_id": "f-1"}}, "a file is sent as file_data or file_url"),
        ({"type": "input_file", "filename": "a.pdf"}, "a file is sent as file_data or file_url"),
        (
            {"type": "video_url", "video_url": "file:///etc/passwd"},
            "content[0].video_url: a clip must be a data URL (data:video/mp4",
        ),
        (
            {"type": "file", "file": {"file_url": "http://a.b/c.pdf"}},
            "content[0].file.file_url: a file must be a data URL (data:application/pdf",
        ),
        ({"type": "file", "file": {"file_data": url("application/pdf", ENCRYPTED)}}, "image 0 is encrypted"),
        ({"type": "file", "file": {"file_data": url("text/plain", b"hello")}}, "image 0 is not a picture"),
    ],
)
def test_a_file_that_cannot_be_shown_is_refused(part: dict[str, Any], sentence: str) -> None:
    with scripted() as running:
        status, answer = running.ask("?", part)
        assert status == 400
        assert sentence in answer["error"]["message"]
        assert running.behind.chats() == []


def test_too_many_pictures_of_several_clips_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virc_extras.video.reader.MAX_PICTURES", 7)
    with scripted() as running:
        status, answer = running.ask("?", *[{"type": "video_url", "video_url": CLIP}] * 2)
        assert (status, "have over 7 pictures together" in answer["error"]["message"]) == (400, True)


def test_tools_of_mcp_take_a_time_and_a_page(tmp_path: Path) -> None:
    Path(tmp_path, "phone").write_bytes(KINDS["turned"]().data)
    Path(tmp_path, "scan").write_bytes(scanned(4))
    for words, number in (({"image": "phone", "at": 1.5}, 44), ({"image": "scan", "page": 3}, 3), ({"image": CLIP}, 0)):
        picture, fields = called(tool_calls([tmp_path]), "show", **words).content
        assert number_of(Image.open(io.BytesIO(base64.b64decode(picture.data)))) == number
        again = json.loads(fields.text)
        assert again["width"] > 0
    refusal = refused(tool_calls([tmp_path]), "show", image="scan", page=9)
    assert refusal.startswith("scan has 4 pages, and no page 9")


def test_mcp_asks_about_clips_and_pages(tmp_path: Path) -> None:
    Path(tmp_path, "phone").write_bytes(KINDS["turned"]().data)
    with serve([answer("97")]) as server:
        behind = tool_calls([tmp_path], endpoint=server.url)
        result = called(behind, "ask", image="phone", more_images=[PAGES], question="q", at=[1, 1.5], pages=[2])
        assert result.structured_content["answer"] == "97"
        assert len(result.structured_content["image_ids"]) == 3
        shown = [part for part in server.chats()[0]["messages"][1]["content"] if part["type"] == "image_url"]
        assert [number_of(Image.open(io.BytesIO(image_bytes(part)))) for part in shown] == [29, 44, 2]
