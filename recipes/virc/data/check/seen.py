"""What rows before had, on disk: a million of them take no more memory than ten."""

import hashlib
import sqlite3
from contextlib import closing

from virc.core.errors import VircError
from virc.core.text import clause

_CACHE_KIB = 16 * 1024


class Seen:
    """A set of keys, each with the number it came with first; kept in a file that ends with the process."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)  # "": a file that nobody else sees
        for text in (
            f"PRAGMA cache_size = -{_CACHE_KIB}",
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE seen (key INTEGER PRIMARY KEY, number INTEGER)",
            "BEGIN",
        ):
            self._base.execute(text)

    def __enter__(self) -> "Seen":
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def get(self, key: int) -> int | None:
        """The number that came with a key, if it came.

        Raises:
            VircError: the disk refuses.
        """
        found = self._ask("SELECT number FROM seen WHERE key = ?", key)
        return None if found is None else int(found)

    def add(self, key: int, number: int) -> None:
        """Keep a key, unless it is there.

        Raises:
            VircError: the disk refuses.
        """
        self._ask("INSERT OR IGNORE INTO seen VALUES (?, ?)", key, number)

    def _ask(self, text: str, *values: int) -> int | None:
        try:
            with closing(self._base.execute(text, values)) as cursor:
                row = cursor.fetchone()
        except sqlite3.Error as error:
            hint = "TMPDIR names a folder with more room"
            raise VircError(f"cannot keep what was seen on disk: {clause(error)}", hint) from error
        return row[0] if row else None


def key_of(*parts: object) -> int:
    """64 bits that stand for some values."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)
