"""Whatever a clip's container, clock, order and turn: a time names the frame that is shown at that time."""

import io
import random
import struct
from typing import Any

import av
import pytest
from av.stream import Disposition
from extras.video.drawn_clips import KINDS, TURNED, Drawn, number_of, painted, with_matrix, written
from PIL.Image import Transpose
from support.tables import each_case

from virc.core.errors import DataError
from virc_extras.video.decoding.frames import Clip
from virc_extras.video.reader import medium_of


def opened(drawn: Drawn, name: str = "clip") -> Clip:
    return Clip(io.BytesIO(drawn.data), drawn.data[:1024], name)


def wrong_reads(drawn: Drawn, count: int) -> list[tuple[float, int, int]]:
    """Times in any order, inside of what a frame is shown for: those at which another frame is read."""
    clip, chance, order = opened(drawn), random.Random(7), [*drawn.times]
    wrong = []
    for _ in range(count):
        at = chance.randrange(len(order))
        begin = drawn.times[order[at]]
        end = drawn.times[order[at + 1]] if at + 1 < len(order) else begin + 0.03
        time = begin + (end - begin) * chance.choice((0, 0.3, 0.6))
        if (read := number_of(clip.frame_at(time)[1])) != order[at]:
            wrong.append((time, order[at], read))
    return wrong


@pytest.mark.parametrize("count", [8, pytest.param(60, marks=pytest.mark.integration)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_time_names_the_frame_shown_then(kind: str, count: int) -> None:
    assert wrong_reads(KINDS[kind](), count) == []


@pytest.mark.integration
@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {"g": "250", "bf": "3"}),
        ("mpegts", "mpeg2video", {"g": "15", "bf": "2", "b:v": "4M"}),
        ("mp4", "libx265", {"x265-params": "open-gop=1:keyint=30:bframes=3:log-level=none"}),
        ("mpegts", "libx264", {"bf": "3", "x264-params": "open-gop=1:keyint=30:bframes=3"}),
        ("matroska", "libx264", {"bf": "3", "x264-params": "open-gop=1:keyint=30:bframes=3"}),
    ],
    ids=["far key frames", "MPEG-2", "HEVC, open GOP", "TS, open GOP", "MKV, open GOP"],
)
def test_reads_far_from_key_frames_are_right(suffix: str, codec: str, options: dict[str, str]) -> None:
    assert (
        wrong_reads(written(suffix, codec, frames=600, options=options, start=1.4 * (codec != "mpeg2video")), 60) == []
    )


@pytest.mark.parametrize("kind", KINDS)
def test_frames_have_numbers_by_the_times_at_which_they_are_shown(kind: str) -> None:
    drawn = KINDS[kind]()
    clip = opened(drawn)
    assert number_of(clip.frame_at(1)[1]) in drawn.times  # it is read on after another place
    assert clip.times() == pytest.approx([*drawn.times.values()], abs=0.002)
    assert [number_of(clip.frame_at(clip.times()[at])[1]) for at in (7, 3)] == [[*drawn.times][at] for at in (7, 3)]


@pytest.mark.parametrize("kind", ["edit list", "late TS", "WebM", "fragmented", "two rates"])
def test_length_is_that_up_to_the_last_frame_shown(kind: str) -> None:
    drawn = KINDS[kind]()
    clip = opened(drawn)
    assert clip.last == pytest.approx(max(drawn.times.values()), abs=0.002)
    assert clip.length > clip.last


def test_times_outside_show_the_first_and_the_last_frame() -> None:
    clip = opened(KINDS["constant rate"]())
    assert [number_of(clip.frame_at(time)[1]) for time in (-5, 0, 99, 3.5)] == [0, 0, 59, 59]


@each_case(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), Transpose.FLIP_LEFT_RIGHT),
        ((1, 0, 0, -1), Transpose.FLIP_TOP_BOTTOM),
        ((0, 1, 1, 0), Transpose.TRANSPOSE),
        ((0, -1, -1, 0), Transpose.TRANSVERSE),
        (TURNED[90], Transpose.ROTATE_270),
        (TURNED[180], Transpose.ROTATE_180),
        (TURNED[270], Transpose.ROTATE_90),
    ],
)
def test_pixels_that_are_turned_or_mirrored_are_shown_upright(
    matrix: tuple[int, int, int, int], shown: Transpose
) -> None:
    stored = written("mp4", frames=1)
    clip = opened(Drawn(with_matrix(stored.data, matrix), stored.times))
    upright = opened(stored).frame_at(0)[1].transpose(shown)
    assert clip.frame_at(0)[1] == upright
    assert clip.size == upright.size


def test_one_frame_is_a_clip() -> None:
    clip = opened(written("mp4", frames=1))
    assert (number_of(clip.frame_at(0)[1]), number_of(clip.frame_at(7)[1]), clip.last) == (0, 0, 0.0)


def test_a_far_time_is_found_by_a_seek_and_a_near_one_by_decoding_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = opened(written("mp4", frames=600, options={"g": "30", "bf": "0"}))
    decoded = 0
    following = Clip._next_frame

    def counted(self: Clip) -> object:
        nonlocal decoded
        decoded += 1
        return following(self)

    monkeypatch.setattr(Clip, "_next_frame", counted)
    assert [number_of(clip.frame_at(number * 1001 / 30000)[1]) for number in (0, 150, 300, 450)] == [0, 150, 300, 450]
    assert decoded < 4 * 32
    decoded = 0
    assert [number_of(clip.frame_at(number * 1001 / 30000)[1]) for number in range(451, 475)] == [*range(451, 475)]
    assert decoded < 30


