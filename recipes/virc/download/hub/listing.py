"""What a repository of the hub holds: names, sizes and hashes, none of which can do harm."""

import re
import sys
import time
import unicodedata
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta

from virc.core.errors import ConfigError, DataError, NetworkError
from virc.core.files import HIDDEN
from virc.core.retry import retried
from virc.core.text import clause, plain
from virc.download.hub.link import failures, shared_web
from virc.download.hub.origin import check_online, hub_headers, silence
from virc.download.hub.refusals import PassingError, by_status, check_endpoint, host, unreachable
from virc.download.hub.repository import File, Listing, Repo, endpoint
from virc.unpack.archive.members import plain_name, refuse

SECONDS, ALL_SECONDS = 30.0, 180.0
"""Longest wait for the next byte, and for the whole listing."""
TRIES = 5
FIRST_WAIT = 0.5
"""Seconds before the second try; doubled each time, so that all of them take some ten seconds."""
_MOST_BYTES = 32 << 20  # 100 000 files, as many as the hub advises, are some 20 MB
_MAX_FILES = 200_000
_OURS = (HIDDEN, ".git")  # git runs what it finds in its folder
_FOLDS = sys.platform in ("darwin", "win32")  # mostly, their disks take `a` and `A` for one name

_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_GitHash = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
_Size = Annotated[int, Meta(ge=0, le=1 << 50)]


class _Lfs(msgspec.Struct):
    sha256: _Hash
    size: _Size


class _Sibling(msgspec.Struct, rename={"name": "rfilename", "git": "blobId"}):
    name: str
    size: _Size
    git: _GitHash | None = None
    lfs: _Lfs | None = None


class _Info(msgspec.Struct):
    sha: _GitHash
    siblings: list[_Sibling]


def listing(repo: Repo, revision: str | None = None) -> Listing:
    """List the files of a repository at a branch, tag or commit; None: the default branch.

    Raises:
        ConfigError: there is no such repository or revision, or it may not be read.
        NetworkError: the hub cannot be reached, keeps failing or answers garbage.
        DataError: the listing names what no repository can hold.
    """
    silence()
    check_endpoint()
    content = _asked(repo, revision)
    try:
        info = msgspec.json.decode(content, type=_Info)
    except msgspec.ValidationError as error:
        raise DataError(f"the listing of {repo.id} makes no sense: {clause(error)}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise NetworkError(f"{host(repo)} answers with something that is not a listing of {repo.id}") from None
    if len(info.siblings) > _MAX_FILES:
        raise DataError(f"{repo.id} lists {len(info.siblings)} files; at most {_MAX_FILES} are taken")
    files = tuple(_file(each) for each in info.siblings)
    check_places([file.name for file in files])
    return Listing(repo, info.sha, files)


def _asked(repo: Repo, revision: str | None) -> bytes:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo.id)
    except HFValidationError:
        raise ConfigError(f"{plain(repr(repo.id), 100)} is not a hub id", "a hub id is OWNER/NAME") from None
    url = f"{endpoint()}/api/{repo.kind}s/{repo.id}"
    url += "" if revision is None else f"/revision/{quote(revision, safe='')}"
    return answer(repo, revision, f"{url}?blobs=true", hub_headers())


def answer(repo: Repo, revision: str | None, url: str, headers: Mapping[str, str]) -> bytes:
    """What the host of a repository says of it, asked again where another try may help.

    Raises:
        ConfigError, NetworkError, DataError: as `listing` does.
    """
    check_online(repo)

    def pause(error: Exception, own: float) -> float | None:
        return max(own, error.wait or 0) if isinstance(error, PassingError) else None

    return retried(lambda: _fetched(repo, revision, url, headers), pause, tries=TRIES, first=FIRST_WAIT)


def _fetched(repo: Repo, revision: str | None, url: str, headers: Mapping[str, str]) -> bytes:
    end, content = time.monotonic() + ALL_SECONDS, bytearray()
    try:
        with closing(shared_web().get(url, headers, SECONDS)) as response:
            if response.status_code >= 400:
                raise by_status(response.status_code, response.headers, repo, revision)
            for piece in response.iter_raw():
                content += piece
                if len(content) > _MOST_BYTES:
                    raise DataError(f"the listing of {repo.id} is over {_MOST_BYTES >> 20} MiB")
                if time.monotonic() > end:
                    raise NetworkError(f"{host(repo)} did not list {repo.id} within {ALL_SECONDS:g} s")
    except failures() as error:
        raise unreachable(error, repo) from error
    return bytes(content)


def _file(listed: _Sibling) -> File:
    """A file whose name is harmless by itself, whatever folder it is put into."""
    name = listed.name
    check_name(name)
    if listed.lfs is None:
        return File(name, listed.size, git=listed.git)
    if listed.lfs.size != listed.size:
        refuse(name, f"its size is {listed.size} bytes, and {listed.lfs.size} too")
    return File(name, listed.size, sha256=listed.lfs.sha256)


def check_name(name: str) -> None:
    """Refuse the name of a file that would do harm. Raises DataError: it would."""
    if plain_name(name, name) != name or not name.isprintable():
        refuse(name, "it is not the name of a file")
    if any(part.casefold() in _OURS for part in name.split("/")):
        refuse(name, "virc or git itself uses that name")


def check_places(names: Collection[str]) -> None:
    """That each file has a place of its own."""
    taken: set[str] = set()
    for name in names:
        key = _place(name)
        if key in taken:
            refuse(name, "it is listed twice")
        taken.add(key)
    for name in names:
        if any(_place(name[: slash.start()]) in taken for slash in re.finditer("/", name)):
            refuse(name, "a part of it is a file")


def _place(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold() if _FOLDS else name
