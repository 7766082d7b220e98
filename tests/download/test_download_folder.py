"""A folder that files are fetched into: what of it is ours, what is somebody else's, and what a kill left."""

from pathlib import Path

import pytest
from hub_server import git_id

from virc.core.errors import DataError
from virc.download.hub.folder import Folder
from virc.download.hub.repository import File, Listing, Repo

REPO = Repo("someone/data", "dataset")


def file(name: str, content: bytes = b"content") -> File:
    return File(name, len(content), git=git_id(content))


def opened(root: Path, *files: File, commit: str = "1" * 40) -> Folder:
    return Folder(root, Listing(REPO, commit, files))


def put(root: Path, name: str, content: bytes = b"content") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def nothing(count: int) -> None:
    """OnBytes of bytes."""


def test_an_archive_of_somebody_else_under_that_name_is_not_removed(tmp_path: Path) -> None:
    wanted = file("images.tar")
    with (folder := opened(tmp_path, wanted)).alone():
        put(tmp_path, "images.tar")
        folder.came(wanted)
        folder.came(wanted, unpacked=True)
        path = put(tmp_path, "images.tar", b"another one")
        folder.finish()
    assert path.read_bytes() == b"another one"


def test_links_and_folders_in_the_way(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    put(outside, "a")
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "nowhere").symlink_to(tmp_path / "none")
    (root / "folder").mkdir()
    put(root, "file")
    for name in ("link/a", "link/b", "file/a", "nowhere/a"):
        with pytest.raises(DataError, match="needs a folder where a link or a file is"):
            opened(root).state(file(name))
    for name in ("nowhere", "folder"):
        with pytest.raises(DataError, match="something else is there"):
            opened(root).state(file(name))
    (root / "same").symlink_to(put(outside, "same"))  # weights that are shared by links
    assert opened(root).is_same(file("same"), nothing)
