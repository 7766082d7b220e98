"""What a file is by its first bytes: a clip of a format that is read, a document, or neither."""

import re

from virc.reasoning.images import moves_as_webp

HEAD = 1024
"""So many bytes tell what a file is."""
_BEGINNINGS = {
    b"\x1aE\xdf\xa3": "matroska",
    b"\0\0\1\xba": "mpeg",
    b"0&\xb2u\x8ef\xcf\x11": "asf",
    b"FLV\1": "flv",
    b"OggS": "ogg",
    b"\6\x0e+4\2\5\1\1\r\1\2": "mxf",
    b".RMF": "rm",
    b"DKIF": "ivf",
    b"GIF8": "gif",
}
"""FFmpeg's names of formats by their first bytes: none that names further files to open."""
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")  # with which QuickTime and MP4 begin
_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PDF = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*%PDF-|%PDF-\d\.\d[ \t]*[\r\n]")
_PACKETS = (188, 192)  # bytes of a packet of MPEG-TS; with 4 bytes more, of Blu-ray and cameras
_FEWEST_PACKETS, _PACKETS_SEEN = 3, 5


def clip_format(head: bytes) -> str | None:
    """FFmpeg's name of the format of a clip or moving picture, or `webp`; None: it is none of those that are read."""
    packets = (head[size - 188 :: size][:_PACKETS_SEEN] for size in _PACKETS)
    known = {
        "mov": head[4:8] in _BOXES and not (head[4:8] == b"ftyp" and head[8:12] in _PICTURES),
        "avi": head.startswith(b"RIFF") and head[8:12] == b"AVI ",
        "webp": moves_as_webp(head),
        "apng": head.startswith(b"\x89PNG") and b"acTL" in head,
        "mpegts": any(len(marks) >= _FEWEST_PACKETS and not marks.strip(b"G") for marks in packets),
    }
    by_marks = next((name for name, is_so in known.items() if is_so), None)
    return by_marks or next((name for begin, name in _BEGINNINGS.items() if head.startswith(begin)), None)


def is_document(head: bytes) -> bool:
    """Whether it begins as a PDF does, or after what some programs put before that and readers of PDF skip."""
    return bool(_PDF.search(head, 0, HEAD))
