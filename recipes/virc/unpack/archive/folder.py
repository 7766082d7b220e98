"""A folder that members of an archive are put into, and nothing outside it.

A file is written under a name of ours and gets its own when it is whole. What is there already is compared, and
never written over: so a run that was killed is taken up by the next, at any point.
"""

import os
import re
import shutil
import stat
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

import msgspec

from virc.core.errors import ConfigError, UsageError
from virc.core.files import HIDDEN, IN_THE_WAY, contents
from virc.core.locks import held
from virc.core.text import plain
from virc.unpack.archive.members import Kind, Member, naming, plain_name, refuse
from virc.unpack.archive.names import Elsewhere
from virc.unpack.archive.stream import Stream
from virc.unpack.archive.writers import SMALL, Writers, writers

PARTIAL = "virc-unpack.partial"
"""The folder that is there while an archive is unpacked, and not after."""
UNVERIFIED = ".virc-unpack.unverified"
"""The list of `Unverified`, in the folder that files are put into."""
_LOCK = f".{PARTIAL}.lock"
_OURS = (PARTIAL, _LOCK, HIDDEN, UNVERIFIED)  # names in the folder that no member may have
_OLD = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_MAX_FOLDERS = 4096  # whose names are kept
MORE_ROOM = "make room, or choose another disk with «--to»; «--max-bytes» sets the limit itself"
"""What to do about an archive that does not fit."""
_MAX_TARGET = 4096  # characters
_MAX_LINKS = 255  # links in a row; no system follows so many
_MOST_BYTES = 2**30
_NEW = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class _File(msgspec.Struct, frozen=True, array_like=True):
    name: str
    size: int
    mtime_ns: int


