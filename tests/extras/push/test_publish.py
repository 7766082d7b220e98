"""`virc push` against a scripted hub: what is uploaded, what is not, and what the hub may answer."""

import base64
import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path
from typing import Any

import huggingface_hub.constants as hub_constants
import pytest
from download.hub_server import Fault, Hub, hang, hub, status
from extras.push.labelled_texts import HARMLESS, SECRETS
from support.called import virc
from support.entry import ROOT
from support.tables import each_case

import virc as virc_package
from virc.core import extras
from virc.core.errors import DataError
from virc.models import provenance
from virc.models.provenance import Origin
from virc.models.registry import EMBEDDED_FOLDER
from virc_extras.push import command, leaks, publish, uploads


def safetensors(header: dict[str, object], tensors: bytes = b"") -> bytes:
    """A file of weights with that header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


SEARCH = leaks.lines_with_keys
TOKEN = "hf_mine"
KEY = "hf_" + "aB3" * 12
ID = "me/figures"
HEAD = "---\nlibrary_name: transformers\nbase_model: Qwen/x\n---\n"
WEIGHTS = safetensors({})
"""A file of weights without a tensor."""
CARD = f"{HEAD}\n# small\n\n## How to use it\n\nold\n\n## Licence\n\nits own\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kingfisher keeps its compiled rules, for all tests here: they take seconds to be made."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def program(cache: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Start kingfisher in integration tests alone."""
    monkeypatch.setenv("VIRC_CACHE", str(cache))
    if not request.node.get_closest_marker("integration"):
        monkeypatch.setattr(leaks, "lines_with_keys", lambda _: [])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that takes uploads, and an empty workspace to stand in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hub_constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(hub_constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with hub() as running:
        running.writers[TOKEN] = {"me"}
        for name, value in running.env(tmp_path / "home", TOKEN).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def model(server: Hub) -> Path:
    """A merged model in models/small, with files that are not a model's."""
    folder = Path("models/small")
    (folder / "code").mkdir(parents=True)
    for name in ("config.json", "virc_protocol.json", "tokenizer.json"):
        shutil.copyfile(EMBEDDED_FOLDER / name, folder / name)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "README.md").write_text(CARD)
    (folder / "code" / "spin.py").write_text("NAME = 'spin'\n")
    provenance.write(folder, Origin(kind="shards", source="small@20", system="tiny"))
    for name in ("training_args.bin", "run.log", ".env", "optimizer.pt"):
        (folder / name).write_text(f"HF_TOKEN={KEY}\n")
    return folder


@pytest.fixture
def rows(server: Hub) -> Path:
    """Rows with an image in data/charts."""
    folder = Path("data/charts")
    folder.mkdir(parents=True)
    (folder / "problems.jsonl").write_text('{"id": 1, "image": "a.png", "question": "?", "answer": "3"}\n')
    shutil.copyfile(ROOT / "tests" / "pictures" / "triangle.png", folder / "a.png")
    (folder / "notes.txt").write_text("mine")
    return folder


def test_a_model_is_uploaded_private_with_its_files_alone(server: Hub, model: Path) -> None:
    for name in ("lists/words.txt", "__pycache__/spin.pyc", ".env"):
        (model / "code" / name).parent.mkdir(exist_ok=True)
        (model / "code" / name).write_text("two words")
    done = virc("push", "small", ID)
    assert done.code == 0, done.err
    assert done.out == f"{server.url}/{ID}\n"
    held = server.held(ID)
    assert set(held) == {
        "README.md", "code/spin.py", "code/lists/words.txt", "config.json", "model.safetensors", "tokenizer.json",
        "virc_origin.json", "virc_protocol.json",
    }  # fmt: skip
    assert held["model.safetensors"] == WEIGHTS
    assert server.repo(ID).private  # type: ignore[union-attr]
    for name in ("training_args.bin", "run.log", ".env", "optimizer.pt"):
        assert f"left out: {name}" in done.err
    assert TOKEN not in done.err + done.out


def test_nothing_private_goes_to_a_repository_that_is_public(server: Hub, model: Path) -> None:
    assert virc("push", "small", ID, "--public").code == 0
    before = server.held(ID)
    (model / "model.safetensors").write_bytes(WEIGHTS + b"others")
    done = virc("push", "small", ID)
    assert (done.code, server.held(ID)) == (3, before)
    assert "is public already" in done.err


