"""Files and folders that a user names: found, read in bounded memory, and written whole or not at all."""

import errno
import os
import re
import shlex
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from virc.core.errors import UNREADABLE, ConfigError, UsageError, VircError, errors_as
from virc.core.locks import lock, unlock
from virc.core.text import nearest

Kind = TypeVar("Kind")

MODELS = "models"
"""Folder of a workspace that models lie in, each under the last part of its hub id."""
DATA = "data"
"""Folder of a workspace that datasets lie in."""
HIDDEN, RECORD = ".virc-download", "record.json"
"""Folder inside each folder that `virc download` filled, and the file in it that names the repository."""
POINTER, PULL = b"version https://git-lfs", "git lfs pull"
"""How a file begins that Git LFS left in place of the real one, and the command that brings that."""
_OF_WINDOWS = str.maketrans({"\\": "/", "\b": "/b", "\t": "/t", "\n": "/n", "\f": "/f", "\r": "/r"})
"""The separator of Windows, also where JSON made one character of it and the letter behind it."""
IN_THE_WAY = "move it away, or choose another folder with «--to»"
"""What to do about something that is where a file or folder is to come."""


def expanded(path: str | Path) -> Path:
    """The path with `~` and `~user` as the home folder they stand for, as it is where there is no such home; and with
    names as they are stored.
    """
    try:
        return as_stored(Path(path).expanduser())
    except (RuntimeError, OSError):
        return Path(path)


def as_stored(path: Path) -> Path:
    """The path; where nothing is there, the one that differs by forms of Unicode alone (NFC, NFD, blanks), if any.

    Raises OSError: several differ so.
    """
    if (str(path).isascii() and " " not in str(path)) or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for name in path.relative_to(path.anchor).parts:
        if os.path.lexists(found / name):
            found /= name
            continue
        try:
            same = [each for each in found.iterdir() if _composed(each.name) == _composed(name)]
        except (OSError, ValueError):  # no folder, or a name that no file can have
            return path
        if len(same) > 1:
            raise OSError(errno.EEXIST, "several files have that name, in different forms of Unicode", str(path))
        if not same:
            return path
        found = same[0]
    return found


def as_named(folder: Path, name: str) -> Path:
    """The path that a row names from a folder, or by a `file://` URL, with escapes (`%20`) where no file has them, and
    `/` for the `\\` of Windows where that file is there.

    Raises OSError: as `as_stored`.
    """
    path = re.sub("^file://(localhost)?", "", name, flags=re.IGNORECASE)
    literal = as_stored(folder / path)
    others = [unquote(path)] * (path != name) + [path.translate(_OF_WINDOWS)]
    found = (each for other in others if other != path and is_file(each := as_stored(folder / other)))
    return literal if is_file(literal) else next(found, literal)


def _composed(name: str) -> str:
    return re.sub(r"\s", " ", unicodedata.normalize("NFC", name))


PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif", ".heic", ".heif"}
)
"""Endings of the names of pictures, small."""


def picture_within(folder: Path, name: str) -> Path:
    """The path of a picture that a row names, below the folder of the row's file, or of a link directly in it.

    Others made the row, and what it names is sent to a model's server, copied or published: no other link out of the
    folder is followed, and that link neither to a folder that holds this one nor to anything but a picture by its name.

    Raises:
        OSError: EPERM: it is elsewhere; EINVAL: no file can have that name.
    """
    try:
        path = as_named(folder, name).resolve()
    except (ValueError, RuntimeError) as error:  # a NUL, a loop of links
        raise OSError(errno.EINVAL, "no file can have that name", name) from error
    if path.is_relative_to(folder.resolve()):
        return path
    link = folder.joinpath(*Path(name.translate(_OF_WINDOWS)).parts[:1])
    target = link.resolve() if link.is_symlink() and link.is_dir() and path.suffix.lower() in PICTURES else None
    if target is None or not path.is_relative_to(target) or folder.resolve().is_relative_to(target):
        raise OSError(errno.EPERM, "it is outside the dataset's folder", name)
    return path


def link_hint(error: OSError) -> str | None:
    """What to do about a picture that `picture_within` finds outside of the folder; None about other errors."""
    link = "link the folder of the images next to the file of rows (ln -s DIR .), and name them by that link, or say"
    link += " «--trust-rows» for rows of your own"
    return link if error.errno == errno.EPERM else None


