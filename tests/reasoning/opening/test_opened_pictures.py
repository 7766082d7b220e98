"""Pictures are opened within the memory for pictures: the same pixels as ever, and files that claim much refused."""

import io
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import ExifTags, Image
from support.costly_pictures import COSTLY, encoded, held_now, jpeg_of_fill, png_of_two_headers, webp

from virc.core.errors import DataError
from virc.core.limits.image_memory import IMAGE_MEMORY, OWN, SETTING, Terms, TooLargeError, of_client
from virc.models import chat_protocol
from virc.models.registry import Weights
from virc.reasoning import images
from virc.reasoning.calls import Size
from virc.reasoning.history import show_input
from virc.reasoning.opening import decoder
from virc.reasoning.opening import pictures as opening
from virc.reasoning.opening.decoder import DECODER, Fit
from virc.reasoning.opening.pricing import price
from virc.reasoning.resize import QWEN2, Grid

OURS = chat_protocol.of_weights(Weights("m", Path()), "default").protocol
OF_FILES = msgspec.structs.replace(OURS, crops="file")
SMALL = Grid(28, 3136, 63504)
GREY = Image.new("RGB", (301, 17), "grey")


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


@pytest.mark.parametrize("terms", [OWN, of_client()], ids=["own", "outside"])
@pytest.mark.parametrize("changes", [{}, {"crops": "file"}, {"images": "square_1000"}], ids=str)
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


def test_the_price_is_no_less_than_the_decoder_takes() -> None:
    """Measured for each format in `tests/reasoning/opening/test_hostile_pictures.py`; here that none is missing."""
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF"):
        found = price(encoded(kind, (100, 60)), "it")
        assert found
        assert (found.size, found.kept) == ((100, 60), 24000)
        assert found.most >= 5 * 6000


@pytest.mark.parametrize("terms", [OWN, of_client()], ids=["own", "outside"])
def test_several_pictures_are_counted_in_one_step(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "1")
    two = [(encoded("PNG", (280, 280)), "it")] * 2
    with opening.opened_all(two, terms) as pictures:
        assert IMAGE_MEMORY.held == 2 * 4 * 280 * 280
        assert len(pictures) == 2
    with pytest.raises(TooLargeError, match="the 3 pictures have 235,200 px together, which take 2 MiB"):
        opening.opened_all(two + two[:1], terms).__enter__()


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


def test_crops_of_files_are_counted_as_long_as_their_pixels_are_there() -> None:
    before = IMAGE_MEMORY.held
    one, other = (opening.shown(encoded("PNG", (600, side)), "it", OF_FILES, SMALL) for side in (400, 500))
    assert IMAGE_MEMORY.held == before
    pixels = one.full
    assert IMAGE_MEMORY.held - before == 4 * 600 * 400
    assert one.full is pixels
    assert other.full.size == (600, 500)
    assert IMAGE_MEMORY.held - before == 4 * 600 * 900
    del pixels
    assert IMAGE_MEMORY.held - before == 4 * 600 * 500


@pytest.mark.parametrize("name", ["webp", "webp that fits", "animated webp", "png of two headers", "eps", "ico", "ppm"])
def test_a_file_that_claims_much_is_refused_by_its_header(name: str) -> None:
    with pytest.raises(DataError):
        opening.shown(COSTLY[name](), "it", OURS, QWEN2, of_client())