def test_a_dry_run_lists_files_and_card_and_asks_nobody(server: Hub, model: Path) -> None:
    done = virc("push", "small", ID, "--dry-run")
    assert done.code == 0, done.err
    for said in ("model.safetensors", "10 bytes", "left out: hidden", "## How to use it", "private"):
        assert said in done.out
    said = virc("push", "small", ID, "--dry-run", "--json").json
    assert {"name": "model.safetensors", "bytes": 10} in said["files"]
    assert (said["commit"], said["private"], said["left_out"][".env"]) == (None, True, "hidden")
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "age", "expected"), [("small@20", 5, True), ("other", 5, False), ("small", -5, False)]
)
def test_the_card_has_results_of_these_weights_alone(model: Path, name: str, age: int, expected: bool) -> None:
    score = {"right": 80, "undecided": 0, "of": 100, "bounds": [0.8, 0.8], "interval": [0.711, 0.867]}
    one = {"name": name, "score": score, "settings": {"temperature": 0.0, "samples": 1, "device": "cuda"}}
    file = Path("evals/diagrams/summary.json")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"benchmark": "diagrams", "models": [one]}))
    made = (model / "model.safetensors").stat().st_mtime + age
    os.utime(file, (made, made))
    row = "| diagrams | 80 of 100 (80.0%) | 71.1% to 86.7% | temperature 0.0, samples 1 |"
    one["score"] = {**score, "right": 1}
    (second := Path("evals/charts/summary.json")).parent.mkdir()
    second.write_text(json.dumps({"benchmark": "charts", "models": [{**one, "name": "x"}, one]}))
    (Path("evals/damaged/summary.json")).parent.mkdir()
    Path("evals/damaged/summary.json").write_text("[]")
    os.utime(second, (made, made))
    for named in ("small", "models/small"):
        card = publish.prepare(named, ID).card
        assert [card.count(row), card.count("| charts | 1 of 100 (")] == [int(expected)] * 2
        assert card.find("| charts |") <= card.find(row)  # by their names


def test_a_gguf_file_is_uploaded_with_its_vision_tower_alone(server: Hub) -> None:
    folder = Path("models/tiny")
    shutil.copytree(EMBEDDED_FOLDER, folder)
    file = next(each for each in folder.glob("*.gguf") if not each.name.startswith("mmproj"))
    (folder / "other-Q4_0.gguf").write_bytes(b"another")
    plan = publish.prepare(str(file), ID)
    assert {each.name for each in plan.files if each.name.endswith((".gguf", ".safetensors"))} == {
        "tiny-F16.gguf",
        "mmproj-tiny-F32.gguf",
    }
    assert f"llama-server -hf {ID}:{file.stem.rpartition('-')[2]}" in plan.card
    assert not [word for word in ("vllm", "library_name", "AutoProcessor") if word in plan.card]


def test_rows_become_a_dataset_with_their_images(server: Hub, rows: Path) -> None:
    done = virc("push", "charts", ID, "--json")
    assert (done.json["kind"], done.json["commit"]) == ("dataset", "0" * 40), done.err  # as the scripted hub says
    held = server.held(f"datasets/{ID}")
    assert set(held) == {"README.md", "a.png", "problems.jsonl"}
    assert "| problems.jsonl | batch |" in held["README.md"].decode()
    assert done.json["left_out"] == {"notes.txt": "neither rows nor an image"}


def test_many_files_are_several_commits_the_card_in_the_last(
    server: Hub, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publish._MAX_FILES == 1000
    monkeypatch.setattr(publish, "_MAX_FILES", 2)
    for number in range(3):
        shutil.copyfile(rows / "a.png", rows / f"{number}.png")
    assert virc("push", "charts", ID).code == 0
    states = [set(each) for each in server.states(f"datasets/{ID}")]
    monkeypatch.setattr(publish, "_MAX_IN_FOLDER", 4)
    assert "charts has 5 files, and the hub takes at most 4 in a folder" in virc("push", "charts", ID, "--dry-run").err
    assert [len(each) for each in states] == [0, 2, 4, 6]
    assert [at for at, each in enumerate(states) if "README.md" in each] == [3]


def test_paths_in_settings_are_left_out(server: Hub, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {"_name_or_path": "/data/team/base", "text_config": {"_name_or_path": "C:\\models\\x", "rope": "/"}}
    config["vision_config"] |= {"of": {"tower": {"from": "/data/tower", "depth": 2}}}
    config["parts"] = {"/data/team/one": 1, "two": 2}
    config["layers"] = [{"_name_or_path": "/data/team/base", "size": 3}]
    (model / "config.json").write_text(json.dumps(config))
    done = virc("push", "small", ID)
    sent = json.loads(server.held(ID)["config.json"])
    assert "_name_or_path" not in sent | sent["text_config"]
    assert (sent["parts"], sent["layers"]) == ({"two": 2}, [{"size": 3}])
    assert (sent["model_type"], sent["text_config"]["rope"]) == (config["model_type"], "/")
    assert sent["vision_config"]["of"] == {"tower": {"depth": 2}}
    for said in ("text_config._name_or_path", "vision_config.of.tower.from"):
        assert f"left out: config.json: {said} (a path of this machine)" in done.err


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("config.json", '{"hub": "' + KEY + '"}', "contains a key"),
        ("code/spin.py", f"# one\nTOKEN = '{KEY}'\n", "contains a key"),
        ("code/spin.py", f"wandb_api_key: {'0a1b2' * 8}\n", "contains a key"),
        ("tokenizer.json", "-----BEGIN RSA PRIVATE KEY-----", "contains a key"),
        ("README.md", "the value of HF_TOKEN: sentinel-of-mine-1", "contains a key"),
        ("README.md", "# small\n\nmade in /home/someone\n", "names a path of this machine: /home/someone"),
        ("README.md", "# small\n\nmade in C:\\Users\\someone\n", "names a path of this machine"),
        ("code/spin.py", 'PLACE = "HERE/models"\n', "names a path of this machine"),
        ("code/spin.py", r'PLACES = {"\/home\/someone": 1}', "names a path of this machine: /home/someone"),
        ("virc_protocol.json", r'{"system": "\u002fhome\u002Fsomeone"}', "names a path of this machine: /home/someone"),
    ],
)
def test_a_file_with_a_key_or_a_path_is_refused(
    server: Hub, model: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "sentinel-of-mine-1")
    (model / file).write_text(text.replace("HERE", str(Path.cwd())))
    done = virc("push", "small", ID)
    assert done.code == 5
    assert file in done.err
    assert said in done.err
    assert not [key for key in (KEY, "sentinel-of-mine-1") if key in done.err]
    assert ("hint: remove it; revoke the key if others" if "key" in said else "hint: make it relative\n") in done.err
    assert server.requests == []


