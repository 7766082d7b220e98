"""What words behind `virc download` stand for, and how much of it is there; without a command line."""

import socket
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import ConfigError
from virc.download.hub.repository import Repo
from virc.download.wanted import DownloadConfig, wanted

CRUX = Repo("LeonMiao/CRUX", "dataset")


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is wanted is found by reading the systems' files alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asks the network"))


def found(*names: str, **fields: Any) -> list[tuple[str, str, str | None]]:
    wants = wanted(DownloadConfig(names, **fields))
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
        ("mathvista", ("mathvista", "data/mathvista", "AI4Math/MathVista")),
        ("data/own", ("data/own", "models/own", "data/own")),  # an account of that name
        ("AI4Math/MathVista", ("mathvista", "data/mathvista", "AI4Math/MathVista")),
        ("tiny", ("tiny", "models/tiny", None)),
    ],
)
def test_what_a_name_stands_for(name: str, expected: tuple[str, str, str | None]) -> None:
    assert found(name) == [expected]


@pytest.mark.parametrize("name", ["data/CRUX", "", "a/b/c", "/etc/passwd", "./models/x", "../a", "a/.b", "a\n/b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="nothing to download is called"):
        found(name)


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
    (lists,) = wanted(DownloadConfig(("lists",), **own))
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
