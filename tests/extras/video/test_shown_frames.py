"""Frames are shown in their colours and shape, whatever a clip stores: by PyAV 16 as by 19, and not without a word.

Expected colours are those of ITU-R BT.709, BT.2020 and BT.2100 by their formulas, in sRGB; white of HDR has 203 cd/m2
(BT.2408). PyAV 16's `to_image` gives (232, 0, 0) for the red of BT.709, 17 and later (254, 0, 0).
"""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import pytest
from extras.video.drawn_clips import TURNED, painted, with_matrix, written
from PIL import Image, ImageChops, ImageStat
from support.called import virc
from support.servers import serve
from support.solving import answer
from support.tables import each_case

from virc_extras.video.decoding.frames import Clip

_HDR = "is an HDR clip, and is shown without its brightest shades"
_UNTAGGED = "does not say how its colours are stored: they are shown as BT.709, as players do"
_WHITE = "is transparent, and is shown on white"
_INTERLACED = "is interlaced, and its frames are shown with lines made up in place of those of another time"


class Stored(NamedTuple):
    """Numbers of Y, Cb and Cr that all pixels have, and what the file says of them, as of H.273."""

    numbers: tuple[int, int, int]
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    size: tuple[int, int] = (64, 48)
    range: int = 1
    bits: int = 8


def stored(case: Stored, **about: Any) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=10)
        stream.width, stream.height = case.size
        stream.pix_fmt, stream.options = "yuv420p10le" if case.bits > 8 else "yuv420p", {"qp": "0"}
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = case.primaries, case.transfer, case.matrix
        context.color_range = case.range
        for name, value in about.items():
            setattr(context, name, value)
        frame: Any = av.VideoFrame(*case.size, stream.pix_fmt)
        for plane, number in zip(frame.planes, case.numbers, strict=True):
            width = 2 if case.bits > 8 else 1
            plane.update(number.to_bytes(width, "little") * (plane.buffer_size // width))
        for frame.pts in range(2):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def shown(data: bytes, at: float = 0) -> tuple[Image.Image, tuple[str, ...], Clip]:
    clip = Clip(io.BytesIO(data), data[:1024], "clip")
    return clip.frame_at(at)[1], clip.notes, clip


_HD = (1280, 720)


@each_case(
    ("case", "colour", "said"),
    [
        (Stored((721, 512, 512), 9, 18, 9, bits=10), (253, 253, 253), _HDR),  # white of HLG
        (Stored((63, 102, 240), 1, 1, 1, _HD), (254, 0, 0), None),
        (Stored((63, 102, 240), size=_HD), (254, 0, 0), _UNTAGGED),
        (Stored((81, 90, 240)), (254, 0, 0), None),  # as BT.601, which small clips have
        (Stored((76, 85, 255), 5, 6, 5, range=2), (254, 0, 0), None),
        (Stored((113, 123, 150), 12, 1, 1, _HD), (162, 99, 101), None),  # Display P3 as phones write it
        (Stored((460, 487, 602), 9, 14, 9, bits=10), (177, 93, 101), None),  # BT.2020 without HDR
    ],
)
def test_colours_are_those_that_the_file_means(case: Stored, colour: tuple[int, int, int], said: str | None) -> None:
    check_colour(case, colour, said)


@pytest.mark.integration  # libswscale takes seconds to begin with each
@each_case(
    ("case", "colour"),
    [
        (Stored((573, 512, 512), 9, 16, 9, bits=10), (253, 253, 253)),  # white of PQ
        (Stored((181, 448, 740), 9, 16, 9, bits=10), (233, 0, 0)),  # red of 100 cd/m2, which sRGB has not
        (Stored((573, 512, 512), 2, 16, 9, bits=10), (253, 253, 253)),  # primaries are not said
    ],
)
def test_colours_of_hdr_are_those_that_the_file_means(case: Stored, colour: tuple[int, int, int]) -> None:
    check_colour(case, colour, _HDR)


def check_colour(case: Stored, colour: tuple[int, int, int], said: str | None) -> None:
    frame, notes, _ = shown(stored(case))
    found: Any = frame.getpixel((30, 30))
    assert max(abs(one - other) for one, other in zip(found, colour, strict=True)) <= (10 if said == _HDR else 4), found
    assert notes == ((said,) if said else ())


@each_case(
    ("suffix", "codec", "width"),
    [("mp4", "libx264", 1001), ("matroska", "libx264", 1001), ("mpegts", "mpeg2video", 1024)],  # which has 16:9 alone
)
def test_pixels_that_are_not_square_are_shown_in_the_shape_of_the_screen(suffix: str, codec: str, width: int) -> None:
    data = written(suffix, codec, frames=3, size=(704, 576), shape=Fraction(64, 45)).data
    frame, notes, clip = shown(data)
    assert frame.size == clip.size == (width, 576)
    assert notes == ()
    if suffix == "mp4":  # it is turned behind that
        assert shown(with_matrix(data, TURNED[90]))[0].size == (576, 1001)


def transparent(suffix: str, codec: str, pixels: str, metadata: dict[str, str], matrix: int = 2) -> bytes:
    """A clip of a red corner on a transparent ground."""
    file = io.BytesIO()
    picture = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 32, 24))
    with av.open(file, "w", format=suffix) as output:
        stream: Any = output.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.metadata.update(metadata)
        stream.codec_context.colorspace = matrix
        stream.options = {"auto-alt-ref": "0"} if metadata else {}
        frame: Any = av.VideoFrame(64, 48, "rgba")
        frame.planes[0].update(_rows(picture, frame.planes[0].line_size))
        for frame.pts in range(3):
            output.mux(stream.encode(frame.reformat(format=pixels)))
        output.mux(stream.encode(None))
    return file.getvalue()


