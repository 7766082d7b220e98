"""Files of every kind in the process that decodes those of others: what its memory and time come to."""

import shlex
from pathlib import Path

import pytest
from PIL import Image
from support.costly_pictures import COSTLY, encoded

from virc.core.errors import DataError
from virc.core.limits.image_memory import IMAGE_MEMORY, SETTING, limit, of_client
from virc.reasoning.opening import pictures as opening
from virc.reasoning.opening.decoder import DECODER
from virc.reasoning.opening.pricing import price

pytestmark = pytest.mark.integration
BESIDE = 64 * 2**20
SIDE = 3000
KINDS = [
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("JPEG", mode, {"progressive": progressive}) for mode in ("L", "RGB", "CMYK") for progressive in (False, True)),
    ("JPEG", "RGB", {"progressive": True, "subsampling": 0}), ("GIF", "P", {}),
    *(("WEBP", mode, {"lossless": lossless}) for mode in ("RGB", "RGBA") for lossless in (False, True)),
    *(("BMP", mode, {}) for mode in ("1", "P", "RGB")),
    *(("TIFF", mode, {}) for mode in ("1", "L", "RGB", "CMYK", "F", "I", "I;16")),
    *(("TIFF", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
    *(("PPM", mode, {}) for mode in ("1", "RGB", "I")),
    *(("AVIF", mode, {"speed": 10}) for mode in ("L", "RGB", "RGBA")),
]  # fmt: skip


def resident(field: str) -> int:
    """Bytes of the decoder's memory: now (`VmRSS`), or at most (`VmHWM`)."""
    if DECODER.process is None:
        DECODER.price(encoded("PNG", (64, 64)), "it", lambda: None)
    assert DECODER.process
    words = Path(f"/proc/{DECODER.process.pid}/status").read_text().split()
    return int(words[words.index(f"{field}:") + 1]) * 1024


def begin() -> int:
    """Bytes now, from which the peak is counted."""
    before = resident("VmRSS")
    assert DECODER.process
    Path(f"/proc/{DECODER.process.pid}/clear_refs").write_text("5")
    return before


@pytest.mark.parametrize(("kind", "mode", "words"), KINDS, ids=lambda each: str(each) if each else "")
def test_no_decoder_takes_more_than_its_price(
    kind: str, mode: str, words: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, "1000")
    data = encoded(kind, (SIDE, SIDE), mode, **words)
    found, before = price(data, "it"), begin()
    assert found
    with opening.opened_all([(data, "it")], of_client()):
        pass
    # what the allocator holds differs by some MiB; one copy more of an RGB picture is 27 MB
    assert resident("VmHWM") - before < found.most + 16 * 2**20


@pytest.mark.parametrize("name", COSTLY)
def test_no_file_takes_more_than_is_promised(name: str) -> None:
    data, held = COSTLY[name](), IMAGE_MEMORY.held  # by other tests' pictures
    before = begin()
    assert DECODER.process
    pid = DECODER.process.pid
    try:
        with opening.opened_all([(data, "it")], of_client()) as pictures:
            assert pictures[0].size == (64, 64)
    except DataError:
        pass  # refused
    assert resident("VmHWM") - before < limit() + BESIDE
    assert DECODER.process.pid == pid  # it is ended where a file takes too long
    assert IMAGE_MEMORY.held <= held


def test_no_other_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = tmp_path / "gs"
    ghost.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'started'))}\n")
    ghost.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    file = tmp_path / "a.eps"
    Image.new("RGB", (64, 64)).save(file)
    for terms in (of_client(), opening.OWN):
        with pytest.raises(DataError, match="is not a picture that can be read"):
            opening.opened_all([(file, "it")], terms).__enter__()
    assert not (tmp_path / "started").exists()
