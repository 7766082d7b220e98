"""Moving pictures are clips where the user says so: in a column of clips, at its mark, as a client's clip, by times."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extras.mcp.mcp_server import called, tool_calls
from extras.video.test_agent_media import url
from PIL import Image, ImageDraw
from serving.agent.agent_server import scripted
from support.called import virc
from support.servers import Server, image_bytes, serve
from support.solving import answer
from support.tables import each_case

from virc.reasoning.images import open_file
from virc.reasoning.media import MediaChoice
from virc_extras.video.parts import MediaParts
from virc_extras.video.reader import medium_of

_COLOURS = ("red", "lime", "blue", "yellow")
_OTHERS = "picture has 4 frames, and 3 of them are not looked at"
_FORMATS = {"gif": "GIF", "webp": "WEBP", "png": "PNG"}


def moving(format: str, durations: Any = 500, hole: str = "black") -> bytes:
    """A square of a new colour in each frame, with a hole in it, on black."""
    frames, file = [], io.BytesIO()
    for colour in _COLOURS:
        frames.append(Image.new("RGBA", (64, 64), "black"))
        ImageDraw.Draw(frames[-1]).rectangle((8, 8, 55, 55), colour)
        ImageDraw.Draw(frames[-1]).rectangle((12, 12, 20, 20), hole)
    frames[0].save(file, format, save_all=True, append_images=frames[1:], duration=durations, lossless=True, disposal=2)
    return file.getvalue()


def _colour(data: bytes) -> str:
    pixel = Image.open(io.BytesIO(data)).convert("RGB").resize((64, 64)).getpixel((32, 32))
    named = {"red": (1, 0, 0), "lime": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
    return next(name for name, each in named.items() if each == tuple(round(part / 255) for part in pixel))  # type: ignore[union-attr]


def _sent(server: Server) -> list[str]:
    parts = server.chats()[-1]["messages"][1]["content"]
    return [_colour(image_bytes(part)) for part in parts if part["type"] == "image_url"]


def _asked(file: Path, *words: str) -> list[str]:
    with serve([answer("97")]) as server:
        done = virc(*words, "--endpoint", server.url)
        assert done.code == 0, done.err
        return _sent(server)


def _by_solve(file: Path) -> list[str]:
    return _asked(file, "solve", str(file), "q", "--frames", "4")


def _by_batch(file: Path) -> list[str]:
    rows = file.with_name("rows.jsonl")
    rows.write_text(json.dumps({"id": 1, "video": file.name, "question": "q"}))
    return _asked(file, "batch", str(rows))


def _by_agent(file: Path) -> list[str]:
    with scripted() as running:
        kind = f"image/{file.suffix[1:]}"
        status, answered = running.ask("q", {"type": "video_url", "video_url": {"url": url(kind, file.read_bytes())}})
        assert status == 200, answered
        return _sent(running.behind)


def _converted(file: Path, row: dict[str, Any], format: str) -> list[str]:
    rows, to = file.with_name("rows.json"), file.with_name("converted")
    rows.write_text(json.dumps([row]))
    done = virc("data", "convert", rows, "--to", to, "--format", format)
    assert done.code == 0, done.err
    written = next(each for each in to.glob("*.json*") if each.name != "dataset_info.json").read_text()
    row = json.loads(written.splitlines()[0]) if format == "batch" else json.loads(written)[0]
    return [_colour((to / each).read_bytes()) for each in row["images"]]


def _by_column(file: Path) -> list[str]:
    return _converted(file, {"videos": [file.name], "question": "q", "answer": "97"}, "batch")


def _by_mark(file: Path) -> list[str]:
    talk = [{"from": "human", "value": "<video>q"}, {"from": "gpt", "value": "97"}]
    return _converted(file, {"conversations": talk, "videos": [file.name]}, "sft")


@pytest.mark.parametrize("surface", [_by_solve, _by_batch, _by_agent, _by_column, _by_mark])
@pytest.mark.parametrize("ending", _FORMATS)
def test_all_frames_are_shown(ending: str, surface: Callable[[Path], list[str]], tmp_path: Path) -> None:
    file = tmp_path / f"moving.{ending}"
    file.write_bytes(moving(_FORMATS[ending]))
    assert surface(file) == [*_COLOURS]


def parts(data: bytes, *times: float) -> MediaParts:
    medium = medium_of(data[:1024], as_clip=True)
    assert medium
    return medium.parts(data, "it", MediaChoice(at=times), lambda: None)


@each_case(
    ("format", "durations", "times", "colours", "length"),
    [
        *((each, [100, 300, 700, 900], (0.05, 0.2, 0.5, 1.2), _COLOURS, 2) for each in _FORMATS.values()),
        *((each, [0, 100, 200, 300], (0.05, 0.15, 0.25, 0.5), _COLOURS, 0.7) for each in ("GIF", "WEBP")),
    ],
)
def test_frames_are_shown_as_long_as_players_do(
    format: str, durations: list[int], times: tuple[float, ...], colours: tuple[str, ...], length: float
) -> None:
    found = parts(moving(format, durations), *times)
    assert [_colour(each.data) for each in found.parts] == [*colours]
    assert found.facts.length == pytest.approx(length, abs=0.02)


@each_case("format", _FORMATS.values())
def test_what_is_transparent_is_shown_on_white_and_said(format: str) -> None:
    found = parts(moving(format, hole="#0000"), 0.7)
    assert found.facts.notes == ("is transparent, and is shown on white",)
    picture = Image.open(io.BytesIO(found.parts[0].data))
    assert min(picture.getpixel((16, 16))) > 250  # type: ignore[arg-type,type-var]
    assert _colour(found.parts[0].data) == "lime"


def test_what_no_frame_of_a_webp_covers_is_transparent() -> None:
    """Pillow 13.0 shows it black, as libwebp does not flag it; browsers do not."""
    frames, file = [Image.new("RGBA", (64, 64), "#0000") for _ in range(2)], io.BytesIO()
    for frame, colour in zip(frames, _COLOURS, strict=False):
        ImageDraw.Draw(frame).rectangle((8, 8, 55, 55), colour)
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=500, lossless=True)
    found = parts(file.getvalue(), 0.7)
    assert found.facts.notes == ("is transparent, and is shown on white",)
    opened = open_file(file.getvalue(), "it")
    assert (opened.pixels.getpixel((2, 2)), opened.rendering.background) == ((255, 255, 255), "white")


@each_case("format", _FORMATS.values())
def test_as_a_picture_it_is_its_first_frame(format: str, tmp_path: Path) -> None:
    file = tmp_path / "picture"
    file.write_bytes(moving(format))
    assert _asked(file, "solve", str(file), "q") == ["red"]
    shown = [called(tool_calls([tmp_path]), "show", image=file.name, at=at) for at in (0, 0.7)]
    assert [each.structured_content["warnings"] for each in shown] == [[_OTHERS], []]
    assert [_colour(base64.b64decode(each.content[0].data)) for each in shown] == ["red", "lime"]