@each_case(
    ("suffix", "codec", "pixels", "metadata"),
    [
        ("mov", "png", "rgba", {}),
        ("mov", "qtrle", "argb", {}),
        ("mov", "prores_ks", "yuva444p10le", {}),
        ("webm", "libvpx", "yuva420p", {"alpha_mode": "1"}),
        ("webm", "libvpx-vp9", "yuva420p", {"alpha_mode": "1"}),
    ],
)
def test_transparent_parts_are_shown_on_white_as_of_pictures(
    suffix: str, codec: str, pixels: str, metadata: dict[str, str]
) -> None:
    data = transparent(suffix, codec, pixels, metadata)
    for at in (0, 0.2, 0.1):  # a seek forgets the alpha of before
        seen, notes, _ = shown(data, at)
        empty, red = seen.crop((36, 28, 64, 48)), seen.crop((4, 4, 24, 16))
        assert min(low for low, _ in empty.getextrema()) > 245  # type: ignore[misc]
        assert [*map(round, ImageStat.Stat(red).mean)] == pytest.approx([254, 0, 0], abs=6)
        assert notes == (_WHITE,)


def test_transparent_parts_of_bt2020_are_shown_on_white() -> None:
    seen, notes, _ = shown(transparent("matroska", "ffv1", "yuva420p10le", {}, matrix=9))
    assert (seen.getpixel((50, 40)), notes) == ((255, 255, 255), (_WHITE,))
    assert seen.getpixel((10, 10))[1] < 60  # type: ignore[index,operator]


def _rows(picture: Image.Image, stride: int) -> bytes:
    line = 4 * picture.width
    content = picture.tobytes()
    return b"".join(content[at : at + line].ljust(stride, b"\0") for at in range(0, len(content), line))


def test_lines_of_another_time_are_replaced_and_what_stands_still_stays() -> None:
    """A bar moves over a picture whose lines differ; the same frame is shown whatever was read before."""
    still = painted(0b1010101010, (160, 96))
    still.paste("black", (0, 40, 40, 41))
    still.paste("black", (0, 48, 160, 96))

    def field(number: int) -> Image.Image:
        picture = still.copy()
        picture.paste("white", (60 + 4 * number, 48, 64 + 4 * number, 96))
        return picture

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream: Any = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.options = {"x264-params": "tff=1", "qp": "0", "g": "4"}
        odd = Image.new("L", (160, 96))
        for line in range(1, 96, 2):
            odd.paste(255, (0, line, 160, line + 1))
        for number in range(8):
            frame: Any = av.VideoFrame.from_image(Image.composite(field(2 * number + 1), field(2 * number), odd))
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    seen, notes, clip = shown(file.getvalue(), 0.5)
    assert notes == (_INTERLACED,)
    assert _combed(seen) < 0.2 * _combed(Image.composite(field(11), field(10), odd))
    assert seen.getpixel((20, 40)) < (60, 60, 60) < seen.getpixel((20, 39))  # type: ignore[operator]
    clip.frame_at(0.1)
    assert clip.frame_at(0.5)[1] == seen == dict(clip.all())[0.5]


def _combed(picture: Image.Image) -> float:
    """How much the lines of the moving bar differ from those above."""
    bar = picture.convert("L").crop((60, 50, 150, 94))
    return sum(ImageChops.difference(bar, ImageChops.offset(bar, 0, 1)).crop((0, 1, 90, 44)).histogram()[60:])


@pytest.mark.integration
def test_what_is_shown_otherwise_is_said_to_users(tmp_path: Path) -> None:
    clip = tmp_path / "bright.mp4"
    clip.write_bytes(stored(Stored((721, 512, 512), 9, 18, 9, bits=10)))
    with serve([answer("97")]) as server:
        done = virc("solve", clip, "q", "--endpoint", server.url, "--json")
    assert (done.code, done.json["warnings"]) == (0, [f"{clip} {_HDR}"]), done.err
