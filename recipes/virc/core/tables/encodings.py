"""Text files in other encodings than UTF-8, read as if they were in it: `encoding_of` guesses, `open_utf8` recodes."""

import codecs
import errno
import io
import re
from itertools import islice
from pathlib import Path
from typing import IO

from virc.core.text import clause

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_UNMARKED = ((b"[\x00", "utf-16-le"), (b"{\x00", "utf-16-le"), (b"\x00[", "utf-16-be"), (b"\x00{", "utf-16-be"))
"""How JSON in UTF-16 begins where nothing marks it."""
_CHUNK = 2**20
_MAX_LOOKED_AT = 2**26  # bytes in which the first letter beyond ASCII is looked for
_EASTERN = re.compile("[\u2010-\u2026\u3000-\u30ff\u4e00-\u9fff\uff00-\uff60]")  # Chinese and Japanese
_UNLIKELY = re.compile("[\uff61-\uff9f\ue000-\uf8ff]")  # half-width and private signs: it is another encoding
_ALSO_GBK = {"euc_jp": range(0xA4, 0xD0), "cp949": range(0x81, 0xC9), "big5": range(0xA4, 0xC7)}
"""Encodings whose texts can often be decoded as GBK, too, and the first bytes of their usual letters."""
_SIGNS = range(0xA1, 0xA4)  # first bytes of punctuation in all of them
_MAX_COMPARED = 10_000  # letters
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")


def encoding_of(file: IO[bytes]) -> str | None:
    """The encoding of a text file that begins here, by Python's name; None: UTF-8 without a mark.

    The file is at its beginning afterwards. GBK and Shift-JIS are recognized by their letters, nearly all of which are
    Chinese or Japanese. For what may as well be Korean, EUC-JP, Big5 or Latin-1, None is returned.
    """
    try:
        head = file.read(4)
        marked = (*_BOMS, *_UNMARKED)
        if found := next((name for mark, name in marked if head.startswith(mark)), None):
            return found
        file.seek(0)
        for _ in range(_MAX_LOOKED_AT // _CHUNK):
            if not (chunk := file.read(_CHUNK)):
                return None
            if not chunk.isascii():
                return None if _decoded(chunk, "utf-8") is not None else _eastern(chunk)
        return None
    finally:
        file.seek(0)


def open_utf8(path: Path) -> IO[bytes]:
    """A text file of any known encoding as bytes of UTF-8 without a mark. Raises OSError: it cannot be opened."""
    file = path.open("rb")
    try:
        encoding = encoding_of(file)
    except OSError:  # such as a folder; it is met again where rows are read
        return file
    return recoded(file, encoding)


def recoded(file: IO[bytes], encoding: str | None) -> IO[bytes]:
    """A file in an encoding as bytes of UTF-8; None: it is that already."""
    return file if encoding is None else io.BufferedReader(_Recoded(file, encoding), _CHUNK)


def _decoded(chunk: bytes, encoding: str) -> str | None:
    """The text of a chunk, whose last letter may be cut; None where it is in another encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(chunk)
    except UnicodeDecodeError:
        return None


def guessed(text: bytes) -> str | None:
    """The encoding that a text which is not UTF-8 seems to be in, GBK or Shift-JIS; its last letter may be cut."""
    for encoding, name in (("gb2312", "gb18030"), ("cp932", "cp932"), ("gb18030", "gb18030")):
        decoded = _decoded(text, encoding)
        if decoded is not None and not _UNLIKELY.search(decoded):
            return name
    return None


def is_utf8(text: bytes) -> bool:
    return _decoded(text + b"\n", "utf-8") is not None


def _eastern(chunk: bytes) -> str | None:
    """The encoding of a chunk if it is surely GBK or Shift-JIS."""
    encoding = guessed(chunk)
    if encoding is None or not (letters := _letters(chunk, encoding)):
        return None
    if encoding == "gb18030" and any(_may_be(chunk, other, usual) for other, usual in _ALSO_GBK.items()):
        return None
    codes = [each.encode(encoding) for each in letters]
    like_latin = sum(code[0] >= 0xC0 and code[-1] < 0x80 for code in codes)  # in Latin-1, an umlaut before a letter
    is_eastern = len(_EASTERN.findall("".join(letters))) >= 0.9 * len(letters)
    return encoding if is_eastern and like_latin <= 0.5 * len(letters) else None


def _letters(chunk: bytes, encoding: str) -> list[str] | None:
    text = _decoded(chunk, encoding)
    return None if text is None else [found[0] for found in islice(_BEYOND_ASCII.finditer(text), _MAX_COMPARED)]


def _may_be(chunk: bytes, encoding: str, usual: range) -> bool:
    """Whether nearly all letters of a chunk are usual ones of an encoding."""
    letters = _letters(chunk, encoding)
    if letters is None:
        return False
    first_bytes = [byte for letter in letters if (byte := letter.encode(encoding)[0]) not in _SIGNS]
    return sum(byte in usual for byte in first_bytes) >= 0.9 * len(first_bytes)


class _Recoded(io.RawIOBase):
    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file, self._encoding = file, encoding
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to the beginning, or say where it is read: how many bytes of the file are."""
        if (offset, whence) == (0, io.SEEK_SET):
            self._file.seek(0)
            self._decoder, self._left = codecs.getincrementaldecoder(self._encoding)(), b""
        return self._file.tell()

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """As of `RawIOBase`. Raises OSError: it is in another encoding from here on."""
        while not self._left:
            chunk = self._file.read(_CHUNK)
            try:
                self._left = self._decoder.decode(chunk, not chunk).encode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise OSError(errno.EILSEQ, f"it is not in {self._encoding} throughout: {clause(error)}") from None
            if not chunk:
                break
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._file.close()
        super().close()
