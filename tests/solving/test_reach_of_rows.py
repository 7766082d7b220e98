"""What rows may name: files below their folder and public addresses, but where the user vouches for them."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from support.called import virc
from support.entry import ROOT
from support.servers import MODEL, serve
from support.solving import answer
from support.tables import each_case

from virc.solving.python.many import batch

PICTURE = ROOT / "tests" / "pictures" / "triangle.png"
OUTSIDE = (
    "../out.png",
    "OUT",
    "file://OUT",
    "link.png",
    "folder/../../out.png",
    "FILE:///OUT",
    "up/out.png",
    "~/out.png",
)
"""Names of a picture out of the folder of the rows; `up` is a link to the folder that holds it."""


def folder_of_rows(place: Path) -> tuple[Path, str]:
    """A folder with a picture and ways out of it, and the path of a picture outside."""
    rows, out = place / "rows", place / "out.png"
    (rows / "folder").mkdir(parents=True)
    shutil.copyfile(PICTURE, rows / "a.png")
    shutil.copyfile(PICTURE, out)
    (rows / "link.png").symlink_to(out)
    (rows / "up").symlink_to(place)
    return rows, str(out)


@each_case("name", OUTSIDE)
def test_batch_sends_no_file_outside_of_the_folder_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rows, out = folder_of_rows(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    given = [{"id": at, "image": each, "question": "q"} for at, each in enumerate([name.replace("OUT", out), "a.png"])]
    file = rows / "rows.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in given))
    bodies = list[object]()
    with serve(lambda body: bodies.append(body) or answer("5")) as server:
        asked = ("batch", file, "--endpoint", server.url, "--model", MODEL)
        refused, right = sorted(virc(*asked).lines, key=lambda line: int(line["id"]))
        assert (refused["answer"], right["answer"], len(bodies)) == (None, "5", 1)
        assert "is outside of the folder of the rows" in refused["error"]["message"]
        assert "--trust-rows" in refused["error"]["hint"]
        if name[:5] != "FILE:":
            assert [line["answer"] for line in virc(*asked, "--trust-rows").lines] == ["5", "5"]


def test_batch_asks_no_private_address_for_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as private, serve(lambda _: answer("5")) as server:
        private.settimeout(0.05)
        row = {"id": 7, "image": f"http://127.0.0.1:{private.getsockname()[1]}/a.png", "question": "q"}
        (solution,) = batch([row], MODEL, endpoint=server.url)
        assert "this is not a public address" in str(solution.error)
        with pytest.raises(TimeoutError):
            private.accept()


def test_python_rows_name_other_files_where_they_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, out = folder_of_rows(tmp_path)
    monkeypatch.chdir(rows)
    with serve(lambda _: answer("5")) as server:
        given = [(out, "q"), ("a.png", "q")]
        assert [each.answer for each in batch(given, MODEL, endpoint=server.url)] == [None, "5"]
        assert [each.answer for each in batch(given, MODEL, endpoint=server.url, trust_rows=True)] == ["5", "5"]


@each_case("trust_rows", [False, True])
def test_a_pipe_of_a_row_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust_rows: bool
) -> None:
    rows, _ = folder_of_rows(tmp_path)
    monkeypatch.chdir(rows)
    os.mkfifo("pipe.png")
    with serve(lambda _: answer("5")) as server:
        given = [("pipe.png", "q"), ("a.png", "q")]
        refused, right = batch(given, MODEL, endpoint=server.url, trust_rows=trust_rows)
    assert "pipe.png is no regular file" in str(refused.error)
    assert right.answer == "5"


def test_pictures_that_the_user_names_may_be_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = folder_of_rows(tmp_path)
    monkeypatch.chdir(rows)
    with serve(lambda _: answer("5")) as server:
        lines = virc("batch", "../out.png", "a.png", "q", "--endpoint", server.url, "--model", MODEL).lines
    assert [line["answer"] for line in lines] == ["5", "5"]


@each_case("name", OUTSIDE)
def test_no_command_copies_a_picture_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    rows, out = folder_of_rows(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    row = {"id": 1, "image": name.replace("OUT", out), "question": "q", "answer": "5"}
    (rows / "rows.jsonl").write_text(json.dumps(row) + "\n")
    checked = virc("data", "check", rows / "rows.jsonl", "--json")
    assert checked.json["faults"] == {"image_outside": 1}, checked
    assert "next to the file of rows (ln -s DIR .)" in checked.json["first"][0]["message"], checked
    done = virc("data", "convert", rows / "rows.jsonl", "--to", tmp_path / "new", "--format", "batch")
    assert done.code != 0, done
    assert "outside" in done.err
    assert "hint: link the folder of the images next to the file of rows (ln -s DIR .)" in done.err
    assert not [*(tmp_path / "new").rglob("*.png")]


@each_case("command", [("eval",), ("data", "sample", "--samples", "1")])
def test_rows_that_are_evaluated_and_sampled_reach_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    rows, out = folder_of_rows(tmp_path)
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as private:
        private.settimeout(0.05)
        addresses = (f"http://127.0.0.1:{private.getsockname()[1]}/a.png", "../out.png", out, "a.png")
        given = [{"id": at, "image": each, "question": "q", "answer": "5"} for at, each in enumerate(addresses)]
        (rows / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in given))
        bodies = list[object]()
        with serve(lambda body: bodies.append(body) or answer("5")) as server:
            endpoint = ("--endpoint", server.url, "--model", MODEL)
            done = virc(*command, rows / "rows.jsonl", *endpoint, "--to", "first")
            assert len(bodies) == 1, done
            with pytest.raises(TimeoutError):
                private.accept()
            (rows / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in given[1:]))
            virc(*command, rows / "rows.jsonl", *endpoint, "--to", "second", "--trust-rows")
            assert len(bodies) == 1 + 3


@each_case("name", ("a.jsonl", "a.csv"))
def test_rows_without_ids_reach_as_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pytest.importorskip("virc_extras")  # which proposes how such rows are laid out
    rows, _ = folder_of_rows(tmp_path)
    out = "../out.png"
    (rows / "a.jsonl").write_text(json.dumps({"image": out, "question": "q", "answer": "5"}) + "\n")
    (rows / "a.csv").write_text(f"image,question,answer\n{out},q,5\n")
    asked = ("data", "check", rows / name, "--json")
    assert virc(*asked).json["faults"] == {"image_outside": 1}
    assert virc(*asked, "--trust-rows").json["faults"] == {}
    monkeypatch.chdir(tmp_path)
    with serve(lambda _: answer("5")) as server:
        options = ("eval", rows / name, "--endpoint", server.url, "--model", MODEL)
        refused = virc(*options, "--to", "refused")
        assert refused.code != 0
        assert "--trust-rows" in refused.err
        assert virc(*options, "--to", "trusted", "--trust-rows").code == 0


@each_case("name", [name for name in OUTSIDE if "//" not in name and "~" not in name])
def test_training_takes_pictures_from_outside_where_rows_are_trusted(tmp_path: Path, name: str) -> None:
    rows, out = folder_of_rows(tmp_path)
    turns = [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "5"}]
    file = rows / "rows.jsonl"
    file.write_text(json.dumps({"messages": turns, "images": [name.replace("OUT", out)]}) + "\n")
    asked = ("train", "tiny", "--stage", "instruct", "--from", "tiny", "--data", file, "--dry-run")
    refused = virc(*asked)
    assert (refused.code, "(image_outside: 1)" in refused.err, "--trust-rows" in refused.err) == (5, True, True), (
        refused
    )
    assert virc(*asked, "--trust-rows").code == 0


@each_case(
    ("stage", "row"),
    [
        ("rl", {"id": "1", "image": "../out.png", "question": "q", "answer": "5"}),
        ("dpo", {
            "messages": [{"role": "user", "content": "<image>q"}], "images": ["../out.png"],
            "chosen": {"role": "assistant", "content": "5"}, "rejected": {"role": "assistant", "content": "6"},
        }),
    ],
)  # fmt: skip
def test_rl_and_pairs_take_pictures_from_outside_where_rows_are_trusted(
    tmp_path: Path, stage: str, row: dict[str, object]
) -> None:
    rows, _ = folder_of_rows(tmp_path)
    file = rows / f"rows.{'jsonl' if stage == 'rl' else 'json'}"
    file.write_text(json.dumps(row) if stage == "rl" else json.dumps([row]))
    alone = ("--with", "multi-turn", "--set", "train_batch_size=1", "--set", "ppo_mini_batch_size=1")
    options = alone if stage == "rl" else ()
    asked = ("train", "tiny", "--stage", stage, "--from", "tiny", "--data", file, "--dry-run", *options)
    refused = virc(*asked)
    assert (refused.code, "outside the dataset's folder" in refused.err, "--trust-rows" in refused.err) == (
        5,
        True,
        True,
    ), refused
    assert "outside" not in virc(*asked, "--trust-rows").err
