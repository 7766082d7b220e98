"""Image files as a model gets them: a user's own without its metadata, or one of ours.

A PNG or JPEG that decodes to exactly the pixels that are shown may be sent as it is. What a file holds apart from its
pixels (EXIF with its places and thumbnails, XMP, comments, texts, profiles, further pictures behind the end) is cut off
first, segment by segment (JPEG: ITU T.81, JFIF 1.02; PNG: W3C, third edition). Profiles and gamma change nothing:
neither Pillow nor the servers' decoders heed them. Whatever is not exactly as expected is None: such a file is decoded
and encoded again.
"""

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from PIL import Image

from virc.reasoning.calls import Size

Media = Literal["png", "jpeg"]

_PNG = b"\x89PNG\r\n\x1a\n"
_LEVEL = 1  # of zlib: a photograph takes half the time of level 6 and a seventh more bytes
_QUALITY = 93  # of JPEG: the published script of ViRC saves crops at 95 and a resized picture at 75
_PNG_KINDS = {(8, 0), (8, 2), (1, 3), (2, 3), (4, 3), (8, 3)}  # bits, and grey, RGB or palette: none transparent
_ADAM7 = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)  # x, y, steps
_PIECE = 2**18  # bytes that are inflated at once
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"  # no density, no thumbnail
_FRAMES, _SCAN, _END = (0xC0, 0xC1, 0xC2), 0xDA, 0xD9  # baseline, extended, progressive
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman, quantization, restart interval
_SKIPPED = (*range(0xE1, 0xF0), 0xFE)  # of applications, comments
_MARKER = re.compile(rb"\xff(?![\x00\xd0-\xd7])")  # ends the data of a scan: it is neither stuffed nor a restart
_MAX_SCANS = 64


class Encoded(msgspec.Struct, frozen=True):
    """An image file: its media type behind `image/`, and its bytes."""

    media: Media
    data: bytes


def as_png(image: Image.Image) -> Encoded:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_LEVEL)
    return Encoded("png", file.getvalue())


def as_jpeg(image: Image.Image, quality: int = _QUALITY) -> Encoded:
    """The image as JPEG, a fifth of its PNG where it is a photograph."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Encoded("jpeg", file.getvalue())


def without_metadata(data: bytes, size: Size) -> Encoded | None:
    """A user's file of that (width, height) in pixels without its metadata; None: it must be encoded again.

    What is kept is no larger than the pixels in memory. The caller has decoded the file, and found it upright, with
    one frame and nothing transparent.

    Of a PNG, the pixels are all that is left. In a scan of a JPEG, bytes behind the last block that look like further
    pixels stay: only a decoder of Huffman or arithmetic codes could tell where the last block ends.
    """
    media: Media = "png" if data.startswith(_PNG) else "jpeg"
    try:
        kept = b"".join(_png(data, size) if media == "png" else _jpeg(data, size))
    except (ValueError, IndexError, struct.error, zlib.error):
        return None
    return Encoded(media, kept) if len(kept) <= 3 * size[0] * size[1] else None


def _png(data: bytes, size: Size) -> Iterator[bytes]:
    """The chunks that hold pixels; ValueError, zlib.error: others that matter, a wrong order, or more in them."""
    yield _PNG
    at, order, stream, left = len(_PNG), "", zlib.decompressobj(), 0
    while not order.endswith("E"):
        length, name = struct.unpack_from(">I4s", data, at)
        body, end = data[at + 8 : at + 8 + length], at + 12 + length
        if zlib.crc32(name + body) != int.from_bytes(data[end - 4 : end]) or end > len(data):
            raise ValueError("damaged")
        if name == b"IHDR":
            width, height, bits, kind, *methods = struct.unpack(">IIBBBBB", body)
            if (width, height) != size or (bits, kind) not in _PNG_KINDS or methods not in ([0, 0, 0], [0, 0, 1]):
                raise ValueError("of another kind")
            left = _filtered_bytes(size, bits * (3 if kind == 2 else 1), is_interlaced=methods[2] == 1)
        if name == b"IDAT":
            left -= _inflated(stream, body, left)
        if name in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            order += {b"IHDR": "H", b"PLTE": "P", b"IDAT": "D", b"IEND": "E"}[name]
            yield data[at:end]
        elif not name[0] & 0x20 or name in (b"tRNS", b"acTL", b"fcTL", b"fdAT"):
            raise ValueError("transparent, animated or unknown")
        at = end
    if not re.fullmatch("HP?D+E", order) or not stream.eof or left:
        raise ValueError("out of order, or without all pixels")


def _filtered_bytes(size: Size, bits: int, *, is_interlaced: bool) -> int:
    """Bytes of a PNG's pixels, of `bits` bits each, as they are compressed: each row begins with its filter's type."""
    passes = _ADAM7 if is_interlaced else ((0, 0, 1, 1),)
    parts = ((math.ceil((size[0] - x) / right), math.ceil((size[1] - y) / down)) for x, y, right, down in passes)
    return sum(rows * (1 + math.ceil(columns * bits / 8)) for columns, rows in parts if columns > 0)


def _inflated(stream: Any, data: bytes, most: int) -> int:
    """How many bytes a chunk holds, inflated; ValueError: over `most`, or something behind the end of the stream."""
    found = 0
    while data:
        found += len(stream.decompress(data, _PIECE))
        data = stream.unconsumed_tail
        if found > most or stream.unused_data:
            raise ValueError("more than pixels")
    return found


def _jpeg(data: bytes, size: Size) -> Iterator[bytes]:
    """The segments that hold pixels and say what colours they are; ValueError: anything unknown."""
    yield b"\xff\xd8"
    at, frames, scans = 2, 0, 0
    while True:
        start, kind, length = struct.unpack_from(">BBH", data, at)
        end = at + 2 + length
        if start != 0xFF or length < 2 or end > len(data):
            raise ValueError("damaged")
        segment = data[at:end]
        if kind in _FRAMES:
            frames += 1
            bits, height, width, colours = struct.unpack_from(">BHHB", segment, 4)
            if (width, height) != size or bits != 8 or colours not in (1, 3) or scans or frames > 1:
                raise ValueError("of another kind")
            yield segment
        elif kind == _SCAN:
            scans += 1
            found = _MARKER.search(data, end)
            if not found or not frames or scans > _MAX_SCANS:
                raise ValueError("without an end, without a frame, or endless")
            end = found.start()
            yield data[at:end]
            if data[end + 1] == _END:
                yield data[end : end + 2]
                return
        elif kind in _TABLES:
            yield segment
        elif kind == 0xEE and segment[4:9] == b"Adobe" and length >= 14:
            yield b"\xff\xee\0\x0e" + segment[4:16]
        elif kind == 0xE0:
            yield _JFIF if segment[4:9] == b"JFIF\0" and length >= 16 else b""  # libjpeg heeds no shorter one
        elif kind not in _SKIPPED:
            raise ValueError("unknown")
        at = end
