"""What decoding a picture whole shows of it, kept in memory and in the user's cache so that none is decoded twice."""

import atexit
import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec
import PIL
from PIL import Image

from virc.config.user import cache_folder
from virc.core.errors import ConfigError, DataError
from virc.core.limits.image_memory import SETTING
from virc.core.text import plain
from virc.data.rows.fingerprint import fingerprint
from virc.data.rows.pictures import key
from virc.data.rows.record import Picture
from virc.reasoning import images, resize
from virc.reasoning.calls import Size
from virc.reasoning.images import StoredImage
from virc.reasoning.opening import pictures, pricing
from virc.reasoning.pixels import appearance, depth

_IN_MEMORY = ":memory:"
_MAX_KNOWN = 2**13
_connections: dict[int, sqlite3.Connection] = {}
"""Process -> its connection: a forked process must not use that of its parent."""
_MAX_KEPT = 2**20
"""Pictures of which the cache keeps what was found, the latest: about 100 MB."""


class DecodedImage(msgspec.Struct, frozen=True):
    """The size in px and, of a picture that is compared with others, a hash of the pixels and a fingerprint; or why it
    does not open. None of these of one on the network.
    """

    size: Size | None = None
    pixels: int = 0
    fingerprint: Image.Image | None = None
    error: OSError | DataError | None = None


_known: dict[bytes, DecodedImage] = {}


def forget() -> None:
    """Look at all files again: those of `_known` go by their names, and may have changed."""
    _known.clear()


def decoded(picture: Picture, compared: bool = False) -> DecodedImage:
    own = key(picture)
    known = _known.get(own)
    if known is None or (compared and known.size and known.fingerprint is None):
        if len(_known) >= _MAX_KNOWN:
            del _known[next(iter(_known))]
        known = _known[own] = _decoded(picture, compared)
    return known


def _decoded(picture: Picture, compared: bool) -> DecodedImage:
    if picture.on_network and (picture.fetched or not picture.confined):
        return DecodedImage()
    try:
        if compared:
            with pictures.opened_all([(picture.read(), called(picture))]) as (opened,):
                return DecodedImage(opened.size, _hash(opened.pixels), fingerprint(opened.pixels))
        source = picture.file() if picture.data is None else picture.data
        return DecodedImage(remembered(source, lambda: pictures.stored_image(picture.read(), called(picture))).size)
    except (OSError, DataError) as error:
        return DecodedImage(error=error)


def called(picture: Picture) -> str:
    return plain(picture.name, 120) or "an image without a name"


def _hash(image: Image.Image) -> int:
    digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=8)
    for _, rows in depth.strips(image):
        digest.update(rows.tobytes())
    return int.from_bytes(digest.digest(), "big", signed=True)


def remembered(source: bytes | Path, find: Callable[[], StoredImage]) -> StoredImage:
    """Return what `find` returns, which is called once as long as neither the file's size nor its times change.

    An error is not kept: what does not open is tried again.

    Args:
        source: the file's path, or its bytes, which are known by their digest.
    """
    try:
        key = _key(source)
    except (OSError, ValueError):  # there is no such file, or no file can have that name
        return find()
    known = _database()
    with suppress(sqlite3.Error, msgspec.MsgspecError, TypeError, ValueError):
        for (encoded,) in known.execute("SELECT image FROM decoded WHERE key = ?", (key,)):
            return msgspec.json.decode(encoded, type=StoredImage)
    image = find()
    with suppress(sqlite3.Error):
        known.execute("INSERT OR REPLACE INTO decoded VALUES (?, ?)", (key, msgspec.json.encode(image)))
    return image


def _key(source: bytes | Path) -> bytes:
    decided_by = f"{type(source).__name__}\0{os.environ.get(SETTING)}\0{_decoder()}\0"
    digest = hashlib.blake2b(decided_by.encode(), digest_size=16)
    if isinstance(source, Path):
        file = source.stat()
        times = f"{source.absolute()}\0{file.st_size}\0{file.st_mtime_ns}\0{file.st_ctime_ns}"
        source = times.encode("utf-8", "surrogatepass")
    digest.update(source)
    return digest.digest()


@cache
def _decoder() -> str:
    """A digest of the code that decides whether a picture opens and what is stored of it: of virc and of Pillow."""
    modules = (images, pictures, pricing, appearance, depth, resize)
    code = hashlib.blake2b(b"".join(Path(each.__file__ or "").read_bytes() for each in modules), digest_size=8)
    return f"{code.hexdigest()} {PIL.__version__} {find_spec('pillow_heif') is not None}"


def _database() -> sqlite3.Connection:
    """The database, opened once in each process; in memory only if the file cannot be written."""
    if (process := os.getpid()) not in _connections:
        _connections[process] = _connection()
    return _connections[process]


def _connection() -> sqlite3.Connection:
    with suppress(OSError, sqlite3.Error, ConfigError, ValueError):  # no home folder; a damaged name of a table
        file = cache_folder(os.environ) / "pictures.sqlite"
        file.parent.mkdir(parents=True, exist_ok=True)
        return _opened(str(file))
    return _opened(_IN_MEMORY)


def _opened(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    # Entries that are lost in a power cut are decoded again, so nothing is synced.
    connection.executescript("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = OFF")
    connection.execute("CREATE TABLE IF NOT EXISTS decoded (key BLOB PRIMARY KEY, image BLOB)")
    # Rows are numbered as they are written: those before the last `_MAX_KEPT` go.
    connection.execute("DELETE FROM decoded WHERE rowid <= (SELECT max(rowid) FROM decoded) - ?", (_MAX_KEPT,))
    return connection


@atexit.register
def close() -> None:
    """Close the database; the next picture opens it again."""
    if connection := _connections.pop(os.getpid(), None):
        connection.close()
