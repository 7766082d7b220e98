"""A loss of power at any moment: bytes are safe before a name or a record speaks of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from downloads import packed, weights
from downloads import serving as workspace
from hub_server import Hub
from large_files import CONTENT, Place, serving
from support.called import virc
from support.disk_steps import Step, first, recorded

from virc.core.files import HIDDEN, RECORD
from virc.download.hub.record import DownloadRecord

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors are those of Linux")

MODEL, DATASET = "some/model", "datasets/some/rows"
IMAGES = packed({"images/1.png": weights(1000), "images/2.png": weights(2000)})


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    with serving(monkeypatch, tmp_path / "home") as server:
        yield Place(server, tmp_path)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    files = {"config.json": b"{}", "README.md": b"a model\n", "model.safetensors": weights(3 << 19)}
    with workspace(monkeypatch, tmp_path, {MODEL: files, DATASET: {"images.tar": IMAGES}}) as made:
        yield made


def records(steps: list[Step]) -> dict[int, DownloadRecord]:
    """The records that were put in place, by where among the steps."""
    written = ((at, step) for at, step in enumerate(steps) if (step.what, step.path.name) == ("rename", RECORD))
    return {at: msgspec.json.decode(step.content, type=DownloadRecord) for at, step in written}


def test_a_file_is_safe_before_it_has_its_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = recorded(monkeypatch)
    place.fetch()
    named = first(steps, "rename", place.to)
    assert any(step.what == "fsync" and step.content == CONTENT for step in steps[:named])
    assert named < first(steps, "fsync", place.to.parent)


def test_files_and_records_are_safe_before_they_have_their_names(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = recorded(monkeypatch)
    assert virc("download", MODEL).code == 0
    for at, step in enumerate(steps):
        if step.what == "rename":
            assert ("fsync", step.source, step.content) in [each[:3] for each in steps[:at]], step.path
    folder = Path("models/model").absolute()
    files = [step.path.name for step in steps if step.what == "rename" and step.path.parent == folder]
    assert sorted(files[:-1]) == ["README.md", "model.safetensors"]
    assert files[-1] == "config.json"  # which makes the folder a model
    for at, record in records(steps).items():
        assert steps[at + 1][:2] == ("fsync", folder / HIDDEN)
        for name in record.files.keys() - set(record.lacking):
            assert first(steps, "rename", folder / name) < at, name


def test_what_is_unpacked_is_safe_before_it_is_recorded_and_recorded_before_the_archive_goes(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = recorded(monkeypatch)
    assert virc("download", DATASET).code == 0
    archive = Path("data/rows/images.tar").absolute()
    told = next(at for at, record in records(steps).items() if record.files["images.tar"].unpacked)
    settled = next(at for at, step in enumerate(steps) if step.what == "sync")
    assert first(steps, "rename", archive) < settled < told < first(steps, "unlink", archive)
