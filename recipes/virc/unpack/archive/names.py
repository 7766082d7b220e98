"""Names that are not in UTF-8, as archives from Chinese and Japanese systems have them."""

from contextlib import suppress

from virc.core.tables.encodings import guessed
from virc.core.text import plain


class Names:
    """Reads the names of one archive: in `encoding`, else in that which the first of them seems to be in."""

    def __init__(self, encoding: str | None = None) -> None:
        self._encoding, self._given = encoding, encoding is not None
        self._first: str | None = None

    def text(self, raw: bytes, otherwise: str) -> str:
        """A name as text; `otherwise` where it is in no encoding that is known."""
        if not self._given:
            with suppress(UnicodeDecodeError):
                return raw.decode()
        self._encoding = self._encoding or guessed(raw)
        with suppress(UnicodeDecodeError):
            if self._encoding:
                self._first = self._first or raw.decode(self._encoding)
                return raw.decode(self._encoding)
        self._first = self._first or otherwise
        return otherwise

    @property
    def warnings(self) -> list[str]:
        """How names were read that are not in UTF-8, unless that was given."""
        if self._given or self._first is None:
            return []
        how = f"read as {self._encoding}" if self._encoding else "kept as they are"
        return [
            f"names are not in UTF-8, and {how}, such as {plain(self._first, 80)}: --encoding says in what they are"
        ]