def test_a_webp_is_priced_without_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which makes room for all pixels, four times over, where it is only opened."""
    files = [encoded("WEBP", (301, 17), lossless=lossless) for lossless in (False, True)]
    files += [encoded("WEBP", (301, 17), "RGBA"), encoded("WEBP", (301, 17), save_all=True, append_images=[GREY])]
    monkeypatch.setattr(Image, "open", None)
    found = [price(data, "it") for data in files]
    assert [each and each.size for each in found] == [(301, 17)] * 4


def test_what_is_claimed_is_read_where_the_decoder_reads_it() -> None:
    for data in (webp(9900, 9900), png_of_two_headers()):
        found = price(data, "it")
        assert found
        assert found.size == (9900, 9900)
    assert price(webp(), "it") is None  # over the size that any picture may have
    wide = [price(encoded(kind, (64, 64), "I;16"), "it") for kind in ("PNG", "TIFF")]
    assert [each and each.of_pixel for each in wide] == [11, 15]


def test_a_photograph_that_is_decoded_small_is_turned_as_its_camera_says() -> None:
    page = Image.new("RGB", (1120, 560), "white")
    page.paste("red", (0, 0, 560, 280))
    file, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # its left upper corner is the right upper one
    page.save(file, "JPEG", exif=exif)
    for divisor in (1, 2):
        found, original = decoder.decoded(file.getvalue(), "it", Fit((1120, 560), ((560, 280), (280, 560)), divisor))
        assert (found.pixels.size, original, found.is_jpeg, found.data) == ((280, 560), (560, 1120), True, None)
        assert [found.pixels.getpixel(at)[1] > 128 for at in ((250, 30), (30, 30), (250, 530))] == [False, True, True]  # type: ignore[index]


def test_a_file_that_needs_more_than_its_header_says_is_refused() -> None:
    data = encoded("PNG", (9000, 9000), "1")
    with pytest.raises(DataError, match="takes more memory to decode than its size in the header does"):
        DECODER.decoded(data, "it", 0, None, lambda: None)


def test_a_name_may_hold_half_a_character() -> None:
    with pytest.raises(DataError, match=r"a\?b.png is empty"):
        DECODER.decoded(b"", "a\udcffb.png", 0, None, lambda: None)


def test_a_decoder_that_was_killed_is_started_again() -> None:
    data = encoded("PNG", (64, 64))
    assert DECODER.price(data, "it", lambda: None)
    process = DECODER._process
    assert process
    process.kill()
    process.wait()
    assert DECODER.price(data, "it", lambda: None)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), RuntimeError("cancelled"), OSError("broken pipe")]
)
def test_a_decoder_that_was_interrupted_decodes_no_other_picture(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer would be taken for that to the next picture."""
    ended: list[object] = []
    process = SimpleNamespace(poll=lambda: None, returncode=None)

    def interrupt(*_: object) -> None:
        raise error

    monkeypatch.setattr(decoder, "_started", lambda: process)
    monkeypatch.setattr(decoder, "_exchange", interrupt)
    monkeypatch.setattr(decoder.bounded, "end", ended.append)
    mine = decoder.Decoder()
    with pytest.raises(DataError if isinstance(error, OSError) else type(error)):
        mine.price(b"", "it", lambda: None)
    assert (ended, mine._process) == ([process], None)
    assert mine._turn.acquire(blocking=False)  # others are not kept waiting


def test_pictures_of_others_are_decoded_in_the_decoder_in_a_time_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, pixels = list[tuple[int | None, float]](), Image.new("RGB", (8, 8))
    data, whole = encoded("PNG", (8, 8)), msgspec.json.encode(decoder._Answer(size=(8, 8))) + b"\n"

    def exchanged(process: object, task: Any, data: bytes) -> tuple[decoder._Answer, bytes, Image.Image]:
        asked.append((task.most, task.seconds))
        return decoder._Answer(size=(8, 8), original=(8, 8)), b"", pixels

    def started() -> Any:
        return SimpleNamespace(stdin=io.BytesIO(), stdout=io.BytesIO(whole + bytes(9)), poll=lambda: None, returncode=1)

    monkeypatch.setattr(decoder, "_started", started)
    monkeypatch.setattr(decoder.bounded, "end", lambda process: None)
    with pytest.raises(DataError, match="it cannot be decoded: it ends the decoder"):  # in the midst of the pixels
        decoder.Decoder().decoded(data, "it", 99, None, lambda: None)
    monkeypatch.setattr(decoder, "_exchange", exchanged)
    mine = decoder.Decoder()
    monkeypatch.setattr(opening, "DECODER", mine)
    monkeypatch.setattr(mine, "price", lambda data, name, check: price(data, name))
    with opening.opened_all([(data, "it")], of_client()) as (picture,):
        assert (picture.pixels is pixels, picture.data) == (True, data)
    assert mine.decoded(data, "it", 99, Fit((8, 8), ((8, 8), (8, 8))), lambda: None)[0].data is None
    decoder.Decoder().price(data, "it", lambda: None)
    assert [seconds for _, seconds in asked] == [10.0, 10.0, 1.0]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("reason", ["left", "late"])
