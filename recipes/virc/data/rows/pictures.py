"""The images of a dataset on disk: each once, however many rows show it."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path, PurePosixPath

from virc.core.errors import DataError, VircError
from virc.core.files import link_hint, write_whole, writing
from virc.core.text import clause, plain
from virc.data.rows.record import Picture, Record
from virc.solving.sources.picture_files import ENDINGS

FOLDER = "images"
MAX_IN_FOLDER = 5_000
"""Pictures in a folder; the hub refuses over 10,000 files."""
_STARTS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}
# What every system takes as the name of a file or folder, and no listing hides.
_PART = re.compile(
    r"(?![. ]|(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[^\x00-\x1f\x7f/\\:*?\"<>|\ud800-\udfff]{1,99}(?<![. ])",
    re.IGNORECASE,
)
_MAX_NAME = 240  # bytes; disks take 255 for a part of it, and a file has some more while it is written
_BY_CONTENT = re.compile(rf"{FOLDER}/[0-9a-f]{{24}}(?:\.\w+)?", re.IGNORECASE)


class PictureStore:
    """Puts images into a dataset's folder and gives their names in rows.

    A file keeps its relative name where possible, else it is named by its content. Files are linked where the disk
    allows, so that a converted dataset takes no more space. Images without a usable name go to `images/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored_bytes = 0
        """Size of the distinct images."""
        self.shown_bytes = 0
        """Size they would have if every row had its own."""
        self._names: dict[bytes, str] = {}  # by key of the image
        self._sizes: dict[str, int] = {}  # by name
        self._counts = Counter[PurePosixPath]()  # files by folder

    def names(self, record: Record) -> list[str]:
        return [self.name(picture, record) for picture in record.images]

    def add(self, picture: Picture) -> str:
        own = key(picture)
        if own not in self._names:
            self._names[own] = self._put(picture)
        name = self._names[own]
        if name not in self._sizes:
            self._sizes[name] = (self.folder / name).stat().st_size
            self.stored_bytes += self._sizes[name]
        self.shown_bytes += self._sizes[name]
        return name

    def name(self, picture: Picture, record: Record) -> str:
        with located(picture, record):
            return self.add(picture)

    def _put(self, picture: Picture) -> str:
        if picture.data is None:
            picture.file()
        kept = _kept(picture.name)
        if kept and picture.data is not None and "/" not in kept:
            kept = f"{FOLDER}/{kept}"  # bytes have bare names in published rows; they belong together
        if kept and self._holds(self.folder / (kept := self._with_room(kept)), picture):
            return kept
        own = PurePosixPath(picture.name).suffix.lower()
        name = self._with_room(name_of(picture.read(), own * (own in ENDINGS)))
        if not self._holds(self.folder / name, picture):
            raise VircError(f"{self.folder / name} exists and is not the image to write there")
        return name

    def _with_room(self, name: str) -> str:
        """The name, or where its folder is full that in the first folder `2`, `3`… within it that is not."""
        path = PurePosixPath(name)
        places = chain([path], (path.parent / str(number) / path.name for number in count(2)))
        place = next(e for e in places if self._counts[e.parent] < MAX_IN_FOLDER or (self.folder / e).exists())
        self._counts[place.parent] += 1
        return str(place)

    def _holds(self, target: Path, picture: Picture) -> bool:
        if target.exists():
            return target.is_file() and target.read_bytes() == picture.read()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):  # an image has the name of this one's folder
            return False
        except OSError as error:
            raise VircError(f"cannot make {target.parent}: {clause(error)}") from error
        _write(picture, target)
        return True


def name_of(data: bytes, ending: str = "") -> str:
    """The name of an image by its content; with its own ending, if it has one."""
    own = next((end for start, end in _STARTS.items() if data.startswith(start)), ending)
    return f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:24]}{own}"


@contextmanager
def located(picture: Picture, record: Record) -> Iterator[None]:
    """Raise a DataError that names the image and its row for an OSError."""
    try:
        yield
    except OSError as error:
        called = f"image {plain(picture.name, 80)}" if picture.name else "an image"
        sentence = f"{called} of row {record.id!r} cannot be read: {clause(error)}"
        raise DataError(sentence, link_hint(error)) from None


def key(picture: Picture) -> bytes:
    if picture.data is not None:
        return hashlib.blake2b(picture.data, digest_size=16).digest()
    place = f"{picture.confined}\0{picture.folder}\0{picture.name}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(place, digest_size=16, person=b"file").digest()


def _kept(name: str) -> str | None:
    """The name in its shortest form, if it can be kept: no other file of a dataset has such a name."""
    path = PurePosixPath(name)
    fits = path.suffix.lower() in ENDINGS and len(path.parts) < 20 and all(map(_PART.fullmatch, path.parts))
    fits = fits and len(str(path).encode()) <= _MAX_NAME and not _BY_CONTENT.fullmatch(str(path))
    return str(path) if fits else None


def _write(picture: Picture, target: Path) -> None:
    if picture.data is None:
        with suppress(OSError, NotImplementedError):  # another disk, or one without links
            os.link(picture.path(), target)
            return
    data = picture.read()
    with writing(target):
        write_whole(target, data)