VALUE = 'wQ7"\\\\né\U0001f600 of mine'
"""Of a variable: what JSON escapes, and a letter and a sign beyond ASCII."""
NAMED = json.dumps({"api_key": "aB3" * 8})


def parquet_of(row: dict[str, object], footer: Mapping[str, str] | None = None) -> bytes:
    pyarrow, written = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist([row])
    with written.ParquetWriter(sink := pyarrow.BufferOutputStream(), table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(footer or {})
    return bytes(sink.getvalue().to_pybytes())


def feather_of(row: dict[str, object], of_schema: Mapping[str, str] | None = None) -> bytes:
    pyarrow, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    column = pyarrow.field("id", "int64", metadata=of_schema)
    table = pyarrow.Table.from_pylist([row] * 999)
    table = pyarrow.table({"id": [1]}, schema=pyarrow.schema([column])) if of_schema else table
    feather.write_feather(table, sink := pyarrow.BufferOutputStream())
    return bytes(sink.getvalue().to_pybytes())


def damaged(content: bytes, at: int) -> bytes:
    """A file whose rows are overwritten there."""
    return content[:at] + b"\xff" * 16 + content[at + 16 :]


def tar_of(name: str, content: bytes) -> bytes:
    with tarfile.open(fileobj=(made := io.BytesIO()), mode="w") as shard:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        shard.addfile(member, io.BytesIO(content))
    return made.getvalue()


@each_case(
    ("name", "content", "said"),
    [
        ("more.jsonl", json.dumps({"note": NAMED}), "contains a key"),
        ("more.jsonl", json.dumps({"note": json.dumps({"inner": NAMED})}), "contains a key"),
        ("more.json", json.dumps([{"turns": [{"is": f"<call>{json.dumps({'a': NAMED})}</call>"}]}]), "contains a key"),
        ("more.csv", 'id,note\n1,"' + NAMED.replace('"', '""') + '"\n', "contains a key"),
        ("more.jsonl", json.dumps({"note": VALUE}), "contains a key"),
        ("more.jsonl", json.dumps({"note": VALUE}, ensure_ascii=False), "contains a key"),
        ("more.jsonl", json.dumps({"note": json.dumps([VALUE])}), "contains a key"),
        ("more.md", f"the value: {VALUE}", "contains a key"),
        ("more.md", f"the value: {VALUE}".encode("utf-16"), "contains a key"),
        ("more.jsonl", json.dumps({"note": json.dumps({"from": "HERE/data/charts/a.png"})}), "names a path"),
        ("more.md", "see 'HERE/data/charts/a.png'", "names a path"),
        ("more.png", f"KEY_OF_ALL={'aB3' * 8}\nTOKEN={'aB3' * 8}\n", "contains a key"),
        ("more.tar", lambda: tar_of("0.png", f"TOKEN={'aB3' * 8}".encode()), "0.png, contains a key"),
        ("more.parquet", lambda: parquet_of({"api_key": "aB3" * 8}), "row 1, contains a key"),
        ("more.parquet", lambda: parquet_of({"image": {"bytes": b"TOKEN=" + b"aB3" * 8}}), "row 1, contains a key"),
        ("more.parquet", lambda: parquet_of({"a": f"the key: {VALUE}".encode("utf-16")}), "row 1, contains a key"),
        ("more.parquet", lambda: parquet_of({"a": f"TOKEN={'aB3' * 8}".encode("utf-16-be")}), "row 1, contains a key"),
        ("more.parquet", lambda: parquet_of({"a": f"T={KEY}".encode("utf-32-le")}), "row 1, contains a key"),
        ("more.tar", lambda: tar_of("0.txt", f"TOKEN={'aB3' * 8}".encode("utf-16")), "0.txt, contains a key"),
        ("more.md", f"TOKEN={'aB3' * 8}".encode("utf-16-le"), "line 1, contains a key"),
        ("more.tar", lambda: tar_of(f"{KEY}.png", b""), "more.tar, in the name of member 1, contains a key"),
        ("more.jsonl", lambda: gzip.compress(b"TOKEN=" + b"aB3" * 8), "more.jsonl is compressed with gzip"),
        ("more.png", lambda: bz2.compress(b"TOKEN=" + b"aB3" * 8), "more.png is compressed with bzip2"),
        ("more.md", lambda: lzma.compress(b"TOKEN=" + b"aB3" * 8), "more.md is compressed with xz"),
        ("more.tar", lambda: tar_of("0.json", gzip.compress(b"x")), "more.tar, 0.json, is compressed with gzip"),
        ("more.parquet", lambda: parquet_of({"raw": gzip.compress(b"x")}), "row 1: a value is compressed with gzip"),
        ("more.parquet", lambda: parquet_of({"id": 1}, {"api_key": "aB3" * 8}), "in its schema, contains a key"),
        ("more.arrow", lambda: feather_of({}, {"api_key": "aB3" * 8}), "in its schema, contains a key"),
        ("more.feather", lambda: feather_of({"api_key": "aB3" * 8}), "row 1, contains a key"),
        ("more.parquet", lambda: damaged(parquet_of({"id": 1}), 4), "more.parquet: row 1 cannot be read"),
        ("more.arrow", lambda: damaged(feather_of({"id": 1}), 300), "more.arrow: row 1: "),
        ("more.tar", lambda: tar_of("0", b"x") + tar_of("1", b"TOKEN=" + b"aB3" * 8), "goes on behind its last member"),
        ("more.tar", lambda: tar_of("0", b"x")[:1024] + b"TOKEN=" + b"aB3" * 999, "goes on behind its last member"),
        ("more.csv", f"id,api_key,x\n0,,\n1,{'aB3' * 8},3\n", "row 2, contains a key"),
        ("more.tsv", f"id\tpassword\n1\t{'aB3' * 8}\n", "row 1, contains a key"),
        ("more.csv", f"id;API_KEY\n1;{'aB3' * 8}\n", "row 1, contains a key"),
        ("more.csv", "id,note,note\n1,a,b\n", "more.csv: two columns are called"),
        ("more.csv", f"name,value\ntoken,{'aB3' * 8}\n", "line 2, contains a key"),
        ("more.md", f"of them:\n\n| who | api_key |\n|---|:--|\n| me | `{'aB3' * 8}` |\n", "line 3, contains a key"),
        ("more.md", f"| token | {'aB3' * 8} |\n", "line 1, contains a key"),
        ("more.md", f"<td>Token</td>\n<td>{'aB3' * 8}</td>\n", "contains a key"),
        ("more.md", f'<input name="api-key" value="{"aB3" * 8}">', "line 1, contains a key"),
        ("more.md", f'<input value="{"aB3" * 8}" name="csrf_token">', "line 1, contains a key"),
        ("more.jsonl", json.dumps({"name": "API_KEY", "value": "aB3" * 8}), "line 1, contains a key"),
        ("more.jsonl", json.dumps({"tokens": ["aB3" * 8]}), "line 1, contains a key"),
        ("more.md", f"my api key is: “{'aB3' * 8}”", "line 1, contains a key"),
        ("more.md", f"密码：「{'aB3' * 8}」", "line 1, contains a key"),
        ("more.md", f"git clone https://{'aB3' * 8}@git.acme.io/rows.git", "line 1, contains a key"),
        ("more.md", f"virc serve --api-key {'aB3' * 8}", "line 1, contains a key"),
        ("more.md", f"key = os.getenv('API_KEY') or '{'aB3' * 8}'", "line 1, contains a key"),
        ("more.md", "postgres://maria:hunter22@db.acme.io:5432/rows", "line 1, contains a key"),
        ("more.md", "postgres://maria:hunter22@localhost.acme.io/rows", "line 1, contains a key"),
        ("more.md", "postgres://user:password@localhost:5432/db, https://maria:hunter22@db.example.com/", None),
        ("more.jsonl", json.dumps({"note": f"redis://default:{VALUE}@localhost/"}), "contains a key"),
        ("more.md", "mysql://user:your_password@db.acme.io/rows", None),
        ("more.jsonl", json.dumps({"id": 3, "image": "a.png", "question": "Which key?", "answer": "token: 3"}), None),
        ("more.jsonl", json.dumps({"image": base64.b64encode(bytes(range(256)) * 999).decode()}), None),
    ],
)  # fmt: skip
def test_rows_are_searched_as_they_are_read(
    server: Hub, rows: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: Any, said: str | None
) -> None:
    monkeypatch.setenv("PGPASSWORD", VALUE)
    content = content() if callable(content) else content
    text = content.replace("HERE", str(Path.cwd())).encode() if isinstance(content, str) else content
    (rows / name).write_bytes(text)
    done = virc("push", "charts", ID, *([] if said else ["--dry-run"]))
    (rows / name).unlink()
    assert (done.code, server.requests) == (5 if said else 0, []), done
    assert name in done.err + done.out
    assert (said or "") in done.err
    assert "aB3aB3" not in done.err


@pytest.mark.parametrize("part", ["{}.png", "{}/a.png"])
def test_a_key_in_a_file_name_is_found_and_not_printed(server: Hub, rows: Path, part: str) -> None:
    (file := rows / "images" / part.format(KEY)).parent.mkdir(parents=True)
    shutil.copyfile(rows / "a.png", file)
    done = virc("push", "charts", ID)
    assert (done.code, server.requests) == (5, []), done
    assert "the file name images/hf_a…" in done.err
    assert "hint: rename it; revoke the key" in done.err
    assert KEY not in done.err + done.out


def test_a_key_in_the_name_of_a_file_left_out_is_not_printed(server: Hub, rows: Path) -> None:
    for name in (f".{KEY}", f"{KEY}.log", "run.log"):
        (rows / name).write_text("")
    for more in (["--dry-run"], ["--dry-run", "--json"], []):
        done = virc("push", "charts", ID, *more)
        assert (done.code, KEY in done.err + done.out) == (0, False), done
        for name in (".hf_…", "hf_a…", "run.log", "notes.txt"):
            assert name in done.err + done.out


@each_case(
    ("name", "content"),
    [
        ("0.tar", lambda key: tar_of(f".{key}/0.txt", b"x")),
        ("0.tar", lambda key: tar_of(f"{key}.txt", b"TOKEN=" + b"aB3" * 8)),
        ("0.tar", lambda key: tar_of(f"{key}.gz", gzip.compress(b"x"))),
        ("0.tar", lambda key: tar_of(f"{key}.txt", bytes(99))),
        ("more.md", lambda key: f"in /home/{key}/models".encode()),
        ("{}/more.md", lambda key: b"TOKEN=" + b"aB3" * 8),
        ("{}.md", lambda key: gzip.compress(b"x")),
    ],
)
def test_one_start_finds_keys_and_no_other_sentence_quotes_them(
    server: Hub, rows: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: Any
) -> None:
    key, starts = SECRETS["github classic"], list[str]()

    def lines_with_keys(text: str) -> list[int]:
        starts.append(text)
        return [at for at, line in enumerate(text.split("\n"), 1) if key in line]

    monkeypatch.setattr(leaks, "lines_with_keys", lines_with_keys)
    monkeypatch.setattr(publish, "_MAX_TEXT", 98)
    (file := rows / name.format(key)).parent.mkdir(exist_ok=True)
    file.write_bytes(content(key))
    done = virc("push", "charts", ID)
    file.unlink()
    assert (done.code, len(starts), server.requests) == (5, 1, []), done
    assert "contains a key" in done.err
    assert key not in done.err + done.out


def test_eight_files_with_keys_are_named_and_the_others_counted(server: Hub, rows: Path) -> None:
    for number in range(10):
        (rows / f"{number}.md").write_text(f"TOKEN={'aB3' * 8}")
    done = virc("push", "charts", ID)
    assert (done.code, server.requests) == (5, []), done
    assert "7.md, line 1, contains a key; 2 more files\n" in done.err


def test_the_program_is_told_to_ask_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kingfisher")
    started = list[str]()

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        started.extend(command)
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(subprocess, "run", run)
    assert SEARCH("text") == []
    assert {"--no-validate", "--no-update-check"} <= {*started}


def found_by(search: leaks.LeakSearch, texts: Mapping[str, str]) -> set[str]:
    for name, text in texts.items():
        search.look_through(name, [("it", text)], "none")
    return {fault.message.partition(",")[0] for fault in search.faults().values()}


@pytest.mark.integration
def test_secrets_are_found_and_harmless_texts_are_not() -> None:
    assert {*SECRETS} - found_by(leaks.LeakSearch(), SECRETS) == set()
    assert found_by(leaks.LeakSearch(), HARMLESS) == set()


@pytest.mark.integration
@pytest.mark.parametrize("comment", ["", "# kingfisher:ignore"])
def test_a_key_that_only_the_rules_know_ends_a_push(server: Hub, rows: Path, comment: str) -> None:
    row = {"note": json.dumps({"say": f"{SECRETS['npm']} {comment}"})}
    (rows / "more.jsonl").write_text('{"note": "1\\n2"}\n' * 3 + json.dumps(row))
    (rows / "other.md").write_text(SECRETS["jwt"])
    shutil.copyfile(rows / "a.png", rows / f"{SECRETS['github classic']}.png")
    done = virc("push", "charts", ID)
    assert (done.code, server.requests) == (5, []), done
    assert "more.jsonl, line 4, contains a key; other.md, line 1, contains a key" in done.err
    assert "the file name ghp_… contains a key" in done.err
    assert not [each for each in ("npm", "github classic") if SECRETS[each] in done.err + done.out]


def test_without_the_extra_nothing_is_sent(server: Hub, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "lines_with_keys", SEARCH)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    done = virc("push", "charts", ID)
    assert (done.code, server.requests) == (4, [])
    assert "needs kingfisher, of the extra push" in done.err


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}), "damaged"),
        ("small-Q4_0.gguf", b"version https://git-lfs.github.com/spec/v1", "is no GGUF file"),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"b": "model-3.safetensors", "a": "model-2.safetensors"}}',
            "model-2.safetensors is missing",
        ),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "../other/model.safetensors"}}',
            "names '../other/model.safetensors', which is not in its folder",
        ),
    ],
)
def test_weights_that_are_not_whole_are_refused(model: Path, file: str, content: bytes, said: str) -> None:
    (model / file).write_bytes(content)
    done = virc("push", "small", ID, "--dry-run")
    assert (done.code, said in done.err) == (3, True), done.err


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json")
ROWS = ("train-00000-of-00002.json", "train-00001-of-00002.json")


