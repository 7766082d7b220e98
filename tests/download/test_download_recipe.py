"""What words behind `virc download` stand for, and how much of it is there; without a command line."""

import socket
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import ConfigError, UsageError
from virc.download.fetch import Item
from virc.download.hub.repository import Repo
from virc.download.wanted import DownloadConfig, wanted
from virc.systems import texts

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
        ("judge-3b", ("judge-3b", "models/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct")),
        ("ViRC-3B", ("ViRC-3B", "models/ViRC-3B", "LeonMiao/ViRC-3B")),
        ("CRUX", ("CRUX", "data/CRUX", CRUX.id)),
        ("LeonMiao/CRUX", (CRUX.id, "data/CRUX", CRUX.id)),
        ("datasets/LeonMiao/CRUX", (CRUX.id, "data/CRUX", CRUX.id)),
        ("datasets/a.b/c-d_e.F", ("a.b/c-d_e.F", "data/c-d_e.F", "a.b/c-d_e.F")),
        ("LeonMiao/ViRC-3B", ("LeonMiao/ViRC-3B", "models/ViRC-3B", "LeonMiao/ViRC-3B")),
        ("own/model", ("own/model", "models/model", "own/model")),
        ("mathvista", ("mathvista", "data/mathvista", "AI4Math/MathVista")),
        ("MathVista", ("mathvista", "data/mathvista", "AI4Math/MathVista")),
        ("data/own", ("data/own", "models/own", "data/own")),  # an account of that name
        ("AI4Math/MathVista", ("mathvista", "data/mathvista", "AI4Math/MathVista")),
        ("tiny", ("tiny", "models/tiny", None)),
    ],
)
def test_what_a_name_stands_for(name: str, expected: tuple[str, str, str | None]) -> None:
    assert found(name) == [expected]


@pytest.mark.parametrize(
    "name",
    [
        "data/CRUX",
        "data/ls",
        "models/own",
        "",
        " ",
        "a b",
        "a/b/c",
        "/etc/passwd",
        "./models/x",
        "a/..",
        "../a",
        "a/.b",
        "datasets/CRUX/",
        "a\n/b",
    ],
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="nothing to download is called"):
        found(name)


AT = "github.com/o/n/blob/0123456789abcdef0123456789abcdef01234567"


def test_texts_come_from_each_of_their_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(texts.OWN_WORDS, "")
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))
    proof, sources = f"length: 1, sha256: '{'0' * 64}', own: x", ("o/n", "hf:o/m", "hf:datasets/o/d")
    (folder := tmp_path / "looker").mkdir()
    lines = "".join(f"  t{at}: {{file: f{at}.txt, source: '{each}', {proof}}}\n" for at, each in enumerate(sources))
    commits = "".join(f"  '{each}': {{commit: '{str(at) * 40}', license: MIT}}\n" for at, each in enumerate(sources))
    (folder / "texts.yaml").write_text(f"sources:\n{commits}texts:\n{lines}")
    (folder / "system.yaml").write_text("name: looker\nmodels: {small: {hub: o/small}, other: {hub: o/other}}\n")
    named = {"system": str(folder / "system.yaml")}
    found = wanted(DownloadConfig(("texts",), **named))
    assert [(each.repo, each.revision, each.include, each.paths) for each in found] == [
        (Repo("o/n", "dataset", "github"), "0" * 40, (), ("f0.txt",)),
        (Repo("o/m", "model"), "1" * 40, ("f1.txt",), ()),
        (Repo("o/d", "dataset"), "2" * 40, ("f2.txt",), ()),
    ]
    assert [each.name for each in wanted(DownloadConfig(("small", "other"), **named))] == ["texts"] * 3 + [
        "small",
        "other",
    ]
    assert [each.name for each in wanted(DownloadConfig(("small",), to=Path("x"), **named))] == ["texts"] * 3 + [
        "small"
    ]
    assert [each.name for each in wanted(DownloadConfig((), **named))] == ["texts"] * 3
    assert [each.name for each in wanted(DownloadConfig(("texts", "small"), **named))] == ["texts"] * 3 + ["small"]
    assert [each.name for each in wanted(DownloadConfig(("CRUX",), **named))] == ["CRUX"]
    monkeypatch.setenv(texts.OWN_WORDS, "1")
    assert [each.name for each in wanted(DownloadConfig(("small",), **named))] == ["small"]
    (folder / "texts.yaml").write_text(f"sources:\n{commits.splitlines()[0]}\ntexts:\n{lines.splitlines()[0]}\n")
    with pytest.raises(UsageError, match="texts come into the cache"):
        wanted(DownloadConfig(("texts",), to=Path("x"), **named))


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


OTHER_BASE = "stages: {first: {kind: sft, settings: {base: me/base, data: CRUX/rows, learning_rate: 1e-5}}}"


@pytest.mark.parametrize(
    ("name", "known_as"),
    [("ViRC-7B", "ViRC-7B"), ("judge", "judge"), ("base", "me/base"), ("someone/other", None), ("CRUX", None),
     ("LeonMiao/ViRC-7B", None)],
)  # fmt: skip
def test_a_model_that_lies_elsewhere_need_not_come_unless_a_part_of_it_is_named(
    name: str, known_as: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    judges = "judges: {judge: {hub: me/judge}}\ndatasets: {CRUX: {hub: me/CRUX}}"
    file.write_text(f"name: mine\nmodels: {{ViRC-7B: {{hub: me/ViRC-7B}}}}\n{judges}\n{OTHER_BASE}\n")

    def known(**fields: Any) -> str | None:
        (want,) = wanted(DownloadConfig((name,), str(file), **fields))
        return want.known_as

    assert known() == known_as
    for fields in ({}, {"include": ("*.json",)}):  # whether it is a model to ask, and all of it
        (want,) = wanted(DownloadConfig((name,), str(file), **fields))
        assert Item(want, want.folder, 0).is_model is (name.endswith("ViRC-7B") and not fields)
    assert [known(include=("*.json",)), known(revision="v1"), known(to=Path("x"))] == [None] * 3
