"""Pictures that were decoded whole are not decoded again while their files stay as they were."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from checking import broken, report
from PIL import Image

from virc.data.rows import remembered
from virc.data.rows.record import Picture
from virc.reasoning.images import StoredImage
from virc.reasoning.opening import pictures


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many pictures were decoded since the last call; what this process knows by their names is forgotten."""
    decoded, decode = list[str](), pictures.stored_image

    def stored_image(source: bytes | Path, name: str) -> StoredImage:
        decoded.append(name)
        return decode(source, name)

    def since() -> int:
        count = len(decoded)
        decoded.clear()
        remembered.forget()
        return count

    monkeypatch.setattr(pictures, "stored_image", stored_image)
    since()
    return since


def rows_with(folder: Path, data: bytes, name: str = "picture.png") -> Path:
    """A folder with a row that shows a file with those bytes."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    turns = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "A box."}]
    (folder / "rows.json").write_text(json.dumps([{"messages": turns, "images": [name]}]))
    return folder


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (shade, 90, 90)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def test_second_check_decodes_nothing(tmp_path: Path, decodings: Callable[[], int]) -> None:
    rows = broken(tmp_path / "rows", lambda rows, folder: None)
    first, count = report(rows), decodings()
    assert count == first["datasets"][0]["counts"]["images"]
    assert (report(rows), decodings()) == (first, 0)


def test_changed_file_is_decoded_again(tmp_path: Path) -> None:
    rows = rows_with(tmp_path / "rows", png(90))
    assert not report(rows)["faults"]
    picture = rows / "picture.png"
    written = picture.stat().st_mtime_ns
    picture.write_bytes(png(90)[:400].ljust(len(png(90)), b"\0"))
    os.utime(picture, ns=(written, written))
    assert report(rows)["faults"] == {"image_broken": 1}


def test_same_bytes_in_rows_are_decoded_once(tmp_path: Path, decodings: Callable[[], int]) -> None:
    sizes = [remembered.decoded(Picture(name, data=png(91))).size for name in ("one", "two")]
    remembered.forget()
    assert (sizes, remembered.decoded(Picture("three", data=png(91))).size, decodings()) == (
        [(60, 40)] * 2,
        (60, 40),
        1,
    )


def test_cache_keeps_the_latest_pictures(decodings: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MAX_KEPT", 2)
    shown = [Picture("", data=png(shade)) for shade in (94, 95, 96)]
    for picture in shown:
        remembered.decoded(picture)
    assert decodings() == 3
    remembered.close()
    for picture in reversed(shown):
        remembered.decoded(picture)
    assert decodings() == 1


@pytest.mark.parametrize("changed", ["limit", "decoder"])
def test_another_limit_or_decoder_decodes_again(
    changed: str, tmp_path: Path, decodings: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_with(tmp_path / "rows", png(92))
    assert not report(rows)["faults"]
    decodings()
    if changed == "limit":
        monkeypatch.setenv("VIRC_IMAGE_MEMORY", "100")
    else:
        monkeypatch.setattr(remembered, "_decoder", lambda: "another version")
    assert not report(rows)["faults"]
    assert decodings() == 1


@pytest.mark.parametrize("place", ["file in its way", "no database", "damaged entries"])
def test_cache_that_cannot_be_used_changes_no_verdict(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    if place == "no database":
        cache.mkdir()
        (cache / "pictures.sqlite").write_bytes(b"something else" * 100)
    elif place == "file in its way":
        cache.write_text("")
    monkeypatch.setenv("VIRC_CACHE", str(cache))
    whole = report(broken(tmp_path / "whole", lambda rows, folder: None))
    assert whole["good"] == whole["rows"]
    for damaged in (7, b'{"size": [9, 9], "mode": "\xff"}') if place == "damaged entries" else ():
        remembered._database().execute("UPDATE decoded SET image = ?", (damaged,))
        assert report(tmp_path / "whole") == whole
    assert report(rows_with(tmp_path / "rows", png(93)[:300]))["faults"] == {"image_broken": 1}