@pytest.mark.parametrize(("source", "old", "new"), [("small", SHARDS, "model.safetensors"), ("charts", ROWS, ROWS[0])])
def test_shards_of_an_earlier_push_are_removed(
    server: Hub, model: Path, rows: Path, source: str, old: tuple[str, ...], new: str
) -> None:
    folder = model if source == "small" else rows
    (folder / new).unlink(missing_ok=True)
    contents = {".safetensors": WEIGHTS, ".json": b"[]"}
    index = json.dumps({"weight_map": dict(enumerate(SHARDS[:2]))}).encode()
    for name in old:
        (folder / name).write_bytes(index if name == SHARDS[2] else contents[Path(name).suffix])
    assert virc("push", source, ID).code == 0
    held = server.held(key := ID if source == "small" else f"datasets/{ID}")
    others = {"other-Q8_0.gguf": b"mine", "test-00000-of-00003.json": b"[]", "model-00000-of-00003.json": b"{}"}
    server.put(key, {**held, **others})
    for name in old:
        (folder / name).unlink()
    new = new.replace("of-00002", "of-00001")
    (folder / new).write_bytes(contents[Path(new).suffix])
    assert virc("push", source, ID).code == 0
    assert set(server.held(key)) == set(held) - {*old} | {new, *others}


