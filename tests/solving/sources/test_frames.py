"""Further pictures of a file are said in every format that holds them, and each can be chosen."""

import io
from typing import Any

import pillow_heif
from PIL import Image
from support.tables import each_case

from virc.reasoning.images import open_file
from virc.solving.image_source import looked_at, losses, page_file

COLOURS = ("red", "green", "blue")


def make_file(kind: str, **options: Any) -> bytes:
    first, *others = [Image.new("RGB", (64, 48), colour) for colour in COLOURS]
    to = io.BytesIO()
    first.save(to, kind, save_all=True, append_images=others, **options)
    return to.getvalue()


def make_heif(primary: int = 0, **options: Any) -> bytes:
    file = pillow_heif.HeifFile()
    for colour in COLOURS:
        file.add_from_pillow(Image.new("RGB", (64, 48), colour))
    to = io.BytesIO()
    file.save(to, quality=95, primary_index=primary, **options)
    return to.getvalue()


def types_of_mpo(data: bytes, kind: int) -> bytes:
    """An MPO with other types of its further pictures."""
    with Image.open(io.BytesIO(data)) as image:
        sizes = [each["Size"] for each in image.mpinfo[0xB002][1:]]  # type: ignore[attr-defined]
    for size in sizes:
        for order in ("little", "big"):
            entry, size_of = bytes(4), size.to_bytes(4, order)  # type: ignore[arg-type]
            data = data.replace(entry + size_of, kind.to_bytes(4, order) + size_of, 1)  # type: ignore[arg-type]
    return data


FILES: dict[str, bytes] = {
    "HEIC": make_heif(), "HEIC, the second first": make_heif(1), "AVIF": make_file("AVIF", quality=95),
    "TIFF": make_file("TIFF"), "GIF": make_file("GIF"), "APNG": make_file("PNG"),
    "WebP": make_file("WEBP", lossless=True), "MPO of two eyes": types_of_mpo(make_file("MPO", quality=95), 0x020002),
    "MPO": make_file("MPO", quality=95),
}  # fmt: skip


@each_case("name", FILES)
def test_frames_are_counted_said_and_chosen(name: str) -> None:
    data = FILES[name]
    opened = open_file(data, name)
    seen = looked_at((data, name), name, opened)
    assert (seen["frames"], seen["shown"]) == (3, 1)
    assert losses([seen], [name]) == ([f"{name} has 3 frames, and 2 of them are not looked at"])
    colours = ("green", "red", "blue") if name == "HEIC, the second first" else COLOURS
    for page, colour in enumerate(colours, 1):
        pixel = open_file(*page_file((data, name), page)).pixels.getpixel((9, 9))
        assert max(range(3), key=pixel.__getitem__) == COLOURS.index(colour)  # type: ignore[union-attr]


@each_case("kind", [0x010001, 0x010002, 0])
def test_previews_and_gain_maps_of_an_mpo_are_no_frames(kind: int) -> None:
    options = {"xmp": b"HDRGainMap:HDRGainMapVersion"} if kind == 0 else {}
    data = types_of_mpo(make_file("MPO", quality=95, **options), kind)
    assert looked_at((data, "it"), "it", open_file(data, "it"))["frames"] == 1
