"""Conversations that go in circles end after a few replies; what makes any progress goes on."""

from collections.abc import Callable
from itertools import count, cycle
from pathlib import Path

import pytest
from PIL import Image
from support.called import virc
from support.servers import serve
from support.solving import CROP, call

OTHER = call("crop_image", bbox_2d=[28, 28, 84, 84], image_index=0)
OUTSIDE = call("crop_image", bbox_2d=[500, 500, 600, 600], image_index=0)
AGAIN = call("display_image", image_index=0)
Says = Callable[[int, float], str]
"""A reply by its number, from 0, and its temperature."""


def repeating(*replies: str) -> Says:
    turns = cycle(replies)
    return lambda number, temperature: next(turns)


def thinking_anew(number: int, temperature: float) -> str:
    return CROP.replace("I look closer.", f"Thought {number}.")


def wrong_when_greedy(number: int, temperature: float) -> str:
    box = [number, 0, 56 + number, 56]
    return call("crop_image", bbox_2d=box, image_index=0) if temperature else OUTSIDE


HOPELESS: dict[str, tuple[Says, int, str]] = {
    "one call, with another thought each time": (thinking_anew, 3, "crop 0,0–56,56 of image 0"),
    "three calls in turns": (repeating(CROP, OTHER, AGAIN), 7, "crop 0,0–56,56 of image 0"),
    "the same unusable box, rescued by warmer tries": (wrong_when_greedy, 5, "bbox_2d [500, 500, 600, 600]"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_goes_in_circles_ends_and_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says, replies, named = HOPELESS[name]
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    Image.new("RGB", (112, 84), "white").save(tmp_path / "p.png")
    numbers = count()
    with serve(lambda body: says(next(numbers), body["temperature"])) as server:
        words = ("solve", "--endpoint", server.url, "--protocol", "default", tmp_path / "p.png", "?")
        done = virc(*words)
        assert (done.code, done.out, len(server.chats())) == (8, "", replies)
        assert "at temperature 0 the model gave 3 times" in done.err
        assert named in done.err
        assert "--temperature" in done.err
        if says is thinking_anew:
            assert virc(*words, "--temperature", 0.5).code == 8
            assert len(server.chats()) == 3 + 16
