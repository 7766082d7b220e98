"""`virc download ls` and `rm`: what was downloaded here, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import BASE, MODEL, model, serving, start
from hub_server import Hub, slow
from support import made
from support.called import virc

from virc.core import locks
from virc.core.errors import ConfigError
from virc.core.files import HIDDEN
from virc.download import workspace as downloaded
from virc.download.hub import record
from virc.download.hub.record import BUSY, DownloadRecord, Kept

ROWS = "datasets/someone/rows"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repos = {MODEL: model(), BASE: model(seed=3), ROWS: {"rows.jsonl": b"{}\n"}}
    with serving(monkeypatch, tmp_path, repos) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What downloads left: two models, of which one is partly there, and rows, from three repositories."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    whole, later, packed = Kept(9, "git:0", 1), Kept(7, "git:1"), Kept(5, "git:2", None, True)
    for folder, repo, kind, files in (
        ("models/b", "o/b", "model", {"a": whole}), ("models/a", "o/a", "model", {"x": whole, "y": later}),
        ("data/rows", "o/rows", "dataset", {"rows.json": whole, "i.tar": packed, "more.json": later}),
        ("models/.b.removed", "o/b", "model", {}), ("elsewhere", "o/far", "model", {"a": whole}),
    ):  # fmt: skip
        (tmp_path / folder / HIDDEN).mkdir(parents=True)
        (tmp_path / folder / "a").write_bytes(bytes(9))
        record.write(tmp_path / folder, DownloadRecord(repo, kind, "0" * 40, files))
    (tmp_path / "models" / "mine").mkdir()
    return tmp_path


def test_what_is_not_ours_alone_or_comes_just_now_is_not_removed(workspace: Path) -> None:
    found = downloaded.find("b", workspace)
    downloaded.check_removable(found)
    with locks.held(found.folder / HIDDEN / BUSY), pytest.raises(ConfigError, match="is running") as refused:
        downloaded.remove(found)
    assert (refused.value.hint, found.folder.exists()) == ("wait for it, or stop it", True)
    (workspace / "models" / "linked").symlink_to(workspace / "elsewhere")
    with pytest.raises(ConfigError, match=f"linked is a link to {re.escape(str(workspace))}/elsewhere"):
        downloaded.check_removable(downloaded.find("linked", workspace))
    record.write(found.folder, DownloadRecord("o/b", "model", "0" * 40, ours=False))
    with pytest.raises(ConfigError, match="models/b held files before virc download fetched some into it"):
        downloaded.check_removable(downloaded.find("b", workspace))
    made.make(workspace, "first", base=str(found.folder))
    made.make(workspace, "second", data=str(workspace / "data" / "rows" / "rows.json"))
    assert [[*downloaded.used_by(each, workspace)] for each in downloaded.discover(workspace)[1:3]] == [["first"], []]
    assert [*downloaded.used_by(downloaded.find("rows", workspace), workspace)] == ["second"]
    (workspace / "data" / ".x.removed").mkdir()
    downloaded.sweep(workspace)
    downloaded.remove(found)
    assert {path.name for place in ("models", "data") for path in (workspace / place).iterdir()} == {
        "a", "linked", "mine", "rows",
    }  # fmt: skip


def there() -> set[str]:
    return {path.as_posix() for place in ("models", "data") for path in Path(place).glob("*")}


@pytest.mark.integration
def test_whole_and_partial_ones_are_listed_and_others_are_not(server: Hub) -> None:
    assert virc("download", MODEL, ROWS).code == 0
    Path("models/mine").mkdir()
    Path("models/mine/config.json").touch()
    server.misbehave(slow(300_000), name="model-1.safetensors", times=None)
    process = start(BASE)
    assert server.until(lambda: server.sent("model-1.safetensors") > len(model()["model-1.safetensors"]) + 100_000)
    process.kill()
    process.communicate()
    done = virc("download", "ls")
    head, *lines = [line.split("  ") for line in done.out.splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    assert head[0].strip() == "folder"
    commits = {name: server.commit(name)[:7] for name in (BASE, MODEL, ROWS)}
    assert [line[:3] for line in cells] == [
        ["models/Qwen2.5-VL-7B-Instruct", "model", "partly"],
        ["models/ViRC-7B", "model", "present"],
        ["data/rows", "dataset", "present"],
    ]
    assert cells[0][3].endswith(" of 4.7 MB")
    assert [line[4:] for line in cells] == [
        [commits[BASE], BASE],
        [commits[MODEL], MODEL],
        [commits[ROWS], "someone/rows"],
    ]
    partial, whole, _ = virc("download", "ls", "--json").json["downloads"]
    assert (partial["state"], "config.json" in partial["lacking"]) == ("partly", True)
    assert (whole["state"], whole["lacking"], whole["commit"]) == ("present", [], server.commit(MODEL))


@pytest.mark.integration
def test_what_is_named_goes_whole_or_partial_and_the_rest_stays(server: Hub) -> None:
    assert virc("download", MODEL, ROWS, BASE).code == 0
    for name, left in (
        ("ViRC-7B", {"models/Qwen2.5-VL-7B-Instruct", "data/rows"}),
        ("data/rows", {"models/Qwen2.5-VL-7B-Instruct"}),
        (BASE, set()),
    ):
        done = virc("download", "rm", name, "--yes")
        assert (done.code, there(), "removed " in done.err) == (0, left, True)
    assert virc("download", ROWS).code == 0
    done = virc("download", "rm", "rows")
    assert (done.code, "no terminal to ask on" in done.err, there()) == (2, True, {"data/rows"})
    made.make(Path(), "run", data=str(Path("data/rows/rows.jsonl").absolute()))
    done = virc("download", "rm", "rows")
    assert (done.code, "run started from rows" in done.err, there()) == (3, True, {"data/rows"})
    done = virc("download", "rm", "rows", "rows", "--yes", "--json")
    assert (done.json["removed"], done.json["error"]) == ([str(Path("data/rows").absolute())], None)
    assert virc("download", "rm", "rows", "--json").json["error"]["code"] == 3


def test_links_in_it_are_not_followed(server: Hub, tmp_path: Path) -> None:
    assert virc("download", ROWS).code == 0
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    Path("data/rows/link").symlink_to(tmp_path / "precious")
    assert virc("download", "rm", "rows", "--yes").code == 0
    assert (tmp_path / "precious" / "file").exists()


@pytest.mark.integration
def test_a_removal_that_is_killed_leaves_no_half_model(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert virc("download", MODEL, ROWS).code == 0
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert virc("download", "rm", "ViRC-7B", "--yes").code == 130
    assert there() == {"models/.ViRC-7B.removed", "data/rows"}
    assert [each["name"] for each in virc("download", "ls", "--json").json["downloads"]] == ["rows"]
    assert virc("download", MODEL).code == 0
    assert virc("download", "rm", "rows", "--yes").code == 0
    assert there() == {"models/ViRC-7B"}
    assert not (Path("models/ViRC-7B") / HIDDEN / "parts").exists()
