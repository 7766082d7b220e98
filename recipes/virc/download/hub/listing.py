"""What a repository of the hub holds: names, sizes and hashes, none of which can do harm."""

import re
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Annotated, NoReturn, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Meta

from virc.core.errors import ConfigError, DataError, NetworkError
from virc.core.files import HIDDEN
from virc.core.http.body import TooLargeError, within_bytes
from virc.core.http.library import http_library
from virc.core.retry import retried
from virc.core.text import clause, plain
from virc.download.hub.content import answer, failures
from virc.download.hub.origin import check_online, hub_headers, silence
from virc.download.hub.refusals import AGAIN, PassingError, by_status, check_endpoint, host, unreachable
from virc.download.hub.repository import File, Listing, Repo, endpoint
from virc.unpack.archive.members import plain_name, refuse

ALL_SECONDS = 180.0
"""Longest wait for the whole listing."""
TRIES = 5
FIRST_WAIT = 0.5
"""Seconds before the second try; doubled each time, so that all of them take some ten seconds."""
_OFFLINE_PAUSE = 1.0
"""Longest pause in seconds after a failed connection, which allows two more tries: there may be no network."""
_MOST_BYTES = 32 << 20  # of an answer; that of a repository names all of its files, 100 000 in some 5 MB
_MAX_FILES = 200_000
_OURS = (HIDDEN, ".git")  # git runs what it finds in its folder
_NEXT = re.compile(r"<([^<>]*)>\s*;[^,<]*\brel=\"?next\b", re.IGNORECASE)  # RFC 8288

_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
GitHash = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z")]
Size = Annotated[int, Meta(ge=0, le=1 << 50)]


class _Lfs(msgspec.Struct):
    oid: _Hash
    size: Size


class _Entry(msgspec.Struct):
    path: str
    type: str
    size: Size = 0
    oid: GitHash | None = None
    lfs: _Lfs | None = None


class _Info(msgspec.Struct):
    sha: GitHash


_Answer = TypeVar("_Answer")


def listing(repo: Repo, revision: str | None = None) -> Listing:
    """List the files of a repository at a branch, tag or commit; None: the default branch."""
    silence()
    check_endpoint()
    url, headers = _address(repo), hub_headers()
    at = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    commit = decoded(repo, linked_answer(repo, revision, f"{url}{at}", headers)[0], _Info).sha
    files, refused = [], []
    for entry in _entries(repo, commit, f"{url}/tree/{commit}", headers):
        try:
            files.append(_file(entry))
        except DataError as error:
            refused.append(error.message)
    if refused and not files:
        raise DataError(refused[0])
    check_places([file.name for file in files])
    return Listing(repo, commit, tuple(files), tuple(refused))


def _entries(repo: Repo, commit: str, url: str, headers: Mapping[str, str]) -> Iterator[_Entry]:
    """The files in the tree of a commit, page by page: the hub cuts the shorter list that it gives of a repository."""
    query, met, count = "recursive=true", {""}, 0
    while query not in met:
        met.add(query)
        content, link = linked_answer(repo, commit, f"{url}?{query}", headers)
        page = decoded(repo, content, list[_Entry])
        count += len(page)
        if count > _MAX_FILES:
            raise DataError(f"{repo.id} lists over {_MAX_FILES} files and folders; no more are taken")
        yield from (entry for entry in page if entry.type == "file")
        following = _NEXT.search(link)
        if following is None:
            return
        query = urlsplit(following[1]).query  # the token goes to no other address, and a mirror may name the hub's
    raise NetworkError(f"{host(repo)} lists {repo.id} in a circle", AGAIN)


def decoded(repo: Repo, content: bytes, kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        nonsense = DataError if repo.host == "hub" else NetworkError
        raise nonsense(f"the listing of {repo.id} makes no sense: {clause(error)}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise NetworkError(f"{host(repo)} answers with something that is not a listing of {repo.id}") from None


def _address(repo: Repo) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo.id)
    except HFValidationError:
        raise ConfigError(f"{plain(repr(repo.id), 100)} is not a hub id", "a hub id is OWNER/NAME") from None
    return f"{endpoint()}/api/{repo.kind}s/{repo.id}"


def linked_answer(repo: Repo, revision: str | None, url: str, headers: Mapping[str, str]) -> tuple[bytes, str]:
    """What the host of a repository says of it, asked again where another try may help; and the header Link, or ""."""
    check_online(repo)
    http = http_library()

    def pause(error: Exception, own: float) -> float | None:
        is_offline = isinstance(error.__cause__, http.ConnectError | http.ConnectTimeout)
        if not isinstance(error, PassingError) or (is_offline and own > _OFFLINE_PAUSE):
            return None
        return max(own, error.wait or 0)

    return retried(lambda: _fetched(repo, revision, url, headers), pause, tries=TRIES, first=FIRST_WAIT)


def _fetched(repo: Repo, revision: str | None, url: str, headers: Mapping[str, str]) -> tuple[bytes, str]:
    end = time.monotonic() + ALL_SECONDS

    def check_time(_: int) -> None:
        if time.monotonic() > end:
            raise NetworkError(f"{host(repo)} did not list {repo.id} within {ALL_SECONDS:g} s")

    try:
        with closing(answer(url, headers)) as response:
            if response.status_code >= 400:
                raise by_status(response.status_code, response.headers, repo, revision)
            content = within_bytes(response.iter_raw(), _MOST_BYTES, check_time)
    except TooLargeError:
        raise DataError(f"the listing of {repo.id} is over {_MOST_BYTES >> 20} MiB") from None
    except failures() as error:
        raise unreachable(error, repo) from error
    return content, response.headers.get("Link") or ""


def _file(listed: _Entry) -> File:
    """A file whose name is harmless by itself, whatever folder it is put into."""
    name = listed.path
    check_name(name)
    if listed.lfs is None:
        return File(name, listed.size, git=listed.oid)
    if listed.lfs.size != listed.size:
        refuse(name, f"its size is {listed.size} bytes, and {listed.lfs.size} too")
    return File(name, listed.size, sha256=listed.lfs.oid)


def check_name(name: str) -> None:
    if plain_name(name, name) != name or not name.isprintable():
        refuse(name, "it is not the name of a file")
    if any(part.casefold() in _OURS for part in name.split("/")):
        refuse(name, "virc or git itself uses that name")


def check_places(names: Collection[str], folds: bool = False) -> None:
    """That each file has a place of its own, on a disk that `folds` case and Unicode forms too."""
    taken: dict[str, str] = {}
    for name in names:
        key = _place(name, folds)
        if key in taken:
            _refuse_place(name, taken[key], "it is listed twice")
        taken[key] = name
    for name in names:
        for slash in re.finditer("/", name):
            if other := taken.get(_place(name[: slash.start()], folds), ""):
                _refuse_place(name, other, "a part of it is a file")


def _refuse_place(name: str, other: str, why: str) -> NoReturn:
    if other == name or name.startswith(f"{other}/"):
        refuse(name, why)
    hint = "choose another disk with «--to», or leave one of them out by «--include»"
    refuse(name, f"this disk, which folds case, takes it for {plain(other, 100)}", hint)


def _place(name: str, folds: bool) -> str:
    return unicodedata.normalize("NFC", name).casefold() if folds else name
