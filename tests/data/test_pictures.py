"""Images of a dataset on disk: each once, under names that are safe everywhere, never one for another."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import DataError, VircError
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Picture, Record

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


def test_a_file_keeps_its_name_and_is_linked(source: Path, store: PictureStore) -> None:
    assert store.add(Picture("images/a.png", source)) == "images/a.png"
    assert store.add(Picture("./images//b.jpg", source)) == "images/b.jpg"
    assert files(store.folder) == {"images/a.png": PNG, "images/b.jpg": JPEG}
    assert (store.folder / "images/a.png").samefile(source / "images/a.png")


def test_what_stands_where_a_file_is_due_gives_it_another_name(source: Path, store: PictureStore) -> None:
    (store.folder / "images" / "a.png").mkdir(parents=True)
    name = store.add(Picture("images/a.png", source))
    assert name != "images/a.png"
    assert files(store.folder) == {name: PNG}
    assert store.add(Picture("images/a.png", data=PNG)) == name
    names = [store.add(Picture(f"../{end}", data=b"of no known kind")) for end in ("b.WEBP", "b.exe")]
    assert names[0] == names[1]  # of one content
    assert store.add(Picture("../c.exe", data=b"of another kind")).count(".") == 0
    assert Path(names[0]).suffix == ".webp"
    with pytest.raises(DataError, match=r"^an image of row 7 cannot be read: "):
        store.name(Picture("", source), Record((), id=7))


def test_images_are_counted_once_on_disk_and_each_time_they_are_shown(source: Path, store: PictureStore) -> None:
    shown = [Picture("images/a.png", source), Picture("images/../images/a.png", source), Picture("", data=JPEG)]
    for picture in [*shown, *shown, Picture("images/a.png", data=PNG)]:
        store.add(picture)
    assert store.stored_bytes == sum(map(len, files(store.folder).values()))
    assert store.shown_bytes == 5 * len(PNG) + 2 * len(JPEG)


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


def test_equal_names_of_equal_length_are_told_apart(source: Path, store: PictureStore) -> None:
    other = PNG[:-1] + b"!"
    pictures = [Picture("a.png", data=PNG), Picture("a.png", data=other), Picture("images/a.png", source)]
    names = [store.add(each) for each in pictures]
    assert [(store.folder / name).read_bytes() for name in names] == [PNG, other, PNG]


def test_no_name_of_a_file_passes_for_one_by_content(store: PictureStore) -> None:
    by_content = store.add(Picture("", data=PNG))
    again = PictureStore(store.folder.parent / "again")
    squatting = again.add(Picture(by_content, data=JPEG))
    assert squatting != by_content
    assert (again.folder / again.add(Picture("", data=PNG))).read_bytes() == PNG
    assert (again.folder / squatting).read_bytes() == JPEG


def test_the_same_content_under_two_names_is_right_under_both(source: Path, store: PictureStore) -> None:
    (source / "c.png").write_bytes(PNG)
    names = [store.add(Picture(name, source)) for name in ("images/a.png", "c.png")]
    assert names == ["images/a.png", "c.png"]
    assert [(store.folder / name).read_bytes() for name in names] == [PNG, PNG]


def test_an_image_named_as_the_folder_of_another_is_no_trouble(store: PictureStore) -> None:
    for first, second in (("x.png", "x.png/y.png"), ("z.png/y.png", "z.png")):
        names = [store.add(Picture(first, data=PNG)), store.add(Picture(second, data=JPEG))]
        assert [(store.folder / name).read_bytes() for name in names] == [PNG, JPEG]


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


def test_where_links_are_refused_files_are_copied(
    monkeypatch: pytest.MonkeyPatch, source: Path, store: PictureStore
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    assert store.add(Picture("images/a.png", source)) == "images/a.png"
    assert files(store.folder) == {"images/a.png": PNG}
    assert not (store.folder / "images/a.png").samefile(source / "images/a.png")


def test_a_second_run_in_the_same_folder_finds_what_the_first_left(store: PictureStore) -> None:
    pictures = [Picture("images/a.png", data=PNG), Picture("", data=JPEG)]
    names = [store.add(picture) for picture in pictures]
    again = PictureStore(store.folder)
    assert [again.add(picture) for picture in pictures] == names
    assert again.stored_bytes == store.stored_bytes == sum(map(len, files(store.folder).values()))


def test_what_a_killed_run_left_of_a_copy_is_written_over(store: PictureStore) -> None:
    (store.folder / "images").mkdir()
    (store.folder / "images/.a.png.part").write_bytes(PNG[:3])
    assert store.add(Picture("images/a.png", data=PNG)) == "images/a.png"
    assert files(store.folder) == {"images/a.png": PNG}


def test_a_record_with_an_image_that_cannot_be_read_is_named(source: Path, store: PictureStore) -> None:
    record = Record(images=(Picture("images/a.png", source), Picture("no\n.png", source)), id="row 7")
    with pytest.raises(DataError, match=r"image no \.png of row 'row 7' cannot be read: no such file") as raised:
        store.names(record)
    assert store.names(Record(images=record.images[:1])) == ["images/a.png"]
    assert "\n" not in raised.value.message


def test_a_disk_that_refuses_is_no_fault_of_the_image(source: Path, store: PictureStore) -> None:
    (store.folder / "images").write_bytes(b"in the way")
    with pytest.raises(VircError, match="exists and is not the image") as raised:
        store.names(Record(images=(Picture("images/a.png", source),), id=1))
    assert not isinstance(raised.value, DataError)


def test_a_disk_that_takes_no_file_is_named(source: Path, store: PictureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("virc.data.rows.pictures.shutil.copyfileobj", refuse)
    with pytest.raises(VircError, match=f"cannot write {store.folder / 'images/a.png'}: no space left"):
        store.add(Picture("images/a.png", data=PNG))


def test_bytes_with_a_bare_name_lie_among_the_images_not_among_the_rows(store: PictureStore) -> None:
    assert store.add(Picture("figure.png", data=b"one")) == "images/figure.png"
    assert store.add(Picture("set/figure.png", data=b"two")) == "set/figure.png"