class Unverified:
    """The list of files that no checksum of the archive vouches for yet, so that a rerun may replace them.

    Some archives have one checksum behind all of their content: what is wrong in them is known only at their end, when
    files made of it have their names. Files are listed before they get them, by one thread, and the list goes when the
    checksum was right.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / UNVERIFIED
        self._before = {file.name: file for file in _read(self._path)}
        self._descriptor: int | None = None
        self._to_write: list[_File] = []

    def add(self, name: str, size: int, mtime_ns: int) -> None:
        """List a file that gets its name after the next `write`."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, _NEW, 0o600)
        self._to_write.append(_File(_written(name), size, mtime_ns))

    def write(self) -> None:
        """Write the list to the disk."""
        if self._descriptor is not None and self._to_write:
            os.write(self._descriptor, msgspec.json.Encoder().encode_lines(self._to_write))
            self._to_write.clear()

    def may_replace(self, name: str, there: os.stat_result) -> bool:
        """Whether what is there is a file that an earlier run wrote, as it wrote it, and that nothing vouched for."""
        file = self._before.get(_written(name))
        return file is not None and (file.size, file.mtime_ns) == (there.st_size, there.st_mtime_ns)

    def clear(self) -> None:
        """Empty the list: a checksum vouches for all files so far.

        A list that an earlier run left stays: some of its files may come later in the archive.
        """
        self._to_write.clear()
        if self._descriptor is not None and not self._before:
            os.ftruncate(self._descriptor, 0)

    def end(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _written(name: str) -> str:
    """A name as the list has it: names may contain bytes that are no text, which JSON does not take."""
    return name.encode(errors="surrogateescape").decode("latin-1")


def _read(path: Path) -> Iterator[_File]:
    """The files of a list. Only its last line may be cut off, by a kill; the file of that line has no name yet."""
    if os.path.islink(path) or not path.is_file():  # noqa: PTH114
        return
    for line in contents(path, _MOST_BYTES).splitlines():
        try:
            yield msgspec.json.decode(line, type=_File)
        except msgspec.DecodeError:
            return


class Folder:
    """Puts the members of one archive into `root`: `put` for each member, then `end`. Made by `opened`.

    Args:
        room: bytes that may be written.
        most: how many files, folders and links may be made.
    """

    def __init__(self, root: Path, writers: Writers, unverified: Unverified, room: int, most: int) -> None:
        self._root, self._writers, self._unverified = str(root), writers, unverified
        self._room, self._entries, self._most = room, 0, most
        self._folders = {""}  # names of folders that exist and are no links
        self._new_folders: set[str] = set()  # those of them that this run made: nothing else is in them
        # The files and links so far: hash of the name as the disk compares it -> hash of the name in the archive.
        self._name_hashes: dict[int, int] = {}
        self._mismatches: dict[int, Member] = {}  # by the same key: members whose name another file has
        self._folds = os.path.lexists(root / _LOCK.upper())
        self._elsewhere = Elsewhere(self._name_hashes)
        self._repeated: dict[str, None] = {}  # names that came again

    @property
    def warnings(self) -> list[str]:
        if not self._repeated:
            return self._elsewhere.warnings
        first, count = next(iter(self._repeated)), len(self._repeated)
        names = f"{plain(first, 80)} comes" if count == 1 else f"{count} names come, such as {plain(first, 80)},"
        return [*self._elsewhere.warnings, f"{names} more than once in the archive: the last file of a name is there"]

    def end(self) -> None:
        """Finish after the whole archive was read and its checksums were right.

        Raises:
            DataError: a file exists that is none of those that the archive has under its name.
        """
        for member in self._mismatches.values():
            self._refuse_other(member)
        self._writers.settle()
        self._unverified.end()

    def put(self, member: Member, stream: Stream) -> bool | None:
        """Put a member into the folder, now or soon; its content is taken from the stream.

        Of several files of one name the last one stays, as in tar.

        Returns:
            Whether the member is new on the disk; None for a file whose name an earlier member has, or that is
            refused at the end.

        Raises:
            DataError: it, or one before it, would replace something, leave the folder or break a limit.
            OSError: the disk refuses.
        """
        if member.name.split("/", 1)[0].casefold() in _OURS:
            refuse(member.name, "virc itself uses that name")
        if stream.vouched:
            self._unverified.clear()
        if self._key(member.name) not in self._name_hashes:
            self._elsewhere.look(member.name, member.kind is Kind.folder)
        with naming(member):
            if member.kind is Kind.folder:
                return self._make_folder(member.name, member.name)
            self._count(member.name)
            around = member.name.rpartition("/")[0]
            self._make_folder(around, member.name)
            key, path = self._key(member.name), f"{self._root}/{member.name}"
            is_repeated, name_hash = key in self._name_hashes, hash(member.name) if self._folds else key
            if self._name_hashes.setdefault(key, name_hash) != name_hash:
                refuse(member.name, "this disk, which folds case, takes its name for that of another file")
            if is_repeated:
                self._repeated[member.name] = None
                self._writers.settle()
            is_new = around in self._new_folders and not (is_repeated or self._folds or member.name in self._folders)
            existing = None if is_new and member.kind is Kind.file else lstat(path)
            if is_repeated and (member.kind is not Kind.file or not (existing and stat.S_ISREG(existing.st_mode))):
                refuse(member.name, "it comes twice")  # a name must not become a link: others may lead through it
            if member.kind is Kind.file:
                return self._put_file(path, existing, member, stream, is_repeated)
            self._writers.settle()  # where a link leads depends on what exists
            return (self._put_link if member.kind is Kind.link else self._put_hard_link)(path, member)

    def _count(self, name: str) -> None:
        self._entries += 1
        if self._entries > self._most:
            refuse(name, f"it is one more than {self._most} files and folders", f"«--max-files {10 * self._most}»")

    def _key(self, name: str) -> int:
        return hash(unicodedata.normalize("NFC", name).casefold() if self._folds else name)

    def _make_folder(self, name: str, member: str) -> bool:
        """Make a folder and those around it; returns whether it is new."""
        if name in self._folders:
            return False
        made = False
        ends = [match.start() for match in re.finditer("/", name)] + [len(name)]
        for part in (name[:end] for end in ends):
            if part not in self._folders:
                made = self._made(part, member)
                self._folders.add(part)
        if len(self._folders) > _MAX_FOLDERS:
            self._folders, self._new_folders = {""}, set()
        return made

    def _made(self, name: str, member: str) -> bool:
        path = f"{self._root}/{name}"
        if self._key(name) in self._name_hashes:
            self._writers.settle()
        try:
            os.mkdir(path)  # noqa: PTH102 (a Path for each of many members costs more than the call)
        except FileExistsError:
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                refuse(member, f"its path contains the link {plain(name)}")
            if not stat.S_ISDIR(mode):
                refuse(member, f"there is a file {plain(name)} where it needs a folder")
            return False
        self._count(member)
        self._new_folders.add(name)
        return True

    def _put_file(
        self, path: str, existing: os.stat_result | None, member: Member, stream: Stream, is_repeated: bool
    ) -> bool | None:
        """Write a file, or compare it with the one that exists; returns what `put` returns."""
        key = self._key(member.name)
        if is_repeated and key not in self._mismatches:
            self._write(path, member, stream, stream.spans(member.size))
            return None
        if existing is None:
            return self._write(path, member, stream, stream.spans(member.size))
        may_replace = stat.S_ISREG(existing.st_mode) and self._unverified.may_replace(member.name, existing)
        if may_replace and member.size > SMALL:
            return self._write(path, member, stream, stream.spans(member.size))
        same = stat.S_ISREG(existing.st_mode) and existing.st_size == member.size
        # The stream gives the content once: what may be written after the comparison is held in memory.
        spans = [memoryview(stream.take(member.size))] if may_replace else stream.spans(member.size)
        same = same and _holds(path, iter(spans))
        if may_replace and not same:
            return self._write(path, member, stream, spans)
        deque(spans, maxlen=0)  # read what the comparison left in the stream
        if not same:
            self._mismatches[key] = member  # refused at the end, unless a later member of this name equals the file
            return None
        self._mismatches.pop(key, None)
        return None if is_repeated else False

    def _write(self, path: str, member: Member, stream: Stream, content: Iterable[memoryview]) -> bool:
        if member.size > self._room:
            refuse(member.name, f"it takes {member.size} bytes, and {self._room} are left", MORE_ROOM)
        self._room -= member.size

        def list_unverified() -> None:
            if not stream.vouched:
                self._unverified.add(member.name, member.size, member.mtime_ns)

        self._writers.write(path, member, content, list_unverified)
        return True

    def _put_link(self, path: str, member: Member) -> bool:
        if why := why_not(self._root, member.name, member.target):
            refuse(member.name, why)
        existing = lstat(path)
        if existing is None:
            os.symlink(member.target, path)  # noqa: PTH211
            return True
        if not stat.S_ISLNK(existing.st_mode) or os.readlink(path) != member.target:  # noqa: PTH115
            self._refuse_other(member)
        return False

    def _put_hard_link(self, path: str, member: Member) -> bool:
        name = plain_name(member.target, member.name)
        whole = f"{self._root}/{name}"
        key = self._key(name)
        source = lstat(whole) if key in self._name_hashes and key not in self._mismatches else None
        if source is None or not stat.S_ISREG(source.st_mode):
            refuse(member.name, f"it links to {plain(name)}, which is not an earlier file of the archive")
        existing = lstat(path)
        if existing is None:
            os.link(whole, path, follow_symlinks=False)
            return True
        if not os.path.samestat(source, existing):
            self._refuse_other(member)
        return False

    def _refuse_other(self, member: Member) -> NoReturn:
        refuse(member.name, f"something else is there already: {self._root}/{plain(member.name)}", IN_THE_WAY)


def _holds(path: str, spans: Iterator[memoryview]) -> bool:
    """Whether a file begins with these bytes."""
    descriptor = os.open(path, _OLD)
    try:
        for span in spans:
            while span:
                chunk = os.read(descriptor, len(span))
                if not chunk or chunk != bytes(span[: len(chunk)]):
                    return False
                span = span[len(chunk) :]  # noqa: PLW2901
    finally:
        os.close(descriptor)
    return True


@contextmanager
def opened(root: Path, room: int | None, most: int) -> Iterator[Folder]:
    """Make a folder if need be and hold it alone; after the `with` block all files are written.

    What a killed run left half-written is cleared. At most `room` bytes (None: as many as its disk has) are written,
    and `most` files, folders and links.

    Raises:
        UsageError: it is no folder.
        ConfigError: another run unpacks into it.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder", "choose a folder with «--to»")
    root.mkdir(parents=True, exist_ok=True)
    root = root.resolve()
    hint = "wait for it, or choose another folder with «--to»"
    busy = ConfigError(f"another run is unpacking into {root}", hint)
    with (
        held(root / PARTIAL, busy),
        closing(Unverified(root)) as unverified,
        writers(root / PARTIAL, unverified.write) as threads,
    ):
        yield Folder(root, threads, unverified, shutil.disk_usage(root).free if room is None else room, most)
        threads.settle()


def why_not(root: str, name: str, target: str) -> str | None:
    """Why a link may not be made: it leads out of `root`, or could when more files exist. None: it may.

    The target is walked step by step, as the system would follow it. `..` may only follow names that exist: those stay
    what they are. A name that does not exist yet may become a link to anywhere in the folder, and then `..` after it
    would be another place. No folder of `name` is a link.
    """
    if not target or len(target) > _MAX_TARGET or set(target) & {"\0", "\\"}:
        return "its target is not a name"
    reached, to_walk, links = name.split("/")[:-1], _steps(target), 0
    is_there = True
    while to_walk:
        step = to_walk.pop()
        if links > _MAX_LINKS:
            return None  # a circle, which leads nowhere
        if step == "/" or (step == ".." and not reached):
            return f"it links to {plain(target)}, out of the folder"
        if step == "..":
            if not is_there:
                return f"it links to {plain(target)}, and steps back from a name that is not there"
            reached.pop()
            continue
        reached.append(step)
        stays = is_there and [part.casefold() for part in reached] != [PARTIAL]
        there = lstat("/".join([root, *reached])) if stays else None
        if there is None:
            is_there = False
        elif stat.S_ISLNK(there.st_mode):
            links += 1
            to_walk += _steps(os.readlink("/".join([root, *reached])))  # noqa: PTH115
            reached.pop()
        elif to_walk and not stat.S_ISDIR(there.st_mode):
            # A path through a file leads nowhere, whenever the file is made; but `..` must not follow it.
            return f"it links to {plain(target)}, and steps back from a file" if ".." in to_walk else None
    return None


def _steps(target: str) -> list[str]:
    """The parts of a path, the last first; `/` stands for the beginning of an absolute one."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    return parts[::-1] + ["/"] * target.startswith("/")


def lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
