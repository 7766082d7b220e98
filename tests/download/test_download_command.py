"""`virc download` as a user types it, against a hub that the real client speaks to."""

import gzip
import os
import pty
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import BASE, CONFIG, CRUX, MODEL, held, model, packed, serving, start
from hub_server import Hub, Repo, slow, wrong
from support import crux
from support.called import virc
from support.terminal import rest_of

from virc.download.hub import record
from virc.reasoning.protocol import FILE_NAME

VSTAR = {"test_questions.jsonl": b"{}\n", "relative/1.jpg": b"jpg"}
TAGGED = "v1"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return crux.publish(tmp_path_factory.mktemp("crux"))


@pytest.fixture
def server(published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repos = {
        BASE: model(),
        MODEL: Repo(model(seed=5), revisions={TAGGED: model(1 << 20, seed=9)}),
        f"datasets/{CRUX}": published,
        "datasets/craigwu/vstar_bench": VSTAR,
        "someone/closed": Repo(model(), gated=True),
    }
    with serving(monkeypatch, tmp_path, repos) as made:
        yield made


def names(folder: str = ".") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.mark.integration
def test_bare_brings_what_the_stages_lack_and_nothing_twice(server: Hub, published: dict[str, Path]) -> None:
    done = virc("download", "--yes")
    folder, data = Path("models/Qwen2.5-VL-7B-Instruct"), Path("data/CRUX")
    assert (done.code, done.out) == (0, f"{folder}\n{data}\n")
    assert held(folder) == model()
    there = held(data)
    rows = {name for name in there if not name.startswith(crux.IMAGES)}
    assert rows == {
        "dataset_info.json",
        "ViRC_stage_1_InstrSFT_scale_dynamic_50K.json",
        "ViRC_stage_2_PracSFT_scale_dynamic_50K.json",
        "ViRC_stage_3_StratRL_train_scale_dynamic.parquet",
        "ViRC_stage_3_StratRL_val_scale_dynamic.parquet",
    }
    assert all(there[name] == published[name].read_bytes() for name in rows)
    assert len(there) > len(rows), "the images are not unpacked"
    assert not list(folder.rglob("parts"))
    assert "on request: virc download judge" in done.err
    sent = server.sent()
    again = virc("download")  # nothing is missing, so nobody has to be asked
    assert (again.code, again.out) == (0, done.out)
    assert "nothing is missing" in again.err
    assert server.sent() - sent == len(there["dataset_info.json"])


@pytest.mark.integration
def test_nobody_to_ask_needs_yes_but_for_what_is_named(server: Hub) -> None:
    done = virc("download")
    assert (done.code, done.out, names()) == (2, "", [])
    assert "hint: --yes" in done.err
    assert virc("download", "ViRC-7B").code == 0
    assert held(Path("models/ViRC-7B")).keys() >= model().keys()


@pytest.mark.integration
def test_json_says_the_same_before_after_and_on_failure(server: Hub) -> None:
    before = virc("download", "ViRC-7B", "--dry-run", "--json").json
    (item,) = before["items"]
    size = sum(map(len, model(seed=5).values()))
    assert item == {
        "name": "ViRC-7B",
        "kind": "model",
        "repo": MODEL,
        "revision": None,
        "commit": server.commit(MODEL),
        "folder": str(Path("models/ViRC-7B").absolute()),
        "bytes": size,
        "missing": size,
        "state": "missing",
        "files": item["files"],
    }
    size = len(CONFIG)
    config = {"name": "config.json", "bytes": size, "missing": size, "state": "absent", "verified_by": "git"}
    assert item["files"][-1] == config
    after = virc("download", "ViRC-7B", "--json").json
    assert after["schema"] == before["schema"] == "virc.download/1"
    assert (after["items"][0]["state"], after["items"][0]["missing"]) == ("present", 0)
    assert after["items"][0]["commit"] == server.commit(MODEL)
    failed = virc("download", "someone/closed", "--json")
    assert failed.json.keys() == before.keys()
    assert (failed.code, failed.json["schema"], failed.json["items"][0]["state"]) == (3, "virc.download/1", "missing")
    unknown = virc("download", "nothing", "--json").json
    assert unknown.keys() == before.keys()


def test_a_model_comes_with_its_chat_protocol_and_the_line_that_makes_it_the_default(server: Hub) -> None:
    done = virc("download", "model")
    assert (done.code, done.out) == (0, "models/ViRC-7B\n")
    written, came, last = done.err.splitlines()[-3:]
    assert written == f"written: models/ViRC-7B/{FILE_NAME}, the chat protocol of the model"
    assert re.fullmatch(r"fetched and verified: 4\.719 MB in \d+ s(, [\d.]+ MB/s)?", came)
    assert last == "virc config set model ViRC-7B"
    again = virc("download", "model").err.splitlines()
    assert again[-2].startswith("nothing is missing")
    assert again[-1] == last
    assert (Path("models/ViRC-7B") / FILE_NAME).is_file()
    assert held(Path("models/ViRC-7B")).items() >= model(seed=5).items()


@pytest.mark.integration
def test_another_revision_replaces_what_was_fetched_and_keeps_the_rest(server: Hub) -> None:
    assert virc("download", MODEL, "--revision", TAGGED).code == 0
    folder = Path("models/ViRC-7B")
    assert held(folder).items() >= model(1 << 20, seed=9).items()
    (folder / "notes.txt").write_text("mine")
    sent = server.sent("*.json")
    done = virc("download", MODEL, "--json")
    assert (done.code, done.json["items"][0]["state"]) == (0, "present")
    assert held(folder).items() >= (model(seed=5) | {"notes.txt": b"mine"}).items()
    assert server.sent("config.json") == len(CONFIG), "a file that is the same came twice"
    assert server.sent("*.json") - sent < 10_000
    kept = record.read_record(folder)
    assert kept is not None
    assert (kept.commit, kept.lacking) == (server.commit(MODEL), ())


def test_wrong_bytes_of_an_archive_leave_nothing(server: Hub, published: dict[str, Path]) -> None:
    name, file = next((name, file) for name, file in published.items() if name.endswith(".lz4"))
    server.misbehave(wrong(file.stat().st_size // 2), name=name, times=None)
    done = virc("download", "dataset")
    assert done.code == 6
    assert not [path for path in held(Path("data/CRUX")) if path.startswith(crux.IMAGES)]
    assert not Path("data/CRUX/dataset_info.json").exists()


def test_an_archive_that_leaves_its_folder_is_refused(server: Hub) -> None:
    bad = packed({"good": b"good", "../../evil": b"evil"})
    server.add("datasets/someone/bad", {"a.tar.gz": gzip.compress(bad)})
    done = virc("download", "datasets/someone/bad")
    assert (done.code, "evil" in done.err) == (5, True)
    assert not list(Path().parent.rglob("evil"))
    server.add("datasets/someone/sly", {"a.tar": packed({".virc-download/record.json": b"{}"})})
    assert "virc itself uses that name" in virc("download", "datasets/someone/sly").err


def test_what_is_in_the_way_stays(server: Hub) -> None:
    folder = Path("models/ViRC-7B")
    folder.mkdir(parents=True)
    (folder / "README.md").write_bytes(b"mine")
    done = virc("download", MODEL)
    assert (done.code, held(folder)) == (5, {"README.md": b"mine"})
    assert done.err.splitlines()[-2:] == [
        f"error: something else is there: {folder}/README.md",
        "hint: move it away, or choose another folder with --to",
    ]
    (folder / "README.md").write_bytes(b"A model\n")  # the same size, another content
    done = virc("download", MODEL)
    assert (done.code, (folder / "README.md").read_bytes()) == (5, b"A model\n")


def test_too_little_disk_is_said_before_anything_is_fetched(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = (1 << 30) + (1 << 20)

    monkeypatch.setattr("shutil.disk_usage", lambda place: Usage)
    done = virc("download", MODEL)
    assert (done.code, names(), server.sent()) == (4, [], 0)
    assert "1.1 GB free" in done.err
    Usage.free = (1 << 30) + sum(map(len, model().values()))
    assert virc("download", MODEL).code == 0


@pytest.mark.integration
def test_a_second_download_into_the_folder_is_refused_while_the_first_runs(server: Hub) -> None:
    server.misbehave(slow(500_000), name="model-1.safetensors", times=None)
    first = start(MODEL)
    assert server.until(lambda: server.sent("model-1.safetensors") > 0)
    done = virc("download", MODEL, "--yes")
    assert (done.code, "another download into models/ViRC-7B is running" in done.err) == (3, True)
    assert virc("download", "rm", "ViRC-7B", "--yes").code == 3
    first.kill()
    first.communicate()
    server.behave()
    assert virc("download", MODEL, "--yes").code == 0


@pytest.mark.integration
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_a_terminal_is_asked_and_shows_one_line_that_is_rewritten(answer: str, code: int, server: Hub) -> None:
    server.misbehave(slow(600_000), name="model-1.safetensors", times=None)
    ours, theirs = pty.openpty()
    process = start(MODEL, stdin=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 1000)
    assert b"fetch 4.719 MB?" in shown
    os.write(ours, answer.encode() + b"\n")
    out, _ = process.communicate(timeout=240)
    shown = rest_of(ours)
    assert process.returncode == code
    assert out == (b"models/ViRC-7B\n" if code == 0 else b"")
    if code == 0:
        lines = re.findall(r"model-1.safetensors  \d\.\d of 4\.7 MB, \S+ [KM]?B/s, \d+ s left", shown)
        assert lines, shown
        seen = [line.rpartition("\r")[2] for line in shown.split("\r\n")]  # what is not written over
        assert [line.partition(" ")[0] for line in seen] == ["y", "written:", "fetched", "virc", ""]
    assert not Path("models").exists() or code == 0


def test_names_that_a_hostile_hub_lists_stay_in_the_folder(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("../evil", "/tmp/evil", "a/../../evil", ".virc-download/record.json", "a\\..\\evil"):
        server.add("someone/hostile", {"config.json": b"{}", name: b"evil"})
        done = virc("download", "someone/hostile")
        assert (done.code, "warning: refused " in done.err) == (0, True)
    assert held(Path("models")) == {"hostile/config.json": b"{}"}
    assert not any(path.name == "evil" for path in Path().rglob("*"))
    outside = Path("outside")
    outside.mkdir()
    Path("models/ViRC-7B").mkdir(parents=True)
    Path("models/ViRC-7B/more").symlink_to(outside.absolute())
    done = virc("download", MODEL)
    assert (done.code, list(outside.iterdir())) == (5, [])
    assert "needs a folder where a link or a file is" in done.err


def test_a_model_that_lost_a_file_or_changed_is_not_called_whole(server: Hub) -> None:
    assert virc("download", "ViRC-7B").code == 0
    readme = Path("models/ViRC-7B/README.md")
    was = readme.read_bytes()
    readme.unlink()
    assert virc("download", "ViRC-7B").code == 0
    assert readme.read_bytes() == was
    readme.write_bytes(was + b"mine")
    done = virc("download", "ViRC-7B")
    assert (done.code, "something else is there" in done.err) == (5, True)
    assert readme.read_bytes() == was + b"mine"
