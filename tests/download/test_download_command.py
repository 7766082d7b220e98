"""`virc download` as a user types it, against a hub that the real client speaks to."""

import gzip
import json
import os
import pty
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from downloads import BASE, CONFIG, CRUX, MODEL, bound_by_permissions, held, model, packed, serving, start, weights
from hub_server import Hub, Repo, drop, slow, status, wrong
from support import crux
from support.called import virc
from support.terminal import rest_of

from virc.backends import checkpoint
from virc.core.files import HIDDEN
from virc.download.benchmarks import HUB_IDS
from virc.download.hub import fetching, ranged, record
from virc.reasoning.protocol import FILE_NAME

VSTAR = {"test_questions.jsonl": b"{}\n", "relative/1.jpg": b"jpg"}
TAGGED = "v1"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return crux.publish(tmp_path_factory.mktemp("crux"))


@pytest.fixture
def server(published: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(fetching, "LARGE", 1 << 20)
    monkeypatch.setattr(ranged, "PART", 1 << 18)
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
def test_what_came_trains_and_is_read(server: Hub) -> None:
    assert virc("download", "dataset").code == 0
    checked = virc("data", "check", "data/CRUX", "--json")
    assert (checked.code, checked.json["error"]) == (0, None)


@pytest.mark.integration
def test_nobody_to_ask_needs_yes_but_for_what_is_named(server: Hub) -> None:
    done = virc("download")
    assert (done.code, done.out, names()) == (2, "", [])
    assert "hint: --yes" in done.err
    assert virc("download", "ViRC-7B").code == 0
    assert held(Path("models/ViRC-7B")).keys() >= model().keys()


def test_the_embedded_system_lacks_nothing(server: Hub) -> None:
    done = virc("download", "--system", "tiny")
    assert (done.code, "nothing is missing" in done.err, server.requests) == (0, True, [])


@pytest.mark.parametrize("words", [("--dry-run",), ()])
def test_a_model_that_does_not_run_here_is_named_before_it_is_fetched(server: Hub, words: tuple[str, ...]) -> None:
    other = {**model(), "config.json": b'{"model_type": "internvl_chat"}'}
    server.put("someone/Other-8B", other)
    done = virc("download", "someone/Other-8B", *words)
    assert done.code == 0, done.err
    first, hint = done.err.splitlines()[:2]
    assert first.startswith(
        "warning: someone/Other-8B is a model of type 'internvl_chat', which does not run in this process: "
    )
    assert all(kind in first for kind in checkpoint.FAMILIES)
    assert "virc serve models/Other-8B" in hint
    assert "--endpoint URL" in hint
    assert Path("models/Other-8B").exists() is not bool(words)
    fetched = [request.path.rpartition("/")[2] for request in server.asked() if "/resolve/" in request.path]
    assert fetched[0] == "config.json"
    assert words or held(Path("models/Other-8B")) == other
    assert "does not run" not in virc("download", "someone/Other-8B").err or words  # it is there


@pytest.mark.parametrize("config", [CONFIG, b"{", b"{}", b'{"model_type": null}'])
def test_a_model_that_runs_here_or_says_nothing_is_fetched_without_a_word(server: Hub, config: bytes) -> None:
    server.put("someone/Other-8B", {**model(), "config.json": config})
    done = virc("download", "someone/Other-8B", "--dry-run")
    assert (done.code, done.err) == (0, "")


def test_a_judge_is_served_by_another_process_anyway(server: Hub) -> None:
    server.put("Qwen/Qwen2.5-7B-Instruct", {**model(), "config.json": b'{"model_type": "qwen2"}'})
    done = virc("download", "judge-7b", "--dry-run")
    assert (done.code, done.err) == (0, "")


def test_a_dry_run_prints_the_table_and_fetches_nothing(server: Hub) -> None:
    done = virc("download", "base", "vstar", "--dry-run")
    assert (done.code, done.err, names()) == (0, "", [])
    head, base, vstar, below = done.out.splitlines()
    assert head.split() == ["what", "size", "missing", "state", "folder", "from"]
    assert base.split()[:4] == ["base", "4.719", "MB", "4.719"]
    assert "data/vstar" in vstar
    assert re.fullmatch(r"4\.719 MB to fetch; [\d.]+ [GTK]B are free there", below)
    assert server.sent() == 0


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


def test_a_model_whose_rows_are_away_comes_with_a_warning(server: Hub) -> None:
    server.misbehave(status(404), on="api", name=f"datasets/{CRUX}", times=None)
    done = virc("download", "model")
    assert (done.code, "warning: no chat protocol for ViRC-7B" in done.err) == (0, True)
    assert held(Path("models/ViRC-7B")) == model(seed=5)


def test_a_benchmark_comes_into_the_folder_that_eval_reads(server: Hub) -> None:
    for words in (["eval", "vstar"], ["vstar"], ["craigwu/vstar_bench"], ["datasets/craigwu/vstar_bench"]):
        done = virc("download", *words)
        assert (done.code, done.out, held(Path("data/vstar"))) == (0, "data/vstar\n", VSTAR)


def test_to_another_folder(server: Hub, tmp_path: Path) -> None:
    done = virc("download", MODEL, "--to", tmp_path / "far" / "away")
    assert (done.code, done.out) == (0, f"{tmp_path}/far/away\n")
    assert held(tmp_path / "far" / "away").items() >= model(seed=5).items()
    assert names() == []


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
    kept = record.read(folder)
    assert kept is not None
    assert (kept.commit, kept.lacking) == (server.commit(MODEL), ())


def test_include_takes_some_files(server: Hub) -> None:
    done = virc("download", MODEL, "--include", "*.json", "--include", "more/")
    assert done.code == 0
    wanted = {"config.json", "model.safetensors.index.json", "more/model-2.safetensors"}
    assert held(Path("models/ViRC-7B")).keys() == wanted


def test_an_include_that_matches_nothing_names_the_nearest(server: Hub) -> None:
    done = virc("download", MODEL, "--include", "confg*.json")
    assert (done.code, names()) == (5, [])
    assert "matches confg*.json" in done.err
    assert "config.json" in done.err.splitlines()[-1]


def test_keep_leaves_the_archive_also_in_a_later_run(server: Hub, published: dict[str, Path]) -> None:
    archive = next(name for name in published if name.endswith(".lz4"))
    for words in (["--keep"], []):
        assert virc("download", "dataset", *words).code == 0
        assert (Path("data/CRUX") / archive).read_bytes() == published[archive].read_bytes()


def test_a_stream_leaves_the_same_as_a_download(server: Hub, tmp_path: Path) -> None:
    server.misbehave(drop(100_000), name="*.lz4", times=3)
    assert virc("download", "dataset", "--to", tmp_path / "plain").code == 0
    done = virc("download", "dataset", "--stream")
    assert (done.code, held(Path("data/CRUX"))) == (0, held(tmp_path / "plain"))
    assert names("data/CRUX/.virc-download") == ["record.json"]
    sent = server.sent("*.lz4")
    assert virc("download", "dataset", "--stream").code == 0
    assert server.sent("*.lz4") == sent


def test_a_stream_with_wrong_bytes_leaves_nothing(server: Hub, published: dict[str, Path]) -> None:
    name, file = next((name, file) for name, file in published.items() if name.endswith(".lz4"))
    server.misbehave(wrong(file.stat().st_size // 2), name=name, times=None)
    done = virc("download", "dataset", "--stream")
    assert done.code == 6
    assert not [path for path in held(Path("data/CRUX")) if path.startswith(crux.IMAGES)]
    assert not Path("data/CRUX/dataset_info.json").exists()


def test_an_archive_that_leaves_its_folder_is_refused(server: Hub) -> None:
    for words in ([], ["--stream"]):
        bad = packed({"good": b"good", "../../evil": b"evil"})
        server.add("datasets/someone/bad", {"a.tar.gz": gzip.compress(bad)})
        done = virc("download", "datasets/someone/bad", *words)
        assert (done.code, "evil" in done.err) == (5, True)
    assert not list(Path().parent.rglob("evil"))
    server.add("datasets/someone/sly", {"a.tar": packed({".virc-download/record.json": b"{}"})})
    assert "virc itself uses that name" in virc("download", "datasets/someone/sly").err


@pytest.mark.parametrize("words", [[], ["--stream"]])
@pytest.mark.parametrize("content", [b"\x1f\x8bno gzip at all", b"no archive"])
def test_an_archive_that_was_published_damaged_need_not_come_again(
    content: bytes, words: list[str], server: Hub
) -> None:
    server.add("datasets/someone/bad", {"a.tar.gz": content, "rows.json": b"[]"})
    done = virc("download", "datasets/someone/bad", *words)
    assert done.code == 5
    assert done.err.endswith("\nhint: it is as the hub lists it: tell its owner; --keep-packed leaves it packed\n")
    assert virc("download", "datasets/someone/bad", "--include", "*.json").code == 0


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


def test_what_is_there_already_is_adopted(server: Hub) -> None:
    folder = Path("models/ViRC-7B")
    for name, content in model(seed=5).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "more/model-2.safetensors").unlink()
    assert virc("download", "ViRC-7B").code == 0, "a model that lacks a shard is not whole"
    assert server.sent("*.safetensors") == len(model(seed=5)["more/model-2.safetensors"])
    assert server.sent("config.json") == 0


def test_a_model_that_is_whole_elsewhere_is_not_fetched(server: Hub, tmp_path: Path) -> None:
    folder = Path("models/Qwen2.5-VL-7B-Instruct")
    for name, content in model().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = virc("download", "base")
    assert (done.code, done.out, server.requests) == (0, f"{folder}\n", [])


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nosuch"], 3, "nothing to download is called 'nosuch'"),
        (["ViRC-7b"], 3, "did you mean 'ViRC-7B'?"),
        (["datset"], 3, "did you mean 'dataset'?"),
        (["eval"], 2, "eval is followed by benchmarks"),
        (["eval", "vsta"], 3, "did you mean 'vstar'?"),
        (["diagrams"], 3, "are made here"),
        (["../evil"], 3, "nothing to download is called"),
        (["a/.."], 3, "nothing to download is called"),
        (["judge", "--system", "tiny"], 3, "it has no judges"),
        (["dataset", "--system", "tiny"], 3, "no dataset"),
        (["dataset", "--with", "nosuch"], 2, "no overlay"),
        (["dataset", "base", "--to", "x"], 2, "--to is the folder for one thing"),
        (["--to", "x"], 2, "--to is the folder for one thing"),
        (["--revision", "v1"], 2, "--revision is of one repository"),
        (["dataset", "--stream", "--keep"], 2, "exclude one another"),
        (["someone/absent"], 3, "someone/absent"),
        (["someone/closed"], 3, "gated"),
        ([MODEL, "--revision", "v9"], 3, "v9"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(words: list[str], code: int, said: str, server: Hub) -> None:
    done = virc("download", *words)
    assert (done.code, said in done.err, done.out) == (code, True, "")
    assert "Traceback" not in done.err
    assert done.err.count("error: ") == 1
    assert not Path("models").exists() or words[0] == "someone/closed"


def test_offline_says_so(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = virc("download", MODEL)
    assert (done.code, "HF_HUB_OFFLINE" in done.err) == (6, True)


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


def test_without_a_terminal_each_finished_file_is_a_line(server: Hub) -> None:
    lines = virc("download", "dataset").err.splitlines()
    assert "unpacked ViRC_images.tar.lz4" in "\n".join(lines)
    assert lines[-2].startswith("fetched dataset_info.json, ")
    assert lines[-1].startswith("fetched and verified: ")


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


@pytest.mark.integration
def test_ctrl_c_at_the_question_is_said_on_a_line_of_its_own(server: Hub) -> None:
    ours, theirs = pty.openpty()
    process = start(MODEL, stdin=theirs, stderr=theirs)
    os.close(theirs)
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(ours, 1000)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    shown = asked.decode() + rest_of(ours)
    assert (process.returncode, names()) == (130, [])
    assert re.search(r"\[y/N\] \r\n\S*error:", shown)


def test_the_shell_completes_names(
    server: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from virc_cli.main import main

    def completed(line: str) -> set[str]:
        words = line.split(" ")
        monkeypatch.setenv("_VIRC_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit):
            main([])
        return set(capsys.readouterr().out.split())

    assert completed("virc download ") >= {
        *("dataset", "base", "model", "judge", "eval", "ls", "rm", "ViRC-3B", "judge-7b", "CRUX", "vstar")
    }
    assert completed("virc download ViRC-Q") == {"ViRC-Qwen2VL-7B", "ViRC-Qwen2VL-2B"}
    assert completed("virc download base ") >= {"dataset", "CRUX"}
    assert not completed("virc download base ") & {"base", "ls", "rm"}
    assert completed("virc download eval m") == {name for name, hub in HUB_IDS.items() if hub and name[0] == "m"}
    assert completed("virc download --dry") == {"--dry-run"}
    folder = Path("models/own")
    (folder / HIDDEN).mkdir(parents=True)
    record.write(folder, record.Record("a/own", "model", "0" * 40))
    assert completed("virc download rm o") == {"own"}


def test_help_says_what_may_be_named(server: Hub) -> None:
    told = virc("download", "--help").out
    assert told.startswith("Usage: virc download [OPTIONS] [NAME]...\n")
    assert "\n  eval      the benchmarks that follow it\n" in told
    assert "\n  virc download rm NAME " in told
    assert max(map(len, told.splitlines())) <= 80


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


def test_a_missing_list_of_datasets_is_no_hindrance(server: Hub) -> None:
    server.add("datasets/someone/plain", {"rows.jsonl": b"{}\n", "deep/images.tar": packed({"1.png": weights(10)})})
    done = virc("download", "datasets/someone/plain")
    assert (done.code, done.out) == (0, "data/plain\n")
    assert held(Path("data/plain")).keys() == {"rows.jsonl", "deep/1.png"}
    assert json.loads(Path("data/plain/.virc-download/record.json").read_text())["repo"] == "someone/plain"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "called"),
    [
        ((MODEL,), "ViRC-7B"),
        ((f"https://huggingface.co/{MODEL}",), "ViRC-7B"),
        (("ViRC-7B", "--revision", TAGGED), "ViRC-7B"),
        (("ViRC-7B", "--to", "my models/ä"), "'{here}/my models/ä'"),
    ],
)
def test_a_model_ends_with_how_to_make_it_the_default_however_it_was_named(
    words: tuple[str, ...], called: str, server: Hub
) -> None:
    done = virc("download", *words)
    assert done.code == 0
    assert done.err.splitlines()[-1] == f"virc config set model {called.format(here=Path.cwd())}"


@pytest.mark.integration
@pytest.mark.parametrize("words", [("base",), ("ViRC-7B", "--include", "*.md"), ("vstar",), (BASE,)])
def test_what_is_no_model_to_ask_names_no_default(words: tuple[str, ...], server: Hub) -> None:
    done = virc("download", *words)
    assert (done.code, "config set" in done.err) == (0, False)


@pytest.mark.parametrize(
    "page", [MODEL + "/", f"https://huggingface.co/{MODEL}", f"hf.co/{MODEL}/tree/main?not-for-all=1#top"]
)
def test_the_address_of_a_page_of_the_hub_is_a_name(page: str, server: Hub) -> None:
    (item,) = virc("download", page, "--dry-run", "--json").json["items"]
    assert item["repo"] == MODEL


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (f"https://huggingface.co/{MODEL}/tree/v1/more", f"virc download {MODEL} --revision v1"),
        (f"https://hf.co/datasets/{CRUX}/blob/main/a", f"virc download datasets/{CRUX} --revision main"),
        (f"hf.co/{MODEL}/resolve/v2/a.json?download=true", f"virc download {MODEL} --revision v2"),
        ("models/ViRC-3B", "did you mean 'ViRC-3B'?"),
        ("data/CRUX/", "did you mean 'CRUX'?"),
        ("datasets/crux", "did you mean 'CRUX'?"),
        ("https://example.org/a/b", "names are those of virc download --help, or a hub id, OWNER/NAME"),
    ],
)
def test_an_address_or_a_folder_that_is_no_name_says_what_is(name: str, hint: str, server: Hub) -> None:
    done = virc("download", name)
    assert (done.code, done.err.splitlines()[-1]) == (3, f"hint: {hint}")
    assert not server.requests


def test_a_user_of_the_hub_may_be_called_data(server: Hub) -> None:
    server.add("data/own", model())
    assert virc("download", "data/own", "--dry-run").code == 0


@pytest.mark.parametrize("to", ["file", "file/under", "nowhere"])
def test_a_file_where_the_folder_is_to_be_is_said_before_anything_is_asked(to: str, server: Hub) -> None:
    Path("file").write_text("mine")
    Path("nowhere").symlink_to("away")
    done = virc("download", "ViRC-7B", "--to", to)
    in_the_way = Path.cwd() / to.partition("/")[0]
    assert done.code == 3
    assert done.err.startswith(f"error: {in_the_way} is not a folder\nhint: move it away, or choose another folder")
    assert not server.requests


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


@pytest.fixture
def sealed(server: Hub) -> Iterator[Path]:
    """The workspace, to be sealed by the test."""
    yield Path.cwd()
    for each in (Path.cwd(), *Path.cwd().rglob("*")):
        each.chmod(0o755)


def seal(folder: Path) -> None:
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)


def download_sealed(*words: str) -> tuple[int, str]:
    """Exit code and stderr of a process that may not write what is sealed, whoever runs the tests."""
    process = start(*words, preexec_fn=bound_by_permissions)
    _, err = process.communicate(timeout=240)
    return process.returncode, err.decode()


@pytest.mark.integration
def test_a_folder_that_may_not_be_written_is_said_before_anything_comes(sealed: Path, server: Hub) -> None:
    seal(sealed)
    code, err = download_sealed("vstar")
    assert (code, server.sent()) == (4, 0)
    assert err.endswith(f"error: nothing can be written into {sealed}\nhint: choose another folder with --to\n")


@pytest.mark.integration
def test_what_is_shared_and_whole_need_not_be_written(sealed: Path, server: Hub) -> None:
    assert virc("download", "vstar", "base").code == 0
    seal(sealed)
    code, err = download_sealed("vstar", "base")
    assert (code, "nothing is missing" in err) == (0, True)


def test_a_model_in_the_cache_of_the_hub_has_the_size_of_what_its_links_lead_to(server: Hub, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(weights(5000))
    folder = Path("models/ViRC-7B")
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(CONFIG)
    (folder / "model.safetensors").symlink_to(kept)
    (item,) = virc("download", "ViRC-7B", "--dry-run", "--json").json["items"]
    assert (item["state"], item["bytes"]) == ("present", 5000 + len(CONFIG))
