"""A recorded conversation of each system, `tests/zoo/cases/SYSTEM/conversation.yaml`.

Pixels of the picture say where they are: red grows from left to right, green from top to bottom.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from support import zoo

FILES = zoo.recorded("conversation.yaml")
Box = tuple[float, float, float, float]


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
