"""Files at a commit of GitHub, listed with sizes and hashes, as those of the hub.

The hash of a file is the id that git gives its content, a SHA-1; of one that Git LFS stores, the SHA-256 in its
pointer.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from virc.core.errors import DataError, NetworkError
from virc.core.text import did_you_mean, plain
from virc.download.hub import origin
from virc.download.hub.file import small_file
from virc.download.hub.listing import GitHash, Size, check_name, check_places, decoded, linked_answer
from virc.download.hub.origin import JSON, SHA, github_headers
from virc.download.hub.repository import File, Listing, Repo

_COMMIT = re.compile(r"[0-9a-f]{40}")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n"
)
_MAX_POINTER = 1023  # bytes, by the specification of Git LFS
_MAX_NEAR = 1000  # names that a wrong one is compared with
_FILES = ("100644", "100755")  # modes; links and other repositories are none


class _Entry(msgspec.Struct):
    path: str
    mode: str
    sha: GitHash
    size: Size = 0


class _Tree(msgspec.Struct):
    tree: list[_Entry]
    truncated: bool = False


def listing(repo: Repo, revision: str, paths: Sequence[str]) -> Listing:
    """List these files of a repository at a branch, tag or commit."""
    for path in paths:
        check_name(path)
    check_places(paths)
    commit = revision if _COMMIT.fullmatch(revision) else _commit(repo, revision)
    files = (
        File(each.path, each.size, git=each.sha, url=f"{origin.RAW}/{repo.id}/{commit}/{quote(each.path)}")
        for each in _entries(repo, commit, paths)
    )
    return Listing(repo, commit, tuple(_stored(repo, commit, file) for file in files))


def _commit(repo: Repo, revision: str) -> str:
    url = f"{origin.API}/repos/{repo.id}/commits/{quote(revision, safe='')}"
    found = linked_answer(repo, revision, url, github_headers(SHA))[0].decode("ascii", "replace").strip()
    if not _COMMIT.fullmatch(found):
        raise NetworkError(f"what GitHub answers of {repo.id} makes no sense: it is no commit")
    return found


def _entries(repo: Repo, commit: str, paths: Sequence[str]) -> Iterator[_Entry]:
    url = f"{origin.API}/repos/{repo.id}/git/trees/{commit}?recursive=1"
    whole = decoded(repo, linked_answer(repo, commit, url, github_headers(JSON))[0], _Tree)
    known = {entry.path: entry for entry in whole.tree}
    for path in paths:
        entry = known.get(path)
        if entry is None and whole.truncated:
            hint = f"git clone {repo.url}, and take it from there"
            raise DataError(f"{repo.url} has more files than GitHub lists, and {plain(path, 100)} is not listed", hint)
        if entry is None:
            last = path.rpartition("/")[2]
            same = [name for name, each in known.items() if each.mode in _FILES and name.endswith(last)]
            hint = did_you_mean(path, same[:_MAX_NEAR], f"its files: {repo.url}/tree/{commit}")
            raise DataError(f"{repo.url} has no file {plain(path, 100)} at {commit[:12]}", hint)
        if entry.mode not in _FILES:
            raise DataError(f"{plain(path, 100)} of {repo.url} is a folder, a link or another repository, not a file")
        yield entry


def _stored(repo: Repo, commit: str, file: File) -> File:
    """The file that Git LFS stores, where this one only points there."""
    if file.size > _MAX_POINTER:
        return file
    pointer = _POINTER.fullmatch(small_file(repo, commit, file))
    if pointer is None:
        return file
    url = f"{origin.MEDIA}/{repo.id}/{commit}/{quote(file.name)}"
    return File(file.name, int(pointer[2]), sha256=pointer[1].decode(), url=url)
