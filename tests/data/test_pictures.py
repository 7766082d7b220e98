"""Images of a dataset on disk: each once, under names that are safe everywhere, never one for another."""

import os
from pathlib import Path

import pytest

from virc.data.rows import pictures
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Picture

PNG, JPEG = b"\x89PNG one", b"\xff\xd8\xff two"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A dataset's folder with two images."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    (folder / "images/a.png").write_bytes(PNG)
    (folder / "images/b.jpg").write_bytes(JPEG)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    (tmp_path / "to").mkdir()
    return PictureStore(tmp_path / "to")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "../x.png", "a/../../x.png", "/x.png", "c:/x.png", "con:x.png", "con.png", "a/NUL.png", "\\\\host\\x.png",
        "a\\x.png", ".hidden.png", ".to.partial/x.png", "a /x.png", "a\nb.png", "a\0b.png", "\udc80.png",
        "x" * 300 + ".png", "图" * 90 + ".png", f"{'图' * 80}/" * 18 + "x.png",
        "d/" * 30 + "x.png", "dataset_info.json", "virc_protocol.json", "train.jsonl", "x", "",
        "data:image/png;base64,AAAA", "images/0123456789abcdef01234567.png", "a.png:stream", 'a"b.png',
    ],
)  # fmt: skip
def test_a_name_that_is_not_one_of_an_image_everywhere_gives_way_to_one_by_content(
    store: PictureStore, name: str
) -> None:
    called = store.add(Picture(name, data=PNG))
    assert called.startswith("images/")
    assert called.endswith(".png")
    assert called not in (name, "images/0123456789abcdef01234567.png")
    assert files(store.folder.parent) == {f"to/{called}": PNG}
    assert store.add(Picture("", data=PNG)) == called


def test_equal_names_of_other_content_are_told_apart(tmp_path: Path, source: Path, store: PictureStore) -> None:
    other = tmp_path / "other/images"
    other.mkdir(parents=True)
    (other / "a.png").write_bytes(JPEG)
    (other / "b.jpg").write_bytes(JPEG)
    names = [
        store.add(Picture(name, folder))
        for folder in (source, other.parent)
        for name in ("images/a.png", "images/b.jpg")
    ]
    assert names[0] == "images/a.png"
    assert names[1] == names[3] == "images/b.jpg"
    assert names[2].endswith(".jpg")
    assert [(store.folder / name).read_bytes() for name in names] == [PNG, JPEG, JPEG, JPEG]
    assert store.stored_bytes == len(PNG) + 2 * len(JPEG)


def test_no_folder_gets_too_many_pictures(store: PictureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_IN_FOLDER", 2)
    names = [store.add(Picture(f"a/{at}.png", data=PNG + b"%d" % at)) for at in range(5)]
    assert names == ["a/0.png", "a/1.png", "a/2/2.png", "a/2/3.png", "a/3/4.png"]


def test_a_link_within_the_folder_gives_its_file_and_one_that_leaves_it_nothing(
    tmp_path: Path, source: Path, store: PictureStore
) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    (source / "in.png").symlink_to("images/a.png")
    (source / "out.png").symlink_to(tmp_path / "secret.png")
    (source / "up").symlink_to("..")
    assert not (store.folder / store.add(Picture("in.png", source))).is_symlink()
    for name in ("out.png", "up/secret.png", "../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(OSError, match="outside"):
            store.add(Picture(name, source))
    assert files(store.folder) == {"in.png": PNG}
    assert store.add(Picture("../secret.png", source, confined=False)).startswith("images/")


def test_what_is_no_file_is_refused_and_does_not_hold_up(source: Path, store: PictureStore) -> None:
    os.mkfifo(source / "pipe.png")
    (source / "folder.png").mkdir()
    with (source / "huge.png").open("wb") as file:
        file.truncate(2**40)
    for name in ("pipe.png", "folder.png", "huge.png", "none.png", "a\0.png", "https://host/x.png"):
        with pytest.raises(OSError, match=r"."):
            store.add(Picture(name, source))
    assert not files(store.folder)


def test_what_a_killed_run_left_of_a_copy_is_written_over(store: PictureStore) -> None:
    (store.folder / "images").mkdir()
    (store.folder / "images/.a.png.new").write_bytes(PNG[:3])
    assert store.add(Picture("images/a.png", data=PNG)) == "images/a.png"
    assert files(store.folder) == {"images/a.png": PNG}
