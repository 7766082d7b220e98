"""Clips drawn with PyAV, the number of each frame in it as a bar code, of the odd kinds that cameras write."""

import io
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import av
from PIL import Image

BITS, WIDTH, HEIGHT = 10, 160, 48
RATE = Fraction(30000, 1001)


class Drawn(NamedTuple):
    """A clip, and the time in seconds at which each frame that is shown begins, by its number."""

    data: bytes
    times: dict[int, float]


def painted(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """A picture whose bars are the bits of a number, white for 1, and inverted in its lower half."""
    width, height = size
    picture = Image.new("L", size)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        is_set = bool(number >> bit & 1)
        picture.paste(255 * is_set, (left, 0, right, height // 2))
        picture.paste(255 * (not is_set), (left, height // 2, right, height))
    return picture.convert("RGB")


def number_of(picture: Image.Image) -> int:
    """The number in a picture; -1 where it is turned, mirrored, or none."""
    grey, number = picture.convert("L"), 0
    for bit in range(BITS):
        x = (2 * bit + 1) * grey.width // (2 * BITS)
        upper, lower = grey.getpixel((x, grey.height // 4)), grey.getpixel((x, 3 * grey.height // 4))
        if abs(upper - lower) < 100:  # type: ignore[operator]
            return -1
        number |= (upper > lower) << bit  # type: ignore[operator]
    return number


def written(
    suffix: str, codec: str = "libx264", *, frames: int = 60, times: Callable[[int], float] | None = None,
    rate: Fraction = RATE,
    options: Mapping[str, str] = {}, container: Mapping[str, str] = {}, pixels: str = "yuv420p", turned: int = 0,
    start: float = 0, size: tuple[int, int] = (WIDTH, HEIGHT), shape: Fraction | None = None,
    first: int = 0,
) -> Drawn:  # fmt: skip
    """Draw a clip; `turned` degrees are how the camera was held: pixels are stored turned back."""
    file = io.BytesIO()
    tick = Fraction(1, 90000)
    at = times or (lambda number: float(number / rate))
    with av.open(file, "w", format=suffix, container_options=dict(container)) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stored = size[::-1] if turned % 180 else size
        stream.width, stream.height = stored
        stream.pix_fmt, stream.options = pixels, {"g": "12", **options}
        if shape:
            stream.codec_context.sample_aspect_ratio = shape
        if times is not None or start:
            stream.codec_context.time_base = tick
        for number in range(frames):
            picture = painted(first + number, size).rotate(turned, expand=True)
            frame = av.VideoFrame.from_image(picture)
            clock = stream.codec_context.time_base if times is not None or start else 1 / rate
            frame.pts, frame.time_base = round((at(number) + start) / clock), Fraction(clock)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return Drawn(file.getvalue(), {first + number: at(number) for number in range(frames)})


TURNED = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""Matrices that turn pixels clockwise by degrees."""


def with_matrix(data: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An MP4 whose track says how its pixels are turned or mirrored to be shown: x is ax + cy, and y is bx + dy."""
    a, b, c, d = (value * 2**16 for value in matrix)
    at = data.index(b"tkhd") + 4 + 40  # version 0: matrix behind 40 bytes
    words = (a, b, 0, c, d, 0, 0, 0, 2**30)
    return data[:at] + b"".join(word.to_bytes(4, "big", signed=True) for word in words) + data[at + 36 :]


def edited(drawn: Drawn, begin: float) -> Drawn:
    """The clip from a time on without new pixels: an edit list hides the frames before it."""
    file = io.BytesIO()
    with av.open(io.BytesIO(drawn.data)) as source, av.open(file, "w", format="mp4") as output:
        stream = source.streams.video[0]
        copy: Any = output.add_stream_from_template(stream)
        source.seek(int(begin / stream.time_base), stream=stream)
        offset = round(begin / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copy
            output.mux(packet)
    shown = {number: time - begin for number, time in drawn.times.items() if time >= begin - 1e-6}
    first = min(shown)
    return Drawn(file.getvalue(), {number: time - shown[first] for number, time in shown.items()})


def _joined(suffix: str, codec: str = "libx264", height: int = HEIGHT, **options: Any) -> Drawn:
    """Three recordings one behind the other in a file, as `cat` joins them, the second of another size."""
    sizes = ((4 * height, height), (8 * height, height), (4 * height, height))
    parts = [written(suffix, codec, first=60 * at, size=size, **options) for at, size in enumerate(sizes)]
    later = {
        number: time + at * float(60 / RATE) for at, part in enumerate(parts) for number, time in part.times.items()
    }
    return Drawn(b"".join(part.data for part in parts), later)


def _two_rates(number: int) -> float:
    return number / 30 if number < 30 else 1 + (number - 30) / 6


def _still(number: int) -> float:
    return number / 30 if number < 5 else 6 + number / 30


_REALTIME, _MANY_BITS = {"deadline": "realtime", "cpu-used": "8"}, {"b:v": "4M"}
KINDS: dict[str, Callable[[], Drawn]] = {
    "constant rate": lambda: written("mp4", options={"bf": "0"}),
    "B-frames": lambda: written("mp4", options={"bf": "3"}),
    "open GOP": lambda: written("mp4", options={"bf": "3", "x264-params": "open-gop=1:keyint=12:bframes=3"}),
    "two rates": lambda: written("mp4", times=_two_rates),
    "still screen": lambda: written("mp4", times=_still),
    "edit list": lambda: edited(written("mp4", options={"bf": "3"}), 0.55),
    "turned": lambda: _turned(90),
    "fragmented": lambda: written("mp4", container={"movflags": "frag_keyframe+empty_moov"}),
    "WebM": lambda: written("webm", "libvpx-vp9", options=_REALTIME),
    "MKV": lambda: written("matroska"),
    "late MKV": lambda: written("matroska", start=5.0),
    "late TS": lambda: written("mpegts", start=5.0),
    "AVI": lambda: written("avi", "mpeg4", options=_MANY_BITS),
    "AVI, B-frames": lambda: written("avi", options={"bf": "2"}),
    "TS, joined": lambda: _joined("mpegts", options={"bf": "2"}),
    "MPEG, joined": lambda: _joined("mpeg", "mpeg2video", 192, options=_MANY_BITS),
    "MKV, joined": lambda: _joined("matroska", options={"bf": "3"}),
    "WebM, joined": lambda: _joined("webm", "libvpx-vp9", options=_REALTIME),
    "WMV": lambda: written("asf", "wmv2", options=_MANY_BITS),
    "FLV": lambda: written("flv"),
    "Ogg": lambda: written("ogg", "libvpx", options=_REALTIME),
    "MXF": lambda: written("mxf", "mpeg2video", options=_MANY_BITS),
    "RealMedia": lambda: written("rm", "rv20", options=_MANY_BITS),
    "IVF": lambda: written("ivf", "libvpx", options=_REALTIME),
    "10 bits": lambda: written("mov", pixels="yuv420p10le"),
}


def _turned(degrees: int) -> Drawn:
    drawn = written("mp4", turned=degrees)
    return drawn._replace(data=with_matrix(drawn.data, TURNED[degrees]))
