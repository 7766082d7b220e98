"""Zip archives, and names that are not in UTF-8."""

import io
import random
import stat
import struct
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from struct import pack

import pytest
from archives import file, tar, tree
from support.called import virc
from support.programs import needs
from support.tables import each_case
from support.volumes import in_volumes

from virc.core.errors import DataError
from virc.unpack.unpack import UnpackConfig, unpack

DOS, UNIX = 0, 3


def entry(name: str, mode: int = 0o100644, system: int = UNIX) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = system, mode << 16
    return info


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for info, data in entries:
            archive.writestr(info, data, method)
    return made.getvalue()


def put(data: bytes, folder: Path) -> Path:
    archive = folder / "a.zip"
    archive.write_bytes(data)
    return archive


PICTURES = tuple((f"images/{number}.png", bytes([number]) * 3000) for number in range(5))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_archive_is_unpacked_and_a_rerun_goes_on(method: int, tmp_path: Path) -> None:
    archive = put(zipped(("images/", b""), ("empty", b""), *PICTURES, method=method), tmp_path)
    unpack(UnpackConfig(archive, tmp_path / "to"))
    (tmp_path / "to" / "images" / "3.png").unlink()
    done = virc("unpack", archive, "--to", tmp_path / "to", "--remove", "--json")
    assert (done.code, archive.exists(), done.json["files"], done.json["skipped"]) == (0, False, 1, 5)
    for name, data in PICTURES:
        assert (tmp_path / "to" / name).read_bytes() == data


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([(entry("run", 0o100755), b"x")], {"run": 0o755}),
        ([(entry("a\\b.png", 0, DOS), b"x")], {"a/b.png": 0o644}),
        ([(entry("a"), b"1"), (entry("a"), b"2")], {"a": 0o644}),
        ([(entry("f"), b"x"), (entry("l", stat.S_IFLNK | 0o777), b"f")], {"f": 0o644, "l": 0o644}),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_a_zip_archive_says_of_its_members(
    entries: Sequence[tuple[zipfile.ZipInfo, bytes]], found: dict[str, int], tmp_path: Path
) -> None:
    unpack(UnpackConfig(put(zipped(*entries), tmp_path), tmp_path / "to"))
    assert {name: (tmp_path / "to" / name).stat().st_mode & 0o777 for name in found} == found
    assert (tmp_path / "to" / next(iter(found))).read_bytes() == entries[-1 if len(found) == 1 else 0][1]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([(entry("../a"), b"x")], "leads out of the folder"),
        ([(entry("/etc/a"), b"x")], "its name is absolute"),
        ([(entry("a\\..\\..\\b"), b"x")], "on Windows"),
        ([(entry("..\\a", 0, DOS), b"x")], "leads out of the folder"),
        ([(entry("l", stat.S_IFLNK), b"../../a")], "out of the folder"),
        ([(entry("a", 0o104755), b"x")], "another user"),
        ([(entry("d"), b"x"), (entry("d/a"), b"x")], "where it needs a folder"),
    ],
)
def test_a_member_of_a_zip_archive_is_refused(
    entries: Sequence[tuple[zipfile.ZipInfo, bytes]], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=sentence):
        unpack(UnpackConfig(put(zipped(*entries), tmp_path), tmp_path / "to"))
    assert {path.name for path in tmp_path.iterdir()} <= {"a.zip", "to"}


def spoiled(data: bytes, old: bytes, new: bytes, last: bool = False) -> bytes:
    at = data.rindex(old) if last else data.index(old)
    return data[:at] + new + data[at + len(old) :]


