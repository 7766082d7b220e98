"""Keys of the rows before, on disk: a million of them take no more memory than ten."""

import hashlib
import sqlite3
from contextlib import closing

from virc.core.errors import VircError
from virc.core.text import clause

_SETUP = """
PRAGMA cache_size = -16384;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE seen (key INTEGER PRIMARY KEY, number INTEGER);
BEGIN;
"""


class KeyStore:
    """A set of keys, each with the number it first came with; kept in a file that ends with the process.

    `get` and `add` raise VircError where the disk refuses.
    """

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)  # "": a file that no other process can open
        self._base.executescript(_SETUP)
        self.close = self._base.close

    def get(self, key: int) -> int | None:
        """The number that came with a key, if it came."""
        return self._execute("SELECT number FROM seen WHERE key = ?", key)

    def add(self, key: int, number: int) -> None:
        """Keep a key, unless it is there."""
        self._execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", key, number)

    def _execute(self, text: str, *values: int) -> int | None:
        try:
            with closing(self._base.execute(text, values)) as cursor:
                row = cursor.fetchone()
        except sqlite3.Error as error:
            hint = "TMPDIR names a folder with more room"
            raise VircError(f"cannot keep what was seen on disk: {clause(error)}", hint) from error
        return int(row[0]) if row else None


def key_of(*parts: object) -> int:
    """64 bits that stand for some values."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)
