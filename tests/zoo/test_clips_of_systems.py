"""Conversations about drawn clips, through `virc solve` and a scripted server: each frame is the one a call names."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")

from extras.video.drawn_clips import number_of, written
from PIL import Image
from support.called import virc
from support.servers import image_bytes, images_of, serve

from virc_zoo.revisor._painting import painter
from virc_zoo.video_com import rows

pytestmark = pytest.mark.integration  # clips are read in a process


def solved(clip: Path, system: str, replies: Sequence[str], *words: str) -> tuple[Any, list[Image.Image], list[str]]:
    """What came of it, the pictures and the texts of the user that the last request has."""
    waiting = iter(replies)
    with serve(lambda _: next(waiting)) as server:
        done = virc("solve", clip, "Which?", "--endpoint", server.url, "--system", system, "--json", *words)
        assert done.code == 0, done.err
        body = server.chats()[-1]
    pictures = [Image.open(io.BytesIO(image_bytes(part))) for part in images_of(body)]
    return done.json, pictures, [text_of(message) for message in body["messages"] if message["role"] == "user"]


def text_of(message: Any) -> str:
    parts = message["content"]
    return parts if isinstance(parts, str) else "".join(part.get("text", "") for part in parts)


def test_video_com_is_shown_the_segments_frames_and_boxes_that_it_names(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(written("mp4", frames=126, size=(640, 320), rate=Fraction(6)).data)  # 21 s: two segments
    replies = [
        "Somewhere later.\nFIND_SEGMENT(the end) = [0, 2, 2]",
        "There.\nFIND_FRAME(the card) = 90",
        "Two parts.\nSPATIAL_ZOOM(left) = [0, 0, 224, 224]\nSPATIAL_ZOOM(right) = [224, 0, 448, 112]",
        "Too far.\nFIND_FRAME(nothing) = 900",
        "So.\nFINAL_ANSWER: B. two",
    ]
    answer, pictures, texts = solved(clip, "video-com", replies, "--frames", "4")
    assert answer["answer"] == "B. two"
    found = [number_of(each) for each in pictures[:21]]
    assert found == [0, 41, 83, 125, *(round(63 + 62 * at / 15) for at in range(16)), 89]
    frame, left, right = pictures[20:]
    assert frame.size == (448, 224)  # at most 100,352 px
    for crop, box in ((left, (0, 0, 224, 224)), (right, (224, 0, 448, 112))):
        cut = frame.crop(box).resize((8, 8), Image.Resampling.BOX).convert("L")
        near = crop.resize((8, 8), Image.Resampling.BOX).convert("L")
        assert max(abs(a - b) for a, b in zip(cut.tobytes(), near.tobytes(), strict=True)) < 40
    assert len(texts) == 5
    assert len({*texts[1:]}) == 3  # a frame that there is not is answered with the sentence of a frame
    assert texts[4] == texts[2]


def test_rows_of_video_com_have_what_was_shown_behind_each_step(tmp_path: Path) -> None:
    Image.new("RGB", (896, 448)).save(tmp_path / "a.png")
    ranges = [{"start": 10.0, "end": 12.51}, {"start": 20.0, "end": 25.01}]
    asked = {"from": "human", "value": "<video>\nGo on.", "media": {"type": "video", "time_ranges": ranges}}
    shown = {
        "from": "human",
        "value": "<image>",
        "media": {"type": "image", "image": "a.png", "bbox": [[8, 20, 90, 99]]},
    }
    said = [{"from": "assistant", "value": "SPATIAL_ZOOM(it) = [8, 20, 90, 99]"}] * 2
    turns = [{"from": "human", "value": "<video>\n?"}, said[0], asked, said[0], shown, said[1]]
    row = rows.with_clips({"id": 1, "video": "a.mp4", "conversations": turns}, tmp_path)
    first, again = row["videos"]
    assert first == {"video": "a.mp4"}
    assert again["at"] == [10, 10.5, 11, 11.5, 12, 20, *(20.5 + at / 2 for at in range(10))]
    assert [each["value"] for each in row["conversations"][2:]] == [
        "<video>Go on.", said[0]["value"], "<image>", "SPATIAL_ZOOM(it) = [4, 10, 45, 49]"
    ]  # fmt: skip
    assert Image.open(io.BytesIO(row["images"][0]["bytes"])).size == (448, 224)


def test_vr_thinker_looks_again_into_either_of_two_clips(tmp_path: Path) -> None:
    clips = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for clip, rate in zip(clips, (10, 20), strict=True):
        clip.write_bytes(written("mp4", frames=40, rate=Fraction(rate)).data)
    look = '{"name": "watch", "arguments": {"start": 0.5, "clip": 2}}'
    replies = [f"<think>Closer.</think><tool_call>{look}</tool_call>", "<think>So.</think><answer>OA=2</answer>"]
    answer, pictures, _ = solved(clips[0], "vr-thinker", replies, "--frames", "2", "--image", str(clips[1]))
    assert answer["answer"] == "OA=2"
    assert [number_of(each) for each in pictures] == [0, 39, 0, 39, 10]


def test_revisor_is_shown_the_part_that_it_names_before_one_sentence(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(written("mp4", frames=126, rate=Fraction(6)).data)  # 21 s
    replies = [
        "<think>Late.</think><time_interval>[10., 12.5000000]</time_interval>",
        "<think>Again.</think><time_interval>[20, 20.5]</time_interval>",
        "<think>A card.</think><answer>B</answer>",
    ]
    answer, pictures, texts = solved(clip, "revisor", replies, "--frames", "2")
    assert answer["answer"] == "B"
    assert [number_of(each) for each in pictures] == [0, 125, 60, 65, 70, 75]
    assert texts[0].startswith("\nWhich?")  # behind all frames, as behind one video
    assert texts[1].count("<answer>") == 1
    assert texts[2] == "Error: ZOOM IN ARGUMENTS ARE INVALID"


def test_revisor_reads_times_that_are_painted_low_on_the_left(tmp_path: Path) -> None:
    image = Image.new("RGB", (640, 360))
    painter(60, 2.0)(image, 7, 12.34)
    left, top, right, bottom = image.getbbox() or (0, 0, 0, 0)
    assert (left >= 18, right < 120, top > 300, bottom < 345) == (True, True, True, True)
    colors = image.getcolors(2**16) or []
    assert max(colors, key=lambda each: each[0] * (each[1] != (0, 0, 0)))[1] == (255, 0, 0)