def test_hidden_needed_files_rows_are_left_out(server: Hub, rows: Path) -> None:
    (rows / ".env.json").write_text("{}")
    Path("secret.json").write_text("{}")
    (rows / "more.json").symlink_to(Path("secret.json").absolute())
    (rows / ".cache").mkdir()
    (rows / ".cache" / "a.json").write_text("{}")
    plan = publish.prepare("charts", ID)
    assert (plan.left_out[".env.json"], plan.left_out[".cache/a.json"]) == ("hidden", "hidden")
    assert plan.left_out["more.json"] == "a link out of the folder"
    assert not [word for word in (".env.json", ".cache") if word in plan.card]
    (rows / "README.md").write_bytes(b"# Mine\xff\n")
    assert publish.prepare("charts", ID).card == "# Mine\ufffd\n"
    shutil.copytree(rows, "charts")
    assert [publish.prepare(name, ID).folder for name in ("charts", "data/charts")] == [Path("charts"), rows]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_rows_that_name_files_of_this_machine_are_refused(server: Hub, rows: Path, ending: str) -> None:
    row = {"id": 2, "image": str((rows / "a.png").absolute()), "question": "?", "answer": "3"}
    if ending == "parquet":
        pyarrow = pytest.importorskip("pyarrow.parquet")
        first = {**row, "image": "a.png"}
        pyarrow.write_table(pytest.importorskip("pyarrow").Table.from_pylist([first, row]), rows / "more.parquet")
    else:
        (rows / "more.jsonl").write_text(json.dumps(row))
    done = virc("push", "charts", ID)
    assert (done.code, server.requests) == (5, [])
    assert f"more.{ending}, {'row 2' if ending == 'parquet' else 'line 1'}, " in done.err


