"""Names of an archive: those that are not in UTF-8, and those that other systems do not take, or not as two."""

import re
import unicodedata
from collections.abc import Container, Iterable
from contextlib import suppress

from virc.core.tables.encodings import guessed, is_utf8
from virc.core.text import plain

_TWO = 0xDF  # bytes below begin at most two of UTF-8, which GBK is often taken for

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³])(?:\..*)?", re.IGNORECASE)
_SIGNS = re.compile(r'[<>:"|?*\\\x00-\x1f]|[ .]\Z')


class Names:
    """Reads the names of one archive: in `encoding`, else in that which they, or the first of them, seem to be in."""

    def __init__(self, encoding: str | None = None) -> None:
        self._encoding, self._given = encoding, encoding is not None
        self._first: str | None = None

    def text(self, raw: bytes, otherwise: str) -> str:
        self.settle((raw,))
        if not self._given and is_utf8(raw) and (self._encoding is None or max(raw) > _TWO):
            return raw.decode()
        with suppress(UnicodeDecodeError):
            if self._encoding:
                self._first = self._first or raw.decode(self._encoding)
                return raw.decode(self._encoding)
        self._first = self._first or otherwise
        return otherwise

    def settle(self, raw: Iterable[bytes]) -> None:
        """Find the encoding of these names, all in one, where it is not known."""
        if self._encoding is None and not is_utf8(names := b"\n".join(raw)):
            self._encoding = guessed(names)

    @property
    def warnings(self) -> list[str]:
        """How names were read that are not in UTF-8, unless that was given."""
        if self._given or self._first is None:
            return []
        how = f"read as {self._encoding}" if self._encoding else "kept as they are"
        return [f"names are not in UTF-8, and {how}, such as {plain(self._first, 80)}"]


class Elsewhere:
    def __init__(self, files: Container[int]) -> None:
        self._files = files  # hashes of the names of files so far
        self._names: dict[int, int] = {}  # hash of a name as it is folded -> of it; not of a file where both are one
        self._alike: list[str] = []
        self._reserved: list[str] = []

    def look(self, name: str, is_folder: bool) -> None:
        """Take a member's name; each is given once."""
        own, folded = hash(name), hash(unicodedata.normalize("NFC", name).casefold())
        known = self._names.setdefault if is_folder or folded != own else self._names.get
        if known(folded, own) != own or (folded != own and folded in self._files):
            self._alike.append(name)
        if any(_RESERVED.fullmatch(part) or _SIGNS.search(part) for part in name.split("/") if part):
            self._reserved.append(name)

    @property
    def warnings(self) -> list[str]:
        found = []
        if self._alike:
            found.append(
                f"{_some(self._alike)} the same name as another but for case or Unicode form: one file on macOS "
                "and Windows"
            )
        if self._reserved:
            found.append(f"{_some(self._reserved)} a name that Windows does not take")
        return found


def _some(names: list[str]) -> str:
    first = plain(repr(names[0]), 80)
    return f"{first} has" if len(names) == 1 else f"{len(names)} files, such as {first}, have"
