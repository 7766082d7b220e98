"""The images of a dataset on disk: each once, however many rows show it."""

import hashlib
import os
import shutil
from pathlib import Path, PurePosixPath

from virc_recipes.data.record import Picture

FOLDER = "images"
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


class PictureStore:
    """Puts images into a dataset's folder and says how rows call them.

    A file keeps its relative name where that is free, else it is named by its content. Files are linked where the
    disk allows, so that a converted dataset takes no second room.

    Args:
        folder: of the dataset; images whose names say nothing go to `images/` in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored_bytes = 0
        """Size of the distinct images."""
        self.shown_bytes = 0
        """Size they would have if every row held its own."""
        self._names: dict[bytes, tuple[str, int]] = {}  # key of the image -> its name and size

    def add(self, picture: Picture) -> str:
        """The name of an image relative to the folder, in POSIX form; it is put there when it is first met.

        Raises:
            OSError: it cannot be read, or the disk refuses.
        """
        key = _key(picture)
        if key not in self._names:
            name = self._free_name(picture)
            size = self._put(picture, self.folder / name)
            self._names[key] = (name, size)
            self.stored_bytes += size
        name, size = self._names[key]
        self.shown_bytes += size
        return name

    def _free_name(self, picture: Picture) -> str:
        wanted = PurePosixPath(picture.name)
        plain = (
            picture.name and not wanted.is_absolute() and ".." not in wanted.parts and ":" not in picture.name
        )
        if plain and not (self.folder / wanted).exists():
            return str(wanted)
        data = picture.read()
        ending = next((end for start, end in _ENDINGS.items() if data.startswith(start)), "")
        return f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:24]}{ending or wanted.suffix}"

    def _put(self, picture: Picture, target: Path) -> int:
        target.parent.mkdir(parents=True, exist_ok=True)
        if picture.data is not None:
            target.write_bytes(picture.data)
        elif not target.exists():  # named by its content, it may be there
            try:
                os.link(picture.path(), target)
            except (OSError, NotImplementedError):  # another disk, or one without links
                shutil.copyfile(picture.path(), target)
        return target.stat().st_size


def _key(picture: Picture) -> bytes:
    content = str(picture.path()).encode("utf-8", "surrogateescape") if picture.data is None else picture.data
    return hashlib.blake2b(
        content, digest_size=16, person=b"path" if picture.data is None else b"data"
    ).digest()
