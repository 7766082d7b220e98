"""Clips that show a number between every two whole seconds, and the question which one is shown at a time.

The usual first view has a frame each second, on which there is nothing: only a frame at that time shows the number.
"""

import io
import random
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from PIL import Image

from virc.core.extras import require
from virc.data.synth import sketch
from virc.data.synth.problem import Label, Split, split_of
from virc.data.synth.sketch import Style
from virc_extras.video.drawn import writing

NAME = "clips"
ABOUT = "clips in which a number is shown for parts of a second"
TOOLS = ("watch",)
write = writing.write
COLUMN, ENDING = "video", ".mp4"
SIDE, RATE = 84, 10  # px, and frames a second
_SECONDS = (4, 5, 6)
_FIRST, _LAST = 2, 7  # of the frames of a second that show its number


class DrawnClip(msgspec.Struct, frozen=True):
    """One problem: the number of each second, and the frame that is asked about."""

    numbers: Sequence[Label]
    asked: int
    style: Style

    @property
    def question(self) -> str:
        return f"Which number is shown at {self.asked / RATE} seconds?"

    @property
    def shown(self) -> Label:
        return self.numbers[self.asked // RATE]

    @property
    def answer(self) -> str:
        return self.shown.text

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [{"name": "watch", "arguments": {"start": self.asked / RATE}}]

    @property
    def evidence(self) -> list[dict[str, Any]]:
        start = self.asked - self.asked % RATE
        seconds = [(start + _FIRST) / RATE, (start + _LAST + 1) / RATE]
        return [{"seconds": seconds, "box": self.shown.box, "text": self.shown.text}]

    def split(self) -> Split:
        return split_of(f"{NAME}|{self.asked}|{self.answer}")


def check_ready() -> None:
    """Raise SetupError if PyAV is not installed."""
    require("av", "drawing clips", "video")


def generate(rng: random.Random, split: Split) -> DrawnClip:
    """A clip whose time and number are of that split."""
    return sketch.draw_until_legible(lambda: _generate(rng), split)


def file_of(clip: DrawnClip) -> bytes:
    """The clip as MP4, H.264, the same bytes with the same version of PyAV."""
    import av

    file, frame = io.BytesIO(), cast(Any, av.VideoFrame)
    with av.open(file, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.options, stream.thread_count = "yuv420p", {"crf": "12"}, 1
        for picture in _frames(clip):
            output.mux(stream.encode(frame.from_image(picture)))
        output.mux(stream.encode(None))
    return file.getvalue()


def _generate(rng: random.Random) -> DrawnClip:
    style = sketch.random_style(rng)
    numbers = [numbered(rng, str(rng.randint(10, 99)), style) for _ in range(rng.choice(_SECONDS))]
    asked = rng.randrange(len(numbers)) * RATE + rng.randint(_FIRST + 1, _LAST)
    return DrawnClip(numbers, asked, style)


def numbered(rng: random.Random, text: str, style: Style) -> Label:
    """The label at a place on a picture of SIDE px that holds it whole."""
    return sketch.placed(text, (rng.randint(SIDE // 4, SIDE * 3 // 4), rng.randint(SIDE // 4, SIDE * 3 // 4)), style)


def picture_of(label: Label | None, style: Style) -> Image.Image:
    """A frame or page of SIDE px, RGB, with or without a label."""
    image, _ = sketch.blank(SIDE, SIDE, style)
    if label:
        sketch.label(image, label.text, label.box, style)
    return image.convert("RGB")


def _frames(clip: DrawnClip) -> list[Image.Image]:
    shown = (number if _FIRST <= at <= _LAST else None for number in clip.numbers for at in range(RATE))
    return [picture_of(each, clip.style) for each in shown]
