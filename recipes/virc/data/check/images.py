"""The images of rows: whether each is there and opens, its size, and a hash of what it shows."""

import errno
import hashlib

import msgspec
from PIL import Image

from virc.core.errors import DataError
from virc.core.text import clause, plain
from virc.data.check.verdict import Fault
from virc.data.rows.record import Picture
from virc.reasoning.calls import Size
from virc.reasoning.images import open_image

_MOST_KNOWN = 2**15


class Look(msgspec.Struct, frozen=True):
    """A picture that was decoded: its size in px and a hash of its pixels; or why not. On the network: neither."""

    size: Size | None = None
    pixels: int = 0
    fault: Fault | None = None


_known: dict[tuple[str, ...] | bytes, Look] = {}


def look(picture: Picture) -> Look:
    """Decode a picture, once in this process as long as it is among the last some thousand."""
    key = _key(picture)
    found = _known.get(key)
    if found is None:
        found = _look(picture)
        if len(_known) >= _MOST_KNOWN:
            del _known[next(iter(_known))]
        _known[key] = found
    return found


def _key(picture: Picture) -> tuple[str, ...] | bytes:
    if picture.data is not None:
        return hashlib.blake2b(picture.data, digest_size=16).digest()
    return str(picture.folder), picture.name, str(picture.confined)


def _look(picture: Picture) -> Look:
    if picture.on_network and not picture.confined:
        return Look()
    name = plain(picture.name, 120) or "an image without a name"
    try:
        image = open_image(picture.read(), name)
    except FileNotFoundError:
        where = " in the dataset's folder, and engines look for it where they are started" * picture.confined
        return Look(fault=Fault("image_missing", f"there is no file {name}{where}"))
    except OSError as error:
        kind = "image_outside" if error.errno == errno.EPERM else "image_unreadable"
        return Look(fault=Fault(kind, f"{name}: {clause(error)}"))
    except DataError as error:
        return Look(fault=Fault("image_broken", error.message))
    return Look(image.size, _hash(image))


def _hash(image: Image.Image) -> int:
    """64 bits of what is seen, whatever file it came from."""
    digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=8)
    digest.update(image.tobytes())
    return int.from_bytes(digest.digest(), "big", signed=True)
