"""`virc unpack` as a user types it: what comes out, what is printed, and when the archive goes."""

import gzip
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from archives import PACKED, contents, file, folder, gnu, hard_link, link, lz4ed, many, tar, tree
from support.called import virc
from support.programs import needs
from support.tables import each_case

from virc.core.locks import held
from virc.unpack.archive.formats import ENOUGH
from virc.unpack.unpack import UnpackConfig, unpack

DIALECTS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
LONG = "/".join(["a folder with a long name"] * 6) + "/é.png"


@pytest.mark.parametrize(("packed", "dialect"), list(zip(PACKED, DIALECTS, strict=True)))
def test_every_form_of_archive_becomes_its_folder(packed: str, dialect: int, tmp_path: Path) -> None:
    entries = [
        folder("./"),
        folder("empty"),
        file("./images/1.png", b"one", mode=0o755, mtime=1_600_000_000),
        file("nothing", b""),
        file("large", bytes(range(256)) * 5000),
        file(LONG, b"long"),
        link("images/l", "../images/1.png"),
        hard_link("same", "images/1.png"),
    ]
    archive = tmp_path / "named as you like"
    archive.write_bytes(PACKED[packed](tar(*entries, dialect=dialect)))
    done = virc("unpack", archive, "--to", tmp_path / "to", "--remove")
    assert (done.code, done.out) == (0, f"{tmp_path / 'to'}\n")
    assert tree(tmp_path / "to") == {
        "empty": None,
        "images/1.png": b"one",
        "nothing": b"",
        "large": bytes(range(256)) * 5000,
        LONG: b"long",
        "images/l": "-> ../images/1.png",
        "same": b"one",
    }
    made = (tmp_path / "to" / "images" / "1.png").stat()
    assert (made.st_mtime, stat.S_IMODE(made.st_mode) & 0o700) == (1_600_000_000, 0o700)
    assert not archive.exists()


