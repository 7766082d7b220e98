"""Pictures that cost more than their bytes say."""

import gc
import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image
from support.row_files import png_chunk

from virc.core.limits.image_memory import IMAGE_MEMORY


def held_now() -> int:
    """Bytes that are held, without those of pictures that other tests left: in cycles, or kept for crops to come."""
    IMAGE_MEMORY.reclaim()
    gc.collect()
    return IMAGE_MEMORY.held


def encoded(kind: str, size: tuple[int, int], mode: str = "RGB", **words: object) -> bytes:
    """A black picture as a file."""
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **words)
    return file.getvalue()


def webp(width: int = 16383, height: int = 16383) -> bytes:
    """A WebP of 34 bytes that says it is so large."""
    sides = struct.pack("<I", width - 1 | height - 1 << 14)
    chunk = b"VP8L" + struct.pack("<I", 14) + b"\x2f" + sides + b"\0" * 9
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def animated_webp() -> bytes:
    """One of a large canvas with a small frame."""
    small = encoded("WEBP", (16, 16))
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + (9899).to_bytes(3, "little") * 2
    head = canvas + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + small[12:]
    body = head + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def avif_that_says_less() -> bytes:
    """Coded at 9,900 x 9,900 pixels; its container says 64 x 64."""
    data = encoded("AVIF", (9900, 9900), speed=10)
    at = data.find(b"ispe") + 8
    return data[:at] + struct.pack(">II", 64, 64) + data[at + 8 :]


def png_with(*chunks: bytes, size: tuple[int, int] = (64, 64)) -> bytes:
    """A PNG with further chunks before its pixels."""
    data = encoded("PNG", size)
    return data[:33] + b"".join(chunks) + data[33:]


def png_of_text() -> bytes:
    """A thousand texts that are a MiB each."""
    text = zlib.compress(bytes(2**20 - 64), 9)
    return png_with(*(png_chunk(b"zTXt", b"Comment\0\0" + text) for _ in range(1000)))


def png_of_profiles() -> bytes:
    """A profile of colours of 512 MiB."""
    squeezed = zlib.compressobj(9)
    body = b"".join(squeezed.compress(bytes(2**20)) for _ in range(512)) + squeezed.flush()
    return png_with(png_chunk(b"iCCP", b"p\0\0" + body))


def png_of_two_headers() -> bytes:
    """The second header is the one that counts."""
    return png_with(png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9900, 9900, 8, 2, 0, 0, 0)), size=(16, 16))


def tags(many: int, length: int, at: int) -> bytes:
    """A TIFF directory of so many private tags, each of which has the same `length` bytes at `at`."""
    entries = (struct.pack("<HHII", 40000 + number, 1, length, at) for number in range(many))
    return struct.pack("<H", many) + b"".join(entries) + bytes(4)


def tiff_of_tags() -> bytes:
    """A thousand tags with the same megabyte."""
    data = bytearray(encoded("TIFF", (64, 64)))
    where = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, where)[0]
    own = bytes(data[where + 2 : where + 2 + 12 * count])
    struct.pack_into("<I", data, 4, len(data))
    many = tags(1000, 2**20, 8)
    return bytes(data) + struct.pack("<H", count + 1000) + own + many[2:] + bytes(2**20)


def tiff_of_tile() -> bytes:
    """64 x 64 pixels in a tile of 16,000 x 16,000, deflated."""
    side = 16000
    squeezed = zlib.compressobj(9)
    body = b"".join(squeezed.compress(bytes(3 * side * 100)) for _ in range(side // 100)) + squeezed.flush()
    values = [
        (256, 4, 64), (257, 4, 64), (259, 3, 8), (262, 3, 2), (277, 3, 3), (284, 3, 1), (322, 4, side), (323, 4, side),
    ]  # fmt: skip
    start = 8 + 2 + 12 * (len(values) + 3) + 4
    listed = sorted(
        [*((t, k, 1, v) for t, k, v in values), (258, 3, 3, start), (324, 4, 1, start + 6), (325, 4, 1, len(body))]
    )
    entries = b"".join(struct.pack("<HHI", t, k, n) + struct.pack("<I", v) for t, k, n, v in listed)
    return b"II*\0" + struct.pack("<IH", 8, len(listed)) + entries + bytes(4) + struct.pack("<HHH", 8, 8, 8) + body


def exif_of_tags() -> bytes:
    """A PNG whose EXIF has 5,000 tags with the same megabyte."""
    exif = b"II*\0" + struct.pack("<I", 8) + tags(5000, 2**20, 8) + bytes(2**20)
    return png_with(png_chunk(b"eXIf", exif))


def jpeg_of_scans() -> bytes:
    """A progressive JPEG of 4,000 x 4,000 pixels whose last scan comes 5,000 times."""
    data = encoded("JPEG", (4000, 4000), progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * 5000 + data[-2:]


def jpeg_of_fill(size: int) -> bytes:
    """A JPEG with so many bytes of filling, which its header is read over one by one."""
    data = encoded("JPEG", (64, 64))
    return data[:2] + b"\xff" * size + data[2:]


def gif_of_frame() -> bytes:
    """16 x 16 pixels with a first frame of 9,900 x 9,900."""
    data = bytearray(encoded("GIF", (9900, 9900), "P"))
    struct.pack_into("<HH", data, 6, 16, 16)
    return bytes(data)


def bmp() -> bytes:
    """It says 9,900 x 9,900 pixels, and has 256."""
    data = encoded("BMP", (16, 16))
    return data[:18] + struct.pack("<ii", 9900, 9900) + data[26:]


def wrapped(kind: str) -> bytes:
    """A format that no picture of virc's has."""
    if kind == "EPS":
        return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9900 9900\n%%EndComments\n/x {x} def x\n%%EOF\n"
    return encoded(kind, (64, 64))


COSTLY: Mapping[str, Callable[[], bytes]] = {
    "webp": webp,
    "webp that fits": lambda: webp(9900, 9900),
    "animated webp": animated_webp,
    "avif": lambda: encoded("AVIF", (9900, 9900), speed=10),
    "avif that says less": avif_that_says_less,
    "png": lambda: encoded("PNG", (9900, 9900), "1"),
    "png of texts": png_of_text,
    "png of profiles": png_of_profiles,
    "png of two headers": png_of_two_headers,
    "png of exif": exif_of_tags,
    "tiff of tags": tiff_of_tags,
    "tiff of a tile": tiff_of_tile,
    "jpeg of scans": jpeg_of_scans,
    "gif": gif_of_frame,
    "bmp": bmp,
    "ppm": lambda: b"P6 9900 9900 255\n" + bytes(64),
    "ico": lambda: wrapped("ICO"),
    "jpeg 2000": lambda: wrapped("JPEG2000"),
    "icns": lambda: wrapped("ICNS"),
    "tga": lambda: wrapped("TGA"),
    "psd": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9900, 9900, 8, 3) + bytes(64),
    "eps": lambda: wrapped("EPS"),
}
"""Name -> the file."""
