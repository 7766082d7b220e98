"""A file is found by its name in whatever form of Unicode it is stored and asked for."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image
from support.tables import each_case

from virc.core.errors import DataError
from virc.core.events import Reporter
from virc.core.files import as_stored, contents, expanded
from virc.data.rows.record import Picture
from virc.solving.image_source import source_of
from virc.solving.sources.picture_files import is_source, pictures_of

NAMES = [
    "Prüfung é.png",
    "그림.png",
    "がぞう.png",
    "Ångström.png",
    "Ordner ü/bild ö.png",
    "hình ảnh.png",
    "n\u0303.png",
]


def forms(name: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)


def make(folder: Path, name: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(folder / name)
    return folder / name


@each_case(("name", "is_composed"), [(name, is_composed) for name in NAMES for is_composed in (True, False)])
def test_a_file_is_found_in_either_form(
    name: str, is_composed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, asked = forms(name) if is_composed else forms(name)[::-1]
    file = make(tmp_path, stored)
    assert as_stored(tmp_path / asked) == expanded(tmp_path / asked) == file
    assert source_of(str(tmp_path / asked))[0] == file.read_bytes()
    assert source_of(asked, tmp_path)[0] == file.read_bytes()
    assert Picture(asked, tmp_path).path() == file.resolve()
    monkeypatch.chdir(tmp_path)
    assert as_stored(Path(asked)) == Path(stored)
    assert is_source(asked)
    assert pictures_of([asked], Reporter()) == [asked]


def test_of_two_the_exact_one_is_taken_and_else_it_is_said(tmp_path: Path) -> None:
    composed, apart = (make(tmp_path, name) for name in forms("éé.png"))
    assert as_stored(composed) == composed
    assert as_stored(apart) == apart
    mixed = tmp_path / "e\u0301\u00e9.png"
    with pytest.raises(OSError, match="several files have that name"):
        contents(mixed, 100)
    with pytest.raises(DataError, match="several files have that name, in different forms of Unicode"):
        source_of(str(mixed))
    assert expanded(mixed) == mixed


@each_case("name", ["gone é.png", "é\0.png", "é" * 5000, "nowhere/é.png", "file.png/é"])
def test_what_is_not_there_stays_as_it_is(name: str, tmp_path: Path) -> None:
    make(tmp_path, "file.png")
    assert as_stored(tmp_path / name) == tmp_path / name


@each_case(("asked", "stored"), [
    *(("a b.png", f"a{blank}b.png") for blank in "\u202f\u00a0\u2009\u3000"), ("a\u202fb.png", "a b.png"),
    ("sub\\a b.png", "sub/a b.png"), (".\\sub\\x\\a.png", "sub/x/a.png"), ("sub\\a b.png", "sub/a\u00a0b.png"),
    ("bilder\bild 09.png", "bilder/bild 09.png"), ("sub\\a.png", "sub\\a.png"),
])  # fmt: skip
def test_names_of_rows_are_found_with_other_blanks_and_separators(asked: str, stored: str, tmp_path: Path) -> None:
    file = make(tmp_path / "rows", stored)
    make(tmp_path, "outside.png")
    for is_trusted in (False, True):
        assert source_of(asked, tmp_path / "rows", trusted=is_trusted)[0] == file.read_bytes()
    assert Picture(asked, tmp_path / "rows").path() == file.resolve()
    with pytest.raises(OSError, match="outside the dataset's folder"):
        Picture("..\\outside.png", tmp_path / "rows").path()