def is_file(path: str | Path) -> bool:
    """Whether a file is there; a name that no file can have is none, and raises nothing as `Path.is_file` does."""
    return os.path.isfile(path)  # noqa: PTH113


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer of Git LFS, as `git clone` without Git LFS leaves one."""
    if is_file(path):
        with suppress(OSError), path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    return False


def is_folder(path: str | Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def is_path(path: str | Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110


def near_file(path: Path) -> str | None:
    """A hint: the file next to a missing one whose name is nearest, or differs only in its ending; None: none is."""
    near = None
    with suppress(OSError, ValueError):
        others = sorted(each for each in path.parent.iterdir() if each.is_file())
        stems = {each.stem: each for each in sorted(others, key=lambda each: each.suffix == path.suffix)}
        near = stems.get(path.name) if not path.suffix else stems.get(nearest(path.stem, stems) or "")
    return f"did you mean {str(near)!r}?" if near else None


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder; what links lead to is not counted, nor what vanishes meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def contents(path: Path, most: int) -> bytes:
    """The bytes of a file; raises OSError where it has over `most`, or cannot be read."""
    try:
        with as_stored(path).open("rb") as file:
            data = file.read(most + 1)
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file can have that name", str(path)) from error
    if len(data) > most:
        size = f"{most >> 20} MiB" if most >= 2**20 else f"{most >> 10} KiB"
        raise OSError(errno.EFBIG, f"it is over {size}", str(path))
    return data


def part(path: Path, start: int, most: int) -> str:
    """So many bytes of a file from there on, as text; a negative start counts from its end."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) + start) if start < 0 else start)
        return file.read(most).decode("utf-8", "replace")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all; through a link, the file it leads to."""
    try:
        path = path.resolve()
        if path.is_symlink():
            raise RuntimeError("a loop of links")  # as `resolve` says before Python 3.13
        new = path.with_name(f".{path.name}.new")  # always the same: what a killed run left is written over
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_bytes(data)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except (ValueError, RuntimeError) as error:  # a NUL, a loop of links
        raise OSError(errno.EINVAL, "no file can have that name", str(path)) from error


def read_json(path: Path, kind: type[Kind], most: int, hint: str | None = None) -> Kind:
    """The value in a JSON file of at most `most` bytes. Raises ConfigError: the file cannot be read or decoded."""
    import msgspec

    with errors_as(ConfigError, f"{path} cannot be read", hint, UNREADABLE):
        return msgspec.json.decode(contents(path, most), type=kind)


def json_or_none(path: Path, kind: type[Kind], most: int) -> Kind | None:
    """The value that `read_json` returns, or None if the file is missing or cannot be read."""
    with suppress(ConfigError):
        return read_json(path, kind, most)
    return None


def writing(path: Path | str, hint: str | None = None) -> AbstractContextManager[None]:
    """A context in which a file is written: an OSError is raised as a VircError that names the file."""
    return errors_as(VircError, f"cannot write {path}", hint)


def write_json(path: Path, value: object) -> None:
    import msgspec

    write_whole(path, msgspec.json.format(msgspec.json.encode(value)) + b"\n")


def _in_use(to: Path, hint: str | None, option: str) -> UsageError:
    """The error of a folder that is in use; by default its hint names one that is not."""
    free = next(path for number in count(2) if not (path := to.parent / f"{to.name or 'new'}-{number}").exists())
    return UsageError(
        f"{to} is in use", hint or f"«--{option} {shlex.quote(str(free))}», or go on with what is in {to}"
    )


@contextmanager
def fresh_folder(to: Path, hint: str | None = None, option: str = "to") -> Iterator[Path]:
    """Give a hidden folder next to `to` to fill; on leaving without an error it becomes `to`.

    Args:
        hint: what to do where `to` is in use; None: go on with it, or type an unused folder.
        option: the name of the option that names the folder.

    Raises:
        UsageError: `to` is in use.
        ConfigError: another run is making it.
        VircError: the disk refuses.
    """
    with _disk(to):
        whole = to.resolve()
        whole.parent.mkdir(parents=True, exist_ok=True)
        partial = whole.with_name(f".{whole.name}.partial")
        file = lock(whole)
    try:
        with _disk(to):
            if to.exists() and (not to.is_dir() or any(to.iterdir())):
                raise _in_use(to, hint, option)
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
        try:
            yield partial
        except OSError as error:  # of a full disk names no file
            error.filename = error.filename or str(to)
            raise
        try:
            if whole.is_dir():
                shutil.copymode(whole, partial)
                with suppress(OSError):
                    whole.rmdir()  # Windows replaces no folder, not even an empty one
            partial.replace(whole)
        except OSError as error:  # somebody else filled it meanwhile
            raise _in_use(to, hint, option) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        unlock(file)


def _disk(to: Path) -> AbstractContextManager[None]:
    caught = (OSError, RuntimeError, ValueError)  # a loop of links; a NUL
    return errors_as(VircError, f"cannot make the folder {to}", caught=caught)