@pytest.mark.parametrize(
    ("token", "code", "said"), [("hf_wrong", 3, "valid token"), ("hf_others", 3, "forbids to write me/figures")]
)
def test_a_token_that_may_not_write_is_refused(
    server: Hub, model: Path, monkeypatch: pytest.MonkeyPatch, token: str, code: int, said: str
) -> None:
    server.writers["hf_others"] = {"others"}
    monkeypatch.setenv("HF_TOKEN", token)
    done = virc("push", "small", ID)
    assert (done.code, server.repo(ID)) == (code, None)
    assert said in done.err
    assert ("of an account that may write to me\n" in done.err) == ("forbids" in said)


@pytest.mark.parametrize("on", ["create", "lfs", "commit"])
def test_a_hub_that_fails_is_a_network_error(server: Hub, model: Path, on: str) -> None:
    server.misbehave(status(503), on=on, method="POST", times=None)
    done = virc("push", "small", ID, "--json")
    assert (done.code, done.json["error"]["kind"], done.json["commit"]) == (6, "network", None)


@each_case(("where", "patterns", "there", "named"), [
    ("ignored", ["a.png"], {".gitignore": b"a.png"}, "1 file of 3: a.png"),
    ("ignored", ["*.jsonl"], {".gitignore": b"*.jsonl"}, "1 file of 3: problems.jsonl"),
    ("ignored", ["*"], {".gitignore": b"*"}, "3 files of 3: a.png, problems.jsonl, README.md"),
    ("lost", ["a.png"], {}, "1 file of 3: a.png"),
    ("lost", ["README.md"], {}, "1 file of 3: README.md"),
    ("ignored", ["a.png"], {".gitignore": b"", "a.png": b"of old"}, "1 file of 3: a.png"),
])  # fmt: skip
def test_what_the_hub_has_not_taken_is_named(
    server: Hub, rows: Path, where: str, patterns: list[str], there: dict[str, bytes], named: str
) -> None:
    server.create(f"datasets/{ID}", True, TOKEN)
    server.put(f"datasets/{ID}", there)
    setattr(server, where, patterns)
    done = virc("push", "charts", ID, "--json")
    server.ignored, server.lost = [], []
    assert (done.code, done.json["error"]["kind"]) == (6, "network"), done.err
    assert f"has not taken {named}" in done.json["error"]["message"]
    assert (".gitignore" in done.json["error"]["hint"]) == (".gitignore" in there)


