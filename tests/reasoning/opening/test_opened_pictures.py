"""Pictures are opened within the memory for pictures: the same pixels as ever, and files that claim much refused."""

import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from support.costly_pictures import COSTLY, encoded, held_now, jpeg_of_fill
from support.tables import each_case

from virc.core.errors import DataError
from virc.core.limits import bounded
from virc.core.limits.image_memory import OWN, SETTING, Terms, TooLargeError, of_client
from virc.models import chat_protocol
from virc.models.registry import Weights
from virc.reasoning import images
from virc.reasoning.calls import Call, Size
from virc.reasoning.history import History, show_input
from virc.reasoning.opening import decoder
from virc.reasoning.opening import pictures as opening
from virc.reasoning.opening.decoder import DECODER
from virc.reasoning.opening.pricing import price
from virc.reasoning.resize import QWEN2, Grid
from virc.tools.registry import known, load

OURS = chat_protocol.of_weights(Weights("m", Path()), "default")
OF_FILES = msgspec.structs.replace(OURS, crops="file")
SMALL = Grid(28, 3136, 63504)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """All memory came back, whatever a test did; other tests of this process may still hold some."""
    before = held_now()
    yield
    assert held_now() <= before


def picture(kind: str, size: tuple[int, int], turn: int = 1, mode: str = "RGB") -> bytes:
    """Noise as a file, with an EXIF turn."""
    exif = Image.Exif()
    exif[0x112] = turn
    file = io.BytesIO()
    Image.effect_noise(size, 90).convert(mode).save(file, kind, exif=exif)
    return file.getvalue()


FILES = [
    picture(kind, size, turn, mode)
    for kind, mode, size, turn in (
        ("PNG", "RGB", (280, 140), 1), ("PNG", "LA", (301, 187), 6), ("PNG", "L", (31, 350), 3),
        ("JPEG", "RGB", (280, 140), 1), ("JPEG", "RGB", (301, 187), 6), ("JPEG", "L", (500, 400), 3),
        ("WEBP", "RGB", (301, 187), 5), ("TIFF", "I;16", (301, 187), 8),
    )
]  # fmt: skip


@pytest.mark.integration
@each_case("terms", [OWN, of_client()])
@each_case("changes", [{}, {"crops": "file"}, {"images": "square_1000"}])
def test_pictures_are_shown_and_cut_as_ever(terms: Terms, changes: dict[str, Any]) -> None:
    protocol = msgspec.structs.replace(OURS, **changes)
    for data in FILES[::4] if "images" in changes else FILES:
        former = show_input(images.open_file(data, "it"), protocol, SMALL)
        now = opening.shown(data, "it", protocol, SMALL, terms)
        assert (now.size, now.original, now.is_jpeg, now.file) == (
            former.size, former.original, former.is_jpeg, former.file,
        )  # fmt: skip
        assert now.pixels.tobytes() == former.pixels.tobytes()
        assert now.full.tobytes() == former.full.tobytes()
        with opening.opened_all([(data, "it")], terms) as pictures:
            opened = images.open_file(data, "it")
            assert (pictures[0].pixels.tobytes(), pictures[0].sendable) == (opened.pixels.tobytes(), opened.sendable)


def test_a_photograph_that_is_sent_as_it_is_is_decoded_for_crops_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decodings: list[str] = []
    load = JpegImageFile.load
    monkeypatch.setattr(JpegImageFile, "load", lambda image: decodings.append("once") or load(image))  # type: ignore[func-returns-value]
    data = picture("JPEG", (280, 140))
    shown = opening.shown(data, "it", OURS, SMALL)
    assert shown.url
    assert not decodings
    assert shown.pixels.size == (280, 140)
    assert decodings
    with pytest.raises(DataError, match=r"it is damaged or cut short"):
        opening.shown(data[:-200], "it", OURS, SMALL)


def test_a_large_photograph_is_decoded_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "4")
    photograph = Image.radial_gradient("L").crop((0, 0, 160, 120)).resize((1600, 1200)).convert("RGB")
    for turn, progressive in ((1, False), (5, False)):
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x112] = turn
        photograph.save(file, "JPEG", exif=exif, progressive=progressive)
        data = file.getvalue()
        found = opening.shown(data, "it", OURS, SMALL, of_client())
        usual = show_input(images.open_file(data, "it"), OURS, SMALL)
        assert (found.size, found.original, found.is_jpeg) == (usual.size, usual.original, True)
        difference = (abs(a - b) for a, b in zip(found.pixels.tobytes(), usual.pixels.tobytes(), strict=True))
        assert sum(difference) / len(usual.pixels.tobytes()) < 3
        with pytest.raises(TooLargeError):  # whose crops need all of its pixels
            opening.shown(data, "it", OF_FILES, SMALL, of_client())


