"""A small file of the hub: fetched whole by the library, verified, put in place."""

import hashlib
import os
import shutil
import time
from pathlib import Path

from virc.core.errors import NetworkError
from virc.core.text import plain
from virc.core.timeouts import LateError, within
from virc.download.hub.folder import digest
from virc.download.hub.library import session, silence
from virc.download.hub.record import mark_of
from virc.download.hub.refusals import AGAIN, PassingError, as_error, host
from virc.download.hub.repository import File, OnBytes, Repo, endpoint
from virc.download.hub.tries import tried

SECONDS = 900.0
"""Longest time for one file, whatever waits the server asks the library for."""


def fetch_small(repo: Repo, commit: str, file: File, to: Path, work: Path, on_bytes: OnBytes = lambda _: None) -> None:
    """Fetch a file; it is there whole and verified or not at all. Without a hash, its size alone is checked.

    Args:
        to: where it goes; its folder is there.
        work: a folder on the same disk, for the partial file.

    Raises:
        ConfigError: the hub refuses it.
        NetworkError: it cannot be reached, keeps failing, or sends another content than it listed.
        OSError: the disk refuses.
    """
    silence()
    mark = mark_of(file, commit)
    folder = work / hashlib.sha256(file.name.encode()).hexdigest()[:32]
    try:
        for _ in range(2):  # a bit may have flipped on the way
            path = tried(lambda: _fetched(repo, commit, file, folder, on_bytes))
            if path.stat().st_size == file.size and digest(path, mark, lambda _: None) == mark:
                break
            on_bytes(-file.size)
        else:
            raise NetworkError(f"{plain(file.name, 100)} came with another hash than {host()} lists", AGAIN)
        with path.open("rb+") as whole:
            os.fsync(whole.fileno())
        path.replace(to)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetched(repo: Repo, commit: str, file: File, folder: Path, on_bytes: OnBytes) -> Path:
    """The file as it came, in a folder that is made anew."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    came = 0

    def hear(count: int) -> None:
        nonlocal came
        came += count
        on_bytes(count)

    shutil.rmtree(folder, ignore_errors=True)
    try:
        end = time.monotonic() + SECONDS
        path = within(end, lambda say: _downloaded(repo, commit, file, folder, say), hear)
    except LateError:
        on_bytes(-came)
        name, minutes = plain(file.name, 100), f"{SECONDS / 60:g} minutes"
        raise NetworkError(f"{name} did not come within {minutes}", AGAIN) from None
    except Exception as error:
        on_bytes(-came)
        failure = as_error(error, repo, commit)
        if isinstance(error, LocalEntryNotFoundError) and isinstance(failure, PassingError):
            # The library tried again, for half a minute.
            failure = NetworkError(failure.message, failure.hint)
        if failure is error:
            raise
        raise failure from error
    on_bytes(file.size - came)
    return path


def _downloaded(repo: Repo, commit: str, file: File, folder: Path, say: OnBytes) -> Path:
    """The file as the library downloads it."""
    from huggingface_hub import hf_hub_download

    class Bar:
        """What the library takes for a progress bar; it ends a file that does not end by itself."""

        def __init__(self, initial: int = 0, **_: object) -> None:
            self._at = initial

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, count: int) -> None:
            say(count)
            self._at += count
            if self._at > file.size:
                raise NetworkError(f"{plain(file.name, 100)} is longer than {host()} lists it", AGAIN)

    with session():
        path = hf_hub_download(
            repo.id,
            file.name,
            repo_type=repo.kind,
            revision=commit,
            endpoint=endpoint(),
            library_name="virc",
            local_dir=folder,
            cache_dir=folder / "none",  # a copy in the hub's own cache may be damaged
            tqdm_class=Bar,  # type: ignore[arg-type]
        )
    return Path(path)
