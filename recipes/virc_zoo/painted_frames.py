"""Clips with a text painted on each frame, which the models of some systems were trained to read.

    python -m virc_zoo.painted_frames video-com CLIP... --to FOLDER

A system's `_painting.py` has `painter(count, seconds)`, which gets the number of frames of a clip and its length, and
returns what paints a text on one frame, `paint(image, number, seconds)`: its number from 1, and its time. New clips
have the frames of the given ones at their times, upright, as H.264 in MP4, and no sound.
"""

import argparse
import importlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageStat

from virc.core.errors import DataError
from virc.core.extras import require

Paint = Callable[[Image.Image, int, float], None]
Painter = Callable[[int, float], Paint]
_TICK = Fraction(1, 90000)  # of a second
_QUALITY = {"crf": "12"}
_TO_CAPITAL = 1.4  # times its height is the size of the font


def painted_clip(clip: Path, to: Path, painter: Painter) -> None:
    """Write a clip with painted frames. Raises DataError: it cannot be read, or is the new file itself."""
    require("av", f"painting the clip {clip}", "video")
    import av

    from virc_extras.video.decoding.frames import Clip
    from virc_extras.video.kinds import HEAD

    if to.exists():
        raise DataError(f"{to} exists", "name another folder")
    with clip.open("rb") as file:
        head = file.read(HEAD)
        file.seek(0)
        read = Clip(file, head, clip.name)
        count = sum(1 for _ in read.all())
        paint, rate = painter(count, read.length), (count / Fraction(read.length)).limit_denominator(1001)
        with av.open(str(to), "w", format="mp4") as output:
            stream: Any = output.add_stream("libx264", rate=rate, options=_QUALITY)
            stream.width, stream.height = (side - side % 2 for side in read.size)  # as this codec has it
            stream.codec_context.time_base = _TICK
            for number, (seconds, image) in enumerate(read.all(), 1):
                paint(image, number, seconds)
                frame: Any = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
                frame.pts, frame.time_base = round(seconds / _TICK), _TICK
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))


def written(image: Image.Image, text: str, at: tuple[float, float], height: float, color: str | None = None) -> None:
    """Write lines on an image.

    Args:
        at: (left, top) of the first line, in px.
        height: of capital letters, in px.
        color: None: for each line white or red, whichever differs from what is behind it.
    """
    font, draw, (left, top) = ImageFont.load_default(height * _TO_CAPITAL), ImageDraw.Draw(image), at
    for line in text.split("\n"):
        box = draw.textbbox((left, top), line, font)
        draw.text((left, top), line, color or _seen_on(image, box), font)
        top += box[3] - box[1] + 5


def _seen_on(image: Image.Image, box: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = map(int, box)
    red, green, blue = ImageStat.Stat(image.crop((left, top, right, bottom))).mean
    is_red = red > 150 and min(red - green, red - blue) > 50
    return "white" if (red + green + blue) / 3 < 150 or is_red else "red"


def main() -> None:
    """Paint the clips that are named."""
    parser = argparse.ArgumentParser(prog="python -m virc_zoo.painted_frames")
    parser.add_argument("system")
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    painter: Painter = importlib.import_module(f"virc_zoo.{given.system.replace('-', '_')}._painting").painter
    given.to.mkdir(parents=True, exist_ok=True)
    for clip in given.clips:
        painted_clip(clip, given.to / f"{clip.stem}.mp4", painter)


if __name__ == "__main__":
    main()