@each_case(("code", "said", "hint"), [
    (400, "refs/heads/main is protected", "mend what it names"), (402, "over the plan", "another plan"),
    (409, "a commit is under way", "somebody else changes"),
    (413, "Request Entity Too Large", "shards that are smaller"),
    (422, "no such branch", "mend what it names"), (507, "storage is full", "its storage is full"),
    (412, "A commit has happened since", "somebody else changes"),
    (429, "over 128 commits this hour. Retry in 1 hour", "to wait 60 minutes"), (429, "over 128 commits", "wait; run"),
])  # fmt: skip
def test_a_refusal_has_the_words_of_the_hub_and_its_own_hint(
    server: Hub, rows: Path, code: int, said: str, hint: str
) -> None:
    server.misbehave(status(code, said), on="commit", method="POST", times=5)
    done = virc("push", "charts", ID, "--json")
    server.behave()
    assert (done.code, done.json["error"]["kind"]) == (6, "network")
    assert f"answers {code}: " in done.json["error"]["message"]
    assert said in done.json["error"]["message"]
    assert hint in done.json["error"]["hint"]


@each_case(("on", "fault"), [
    ("commit", status(412, "A commit has happened since")), ("commit", status(429, "over 128", retry_after="90")),
    ("create", status(429, "too many")),
])  # fmt: skip
def test_what_may_pass_is_tried_again(server: Hub, rows: Path, on: str, fault: Fault) -> None:
    server.misbehave(fault, on=on, method="POST", times=2)
    assert virc("push", "charts", ID).code == 0
    assert "a.png" in server.held(f"datasets/{ID}")


def test_a_card_that_the_hub_refuses_is_said_before_all_else(server: Hub, rows: Path) -> None:
    server.faults_of_card = ['"license" must be one of apache-2.0, mit, …']
    done = virc("push", "charts", ID, "--json")
    assert (done.code, done.json["error"]["kind"]) == (5, "data"), done.err
    assert '"license" must be one of' in done.json["error"]["message"]
    assert "README.md" in done.json["error"]["hint"]
    assert len(server.requests) == 1


def test_what_was_uploaded_is_not_sent_again(server: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_LARGE", 6)
    (model / "model-2.safetensors").write_bytes(WEIGHTS + b"more")
    server.misbehave(status(400), method="PUT", times=1, skip=1)
    done = virc("push", "small", ID)
    assert (done.code, "Xet" in done.err) == (6, False), done.err  # the fixture turns it off
    assert len(server.stored) == 1
    assert virc("push", "small", ID).code == 0
    puts = [each.name for each in server.asked("storage") if each.method == "PUT" and each.code == 200]
    assert len(puts) == len(set(puts)) == 2
    assert server.held(ID)["model-2.safetensors"] == WEIGHTS + b"more"


@pytest.mark.integration
def test_a_killed_upload_is_resumed_by_the_same_command(server: Hub, model: Path) -> None:
    (model / "model-2.safetensors").write_bytes(WEIGHTS + bytes(publish._LARGE))
    (model / "model-3.safetensors").write_bytes(WEIGHTS + b"1" * publish._LARGE)
    server.misbehave(hang, method="PUT", skip=1)
    paths = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))
    command = [sys.executable, "-m", "virc_cli", "push", "small", ID]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL)
    assert server.until(lambda: sum(each.method == "PUT" for each in server.requests) == 2)
    child.kill()
    child.wait()
    assert server.held(ID) == {}
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=True, text=True)
    assert done.stdout == f"{server.url}/{ID}\n"
    sent = [each.name for each in server.asked("storage") if each.method == "PUT" and each.code == 200]
    assert len(sent) == len(set(sent)) == 3
    assert server.held(ID)["model-3.safetensors"] == WEIGHTS + b"1" * publish._LARGE


def replaced_by_a_link(file: Path) -> None:
    (other := Path("mine.txt")).write_text(KEY)
    file.unlink()
    file.symlink_to(other.resolve())


def overwritten(file: Path) -> None:
    before = file.stat()
    file.write_text(KEY.ljust(before.st_size)[: before.st_size])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "appended": lambda file: file.open("a").write(KEY),
    "overwritten": overwritten,
    "linked": replaced_by_a_link,
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "deleted": Path.unlink,
}