@needs("lz4")
@pytest.mark.integration
@pytest.mark.parametrize("options", ["-B4", "-B7 -BD -BX", "-B5 --no-frame-crc", "-12 --content-size"])
def test_what_the_programs_make_is_unpacked(options: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for info, data in [*many(40), file("zeros", bytes(3_000_000)), file("name\nof two lines")]:
        path = source / info.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    archive = tmp_path / "a.tar.lz4"
    command = f'tar -cf - -C "{source}" . | lz4 {options} - - > "{archive}"'
    subprocess.run(["sh", "-c", command], check=True, stderr=subprocess.DEVNULL)
    assert virc("unpack", archive, "--to", tmp_path / "to").code == 0
    assert tree(tmp_path / "to") == tree(source)


def test_incremental_and_labelled_archives_of_gnu_tar(tmp_path: Path) -> None:
    listed = gnu("./sub/", b"Nb.txt\0" * 90 + b"\0", b"D")
    made = [gnu("my volume", b"", b"V"), gnu("./a.txt", b"a"), listed, gnu("./sub/b.txt", b"b")]
    (tmp_path / "a.tar").write_bytes(b"".join(made) + bytes(1024))
    assert virc("unpack", tmp_path / "a.tar", "--to", tmp_path / "to").code == 0
    assert tree(tmp_path / "to") == {"a.txt": b"a", "sub/b.txt": b"b"}


@pytest.mark.integration
@each_case("options", ["-G", "--listed-incremental=list", "--label=mine", "-G --format=gnu --label=mine"])
def test_archives_of_the_gnu_tar_here(options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of" / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (tmp_path / "of" / name).write_text(name)
    subprocess.run(["tar", "-cf", "a.tar", *options.split(), "-C", "of", "a.txt", "sub"], check=True)
    assert virc("unpack", "a.tar", "--to", "to").code == 0
    assert tree(tmp_path / "to") == tree(tmp_path / "of")


def test_frames_and_members_may_follow_each_other(tmp_path: Path) -> None:
    entries = many(60)
    data = tar(*entries)
    middle = 512 * 17 + 100
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
    far = b"\x5f\x2a\x4d\x18" + (ENOUGH - 11).to_bytes(4, "little") + bytes(ENOUGH - 11)  # 3 bytes to the next read
    halves = {
        "lz4": [far, lz4ed(data[:middle], block_linked=True), skipped, lz4ed(data[middle:]), skipped],
        "gz": [gzip.compress(data[:middle]), bytes(3 * ENOUGH), gzip.compress(data[middle:]), bytes(10)],
    }
    for name, parts in halves.items():
        archive = tmp_path / name
        archive.write_bytes(b"".join(parts))
        assert virc("unpack", archive, "--to", tmp_path / f"to-{name}").code == 0
        assert tree(tmp_path / f"to-{name}") == contents(entries)
        assert archive.exists()


def test_a_second_run_skips_what_is_there_and_json_says_so(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.lz4"
    entries = [*many(20), link("l", "images"), hard_link("h", "images/0/0.png")]
    archive.write_bytes(lz4ed(tar(*entries)))
    size = sum(len(data) for _, data in entries)
    first = virc("unpack", archive, "--to", tmp_path / "to", "--json").json
    fields = {"schema": "virc.unpack/1", "to": str(tmp_path / "to"), "error": None}
    assert first == {**fields, "files": 22, "bytes": size, "skipped": 0, "removed": False}
    before = {path: path.lstat().st_ctime_ns for path in (tmp_path / "to").rglob("*")}
    second = virc("unpack", archive, "--to", tmp_path / "to", "--remove", "--json").json
    assert second == {**fields, "files": 0, "bytes": 0, "skipped": 22, "removed": True}
    after = {path: path.lstat().st_ctime_ns for path in (tmp_path / "to").rglob("*") if path.is_file()}
    assert after.items() <= before.items()


def test_an_archive_goes_when_its_files_are_safe_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "a.tar.lz4"
    archive.write_bytes(lz4ed(tar(file("1.png"))))
    moments: list[tuple[bool, bool]] = []
    monkeypatch.setattr(os, "sync", lambda: moments.append(((tmp_path / "1.png").exists(), archive.exists())))
    assert virc("unpack", archive, "--remove").code == 0
    assert moments == [(True, True)]
    assert not archive.exists()


def test_an_archive_with_more_behind_its_end_stays(tmp_path: Path) -> None:
    two = tar(file("f")) + b"not a tar archive"
    for name, packed in PACKED.items():
        archive = tmp_path / name
        archive.write_bytes(packed(two))
        done = virc("unpack", archive, "--to", tmp_path / "to", "--remove")
        assert (done.code, archive.exists()) == (0, True)
        assert "follow its last file" in done.err


@pytest.mark.parametrize("moment", ["unpacked", "synced"])
def test_an_archive_that_was_replaced_meanwhile_stays(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, newer = tmp_path / "a.tar", tmp_path / "newer"
    archive.write_bytes(tar(file("f")))
    newer.write_bytes(b"newer")
    config = UnpackConfig(archive, tmp_path / "to", remove=True)

    def replace(*_: object) -> None:
        if newer.exists():
            newer.replace(archive)

    monkeypatch.setattr(os, "sync", replace if moment == "synced" else lambda: None)
    done = unpack(config, replace if moment == "unpacked" else lambda *_: None)
    assert (done.kept, archive.read_bytes()) == ("another file has its name now", b"newer")


def test_a_second_run_on_the_folder_is_refused(tmp_path: Path) -> None:
    archive, to = tmp_path / "a.tar", tmp_path / "to"
    archive.write_bytes(tar(file("f")))
    to.mkdir()
    (tmp_path / "same").symlink_to("to")
    with held(to / "virc-unpack.partial"):
        done = virc("unpack", archive, "--to", tmp_path / "same")
    assert (done.code, archive.exists()) == (3, True)
    assert f"another run is unpacking into {to}" in done.err
    (to / "virc-unpack.partial").mkdir()  # what a killed run leaves
    (to / "virc-unpack.partial" / "0").write_bytes(b"half")
    assert virc("unpack", archive, "--to", to).code == 0
    assert tree(to) == {"f": b"x"}
