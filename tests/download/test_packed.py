"""Archives of datasets: in parts, in shards, and left packed."""

import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from downloads import held, packed, serving, weights
from hub_server import status
from support.called import virc
from support.volumes import in_volumes

from virc.core.text import sized

DATA = "datasets/some/data"
PICTURES = {f"images/{number:02d}.png": weights(3000, number) for number in range(12)}
TAR = packed(PICTURES)


def zipped(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def split(data: bytes, form: str, count: int, first: int = 0) -> dict[str, bytes]:
    size = -(-len(data) // count)
    return {form.format(first + at): data[at * size : (at + 1) * size] for at in range(count)}


def letters(data: bytes, form: str, count: int) -> dict[str, bytes]:
    return {form.format(f"a{chr(97 + int(at))}"): part for at, part in split(data, "{}", count).items()}


SPLIT = {
    "part_00": split(TAR, "images.tar.part_{:02d}", 3),
    "of": split(TAR, "images-{:05d}-of-00004.tar", 4),
    "of, from 1": split(TAR, "images-{:05d}-of-00004.tar", 4, first=1),
    "aa": letters(gzip.compress(TAR), "images.tar.gz.{}", 3),
    "zip.001": split(zipped(PICTURES), "images.zip.{:03d}", 3, first=1),
    "of, each whole": {
        f"images-{at:05d}-of-00002.tar": packed(dict(list(PICTURES.items())[6 * at : 6 * at + 6])) for at in range(2)
    },
    "two sets": {
        **split(packed(dict(list(PICTURES.items())[:6])), "a.tar.{:03d}", 2),
        **split(packed(dict(list(PICTURES.items())[6:])), "b.tar.{:03d}", 2),
    },
}


@pytest.mark.parametrize(
    ("how", "more"),
    [
        ("part_00", ()),
        ("of, from 1", ()),
        ("aa", ("--keep",)),
        ("zip.001", ()),
        ("of, each whole", ()),
        ("two sets", ()),
    ],
)
def test_parts_are_unpacked_as_one(
    how: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {f"chart/{name}": data for name, data in SPLIT[how].items()}
    with serving(monkeypatch, tmp_path, {DATA: files}):
        done = virc("download", DATA, *more)
        again = virc("download", DATA)
    assert (done.code, again.code, "nothing is missing" in again.err) == (0, 0, True)
    kept = files if "--keep" in more else {}
    assert held(Path("data/data")) == {**{f"chart/{name}": data for name, data in PICTURES.items()}, **kept}


@pytest.mark.parametrize(
    ("lacks", "more", "said"),
    [
        ("", (), ""),
        ("", ("--keep",), ""),
        ("a.z01", (), "a.zip stays packed: it is one part of more"),
        ("a.z02", (), "--keep-packed leaves it packed"),  # its number shows in the directory of the archive alone
        ("a.zip", (), "a.z02 stays packed: it is one part of more"),
    ],
)
def test_volumes_of_zip_are_unpacked_as_one(
    lacks: str, more: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    volumes = {each.name: each.read_bytes() for each in in_volumes(tmp_path, 200, 500).parent.glob("a.z*")}
    files = {f"chart/{name}": data for name, data in volumes.items() if name != lacks}
    with serving(monkeypatch, tmp_path, {DATA: {**files, "chart/b.zip": zipped({"b": b"b"})}}):
        done = virc("download", DATA, *more)
        again = virc("download", DATA)
    is_damaged = lacks == "a.z02"
    assert (done.code, again.code, "nothing is missing" in again.err) == ((5, 5, False) if is_damaged else (0, 0, True))
    texts = {} if lacks else {f"chart/{at}.txt": (str(at) * 100).encode() for at in range(6)}
    there = {name: data for name, data in held(Path("data/data")).items() if not name.startswith("chart/b")}
    assert there == {**texts, **(files if lacks or more else {})}
    assert said in done.err


def test_parts_go_on_after_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(monkeypatch, tmp_path, {DATA: SPLIT["part_00"]}) as server:
        for place in ("resolve", "cache"):
            server.misbehave(status(500), on=place, name="*part_02", times=None)
        assert virc("download", DATA).code == 6
        server.behave()
        before = server.sent("*part_00")
        done = virc("download", DATA)
        assert (done.code, server.sent("*part_00")) == (0, before)
        assert f"unpacked images.tar.part_00, {sized(len(TAR))}" in done.err
    assert held(Path("data/data")) == PICTURES


@pytest.mark.parametrize(
    ("files", "more", "hints"),
    [
        ({"all.zip": zipped({"images.tar": TAR})}, (), ["virc unpack data/data/images.tar"]),
        ({"a/x.tbz2": b"BZh", "x.7z": b"7z"}, (), ["virc unpack data/data/a/x.tbz2 && virc unpack data/data/x.7z"]),
        (SPLIT["of"], ("--keep-packed",), []),
    ],
)
def test_what_is_still_packed_leads_to_the_command_that_unpacks_it(
    files: Mapping[str, bytes], more: tuple[str, ...], hints: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving(monkeypatch, tmp_path, {DATA: {"train.jsonl": b"{}\n", **files}}):
        done = virc("download", DATA, *more)
        assert "nothing is missing" in virc("download", DATA, *more).err
    found = [line.removeprefix("hint: ") for line in done.err.splitlines() if line.startswith("hint: ")]
    assert (done.code, found) == (0, hints)
    if "x.7z" in files:
        assert "warning: a/x.tbz2, x.7z are still packed\n" in done.err


SAMPLES = {"0001.jpg": b"picture", "0001.json": b"{}", "0002.jpg": b"picture", "0002.json": b"{}"}


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (("train-000000.tar", "train-000001.tar", "test-000000.tar"), ()),
        (("a-00000-of-00002.tar", "a-00001-of-00002.tar"), ()),
        (("shard_07.tar",), ()),
    ],
)
def test_shards_of_webdataset_stay_shards(
    names: tuple[str, ...], more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = dict.fromkeys(names, packed(SAMPLES))
    with serving(monkeypatch, tmp_path, {DATA: files}):
        done = virc("download", DATA, *more)
        again = virc("download", DATA)
    assert (done.code, done.err.count("shards of WebDataset stay packed")) == (0, 1)
    assert "nothing is missing" in again.err
    assert held(Path("data/data")) == files
