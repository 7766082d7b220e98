"""What words behind `virc download` stand for, and how much of it is there; without a command line."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import ConfigError, SetupError, UsageError, VircError
from virc.download.fetch import Item, Part, check_room
from virc.download.hub.folder import State
from virc.download.hub.repository import File, Listing, Repo
from virc.download.wanted import DownloadConfig, DownloadRequest, wanted
from virc.systems import texts

CRUX = Repo("LeonMiao/CRUX", "dataset")
QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is wanted is found by reading the systems' files alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asks the network"))


def found(*names: str, **fields: Any) -> list[tuple[str, str, str | None]]:
    wants = wanted(DownloadConfig(names, **fields))
    return [(want.name, want.folder.as_posix(), want.repo.id if want.repo else None) for want in wants]


def test_bare_is_what_the_stages_need_and_tells_of_the_judge() -> None:
    base, data, judge = wanted(DownloadConfig())
    assert (base.name, base.folder, base.repo) == ("base", Path("models/Qwen2.5-VL-7B-Instruct"), Repo(QWEN))
    assert (data.name, data.folder, data.repo) == ("dataset", Path("data/CRUX"), CRUX)
    assert data.rows[0] == "ViRC_stage_1_InstrSFT_scale_dynamic_50K"
    assert (judge.name, judge.optional, judge.gib) == ("judge", True, 136.8)


def test_overlays_choose_others() -> None:
    base, data, _ = wanted(DownloadConfig(overlays=("3b", "100k")))
    assert base.folder == Path("models/Qwen2.5-VL-3B-Instruct")
    assert data.rows[:2] == ("ViRC_stage_1_InstrSFT_scale_dynamic_100K", "ViRC_stage_2_PracSFT_scale_dynamic_100K")
    assert wanted(DownloadConfig(overlays=("fixed",)))[0].repo == Repo("Qwen/Qwen2-VL-7B-Instruct")


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


def test_a_whole_dataset_or_what_stages_need_of_it() -> None:
    (needed,) = wanted(DownloadConfig(("dataset",)))
    (whole,) = wanted(DownloadConfig(("CRUX",)))
    assert (bool(needed.rows), whole.rows) == (True, ())
    assert wanted(DownloadConfig(("dataset", "CRUX")))[0].rows == ()
    assert wanted(DownloadConfig(("CRUX", "dataset")))[0].rows == ()


def test_several_names_in_their_order_each_folder_once() -> None:
    assert [folder for _, folder, _ in found("ViRC-3B", "judge-7b", "base", "ViRC-3B", "eval", "vstar")] == [
        "models/ViRC-3B",
        "models/Qwen2.5-VL-7B-Instruct",
        "data/vstar",
    ]


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


def test_two_repositories_for_one_folder_are_refused() -> None:
    with pytest.raises(UsageError, match="would both come into"):
        found("ViRC-7B", "someone/ViRC-7B")
    with pytest.raises(UsageError, match="--to is the folder"):
        found("base", "dataset", to=Path("x"))
    assert found("someone/ViRC-7B", to=Path("x")) == [("someone/ViRC-7B", "x", "someone/ViRC-7B")]


AT = "github.com/o/n/blob/0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("names", "fields", "says", "hint"),
    [
        (("eval",), {}, "eval is followed by benchmarks", "virc download eval blink"),
        (("CRUX", "eval"), {}, "eval is followed by benchmarks", "virc download eval blink"),
        (("eval", "vsta"), {}, "there is no benchmark vsta", "did you mean 'vstar'?"),
        (("diagrams",), {}, "the problems of diagrams are made here, not downloaded", "virc eval diagrams"),
        ((), {"to": Path("x")}, "--to is the folder for one thing", "name what shall come into it"),
        (
            (),
            {"to": Path("x"), "system": "one.yaml"},
            "--to is the folder for one thing",
            "name what shall come into it",
        ),
        (("vsta",), {}, "nothing to download is called 'vsta'", "did you mean 'vstar'?"),
        (("dataset",), {"system": "tiny"}, "its stages need no dataset of the hub", "virc systems ls"),
        (("judge",), {"system": "tiny"}, "it has no judges", "virc systems ls"),
        (("texts",), {"system": "tiny"}, "its texts are in this package", "virc systems ls"),
        (("model",), {"system": "bare.yaml"}, "it has no models", "virc systems ls"),
        (("base",), {"system": "bare.yaml"}, "its stages begin with no model of the hub", "virc systems ls"),
        (("CRUX", "vstar"), {"revision": "v1"}, "--revision is of one repository", "name the one that is meant"),
        ((f"{AT}/a.json",), {"revision": "v1"}, "an address of GitHub names its commit or tag", None),
        ((f"{AT}/a.json", f"{AT[:-1]}0/b.json"), {}, "a.json and b.json would both come into data/n", "with --to"),
        (("ViRC-7B", "someone/ViRC-7B"), {}, "ViRC-7B and someone/ViRC-7B would both come into", "with --to"),
    ],
)
def test_what_cannot_be_meant_is_said(names: tuple[str, ...], fields: Any, says: str, hint: str | None) -> None:
    settings = "data: CRUX, learning_rate: 1e-5"
    stages = ", ".join(
        f"{name}: {{kind: sft, settings: {{base: {base}, {settings}}}}}"
        for name, base in (("one", "models/mine"), ("two", "runs/mine"))
    )
    Path("bare.yaml").write_text(f"name: bare\nstages: {{{stages}}}\n")
    Path("one.yaml").write_text(f"name: one\nstages: {{a: {{kind: sft, settings: {{base: me/base, {settings}}}}}}}\n")
    with pytest.raises(VircError, match=re.escape(says)) as refused:
        found(*names, **fields)
    assert (refused.value.hint is None) == (hint is None)
    assert (hint or "") in (refused.value.hint or "")


def test_things_come_into_their_workspace_or_where_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert found("CRUX", workspace=Path("w")) == [("CRUX", "w/data/CRUX", CRUX.id)]
    assert found("CRUX", to=Path("~/x")) == [("CRUX", "/home/somebody/x", CRUX.id)]
    (want,) = wanted(DownloadConfig(("CRUX",), revision="v1", include=("*.json",)))
    assert (want.revision, want.include) == ("v1", ("*.json",))
    (model,) = wanted(DownloadConfig(("ViRC-7B",), "tiny", revision="v1", include=("*.json",)))
    assert (model.revision, model.include, model.judge) == ("v1", ("*.json",), False)
    assert model.system
    assert (model.system.name, model.model) == ("virc", model.system.models["ViRC-7B"])
    raw, release = AT.replace("github.com", "https://raw.githubusercontent.com").replace("blob/", ""), "v%201/a%2B.zip"
    for address in (f"{AT}/a%20b/c.json", f"{raw}/a%20b/c.json"):
        (file,) = wanted(DownloadConfig((address,)))
        assert (file.revision, file.paths, file.repo) == (AT[-40:], ("a b/c.json",), Repo("o/n", "dataset", "github"))
    (file,) = wanted(DownloadConfig((f"github.com/o/n/releases/download/{release}",)))
    assert (file.name, file.revision, file.paths) == ("a+.zip", "v 1", ("a+.zip",))
    assert file.repo == Repo("o/n", "dataset", "release")
    page = "https://huggingface.co/own/model/tree/main?not-for-all=1#top"
    assert found(page) == found(page.partition("?")[0]) == found("hf.co/own/model/#top") == found("own/model")
    both = wanted(DownloadConfig((f"{AT}/a.json", f"{AT}/b.json", f"{AT}/a.json")))
    assert [each.paths for each in both] == [("a.json", "b.json")]


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


def item(tmp_path: Path, sizes: dict[str, tuple[int, State, int]], folder: str = "data/x") -> Item:
    parts = tuple(Part(File(name, size), state, kept) for name, (size, state, kept) in sizes.items())
    listing = Listing(CRUX, "1" * 40, tuple(part.file for part in parts))
    want = DownloadRequest("x", tmp_path / folder, CRUX)
    return Item(want, want.folder, 0, listing=listing, parts=parts)


def test_the_state_of_a_thing_is_that_of_its_files(tmp_path: Path) -> None:
    def state(**sizes: tuple[int, State, int]) -> tuple[str, int]:
        made = item(tmp_path, sizes)
        return made.state, made.missing

    assert state(a=(10, "absent", 0), b=(5, "absent", 0)) == ("missing", 15)
    assert state(a=(10, "absent", 4), b=(5, "absent", 0)) == ("partly", 11)
    assert state(a=(10, "whole", 0), b=(5, "old", 0)) == ("partly", 5)
    assert state(a=(10, "whole", 0), b=(5, "absent", 0)) == ("partly", 5)
    assert state(a=(10, "whole", 0), b=(5, "unsure", 0)) == ("partly", 0)
    assert state(a=(10, "whole", 0), b=(5, "packed", 0)) == ("partly", 0)
    assert state(a=(10, "whole", 0)) == ("present", 0)


def test_room_is_for_what_comes_and_for_what_archives_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 1 << 30

    class Usage:
        free = 0

    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage)

    def enough(*items: Item, stream: bool = False) -> int:
        """The fewest GiB with which they would come."""
        for free in range(40):
            Usage.free = free * gib
            try:
                check_room(items, stream)
            except SetupError:
                continue
            return free
        raise AssertionError

    archive = item(tmp_path, {"a.tar.lz4": (5 * gib, "absent", 0), "rows.json": (2 * gib, "absent", 0)})
    assert enough(archive) == 5 + 5 + 2 + 1
    assert enough(archive, stream=True) == 5 + 2 + 1
    assert enough(item(tmp_path, {"a.tar.lz4": (5 * gib, "absent", 3 * gib)})) == 2 + 5 + 1
    assert enough(item(tmp_path, {"a.tar.lz4": (5 * gib, "packed", 0)})) == 5 + 1
    assert enough(item(tmp_path, {"a.tar.lz4": (5 * gib, "whole", 0)})) == 0
    assert enough(archive, item(tmp_path, {"b": (3 * gib, "absent", 0)}, "models/y")) == 16


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