def test_decoding_ends_when_nobody_waits_or_it_takes_too_long(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("PNG", (64, 64))
    assert DECODER.price(data, "it", lambda: None)
    assert DECODER._process
    DECODER._process.send_signal(signal.SIGSTOP)  # it decodes for as long as it must
    monkeypatch.setattr(decoder, "_CHECK", 0.001)
    monkeypatch.setattr(decoder, "SECONDS", 0.01 if reason == "late" else 60)

    def left() -> None:
        if reason == "left" and not DECODER._turn.acquire(blocking=False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt if reason == "left" else DataError) as ended:
        DECODER.decoded(data, "it", 2**30, None, left)
    assert reason == "left" or "takes over 0.01 s" in str(ended.value)
    assert DECODER._process is None


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of CPU time")
def test_a_header_that_takes_long_ends_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_HEADER_CPU_SECONDS", 0.05)
    with pytest.raises(DataError, match=r"it cannot be decoded: it takes over 0\.05 s"):
        DECODER.price(jpeg_of_fill(2**20), "it", lambda: None)


def test_the_decoder_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "sk-secret")
    DECODER.close()
    assert DECODER.price(encoded("PNG", (64, 64)), "it", lambda: None)
    assert DECODER._process
    assert b"sk-secret" not in Path(f"/proc/{DECODER._process.pid}/environ").read_bytes()


def test_a_watch_that_has_ended_leaves_the_decoder_to_the_next_picture() -> None:
    entered, leave, killed = threading.Event(), threading.Event(), list[str]()

    def check() -> None:
        entered.set()
        leave.wait()
        raise RuntimeError("the client has left")

    watch = decoder._Watch(check)
    thread = threading.Thread(target=watch.run, args=(SimpleNamespace(kill=lambda: killed.append("killed")),))
    thread.start()
    entered.wait()
    watch.end()
    leave.set()
    thread.join()
    assert not killed


def test_who_waits_for_a_decoded_file_keeps_no_other() -> None:
    """Else its memory is counted while the one who decodes waits for memory: none of them ends."""
    last, pixels = opening._LastDecoded(), Image.new("RGB", (8, 8))
    last._kept, gone = (b"another", pixels), weakref.ref(pixels)
    thread = threading.Thread(target=lambda: last.pixels(encoded("PNG", (8, 8)), outside=False))
    with last._lock:
        thread.start()
        while thread.is_alive() and not any(frame.f_code.co_name == "pixels" for frame in frames_of(thread)):
            pass
        time.sleep(0.05)
        last.drop()
        del pixels
        assert gone() is None
    thread.join()


def frames_of(thread: threading.Thread) -> Iterator[FrameType]:
    """The frames of a thread that runs, the innermost first."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame:
        yield frame
        frame = frame.f_back


def test_a_photograph_of_very_many_scans_is_refused_by_its_header() -> None:
    data = picture("JPEG", (40, 30))
    assert price(data + b"\xff\xda" * 99, "it")
    with pytest.raises(DataError, match="it has 101 scans: at most 100 are decoded"):
        price(data + b"\xff\xda" * 100, "it")


@pytest.mark.parametrize(
    ("size", "wanted", "by"),
    [((1600, 1200), (400, 300), 4), ((1600, 1200), (500, 375), 2), ((1600, 1200), (900, 600), 1),
     ((8000, 1200), (100, 150), 8), ((800, 600), (1000, 750), 1)],
)  # fmt: skip
def test_a_photograph_is_decoded_no_smaller_than_it_is_shown(size: Size, wanted: Size, by: int) -> None:
    assert opening._jpeg_divisor(Fit(size, (wanted, wanted[::-1]))) == by
