"""What a download looks at before it begins: what is there, which files are meant, and the room they need."""

import shutil
from pathlib import Path

import pytest

from virc.core.errors import DataError, SetupError
from virc.core.events import Reporter
from virc.core.files import HIDDEN
from virc.download import fetch
from virc.download.fetch import Item, Part, check_room
from virc.download.hub import record
from virc.download.hub.record import Kept, Record
from virc.download.hub.repository import File, Listing, Repo
from virc.download.meter import Meter
from virc.download.wanted import DownloadRequest
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems

NAMES = ("config.json", "model.safetensors", "more/a.json", "more/b/c.json")
SIZE, SPARE = 5_000_000, 2**30
TOTAL, USED = 1 << 40, 0


def item(folder: Path) -> Item:
    """A file that is not there yet."""
    repo, file = Repo("some/data", "dataset"), File("rows.parquet", SIZE)
    return Item(
        DownloadRequest("data", folder, repo), folder, SIZE, listing=Listing(repo, "0" * 40, (file,)),
        parts=(Part(file, "absent"),),
    )  # fmt: skip


def test_what_fits_to_the_byte_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = SIZE + SPARE
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(TOTAL, USED, free))
    check_room([item(tmp_path / "to")])
    free -= 1
    with pytest.raises(SetupError, match=r" has 1\.1 GB free; 5 MB are needed, and 1\.1 GB stay free"):
        check_room([item(tmp_path / "to")])


def test_free_is_that_of_the_disk_of_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "other disk"
    there.mkdir()

    def usage(place: Path) -> object:
        return shutil._ntuple_diskusage(TOTAL, USED, 7 if place == there else 8)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert fetch.fields([item(there / "data")])["free"] == 7
    assert fetch.fields([])["free"] == 8


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Listing:
    """A repository that the hub lists."""
    found = Listing(Repo("some/model", "model"), "0" * 40, tuple(File(name, 2) for name in NAMES))
    monkeypatch.setattr(fetch, "listed", lambda *_: found)
    return found


def test_a_folder_to_include_takes_all_its_files(listed: Listing, tmp_path: Path) -> None:
    item = fetch.look(DownloadRequest("m", tmp_path / "m", listed.repo, include=("more/",)), tmp_path)
    assert [part.file.name for part in item.parts] == ["more/a.json", "more/b/c.json"]


def test_a_model_with_a_file_that_was_cut_is_not_here(listed: Listing, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m"
    (folder / HIDDEN).mkdir(parents=True)
    for name in NAMES[:2]:
        (folder / name).write_bytes(b"{}")
    record.write(folder, Record("some/model", "model", "0" * 40, {name: Kept(2, "git:0", 1) for name in NAMES[:2]}))
    want = DownloadRequest("m", folder, listed.repo, known_as="m")
    assert fetch.look(want, tmp_path).here
    (folder / NAMES[1]).write_bytes(b"{")
    with pytest.raises(DataError, match="something else is there"):
        fetch.look(want, tmp_path)


def test_a_chat_protocol_that_is_there_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = systems.get("tiny")
    want = DownloadRequest("m", tmp_path, None, system=system, model=next(iter(system.models.values())))
    monkeypatch.setattr(fetch, "fetch_chat_protocol", lambda *_: tmp_path / FILE_NAME)
    item = Item(want, tmp_path, 0)
    assert fetch.fetch(item, Meter(0, Reporter()), lambda *_: None) == tmp_path / FILE_NAME
    (tmp_path / FILE_NAME).write_text("{}")
    assert fetch.fetch(item, Meter(0, Reporter()), lambda *_: None) is None
