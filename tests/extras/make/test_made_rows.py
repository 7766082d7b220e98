"""Rows that are made: their order, columns, pictures and ids, what is left out, and what is refused."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from extras.make.made import picture, read_rows, write_rows
from PIL import Image
from support.called import virc

from virc.core.errors import ConfigError
from virc_extras.make.run import make

OPERATOR = '''
"""Turn pictures, and say by how much."""

import msgspec
from virc_extras.make.operator import kept, left_out


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How they are turned.

    Args:
        turns: one of these quarters
            is drawn.
    """

    turns: tuple[int, ...] = (1, 2)


def run(row, means):
    if row.fields.get("bad"):
        return left_out("bad", "it is bad")
    if row.fields.get("wrong"):
        return row.fields["missing"]
    quarters = means.random.choice(means.options.turns)
    name = means.save(means.image(row, 0).rotate(90 * quarters, expand=True), "../turned")
    return kept({**row.fields, "image": name, "quarters": quarters}, {**row.fields, "quarters": 0})
'''
LEVELS = [{"id": f"r{at}", "level": at % 5, "x": {"y": [at]}} for at in range(20)]


@pytest.fixture
def turn(tmp_path: Path) -> str:
    (tmp_path / "turn.py").write_text(OPERATOR)
    return str(tmp_path / "turn.py")


def test_one_row_becomes_several_with_pictures_and_ids_of_their_own(turn: str, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    rows = [{"id": f"r{at}", "image": picture(folder / f"{at}.png", at), "odd": [at]} for at in range(5)]
    rows[3]["bad"] = True  # type: ignore[assignment]
    (folder / "4.png").write_text("no picture")
    files = [str(write_rows(folder / f"{at}.jsonl", rows[at:end])) for at, end in ((0, 2), (2, 5))]
    fields = make(turn, files, tmp_path / "to" / "new.jsonl")
    found = read_rows(tmp_path / "to" / "new.jsonl")
    left_out = [(row["id"], row["row"], row["why"]) for row in read_rows(tmp_path / "to" / "new.jsonl.left_out")]
    assert left_out[0] == ("r3", 4, "it is bad")
    assert left_out[1][:2] == ("r4", 5)
    assert "picture 1" in left_out[1][2]
    assert (fields["rows"], fields["kept"], fields["made"]) == (5, 3, 6)
    assert fields["left_out"] == {"bad": 1, "unreadable": 1}
    assert [row["id"] for row in found] == [f"r{at}-{part}" for at in range(3) for part in (1, 2)]
    assert all(row["odd"] == [int(row["id"][1])] for row in found)
    for row in found:
        with Image.open(tmp_path / "to" / row["image"]) as opened:
            assert opened.size == ((48, 64) if row["quarters"] == 1 else (64, 48))
    assert {path.parent.name for path in tmp_path.rglob("*turned*")} == {"new_images"}
    assert {path.name[:2] for path in tmp_path.rglob("*turned*")} == {"1-", "2-", "3-"}
    assert not [path for path in (tmp_path / "to").iterdir() if "progress" in path.name or "lock" in path.name]


def test_names_of_pictures_stay_valid_in_another_folder(tmp_path: Path) -> None:
    there = tmp_path / "rows"
    names = [picture(there / "a.PNG", 1), "../b.png", str(tmp_path / "c.png"), "https://example.com/d.png", "gone.png"]
    picture(there / ".." / "b.png", 2)
    picture(tmp_path / "c.png", 3)
    rows = [
        {"id": at, "images": [name], "more": {"at": [{"of": name}, 1]}, "note": "see a.png", "level": 1}
        for at, name in enumerate(names)
    ]
    file = str(write_rows(there / "rows.jsonl", rows))
    make("select", [file], tmp_path / "to" / "new.jsonl", {"column": "level"}, trust_rows=True)
    made_rows = read_rows(tmp_path / "to" / "new.jsonl")
    found = [row["images"][0] for row in made_rows]
    assert [row["more"] for row in made_rows] == [{"at": [{"of": name}, 1]} for name in found]
    assert (tmp_path / "to" / found[0]).read_bytes() == (there / "a.PNG").read_bytes()
    assert (tmp_path / "to" / found[1]).read_bytes() == (tmp_path / "b.png").read_bytes()
    assert found[2:] == names[2:]
    assert not any(".." in name for name in found)


def test_a_list_of_operators_gives_what_they_give_alone(turn: str, tmp_path: Path) -> None:
    rows = [{**row, "image": picture(tmp_path / f"{row['id']}.png", at)} for at, row in enumerate(LEVELS)]
    rows[2]["bad"] = True
    file = str(write_rows(tmp_path / "rows.jsonl", rows))
    (tmp_path / "steps.yml").write_text(
        f"- operator: select\n  column: level\n  min: 1\n- operator: {turn}\n  seed: 5\n- operator: split\n"
        "- operator: curriculum\n  column: level\n  buckets: 1\n"
    )
    to = tmp_path / "to" / "new.jsonl"
    fields = make(str(tmp_path / "steps.yml"), [file], to, ["seed=3"])
    make("select", [file], tmp_path / "one.jsonl", {"column": "level", "min": 1})
    make(turn, [str(tmp_path / "one.jsonl")], tmp_path / "two.jsonl", {"seed": 5})
    make("split", [str(tmp_path / "two.jsonl")], tmp_path / "half.jsonl", {"seed": 3})
    options = {"column": "level", "buckets": 1, "seed": 3}
    make("curriculum", [str(tmp_path / "half.jsonl")], tmp_path / "three.jsonl", options)
    ours, theirs = (read_rows(path) for path in (tmp_path / "to" / "new.jsonl", tmp_path / "three.jsonl"))
    assert [row | {"image": ""} for row in ours] == [row | {"image": ""} for row in theirs]
    assert all((tmp_path / "to" / row["image"]).is_file() for row in ours)
    assert (fields["rows"], fields["made"]) == (20, 27)
    assert fields["left_out"] == {"1 select: min": 4, "2 turn: bad": 1}
    assert (fields["left_out_file"], fields["operator"]) == (f"{to}.left_out", "select turn split curriculum")
    assert fields["others"] == {str(to.with_name("new.heldout.jsonl")): 3}
    left_out = [(row["step"], row["operator"]) for row in read_rows(tmp_path / "to" / "new.jsonl.left_out")]
    assert left_out == [(1, "select")] * 4 + [(2, "turn")]
    assert {path.name for path in (tmp_path / "to").iterdir() if path.suffix != ".png"} == {
        "new.jsonl", "new.jsonl.left_out", "new.heldout.jsonl", "new_images"
    }  # fmt: skip


def _changed(rows: Path, options: dict[str, Any]) -> None:
    rows.write_text(rows.read_text().replace('"level": 1', '"level": 2'))


def _other_options(rows: Path, options: dict[str, Any]) -> None:
    options["turns"] = [3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_changed, "row 'r1' has changed since it was done"),
        (_other_options, 'was begun with options {"turns":[1,2]}, not {"turns":[3]}'),
    ],
)
def test_a_continued_run_refuses_what_has_changed(
    change: Callable[[Path, dict[str, Any]], None], said: str, turn: str, tmp_path: Path
) -> None:
    rows = [{**row, "image": picture(tmp_path / f"{row['id']}.png", at)} for at, row in enumerate(LEVELS)]
    rows[9]["wrong"] = True
    file, options = write_rows(tmp_path / "rows.jsonl", rows), dict[str, Any]()
    with pytest.raises(ConfigError, match=r"line 23 of .*turn.py fails: KeyError: 'missing'"):
        make(turn, [str(file)], tmp_path / "new rows.jsonl", options)
    assert not (tmp_path / "new rows.jsonl").exists()
    change(file, options)
    with pytest.raises(ConfigError) as refused:
        make(turn, [str(file)], tmp_path / "new rows.jsonl", options)
    assert said in refused.value.message
    assert f"rm {shlex.quote(str(tmp_path / 'new rows.jsonl.progress'))}" in (refused.value.hint or "")
    assert not (tmp_path / "new rows.jsonl").exists()


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Six rows with a pass rate each."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", [{"id": at, "question": "q", "pass_rate": at / 10} for at in range(6)])
    return "rows.jsonl"


def test_the_command_makes_rows_as_it_is_told(rows: str, tmp_path: Path) -> None:
    words = ["data", "make", "select", rows, "--to", "hard.jsonl", "--set", "column=pass_rate", "--set", "max=0.25"]
    done = virc(*words, "--json")
    assert done.code == 0, done.err
    assert [row["id"] for row in read_rows(tmp_path / "hard.jsonl")] == [0, 1, 2]
    assert (done.json["rows"], done.json["kept"], done.json["operator"]) == (6, 3, "select")
    again = virc(*words)
    assert (again.code, "hard.jsonl is there already" in again.err) == (2, True)
    steps = "- {operator: select, column: pass_rate, max: 0.45}\n- {operator: select, column: pass_rate, min: 0.25}\n"
    (tmp_path / "steps.yaml").write_text(steps)
    assert virc("data", "make", "steps.yaml", rows, rows, "--to", "some.jsonl").out == "some.jsonl\n"
    assert [row["id"] for row in read_rows(tmp_path / "some.jsonl")] == [3, 4] * 2


def test_make_names_the_option_that_trusts_rows_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of").mkdir()
    picture(tmp_path / "out.png", 1)
    picture(tmp_path / "of" / "in.png", 2)
    given = [{"id": at, "image": str(tmp_path / where)} for at, where in enumerate(("out.png", "of/in.png"))]
    write_rows(tmp_path / "of" / "rows.jsonl", given)
    done = virc("data", "make", "rotation", "of/rows.jsonl", "--to", "new.jsonl")
    assert "warning: 1 row left out for pictures outside of their folder" in done.err
    assert "--trust-rows" in done.err
    assert "--trust-rows" in read_rows(tmp_path / "new.jsonl.left_out")[0]["why"]
    trusted = virc("data", "make", "rotation", "of/rows.jsonl", "--to", "all.jsonl", "--trust-rows")
    assert "left out" not in trusted.err
