"""Clips with texts painted on their frames, by the command that a user types."""

import sys
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("av")

from extras.video.drawn_clips import number_of, written
from PIL import Image, ImageChops

from virc_extras.video.decoding.frames import Clip
from virc_zoo import painted_frames
from virc_zoo.video_com import _painting as painting


def frames_of(clip: Path) -> tuple[float, list[tuple[float, Image.Image]]]:
    with clip.open("rb") as file:
        read = Clip(file, clip.read_bytes()[:64], clip.name)
        return read.length, [*read.all()]


def test_segments_of_video_com_last_ten_to_thirty_seconds() -> None:
    lengths = {5: 1, 19: 1, 20: 2, 95: 9, 100: 10, 300: 10, 301: 11, 3600: 120}
    assert {seconds: painting.segments_of(seconds) for seconds in lengths} == lengths


def test_a_painted_clip_has_the_frames_at_their_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, painted, texts = tmp_path / "a.mp4", tmp_path / "painted" / "a.mp4", list[str]()
    drawn = written("mp4", frames=42, size=(320, 160), rate=Fraction(2))  # 21 s: two segments
    given.write_bytes(drawn.data)

    def noted(image: Image.Image, text: str, *place: tuple[float, float]) -> None:
        texts.append(text)
        painted_frames.written(image, text, *place)

    monkeypatch.setattr(painting, "written", noted)
    monkeypatch.setattr(sys, "argv", ["", "video-com", str(given), "--to", str(painted.parent)])
    painted_frames.main()
    (length, before), (painted_length, after) = frames_of(given), frames_of(painted)
    assert painted_length == pytest.approx(length, abs=1e-3)
    assert [time for time, _ in after] == pytest.approx([*drawn.times.values()], abs=1e-4)
    assert [number_of(image) for _, image in after] == [*range(42)]
    assert texts == [f"Segment-{1 + (number > 21)}\nFrame-{number}" for number in range(1, 43)]
    pairs = [
        (one.crop((0, 0, 160, 70)), other.crop((0, 0, 160, 70)))
        for (_, one), (_, other) in zip(before, after, strict=True)
    ]
    assert all(max(high for _, high in ImageChops.difference(*pair).getextrema()) > 100 for pair in pairs)
