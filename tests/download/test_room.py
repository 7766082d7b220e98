"""What a download looks at before it begins: what is there, which files are meant, and the room they need."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.called import virc

from virc.download import fetch
from virc.download import workspace as downloaded
from virc.download.fetch import Item, Part
from virc.download.hub.repository import File, Listing, Repo
from virc.download.wanted import DownloadRequest

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


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Listing:
    """A repository that the hub lists."""
    found = Listing(Repo("some/model", "model"), "0" * 40, tuple(File(name, 2) for name in NAMES))
    monkeypatch.setattr(fetch, "listed", lambda *_: found)
    return found


SHARDS = ("model-1-of-2.safetensors", "model-2-of-2.safetensors")
INDEX = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[0]}}


@pytest.mark.parametrize(
    ("files", "index", "is_here"),
    [
        (SHARDS, INDEX, True),
        (SHARDS[:1], INDEX, False),  # a copy that was broken off
        (SHARDS, {"weight_map": []}, False),
        (SHARDS, [], False),
        (("model.safetensors",), None, True),
        (("pytorch_model.bin",), None, True),
        (("model.gguf.part",), None, False),
        ((), None, False),
    ],
)
def test_a_model_elsewhere_is_whole_with_all_its_weights(
    files: tuple[str, ...], index: object, is_here: bool, listed: Listing, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for name in files:
        (folder / name).write_bytes(b"12")
    if index is not None:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    item = fetch.look(DownloadRequest("m", tmp_path / "to", listed.repo, known_as="mine"), tmp_path)
    assert item.here == is_here
    assert item.folder == (folder if is_here else tmp_path / "to")
    assert item.missing == (0 if is_here else 2 * len(NAMES))


@pytest.mark.parametrize(
    ("words", "used", "code", "says"),
    [
        ((), [], 2, "no terminal to ask on"),
        ((), ["run"], 3, "run started from m"),
        (("--yes",), ["run"], 0, "removed"),
        (("--yes", "--json"), [], 0, "removed"),
    ],
)
def test_nothing_is_deleted_that_nobody_agreed_to(
    words: tuple[str, ...], used: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"12345")
    removed: list[Path] = []
    for name, value in {
        "find": lambda name, workspace: SimpleNamespace(name=name, folder=folder),
        "check_removable": lambda found: None, "used_by": lambda found, workspace: used,
        "sweep": lambda workspace: None, "remove": lambda found: removed.append(found.folder),
    }.items():  # fmt: skip
        monkeypatch.setattr(downloaded, name, value)
    done = virc("download", "rm", "m", "m", *words)
    assert (done.code, says in done.err) == (code, True)
    assert removed == ([folder] if code == 0 else [])  # once, however often it is named
    if "--json" in words:
        assert (done.json["removed"], done.json["bytes"]) == ([str(folder)], 5)