@pytest.mark.parametrize("suffix", ["matroska", "mpegts"])
def test_a_recording_that_was_cut_short_is_read_up_to_its_end(suffix: str) -> None:
    whole = written(suffix, frames=300).data
    data = whole[: int(len(whole) * 0.8)]
    clip = Clip(io.BytesIO(data), data[:1024], "clip")
    last = round(clip.last * 30000 / 1001)
    assert 200 < last < 270
    assert [number_of(clip.frame_at(number * 1001 / 30000)[1]) for number in (last, 0, 150, last)] == [
        last,
        0,
        150,
        last,
    ]


def test_frames_that_are_damaged_are_left_out() -> None:
    data = bytearray(KINDS["MKV"]().data)
    second = data.index(b"\xa3", len(data) // 2)  # a block of the second half
    data[second + 12 : second + 20] = bytes(8)
    clip = Clip(io.BytesIO(bytes(data)), bytes(data[:1024]), "clip")
    assert [number_of(clip.frame_at(number * 1001 / 30000)[1]) for number in (0, 12, 59)] == [0, 12, 59]
    assert clip.last == pytest.approx(59 * 1001 / 30000, abs=0.002)


@each_case(("kind", "tag"), [("constant rate", b"VideoHandler"), ("constant rate", b"Lavf"), ("MKV", b"Lavf")])
def test_tags_that_are_not_utf8_do_not_matter(kind: str, tag: bytes) -> None:
    data = KINDS[kind]().data
    broken = data.replace(tag, b"\xff" * len(tag))
    assert broken != data
    assert number_of(Clip(io.BytesIO(broken), broken[:1024], "clip").frame_at(1)[1]) == 29


def test_a_clock_that_goes_back_before_its_start_is_said() -> None:
    data = bytearray(written("ivf", "libvpx", options={"deadline": "realtime", "cpu-used": "8"}).data)
    at = 32
    for number in range(30):  # which have times behind those of the last thirty
        size, time = struct.unpack_from("<IQ", data, at)
        struct.pack_into("<IQ", data, at, size, time + 156_000)
        at += 12 + size
        assert number == time
    clip = opened(Drawn(bytes(data), {}))
    assert clip.length == pytest.approx(1.001)
    assert [number_of(clip.frame_at(time)[1]) for time in (0, 0.51, 2)] == [0, 15, 29]
    assert clip.notes == ("has a clock that goes back before its start: what is behind that is not shown",)


def test_a_clock_that_wraps_goes_on() -> None:
    assert wrong_reads(written("mpegts", start=2**33 / 90000 - 1), 8) == []


def tracks(default: int | None, sizes: tuple[int, ...], most: int) -> bytes:
    """A clip of several video tracks, of which one may be the default, and number `most` has most frames."""
    file, flag = io.BytesIO(), Disposition.default.value
    with av.open(file, "w", format="matroska", container_options={"default_mode": "passthrough"}) as output:
        streams: list[Any] = [output.add_stream("libx264", rate=30) for _ in sizes]
        for number, (stream, width) in enumerate(zip(streams, sizes, strict=True)):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            stream.disposition = flag * (number == default)
        for number, (stream, width) in enumerate(zip(streams, sizes, strict=True)):
            for at in range(30 if number == most else 1):
                frame = av.VideoFrame.from_image(painted(100 + number, (width, 48)))
                frame.pts = at
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return file.getvalue()


@each_case(("default", "sizes", "shown"), [(1, (160, 160), 1), (0, (320, 160), 0), (None, (160, 320), 1)])
def test_of_several_tracks_the_best_is_shown_and_the_others_named(
    default: int | None, sizes: tuple[int, int], shown: int
) -> None:
    clip = opened(Drawn(tracks(default, sizes, shown), {}))
    assert number_of(clip.frame_at(0)[1]) == 100 + shown
    sentence = f"has 2 video tracks, and number {shown + 1} ({sizes[shown]} x 48 px) is shown, not {2 - shown} ("
    assert [note.startswith(sentence) for note in clip.notes] == [True]


def test_a_recording_behind_that_cannot_be_shown_is_said() -> None:
    behind = written("mpegts", "mpeg2video").data.replace(b"\0\0\1\xb3", bytes(4))
    clip = opened(Drawn(written("mpegts", "mpeg2video").data + behind, {}))
    assert clip.length == pytest.approx(2.0, abs=0.05)
    assert clip.notes == ("begins again at 0:02.01, which is not shown: clip has no frame that can be decoded",)


def test_a_cover_is_no_clip() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        sound, cover = output.add_stream("aac", rate=48000), output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic.value
        output.mux([*cover.encode(av.VideoFrame.from_image(painted(1))), *cover.encode(None)])
        output.mux(sound.encode(None))
    with pytest.raises(DataError, match="it is sound alone"):
        Clip(io.BytesIO(file.getvalue()), file.getvalue()[:1024], "song")


@each_case("text", ["GGGG" + "x" * 2000, "G" + ("x" * 187 + "y") * 9, "a text about %PDF-1.7", "ID3\x03" + "\xff" * 99])
def test_texts_and_songs_are_no_clips(text: str) -> None:
    assert medium_of(text.encode("latin-1")[:1024]) is None
