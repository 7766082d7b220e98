"""One file: fetched on from what an earlier run left, verified, and then given its name.

What came lies in a partial file, which a kill leaves as it is; the next run hashes it and asks for the rest.
"""

import hashlib
import os
import threading
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from virc.core.errors import NetworkError
from virc.core.text import plain
from virc.download.hub.content import ChangedError, pieces
from virc.download.hub.folder import hasher
from virc.download.hub.record import mark_of, sync
from virc.download.hub.repository import File, OnBytes, Repo


def fetch_file(
    repo: Repo,
    commit: str,
    file: File,
    to: Path,
    work: Path,
    on_bytes: OnBytes = lambda _: None,
    stopping: threading.Event | None = None,
) -> None:
    """Fetch a file; it is there whole, verified and safe on the disk, or not at all.

    Args:
        file: as the hub lists it. Without a hash only its size is checked.
        to: where it goes; what is there is replaced.
        work: a folder on the same disk, for the partial file, which one run at a time may use.
        on_bytes: called with bytes that come, without those of an earlier run.
        stopping: when it is set, the rest is left to another run.

    Raises:
        NetworkError: the server has another content, twice; or as `pieces`.
    """
    part = _part(work, file)
    if file.sha256 is None and file.git is None:
        part.unlink(missing_ok=True)  # nothing would show that it is of the same file
    for attempt in range(2):  # what an earlier run left may be wrong, or a bit flipped on the way
        failure = _failure(repo, commit, file, part, on_bytes, stopping)
        if failure is None:
            break
        on_bytes(-bytes_on_disk(work, file))
        part.unlink(missing_ok=True)
        if attempt:
            raise failure
    to.parent.mkdir(parents=True, exist_ok=True)
    part.replace(to)
    sync(to.parent)


def small_file(repo: Repo, commit: str, file: File) -> bytes:
    """The verified content of a file; raises as `fetch_file`."""
    with TemporaryDirectory(prefix="virc-") as work:
        to = Path(work) / "whole"
        fetch_file(repo, commit, file, to, Path(work))
        return to.read_bytes()


def bytes_on_disk(work: Path, file: File) -> int:
    """Bytes of a file that an earlier run left in `work`."""
    part = _part(work, file)
    return min(part.stat().st_size, file.size) if part.is_file() else 0


def _part(work: Path, file: File) -> Path:
    """The partial file; another commit with the same content goes on with it."""
    name = hashlib.sha256(f"{file.name} {mark_of(file, '')} {file.size}".encode()).hexdigest()
    return work / f"{name[:32]}.part"


def _failure(
    repo: Repo, commit: str, file: File, part: Path, on_bytes: OnBytes, stopping: threading.Event | None
) -> NetworkError | None:
    """Complete the partial file; returns why it is not the one that is listed."""
    whole, at = hasher(mark_of(file, ""), file.size), 0
    if part.is_file():
        with part.open("rb") as kept:
            hashlib.file_digest(kept, lambda: whole)
            at = kept.tell()
    try:
        coming = pieces(repo, commit, file, at, stopping=stopping)
        first = next(coming, b"")  # where the hub refuses, nothing is made
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as out:
            for piece in chain([first], coming):
                out.write(piece)
                whole.update(piece)
                on_bytes(len(piece))
            out.flush()
            os.fsync(out.fileno())
    except ChangedError as changed:
        return changed
    found, listed = whole.hexdigest(), file.sha256 or file.git
    if listed in (None, found):
        return None
    kind, who = "SHA-256" if file.sha256 else "git id", "GitHub" if file.url else "the hub"
    sentence = f"{plain(file.name, 100)} came with {kind} {found}, but {who} lists {plain(listed, 64)}"
    return NetworkError(sentence, "try again; if it stays so, tell the owner of the repository")
