"""A conversation in each system's own grammar, through `virc solve` and a scripted server: its crops are those that the
calls name, and its answer is read. What was tried is recorded.

Pixels of the picture say where they are: red grows from left to right, green from top to bottom.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import tested, zoo
from support.called import virc
from support.servers import image_bytes, images_of, serve

from virc.config import yaml
from virc.systems import registry as systems
from virc.systems import texts

_OWN = (Path(__file__).parent / "conversations").glob("*.yaml")
FILES = {**{file.stem: file for file in _OWN}, **dict(zoo.files("conversation.yaml"))}
Box = tuple[float, float, float, float]
_NEAR = 2.5  # of 255 levels; resampling blurs the edges


def gradient(width: int, height: int) -> Image.Image:
    across, down = (Image.linear_gradient("L").rotate(turn).resize((width, height)) for turn in (90, 0))
    return Image.merge("RGB", (across, down, Image.new("L", (width, height))))


def region(picture: Image.Image, size: tuple[int, int]) -> Box:
    """The part of the file that a picture shows, in its pixels, by the levels at its edges."""
    reds, greens = (band.getextrema() for band in picture.split()[:2])
    width, height = size
    return (reds[0] / 255 * width, greens[0] / 255 * height, reds[1] / 255 * width, greens[1] / 255 * height)


def searched_in(
    pages: Mapping[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, picture: Image.Image | None = None
) -> None:
    """Pages with these texts, by the names of their pictures, where the tool `search` finds them: grey, or this one."""
    folder.mkdir()
    for page, text in pages.items():
        (picture or Image.new("RGB", (560, 420), "grey")).save(folder / page)
        (folder / page).with_suffix(".txt").write_text(text)
    monkeypatch.setenv("VIRC_PAGES", str(folder))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_conversation_is_answered_with_the_crops_that_its_calls_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: Mapping[str, Any] = texts.filled(yaml.read(FILES[name]), FILES[name].parent)
    width, height = told["size"]
    gradient(width, height).save(tmp_path / "page.png")
    given = [] if (is_found := told.get("found", False)) else [tmp_path / "page.png"]
    pages = told.get("pages", {})
    searched_in(pages, tmp_path / "pages", monkeypatch, gradient(width, height) if is_found else None)
    words = ["--system", name, "--json", *(("--protocol", told["protocol"]) if "protocol" in told else ())]
    replies = iter(told["replies"])
    with serve(lambda body: next(replies)) as server, serve((told.get("teacher", ""),)) as teacher:
        monkeypatch.setenv("TEACHER_ENDPOINT", teacher.url)
        done = virc("solve", *given, told["question"], "--endpoint", server.url, *words)
        chats, taught = server.chats(), teacher.chats()
    assert done.code == 0, done.err
    assert len(taught) == ("teacher" in told)
    assert done.json["answer"] == told["answer"]
    shown = [Image.open(io.BytesIO(image_bytes(part))) for part in images_of(chats[-1])]
    crops = shown[1 : 1 + len(told["crops"])]
    assert len(chats) == len(told["replies"])
    # pages that a search shows come last, and first where the picture is found by one
    assert len(shown) == len(given) + len(told["crops"]) + len(pages)
    for crop, box in zip(crops, told["crops"], strict=True):
        near = _NEAR / 255 * max(width, height)
        assert region(crop.convert("RGB"), (width, height)) == pytest.approx(box, abs=near), name
    tested.solved(name, len(told["replies"]), len(crops))


def test_every_system_with_stages_has_a_conversation() -> None:
    assert FILES.keys() >= {name for name, system in systems.discover().items() if system.stages}
