"""`virc data check` calls the rows of a file good exactly where training starts with them.

But for problems without an answer, which it counts: they are good for `virc batch`, and no stage trains on them.
"""

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc
from support.preflight import in_this_process

from virc.data.convert.convert import ConvertConfig, convert

WHOLE = ("--with", "multi-turn", "--set", "train_batch_size=8", "--set", "ppo_mini_batch_size=8")
Row = dict[str, Any]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to work in, where rows are checked in this process."""
    monkeypatch.chdir(tmp_path)
    in_this_process(monkeypatch)


def agree(file: Path, stage: str, words: Sequence[str]) -> int:
    """The exit code of a check of rows, and of a dry run that trains on them: 5 too where rows have no answer."""
    check = virc("data", "check", file, "--workers", 1, "--json")
    train = virc("train", "tiny", "--stage", stage, "--from", "tiny", "--dry-run", "--data", file, *words)
    said = (os.fspath(file), check.out, check.err, train.err)
    assert {check.code, train.code} <= {0, 5}, said
    unanswered = any(each["counts"]["unanswered"] for each in check.json["datasets"] or ())
    assert train.code == (5 if unanswered else check.code), said
    return train.code


TURNS = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "A disk."}]
PAGES = [
    "<video><source src='a.mp4'></video>",
    "<audio></audio>",
    "<VIDEO></VIDEO>",
    "`<video>` and `<audio>`",
    "<img> and </img>",
]
MARKS = ["<|video_pad|>", "<img>a.png</img>", "<img_context>", "<|audio|>", "<speech>", "<loc0123><loc0456>", "<loc_7>"]
MARKS += ["<patch_index_0044>", '<point x="4.5" y="6">', "<points x1='4'", "<|det|>[[1, 2, 3, 4]]", "{<1><2><3><4>}"]
LEARNT: list[tuple[Row, int]] = [({"loss": False}, 5), ({"weight": 0}, 5), ({"loss": True}, 0), ({"weight": 1.0}, 0)]
GOOD: Row = {"messages": TURNS, "images": ["a.png"]}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"images": ["gone.png"]}, 5),
        ({"images": ["text.png"]}, 5),
        ({"images": ["huge.png"]}, 5),
        ({"images": []}, 5),
        ({"messages": TURNS[:1]}, 5),
        ({"messages": [TURNS[0], {"role": "tool", "content": "A disk."}]}, 5),
        ({"messages": [{"role": "user", "content": "<image><video>What?"}, TURNS[1]]}, 5),
        ({"note": "\ud800"}, 5),
        *(({"messages": [TURNS[0], {**TURNS[1], **mark}]}, code) for mark, code in LEARNT),
        ({"messages": [{**TURNS[0], "loss": False}, TURNS[1]]}, 0),
        *(({"messages": [TURNS[0], {"role": "assistant", "content": text}]}, 0) for text in PAGES),
        *(({"messages": [TURNS[0], {"role": "assistant", "content": text}]}, 5) for text in MARKS),
        ({"messages": [TURNS[0], {"role": "assistant", "content": PAGES[0]}], "videos": ["a.mp4"]}, 5),
    ],
    ids=range(32),
)
def test_rows_are_good_where_training_starts(changes: Row, code: int, tmp_path: Path, here: None) -> None:
    Image.radial_gradient("L").resize((224, 168)).save("a.png")
    Path("text.png").write_text("no picture")
    data = bytearray(Path("a.png").read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)  # more pixels than a decoder takes
    Path("huge.png").write_bytes(data)
    rows = [*[GOOD] * 4, {**GOOD, **changes}]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert agree(tmp_path / "rows.jsonl", "instruct", ()) == code


@pytest.mark.parametrize(
    ("file", "begin", "name"),
    [
        ("a b.png", "file://{}/", "a b.png"),
        ("a b.png", "file://{}/", "a%20b.png"),
        ("é.png", "FILE://localhost{}/", "%C3%A9.png"),
        ("a%20b.png", "file://{}/", "a%20b.png"),
        ("a%20b.png", "", "a%20b.png"),
        ("a\u202fb.png", "", "a b.png"),
        ("sub/a.png", "", "sub\\a.png"),
    ],
)
def test_pictures_that_urls_name_are_checked_and_trained_on(
    file: str, begin: str, name: str, tmp_path: Path, here: None
) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    Image.radial_gradient("L").resize((224, 168)).save(file)
    row = {**GOOD, "images": [begin.format(tmp_path) + name]}
    Path("rows.jsonl").write_text((json.dumps(row) + "\n") * 2)
    assert agree(tmp_path / "rows.jsonl", "instruct", ()) == 0
    report = convert(ConvertConfig([Path("rows.jsonl")], Path("to"), "sft"))
    assert [each["edge"] for each in report.left] == ["separator"] * ("\\" in name)
    assert [each.read_bytes() for each in Path("to").rglob("*.png")] == [Path(file).read_bytes()]
    done = virc("train", "tiny", "--stage", "instruct", "--from", "tiny", "--dry-run", "--data", "rows.jsonl")
    is_other = bool(begin) or not Path(name).is_file()
    assert ("/data\n" in done.out.partition("media_dir: ")[2]) == is_other  # LLaMA-Factory gets paths


@pytest.mark.parametrize(
    ("right", "code"),
    [
        ({"boxes": [[10, 20, 60, 70], [0, 0, 224, 168]]}, 0),
        ({"answer": "seen", "box": [10, 20, 600, 70]}, 5),
        ({"box": [10, 20, 600, 70]}, 5),
        ({"boxes": [[0.1, 0.2, 0.5, 0.6]]}, 5),
        ({"answer": "1", "choices": ["red", "blue"]}, 5),
        ({"answer": None}, 5),
    ],
)
def test_right_answers_that_nothing_can_match_are_seen_by_both(
    right: Row, code: int, tmp_path: Path, here: None
) -> None:
    Image.radial_gradient("L").resize((224, 168)).save("a.png")
    rows = [{"id": number, "image": "a.png", "question": "What is it?", **right} for number in range(8)]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert agree(tmp_path / "rows.jsonl", "rl", (*WHOLE, "--set", "reward.total=outcome")) == code


@pytest.mark.parametrize(("answers", "warned"), [
        (("disk", "disk", None, " "), "2 problems have no answer"),
    ])  # fmt: skip
def test_questions_to_be_solved_are_good_and_not_trained_on(
    answers: Sequence[str | None], warned: str, tmp_path: Path, here: None
) -> None:
    Image.radial_gradient("L").resize((224, 168)).save("a.png")
    rows = [{"id": at, "image": "a.png", "question": "What is it?", "answer": it} for at, it in enumerate(answers)]
    Path("rows.jsonl").write_text(
        "\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows)
    )
    done = virc("data", "check", "rows.jsonl", "--workers", 1, "--clean", "kept")
    assert (done.code, "4 rows are in kept" in done.err) == (0, True), done.err
    assert (warned in done.err, "no answer" in done.err) == (True, bool(warned))
    small = ("--set", "train_batch_size=4", "--set", "ppo_mini_batch_size=4")
    assert agree(Path("rows.jsonl"), "rl", (*WHOLE, *small)) == 5 * bool(warned)
    done = virc("eval", "rows.jsonl", "--model", "tiny", "--limit", 4)
    assert done.code == 5 * bool(warned), done.err