STORED = zipped(("first.png", b"1" * 100), ("a.png", b"content" * 9), method=zipfile.ZIP_STORED)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (spoiled(STORED, b"contentcontent", b"contentCONTENT"), "damaged at byte"),
        (STORED[:-30], "no directory at its end"),
        (STORED[: len(STORED) // 2], "no directory at its end"),
        (
            spoiled(STORED, b"PK\1\2\x14\x03\x14", b"PK\1\2\x14\x03\xff", last=True),
            "^the zip archive cannot be unpacked: zip file version 25.5$",
        ),
        (spoiled(STORED, b"a.png", b"b.png"), "damaged at byte"),
        (spoiled(STORED, pack("<II", 63, 63), pack("<II", 63, 64), last=True), "shorter than its directory says"),
        (spoiled(STORED, b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0", last=True), "password"),
        (
            spoiled(STORED, b"PK\1\2\x14\x03\x14\0\0\0\0\0", b"PK\1\2\x14\x03\x14\0\0\0\x09\0", last=True),
            "^a.png cannot be unpacked: ",
        ),
    ],
)
def test_a_damaged_zip_archive_leaves_what_is_right(data: bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        unpack(UnpackConfig(put(data, tmp_path), tmp_path / "to"))
    assert not (tmp_path / "to" / "a.png").exists()


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    archive = put(zipped(("a", b"\0" * (70 << 20))), tmp_path)
    with pytest.raises(DataError, match="100"):
        unpack(UnpackConfig(archive, tmp_path / "to"))


NAMES = {
    "gbk": ("图片/测试.png", "gb18030"),
    "gb18030": ("图片/镕基.png", "gb18030"),
    "cp932": ("画像/テスト.png", "cp932"),
    "shift_jis": ("写真/東京 1.jpg", "cp932"),
    "utf-8": ("画像/テスト.png", None),
}


@pytest.mark.parametrize(
    ("encoding", "form"), [("gbk", "tar"), ("gb18030", "zip"), ("cp932", "zip"), ("shift_jis", "tar"), ("utf-8", "zip")]
)
def test_names_in_other_encodings_are_guessed_and_said(form: str, encoding: str, tmp_path: Path) -> None:
    name, guessed = NAMES[encoding]
    raw = name.encode(encoding)
    data = tar(file(raw.decode(errors="surrogateescape")), file("plain.png"))
    if form == "zip":
        ascii_name = "x" * len(raw)
        data = zipped((ascii_name, b"x"), ("plain.png", b"x")).replace(ascii_name.encode(), raw)
    done = unpack(UnpackConfig(put(data, tmp_path), tmp_path / "to"))
    assert {each for each in tree(tmp_path / "to") if each.endswith("g")} == {name, "plain.png"}
    assert [warning for warning in done.guessed if f"read as {guessed}, such as {name}" in warning] == (
        done.guessed if guessed else []
    )


@pytest.mark.parametrize(
    ("encoding", "name"), [("euc_kr", "그림/시험.png"), ("big5", "圖片/測試.png"), ("cp1251", "рис.png")]
)
def test_names_are_in_the_encoding_that_is_given(encoding: str, name: str, tmp_path: Path) -> None:
    archive = put(tar(file(name.encode(encoding).decode(errors="surrogateescape"))), tmp_path)
    done = virc("unpack", archive, "--to", tmp_path / "to", "--encoding", encoding)
    assert (done.code, (tmp_path / "to" / name).is_file(), "warning" in done.err) == (0, True, False)


def test_a_whole_zip_archive_beside_parts_of_another_is_no_part(tmp_path: Path) -> None:
    (tmp_path / "a.z01").write_bytes(b"PK\7\x08")
    for data, files in ((zipped(*PICTURES), 5), (zipped(), 0)):
        assert unpack(UnpackConfig(put(data, tmp_path), tmp_path / str(files))).files == files


@each_case("ends", [(300,), (4,), (200, 500), (137, 274, 411), (50, 100, 150, 200, 250), (800,)])
def test_volumes_of_zip_are_joined(ends: tuple[int, ...], tmp_path: Path) -> None:
    last = in_volumes(tmp_path, *ends)
    for number, archive in enumerate((last, last.with_suffix(".z01"))):
        done = virc("unpack", archive, "--to", tmp_path / str(number), *(["--remove"] if number else []))
        assert done.code == 0, done.err
        found = {each.name: each.read_text() for each in (tmp_path / str(number)).iterdir()}
        assert found == {f"{at}.txt": str(at) * 100 for at in range(6)}
    assert not [*tmp_path.glob("a.z*")]
    more = in_volumes(tmp_path, *ends)
    given = sorted(tmp_path.glob("a.z*"))
    assert virc("unpack", *given, "--to", tmp_path / "all").code == 0
    if len(ends) > 1:
        more.with_suffix(".z01").rename(tmp_path / "else")
        more.with_suffix(".z02").unlink()
        (tmp_path / "else").rename(more.with_suffix(".z01"))
        done = virc("unpack", more, "--to", tmp_path / "none")
        assert (done.code, "hint: give all parts" in done.err) == (5, True), done.err


def test_an_archive_that_leaves_all_numbers_to_its_record_of_zip64(tmp_path: Path) -> None:
    """As stream-zip 0.0.84 (`ZIP_64`) and zip.js 2.24.0 (`zip64: true`) end an archive."""
    whole = zipped((entry("one.txt"), b"one"), (entry("two.txt"), b"2"))
    end = len(whole) - 22
    *_, count, size, directory, _ = struct.unpack("<4s4H2IH", whole[end:])
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, directory)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    unsaid = struct.pack("<4s4H2IH", b"PK\5\6", *[0xFFFF] * 4, 2**32 - 1, 2**32 - 1, 0)
    unpack(UnpackConfig(put(whole[:end] + record + locator + unsaid, tmp_path), tmp_path / "to"))
    assert {each.name: each.read_bytes() for each in (tmp_path / "to").iterdir()} == {
        "one.txt": b"one",
        "two.txt": b"2",
    }


@needs("zip")
@pytest.mark.integration
def test_volumes_that_zip_wrote_are_joined(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(random.Random(0).randbytes(200_000))
    (tmp_path / "text").write_text("x" * 1000)
    subprocess.run(["zip", "-q", "-s", "64k", "a.zip", "noise", "text"], cwd=tmp_path, check=True)
    assert (tmp_path / "a.z02").exists()
    assert virc("unpack", tmp_path / "a.zip", "--to", tmp_path / "to").code == 0
    assert (tmp_path / "to" / "noise").read_bytes() == (tmp_path / "noise").read_bytes()


def test_files_behind_a_link_keep_their_bytes(tmp_path: Path) -> None:
    entries = [(entry("one.txt"), b"one"), (entry("link", stat.S_IFLNK | 0o777), b"one.txt"), (entry("two.txt"), b"2")]
    unpack(UnpackConfig(put(zipped(*entries), tmp_path), tmp_path / "to"))
    found = {name: (tmp_path / "to" / name).read_bytes() for name in ("one.txt", "link", "two.txt")}
    assert found == {"one.txt": b"one", "link": b"one", "two.txt": b"2"}
