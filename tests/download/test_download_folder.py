"""A folder that files are fetched into: what of it is ours, what is somebody else's, and what a kill left."""

import os
from pathlib import Path

import pytest
from hub_server import git_id

from virc.core.errors import DataError
from virc.core.files import HIDDEN
from virc.download.hub import record
from virc.download.hub.fetching import move_in
from virc.download.hub.folder import Folder
from virc.download.hub.record import DownloadRecord, Kept
from virc.download.hub.repository import File, Listing, Repo
from virc.models.registry import downloaded_from

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


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / HIDDEN).mkdir()
    for text in ("", "{", "[]", '{"repo": 1}', "\0" * 100, "[" * 100_000):
        (tmp_path / HIDDEN / "record.json").write_text(text)
        assert record.read_record(tmp_path) is None
        assert downloaded_from(tmp_path) is None
    with (folder := opened(tmp_path)).alone():
        folder.expect((file("a"),))
    assert record.read_record(tmp_path) == DownloadRecord(
        REPO.id, "dataset", "1" * 40, {"a": Kept(7, f"git:{git_id(b'content')}")}, ours=True
    )


def test_what_was_unpacked_elsewhere_moves_in_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, root = tmp_path / "staged", tmp_path / "root"
    wanted = {"images/1.png": b"1", "images/deep/2.png": b"2", "new/3.png": b"3", "4.png": b"4"}
    for name, content in wanted.items():
        put(staged, name, content)
    (staged / "images" / "l").symlink_to("1.png")
    (staged / "new" / "folder").symlink_to("../images")
    put(root, "images/1.png", b"1")
    put(root, "images/own.png", b"own")
    moves = 0
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        nonlocal moves
        moves += 1
        if moves == 3:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            move_in(staged, root)
    move_in(staged, root)
    found = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    assert found == wanted | {"images/own.png": b"own"}
    assert (root / "images/l").readlink() == Path("1.png")
    assert (root / "new/folder").readlink() == Path("../images")
    left = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    assert left == {"images/1.png"}


def test_moving_replaces_nothing(tmp_path: Path) -> None:
    staged, root, outside = tmp_path / "staged", tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    for name, there in (("a", b"2"), ("b", None), ("c", None)):
        put(staged, f"{name}/1", b"1")
        if there is not None:
            put(root, f"{name}/1", there)
    (root / "b").symlink_to(outside)
    put(root, "c", b"a file")
    for name in ("a", "b", "c"):
        only = tmp_path / f"only-{name}"
        (staged / name).rename(put(only, "x").parent / name)
        (only / "x").unlink()
        if name == "a":
            for each in (only, root):
                os.utime(each / "a/1", (1, 1))
        with pytest.raises(DataError, match="something else is there"):
            move_in(only, root)
    assert ((root / "a/1").read_bytes(), list(outside.iterdir())) == (b"2", [])
    (linked := tmp_path / "linked").mkdir()
    (linked / "b").symlink_to("elsewhere")
    with pytest.raises(DataError, match="something else is there"):
        move_in(linked, root)
    assert (root / "b").readlink() == outside
