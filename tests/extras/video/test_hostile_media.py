"""Files that are odd, damaged or made to harm: each is one sentence, and costs no more than its limits."""

import io
import math
import re
from pathlib import Path

import pytest
from extras.video.drawn_clips import KINDS, written
from extras.video.drawn_documents import ENCRYPTED, by_hand, filled_in, scanned
from PIL import Image
from support.called import virc
from support.tables import each_case

from virc.core.errors import DataError, SetupError
from virc.reasoning.media import USUAL_MEDIA, MediaChoice
from virc_extras.video import limits, worker
from virc_extras.video.decoding import frames, pages
from virc_extras.video.parts import MediaParts
from virc_extras.video.reader import medium_of


def parts(data: bytes, choice: MediaChoice = USUAL_MEDIA) -> MediaParts:
    medium = medium_of(data[:1024])
    assert medium
    return medium.parts(data, "it", choice, lambda: None)


def _cut(left_out: int) -> bytes:
    return KINDS["constant rate"]().data[:-left_out]


def _sound() -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=48000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.rate, frame.pts = 48000, 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        output.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()


@each_case(
    ("data", "sentence"),
    [
        (_cut(3000), "it is damaged, cut short, or of a codec that is not known"),
        (b"\0\0\0\x18ftypmp42" + bytes(500), "it is damaged, cut short, or of a codec"),
        (b"\x1aE\xdf\xa3" + b"x" * 500, "it is damaged, cut short, or of a codec"),
        (_cut(700), "it is damaged, cut short, or of a codec that is not known: no video"),
        (KINDS["constant rate"]().data.replace(b"avc1", b"new1"), "of a codec that is not known: no video that can be"),
        (_sound(), "it has no video: it is sound alone"),
        (written("matroska", frames=2, times=lambda number: number * 46_000).data, "over 12 h"),
        (b"%PDF-1.4 and nothing more", "it is damaged or cut short: it is no PDF"),
        (ENCRYPTED, "it is encrypted: it opens with a password alone"),
        (by_hand(count=0, kids=""), "it is damaged or cut short: it is no PDF"),
        (by_hand(count=6000), "it has 6,000 pages, over 5,000"),
    ],
)
def test_a_file_that_cannot_be_shown_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(DataError) as raised:
        parts(data)
    assert sentence in raised.value.message
    assert "\n" not in raised.value.message


@each_case(
    ("text", "name"),
    [
        ("#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "list.mp4"),
        ("ffconcat version 1.0\nfile '{}'\n", "list.mkv"),
        ("v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nm=video 1 RTP/AVP 96\n", "session.ts"),
        ("FWS\5\0\0\0\t {}", "old.swf"),
    ],
)
def test_a_format_that_is_not_read_is_refused_before_it_is_sent(text: str, name: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner.mp4"
    inner.write_bytes(KINDS["constant rate"]().data)
    (tmp_path / name).write_text(text.format(inner))
    done = virc("solve", tmp_path / name, "q", "--frames", 2, "--endpoint", "http://127.0.0.1:9/v1", "--dry-run")
    assert (done.code, done.out, f"{name} is not a picture that can be read" in done.err) == (5, "", True)
    assert re.search(r"known are PNG, .*; clips: MP4, .*; documents: PDF", done.err)


@each_case("box", ["0 0 14400 14400", "0 0 14400 0.001", "0 0 0 0", "0 0 1e30 5"])
def test_a_page_of_any_size_is_drawn_within_the_limit(box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_PIXELS", 2**20)
    (part,) = parts(by_hand(box)).parts
    assert math.prod(Image.open(io.BytesIO(part.data)).size) <= 2**20


def test_what_is_filled_into_a_form_is_shown() -> None:
    (part,) = parts(filled_in()).parts
    page = Image.open(io.BytesIO(part.data))
    assert page.getpixel((page.width // 2, page.height // 2)) == (0, 0, 0)


@each_case(
    ("limit", "value", "data", "sentence"),
    [
        ((frames, "MAX_PIXELS"), 5000, KINDS["constant rate"]().data, "the frames of it have 160 x 48 px"),
        ((limits, "MAX_BYTES"), 1000, KINDS["constant rate"]().data, "it has 0.0 GiB"),
        ((pages, "MAX_PAGES"), 2, scanned(3), "it has 3 pages, over 2"),
        ((worker, "MAX_PICTURES"), 2, scanned(3), "3 pages of it are asked for, over 2"),
        ((worker, "MAX_PICTURES"), 3, KINDS["constant rate"]().data, "that is 4 frames, over 3"),
    ],
)
def test_limits_hold_before_anything_is_shown(
    limit: tuple[object, str], value: int, data: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*limit, value)
    with pytest.raises(DataError, match=sentence):
        parts(data)


def test_pictures_of_one_file_share_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_PIXELS", 4 * 1920)
    for data, choice in ((KINDS["constant rate"]().data, MediaChoice(frames=4)), (scanned(4), USUAL_MEDIA)):
        sizes = [Image.open(io.BytesIO(each.data)).size for each in parts(data, choice).parts]
        assert len(sizes) == 4
        assert all(width * height <= 1920 for width, height in sizes)


@each_case(
    ("module", "data", "extra"), [("av", KINDS["constant rate"]().data, "video"), ("pypdfium2", scanned(1), "pages")]
)
def test_a_missing_package_is_named_with_its_extra(
    module: str, data: bytes, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from virc.core import extras

    found = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(SetupError) as raised:
        parts(data)
    assert f"needs {module}, of the extra {extra}" in raised.value.message
    assert f"[{extra}]'" in (raised.value.hint or "")