def assert_not_sent(server: Hub, key: str = KEY) -> None:
    codes = {base64.b64encode(key.rjust(len(key) + shift).encode())[4:-4] for shift in range(3)}
    assert not [each for each in server.requests if any(code in each.body for code in (key.encode(), *codes))]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("during", "held"), [("search", 999), ("create", 999), ("lfs", 0)])
def test_a_file_that_changes_is_named_and_not_published(
    server: Hub, rows: Path, monkeypatch: pytest.MonkeyPatch, change: str, during: str, held: int
) -> None:
    file = rows / "problems.jsonl"
    file.write_text('{"id": 1, "image": "a.png", "question": "%s", "answer": "3"}\n' % ("why " * 30))
    monkeypatch.setattr(uploads, "MAX_HELD", held)
    if during == "search":
        look = publish._searched
        then = lambda path, *args: (look(path, *args), path == file and CHANGES[change](file))[0]  # noqa: E731
        monkeypatch.setattr(publish, "_searched", then)
    else:
        server.misbehave(lambda _: CHANGES[change](file), on=during, method="POST")
    if held == 0:
        monkeypatch.setattr(publish, "_LARGE", 1)
        monkeypatch.setattr(server, "large", 1)
    done = virc("push", "charts", ID)
    said = f"problems.jsonl was {'deleted' if change == 'deleted' else 'changed'} while it was published\n"
    assert (done.code, said in done.err) == (5, True), done.err
    assert "problems.jsonl" not in (server.held(f"datasets/{ID}") if server.repo(f"datasets/{ID}") else {})
    if held:
        assert_not_sent(server)


@pytest.mark.integration
def test_of_a_hundred_pushes_beside_a_writer_none_sends_what_was_not_searched(
    server: Hub, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "lines_with_keys", lambda _: [])
    file, ended, codes = rows / "problems.jsonl", threading.Event(), set[int]()
    row = file.read_bytes()

    def write() -> None:
        for number in itertools.cycle(range(7)):
            if ended.wait(number / 1000):
                return
            file.write_bytes(row + json.dumps({"question": KEY}).encode() * (number % 2))

    with ThreadPoolExecutor() as pool:
        pool.submit(write)
        try:
            for _ in range(100):
                codes.add(virc("push", "charts", ID).code)
        finally:
            ended.set()
    assert codes <= {0, 5}
    assert_not_sent(server)


@pytest.mark.parametrize(
    ("member", "content", "says"),
    [
        (".env", "HF_TOKEN=x", "contains the hidden file .env"),
        (".git/config", "url = x", "contains the hidden file .git/config"),
        ("0.json", f'{{"note": "{KEY}"}}', "0.json, contains a key"),
        ("0.json", '{"image": "/home/me/a.png"}', "names a path of this machine: /home/me"),
        ("0.txt", "x" * 99, None),
    ],
)
def test_shards_of_rows_are_looked_through(
    rows: Path, member: str, content: str, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(rows / "s.tar", "w") as shard:
        shard.add(rows / "a.png", "0.png")
        (rows / "notes.txt").write_bytes(content.encode() + b"\xff")
        shard.add(rows / "notes.txt", member)
    done = virc("push", "data/charts", ID, "--dry-run")
    assert (done.code, (says or "s.tar") in done.err + done.out) == (5 if says else 0, True), done
    monkeypatch.setattr(publish, "_MAX_TEXT", 98)
    if says is None:
        done = virc("push", "data/charts", ID, "--dry-run")
        assert (done.code, f"s.tar contains {member}, which is too large" in done.err) == (5, True), done


@pytest.mark.parametrize("file", ["model.safetensors", "small-Q4_0.gguf"])
@pytest.mark.parametrize(("value", "said"), [(KEY, "contains a key"), ("HERE/rows.dat", "names a path"), ("pt", "")])
def test_headers_of_weights_are_looked_through(model: Path, file: str, value: str, said: str) -> None:
    value = value.replace("HERE", str(Path.cwd()))
    if file == "model.safetensors":
        (model / file).write_bytes(safetensors({"__metadata__": {"from": value}}))
    else:
        texts = b"".join(struct.pack("<Q", len(each)) + each for each in (b"quantize.imatrix.file", value.encode()))
        key, text = texts[:29], texts[29:]
        (model / file).write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + struct.pack("<I", 8) + text)
    done = virc("push", "small", ID, "--dry-run")
    assert (done.code, said in done.err) == (5 if said else 0, True), done.err
    assert KEY not in done.err


@pytest.mark.parametrize("at", [leaks._CHUNK - 20])
def test_a_key_is_found_wherever_it_is_in_a_long_file(rows: Path, at: int) -> None:
    long = bytearray(b"x y\n" * (3 * leaks._CHUNK // 4))
    long[at : at + len(KEY)] = KEY.encode()
    (rows / "long.md").write_bytes(long)
    with pytest.raises(DataError, match=rf"long.md, line {at // 4 + 1}, contains a key"):
        publish.prepare("charts", ID)


def test_push_is_a_function_of_virc_and_takes_what_the_command_takes() -> None:
    assert virc_package.push is publish.push
    options = signature(command.command).parameters.keys() - {"quiet", "verbose", "as_json"}
    assert options == signature(publish.push).parameters.keys() - {"on_event"}
