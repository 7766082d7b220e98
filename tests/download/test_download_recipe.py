"""What words behind `virc download` stand for, and how much of it is there; without a command line."""

import json
import socket
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from virc.download import fetch
from virc.download.data_files import bases, data_files
from virc.download.hub.repository import File, Listing, Repo
from virc.download.wanted import DownloadConfig, DownloadRequest, resolve_requests
from virc.systems import registry as systems

CRUX = Repo("LeonMiao/CRUX", "dataset")


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is wanted is found by reading the systems' files alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asks the network"))


def found(*names: str, **fields: Any) -> list[tuple[str, str, str | None]]:
    wants = resolve_requests(DownloadConfig(names, **fields))
    return [(want.name, want.folder.as_posix(), want.repo.id if want.repo else None) for want in wants]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model", ("ViRC-7B", "models/ViRC-7B", "LeonMiao/ViRC-7B")),
        ("judge", ("judge", "models/Qwen2.5-VL-72B-Instruct", "Qwen/Qwen2.5-VL-72B-Instruct")),
        ("CRUX", ("CRUX", "data/CRUX", CRUX.id)),
        ("LeonMiao/CRUX", (CRUX.id, "data/CRUX", CRUX.id)),
        ("datasets/a.b/c-d_e.F", ("a.b/c-d_e.F", "data/c-d_e.F", "a.b/c-d_e.F")),
        ("own/model", ("own/model", "models/model", "own/model")),
        ("data/own", ("data/own", "models/own", "data/own")),  # an account of that name
        ("tiny", ("tiny", "models/tiny", None)),
    ],
)
def test_what_a_name_stands_for(name: str, expected: tuple[str, str, str | None]) -> None:
    assert found(name) == [expected]


def test_a_hub_id_parses_no_system_that_does_not_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    load = systems.load
    monkeypatch.setattr(systems, "load", lambda path: (parsed.append(path.stem), load(path))[1])
    monkeypatch.setattr(systems, "discover", cache(systems._Systems))
    assert found("some/model") == [("some/model", "models/model", "some/model")]
    assert parsed == ["virc"]


AT = "github.com/o/n/blob/0123456789abcdef0123456789abcdef01234567"


def test_a_system_of_ones_own_names_its_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("""
name: mine
models: {ViRC-7B: {hub: me/ViRC-7B}, here: {folder: ./weights}}
judges: {critic: {hub: me/critic, gib: 2}}
datasets:
  pictures: {hub: me/pictures}
  lists: {github: me/lists, revision: 0123456789abcdef0123456789abcdef01234567, files: [a.json, b.json]}
stages:
  first: {kind: sft, settings: {base: me/base, data: pictures/rows, learning_rate: 1e-5}}
""")
    own = {"system": str(file)}
    assert found(**own) == [("base", "models/base", "me/base"), ("dataset", "data/pictures", "me/pictures")]
    assert found("ViRC-7B", **own) == [("ViRC-7B", "models/ViRC-7B", "me/ViRC-7B")]
    assert found("ViRC-7B") == [("ViRC-7B", "models/ViRC-7B", "LeonMiao/ViRC-7B")]
    (lists,) = resolve_requests(DownloadConfig(("lists",), **own))
    assert (lists.repo, lists.revision, lists.paths) == (
        Repo("me/lists", "dataset", "github"), AT[-40:], ("a.json", "b.json"),
    )  # fmt: skip
    assert found("critic", "pictures", **own) == [
        ("critic", "models/critic", "me/critic"),
        ("pictures", "data/pictures", "me/pictures"),
    ]
    monkeypatch.setenv("VIRC_PATH", str(tmp_path))
    assert found("critic") == [("critic", "models/critic", "me/critic")]
    assert found("me/pictures") == [("me/pictures", "data/pictures", "me/pictures")]


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
    files: tuple[str, ...], index: object, is_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("config.json", "model.safetensors")
    found = Listing(Repo("some/model"), "0" * 40, tuple(File(name, 2) for name in names))
    monkeypatch.setattr(fetch.data_files, "listed", lambda *_: found)
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for name in files:
        (folder / name).write_bytes(b"12")
    if index is not None:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    item = fetch.look(DownloadRequest("m", tmp_path / "to", found.repo, known_as="mine"), tmp_path)
    assert item.here == is_here
    assert item.folder == (folder if is_here else tmp_path / "to")
    assert item.missing == (0 if is_here else 2 * len(names))


SFT = ("ViRC_stage_1_InstrSFT_scale_{}", "ViRC_stage_2_PracSFT_scale_{}")
RL = ("ViRC_stage_3_StratRL_train_scale_{}.parquet", "ViRC_stage_3_StratRL_val_scale_{}.parquet")


@pytest.mark.parametrize(
    ("overlays", "scale", "rows", "base"),
    [
        ((), "dynamic", "50K", "Qwen/Qwen2.5-VL-7B-Instruct"),
        (("100k", "3b"), "dynamic", "100K", "Qwen/Qwen2.5-VL-3B-Instruct"),
        (("fixed",), "fixed", "50K", "Qwen/Qwen2-VL-7B-Instruct"),
        (("100k", "fixed"), "fixed", "100K", "Qwen/Qwen2-VL-7B-Instruct"),
        (("lora", "1x24g"), "dynamic", "50K", "Qwen/Qwen2.5-VL-7B-Instruct"),
    ],
)
def test_overlays_choose_what_the_paper_stages_need(
    overlays: tuple[str, ...], scale: str, rows: str, base: str
) -> None:
    names = (*(f"{name.format(scale)}_{rows}" for name in SFT), *(name.format(scale) for name in RL))
    virc = systems.get("virc")
    assert data_files(virc, iter(overlays)) == {"CRUX": names}
    assert bases(virc, overlays) == (base,)
