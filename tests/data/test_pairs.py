"""Pairs of a better and a worse reply: they are checked, shown, and converted from and to what others publish."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import published_pairs
from support.called import virc
from support.published_rows import picture

from virc.data.formats import registry as formats
from virc.data.formats.registry import only_source
from virc.data.rows.record import Record

Row = dict[str, Any]


def pair(at: int = 0, **changes: Any) -> Row:
    """A good row, with some of its columns changed."""
    row = {
        "id": f"p{at}",
        "messages": [{"role": "user", "content": "<image>Which number?"}],
        "chosen": {"role": "assistant", "content": "It is 12."},
        "rejected": {"role": "assistant", "content": "It is 3."},
        "images": ["a.png"],
        "margin": 0.5,
    }
    return row | changes


def rows(folder: Path, *written: Row) -> Path:
    picture(0).save(folder / "a.png")
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in written))
    return file


def records(file: Path) -> list[Record]:
    source = only_source(file)
    return [row.known() for row in formats.get(source.format).read(source)]


@pytest.mark.parametrize("write", published_pairs.ALL)
def test_published_pairs_are_checked_and_converted(write: Callable[[Path], Path], tmp_path: Path) -> None:
    file, to = write(tmp_path), tmp_path / "to"
    done = virc("data", "check", file, "--workers", 1)
    assert done.code == 0, done.out + done.err
    done = virc("data", "convert", file, "--to", to, "--format", "pairs")
    assert done.code == 0, done.err
    (made,) = to.glob("*.jsonl")
    found = [json.loads(line) for line in made.read_text().splitlines()]
    step = write is published_pairs.visrl
    for at, row in enumerate(found):
        assert [turn["role"] for turn in row["messages"]][-1] == "user"
        assert row["messages"][-1]["content"].count("<image>") == 1
        assert published_pairs.QUESTION in row["messages"][-1]["content"]
        better = "[0.1, 0.1, 0.4, 0.5]" if step else f"It says {published_pairs.NUMBERS[at]}."
        worse = "[0.7, 0.7, 0.9, 0.9]" if step else "It says 3."
        assert row["chosen"] == {"role": "assistant", "content": better}
        assert row["rejected"] == {"role": "assistant", "content": worse}
        assert (to / row["images"][0]).is_file()
    assert len(found) == 3
    assert virc("data", "check", to, "--workers", 1).code == 0


def test_the_entry_is_that_of_ranked_rows(tmp_path: Path) -> None:
    to = tmp_path / "to"
    assert virc("data", "convert", published_pairs.mmpr(tmp_path), "--to", to, "--format", "pairs").code == 0
    entry = json.loads((to / "dataset_info.json").read_text())["mmpr"]
    assert entry["ranking"] is True
    assert entry["columns"] == {
        "messages": "messages", "images": "images", "chosen": "chosen", "rejected": "rejected"
    }  # fmt: skip


FAULTS = {
    "marks": (pair(images=[]), "1 <image> marks for 0 images"),
    "side_image": (pair(rejected={"role": "assistant", "content": "<image>It is 3."}), "its rejected reply holds"),
    "equal_sides": (pair(rejected=pair()["chosen"]), "are the same"),
    "empty_side": (pair(chosen={"role": "assistant", "content": " "}), "its chosen reply is empty"),
    "margin": (pair(margin=-1), "its margin is -1"),
    "end": (
        pair(messages=[*pair()["messages"], {"role": "assistant", "content": "Hm."}]),
        "its messages end with one of assistant",
    ),
    "roles": (pair(messages=[pair()["messages"][0], pair()["messages"][0]], images=["a.png"] * 2), "is of user"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_named_with_its_row(kind: str, tmp_path: Path) -> None:
    row, sentence = FAULTS[kind]
    done = virc("data", "check", rows(tmp_path, pair(0), row | {"id": "p1"}), "--workers", 1)
    assert done.code == 5
    assert f"rows.jsonl:2: {kind}: " in done.out
    assert sentence in done.out
    assert "2 rows, 1 good" in done.out


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (pair(rejected="It is 3."), "it has no rejected, an object with role and content"),
        (pair(chosen={"role": "user", "content": "a"}), "its chosen has the role 'user', and the assistant is due"),
        (pair(chosen={"role": "assistant", "content": 3}), "its chosen has no text as content"),
        (pair(messages="What?"), "its messages are not a list of objects"),
    ],
)
def test_rows_that_cannot_be_read_are_faults(row: Row, sentence: str, tmp_path: Path) -> None:
    done = virc("data", "check", rows(tmp_path, pair(0), row | {"id": "p1"}), "--workers", 1)
    assert done.code == 5
    assert f"rows.jsonl:2: row: {sentence}" in done.out


def test_clean_keeps_the_good_pairs(tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    file = rows(tmp_path, pair(0), pair(1, margin=-1), pair(2, margin=0))
    done = virc("data", "check", file, "--workers", 1, "--clean", clean)
    assert done.code == 5
    kept = [json.loads(line) for line in (clean / "rows.jsonl").read_text().splitlines()]
    assert kept == [pair(0), pair(2, margin=0)]


def test_pairs_come_back_from_a_conversion_as_they_were(tmp_path: Path) -> None:
    file, to = rows(tmp_path, pair(0), pair(1, margin=None, level="hard")), tmp_path / "to"
    assert virc("data", "convert", file, "--to", to, "--format", "pairs").code == 0
    assert (to / "rows.jsonl").read_text().splitlines() == [
        json.dumps(row, separators=(",", ":")) for row in (pair(0), pair(1, margin=None, level="hard"))
    ]


def test_the_chosen_reply_becomes_a_solution(tmp_path: Path) -> None:
    file, to = rows(tmp_path, pair(0)), tmp_path / "to"
    done = virc("data", "convert", file, "--to", to, "--format", "sft")
    assert done.code == 0, done.err
    assert "lost in this format: the rejected replies" in done.err
    (row,) = json.loads((to / "rows.json").read_text())
    assert row["messages"] == [*pair()["messages"], pair()["chosen"]]


def test_solutions_do_not_become_pairs(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "drawn", "--count", 2, "--workers", 1).code == 0
    file = tmp_path / "drawn" / "trajectories.json"
    done = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "pairs")
    assert done.code == 5
    assert "holds solutions, and no pairs of replies" in done.err
    assert not (tmp_path / "to").exists()


def test_pairs_keep_their_chat_protocol(tmp_path: Path) -> None:
    file = rows(tmp_path, pair(0))
    done = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "pairs", "--coordinates", "permille")
    assert done.code == 2
    assert "pairs stay in the chat protocol that they are written in" in done.err


def test_both_replies_are_shown(tmp_path: Path) -> None:
    file = rows(tmp_path, pair(0))
    done = virc("data", "show", file)
    assert done.code == 0, done.err
    assert "chosen     It is 12." in done.out
    assert "rejected   It is 3." in done.out
    assert "margin     0.5" in done.out
    shown = virc("data", "show", file, "--json", "--html", tmp_path).json
    assert (shown["chosen"], shown["rejected"], shown["margin"]) == ("It is 12.", "It is 3.", 0.5)
    assert shown["messages"] == pair()["messages"]
    assert "It is 3." in Path(shown["html"]).read_text()


def test_an_entry_without_ranking_is_a_fault(tmp_path: Path) -> None:
    file = rows(tmp_path, pair(0))
    columns = {"messages": "messages", "images": "images", "chosen": "chosen", "tools": "tools"}
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
            "system_tag": "system"}  # fmt: skip
    entry = {"file_name": file.name, "formatting": "sharegpt", "columns": columns, "tags": tags}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"own": entry}))
    done = virc("data", "check", file, "--workers", 1)
    assert done.code == 5
    assert "ranking is not on" in done.out
    assert "columns name no rejected" in done.out
    assert "columns name tools, which virc does not support" in done.out
    assert "columns name chosen" not in done.out


SIDES_FAULTS = {
    "other_turns": ([{"role": "user", "content": "<image>Which letter?"}], "do not follow the same turns"),
    "no_turns": ([], "do not follow the same turns"),
    "no_turns_at_all": (None, "have no turns before them"),
}


@pytest.mark.parametrize("name", SIDES_FAULTS)
def test_sides_that_begin_with_other_turns_are_no_pair(name: str, tmp_path: Path) -> None:
    before, fault = SIDES_FAULTS[name]
    (row,) = [json.loads(line) for line in published_pairs.trl_implicit(tmp_path).read_text().splitlines()[:1]]
    row["rejected"][:-1] = before or []
    if before is None:
        row["chosen"][:-1] = []
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    done = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "pairs")
    assert (done.code, fault in done.err) == (5, True), done.err


def test_sides_may_write_the_same_turns_in_two_forms(tmp_path: Path) -> None:
    (row,) = [json.loads(line) for line in published_pairs.trl_implicit(tmp_path).read_text().splitlines()[:1]]
    row["rejected"][:-1] = [{"from": "human", "value": each["content"]} for each in row["chosen"][:-1]]
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    done = virc("data", "convert", tmp_path / "rows.jsonl", "--to", tmp_path / "to", "--format", "pairs")
    assert done.code == 0, done.err