@pytest.mark.integration
@each_case(
    ("kind", "tool", "size"),
    [("PNG", "crop_image", (280, 140)), ("JPEG", "zoom_image", images.SQUARE), ("JPEG", "mark_boxes", (280, 140))],
)
def test_a_clients_picture_is_cut_in_the_decoder_as_here(
    kind: str, tool: str, size: Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    load([tool])
    data, more = picture(kind, size), {"regions": [(0.1, 0.2, 0.3, 0.4)]} if tool == "mark_boxes" else {}
    call = Call(tool, 0, box=(20, 30, 83, 130), arguments=more)
    protocol = msgspec.structs.replace(OURS, images="square_1000" if size == images.SQUARE else "smart")
    own = History([images.open_file(data, "it")], protocol, SMALL, known())
    theirs, _another = (
        History([opening.shown(each, "it", protocol, SMALL, of_client())], protocol, SMALL, known())
        for each in (data, picture(kind, size))
    )
    decoded, decodings = DECODER.decoded, list[str]()
    monkeypatch.setattr(DECODER, "decoded", lambda *words: decodings.append("it") or decoded(*words))  # type: ignore[func-returns-value]
    for is_new in (False, True):
        if is_new:  # the decoder has no pixels, and decodes them again
            DECODER.close()
        (mine, _), (other, _) = (history.run(call)[1][0] for history in (own, theirs))
        assert (other.size, other.box, other.is_jpeg, other.file) == (mine.size, mine.box, mine.is_jpeg, mine.file)
    assert bool(decodings) == (tool == "mark_boxes")


@each_case("name", ["webp", "webp that fits", "animated webp", "png of two headers", "eps", "ico", "ppm"])
def test_a_file_that_claims_much_is_refused_by_its_header(name: str) -> None:
    with pytest.raises(DataError):
        opening.shown(COSTLY[name](), "it", OURS, QWEN2, of_client())


def test_a_file_that_needs_more_than_its_header_says_is_refused() -> None:
    data = encoded("PNG", (9000, 9000), "1")
    with pytest.raises(DataError, match="takes more memory to decode than its size in the header does"):
        DECODER.decoded(data, "it", 0, None, lambda: None)


def test_a_decoder_that_was_killed_is_started_again() -> None:
    data = encoded("PNG", (64, 64))
    assert DECODER.price(data, "it", lambda: None)
    process = DECODER.process
    assert process
    process.kill()
    process.wait()
    assert DECODER.price(data, "it", lambda: None)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@each_case("reason", ["left", "late"])
def test_decoding_ends_when_nobody_waits_or_it_takes_too_long(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("PNG", (64, 64))
    assert DECODER.price(data, "it", lambda: None)
    assert DECODER.process
    DECODER.process.send_signal(signal.SIGSTOP)  # it decodes for as long as it must
    monkeypatch.setattr(bounded, "CHECK", 0.001)
    monkeypatch.setattr(decoder, "SECONDS", 0.01 if reason == "late" else 60)

    def left() -> None:
        if reason == "left" and not DECODER._turn.acquire(blocking=False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt if reason == "left" else DataError) as ended:
        DECODER.decoded(data, "it", 2**30, None, left)
    assert reason == "left" or "takes over 0.01 s" in str(ended.value)
    assert DECODER.process is None


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of CPU time")
def test_a_header_that_takes_long_ends_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_HEADER_CPU_SECONDS", 0.05)
    with pytest.raises(DataError, match=r"it cannot be decoded: it takes over 0\.05 s"):
        DECODER.price(jpeg_of_fill(2**20), "it", lambda: None)


def test_the_decoder_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "sk-secret")
    DECODER.close()
    assert DECODER.price(encoded("PNG", (64, 64)), "it", lambda: None)
    assert DECODER.process
    assert b"sk-secret" not in Path(f"/proc/{DECODER.process.pid}/environ").read_bytes()


def test_a_photograph_of_very_many_scans_is_refused_by_its_header() -> None:
    data = picture("JPEG", (40, 30))
    assert price(data + b"\xff\xda" * 99, "it")
    with pytest.raises(DataError, match="it has 101 scans: at most 100 are decoded"):
        price(data + b"\xff\xda" * 100, "it")
