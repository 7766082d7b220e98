"""A repository of the Hugging Face hub or of GitHub, and what it holds."""

import errno
import os
from collections.abc import Callable
from typing import Literal

import msgspec

Kind = Literal["model", "dataset"]
Host = Literal["hub", "github"]
OnBytes = Callable[[int], None]
"""Called with how many bytes came; with a negative number where such bytes were thrown away again."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the errors of a disk that takes no more, or no file as large."""
_DEFAULT = "https://huggingface.co"


def endpoint() -> str:
    """Address of the hub without a slash at the end: `HF_ENDPOINT` as it is now.

    huggingface_hub reads it once at import, so this goes into each of its calls.
    """
    return (os.environ.get("HF_ENDPOINT") or _DEFAULT).rstrip("/")


class Repo(msgspec.Struct, frozen=True):
    """A repository `owner/name`; at the hub a model and a dataset may have the same id."""

    id: str
    kind: Kind = "model"
    host: Host = "hub"

    @property
    def name(self) -> str:
        """What it is called where hubs are not told apart: its hub id, or `github.com/owner/name`."""
        return self.id if self.host == "hub" else f"github.com/{self.id}"

    @property
    def url(self) -> str:
        """Its page, for people."""
        if self.host != "hub":
            return f"https://{self.name}"
        return f"{endpoint()}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"


class File(msgspec.Struct, frozen=True):
    """A file of a repository, as the hub lists it.

    Attributes:
        name: path inside the repository, with slashes.
        sha256: hash of the content in hex, of a large file.
        git: id of the blob in hex, of a small file: SHA-1 of `blob SIZE`, a NUL and the content.
        url: of its content, where the host is not the hub.
    """

    name: str
    size: int
    sha256: str | None = None
    git: str | None = None
    url: str | None = None


class Listing(msgspec.Struct, frozen=True):
    """What a repository holds at one commit; `refused`: why files of it are left out, whose names would do harm."""

    repo: Repo
    commit: str
    files: tuple[File, ...]
    refused: tuple[str, ...] = ()
