"""What `make` writes, recounted from its files, for plans of every shape; its progress file; what is no operator."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from making_rows.made import picture, read_rows, write_rows

from virc.core.errors import ConfigError, DataError, UsageError, VircError
from virc.core.events import Event, Reporter
from virc.data.make import registry
from virc.data.make.asking import Models
from virc.data.make.job import write_lines
from virc.data.make.operator import Cost, LeftOut, Means
from virc.data.make.progress import Line, Progress, encoded
from virc.data.make.rows import count, digest, read
from virc.data.make.run import make

PLAN = '''
"""Write what the options say."""

from typing import Any

import msgspec
from virc.data.make.operator import LeftOut, Plan


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a plan.

    Args:
        order: numbers of rows.
        others: numbers of rows of another file.
        ids: number -> id.
        out: number -> rule.
    """

    order: list[int] = []
    others: list[int] = []
    ids: dict[str, str] = {}
    out: dict[str, str] = {}


def measure(row, means):
    if row.fields.get("bad"):
        return LeftOut("bad", f"{row.id} is bad")
    return {"number": row.number, "source": row.source}


def plan(measured, means):
    for _ in range(2):  # it may be gone through again
        seen = [(each.number, each.value["number"], each.source, each.value["source"]) for each in measured]
    assert all(a == b and c == d for a, b, c, d in seen), seen
    options = means.options
    return Plan(
        options.order, {int(at): LeftOut(rule, "said") for at, rule in options.out.items()},
        {"more": options.others} if options.others else {}, {int(at): id for at, id in options.ids.items()},
    )
'''


@pytest.mark.parametrize(
    ("options", "ids", "more", "rules"),
    [
        ({"order": [1, 3, 4, 5]}, ["a", "c", "d", "e"], None, {2: "bad"}),
        ({"order": [5, 1]}, ["e", "a"], None, {2: "bad", 3: "plan", 4: "plan"}),
        ({"order": [1, 3, 1, 1], "others": [4, 4]}, ["a", "c", "a-2", "a-3"], ["d", "d-2"], {2: "bad", 5: "plan"}),
        ({"order": [1, 3], "others": [1, 5], "ids": {"1": "A", "5": "E"}}, ["A", "c"], ["A", "E"],
         {2: "bad", 4: "plan"}),
        ({"order": [1, 1], "ids": {"1": "A"}, "out": {"2": "worse", "3": "odd", "4": "odd"}}, ["A", "A-2"], None,
         {2: "worse", 3: "odd", 4: "odd", 5: "plan"}),
        ({}, [], None, {1: "plan", 2: "bad", 3: "plan", 4: "plan", 5: "plan"}),
    ],
)  # fmt: skip
def test_rows_of_a_plan_are_written_or_left_out(
    options: dict[str, Any], ids: list[str], more: list[str] | None, rules: dict[int, str], tmp_path: Path
) -> None:
    (tmp_path / "planned.py").write_text(PLAN)
    one = write_rows(tmp_path / "one.jsonl", [{"id": "a"}, {"id": "b", "bad": True}, {"id": "c"}])
    two, events = write_rows(tmp_path / "two.jsonl", [{"id": "d"}, {"id": "e"}]), list[Event]()
    to, sources = tmp_path / "new.jsonl", (str(one), str(two))
    fields = make(str(tmp_path / "planned.py"), sources, to, options, report=Reporter(events.append))
    assert [row["id"] for row in read_rows(to)] == ids
    second = to.with_name("new.more.jsonl")
    assert ([row["id"] for row in read_rows(second)] if second.exists() else None) == more
    left_out = read_rows(tmp_path / "new.jsonl.left_out")
    whys = {"bad": "b is bad", "plan": ""}
    assert left_out == [
        {"id": "_abcde"[at], "row": at, "source": sources[at > 3], "rule": rule, "why": whys.get(rule, "said")}
        for at, rule in rules.items()
    ]
    counts = Counter(rules.values())
    expected = {
        "to": str(to), "rows": 5, "kept": 5 - len(rules), "made": len(ids) + len(more or ()), "left_out": counts,
        "others": {str(second): len(more)} if more else {}, "operator": "planned", "replies": 0,
        "left_out_file": f"{to}.left_out", "tokens": {"prompt": 0, "completion": 0},
    }  # fmt: skip
    assert {name: fields[name] for name in expected} == expected
    said = f"5 rows: {expected['kept']} kept, {expected['made']} made; left out: "
    said += f"{', '.join(f'{number} {rule}' for rule, number in counts.items())}; {to}.left_out says which"
    said += f"; {len(more)} of them in {second}" if more else ""
    assert events[-1 if ids else -2].text == said
    assert sorted(each.name for each in tmp_path.iterdir() if "new" in each.name) == sorted(
        ["new.jsonl", "new.jsonl.left_out", *(["new.more.jsonl"] if more else [])]
    )


SEVERAL = '''
"""Make rows of the ids that a row lists, and say what was drawn."""

import msgspec
from virc.data.make.operator import kept


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None."""


def run(row, means):
    drawn = means.random.random()
    return kept(*({"id": id, "drawn": drawn, "at": row.number} if id else {"drawn": drawn} for id in row.fields["ids"]))
'''


def test_rows_have_the_ids_that_they_are_given_and_draws_are_those_of_the_seed(tmp_path: Path) -> None:
    (tmp_path / "several.py").write_text(SEVERAL)
    listed = [["x", "y"], [None, None], ["r2", "z"], [None], ["w"], []]
    rows = write_rows(tmp_path / "rows.jsonl", [{"id": f"r{at}", "ids": ids} for at, ids in enumerate(listed)])

    def run(name: str, **options: Any) -> list[dict[str, Any]]:
        to = tmp_path / "deep" / "er" / name
        fields = make(str(tmp_path / "several.py"), [str(rows)], to, options)
        assert (fields["rows"], fields["kept"], fields["made"], fields["left_out"]) == (6, 6, 8, {})
        assert 0 <= fields["seconds"] < 60
        return read_rows(to)

    found = run("a.jsonl")
    assert [row["id"] for row in found] == ["x", "y", "r1-1", "r1-2", "r2-1", "z", "r3", "w"]
    assert len({row["drawn"] for row in found}) == 5  # of a row the same, of rows others
    assert run("b.jsonl", seed=0) == found
    assert [row["drawn"] for row in run("c.jsonl", seed=1)] != [row["drawn"] for row in found]


def test_as_many_rows_are_made_at_once_as_the_slowest_model_takes() -> None:
    opened: Any = {
        name: SimpleNamespace(opened=SimpleNamespace(name=name.upper(), at_once=count, answers=None))
        for name, count in (("a", 4), ("b", 2), ("c", 8))
    }
    assert [Models(opened).workers(asked) for asked in (None, 7)] == [2, 7]
    assert (Models(opened).names, Models().workers(None)) == ({"a": "A", "b": "B", "c": "C"}, 1)


HEAD = {"operator": "mine", "options": {"a": 1}, "seed": 0}
DIGEST = bytes(range(8))


def line(n: int, **more: Any) -> Line:
    return Line(n, DIGEST.hex(), f"r{n}", **more)


def test_a_progress_file_knows_what_is_done(tmp_path: Path) -> None:
    file = tmp_path / "to" / "new.jsonl.progress"
    with Progress(file, HEAD, safe=True) as progress:
        assert (progress.last, progress.resumed, progress.done(1, DIGEST), [*progress.lines()]) == (-1, 0, False, [])
        progress.add(line(3, cost=Cost(2, 30, 4), value={"a": 1}))
        assert progress.once(1, DIGEST.hex(), "key", lambda: "one") == "one"
        assert progress.once(1, DIGEST.hex(), "key", lambda: "two") == "one"
        assert progress.once(1, DIGEST.hex(), "other", lambda: "three") == "three"
        progress.add(line(2, out=LeftOut("bad", "why"), cost=Cost(1, 10, 1)))
        assert len(file.read_bytes().splitlines()) == 5
    with Progress(file, HEAD, safe=False) as progress:
        assert (progress.last, progress.resumed, progress.cost) == (3, 2, Cost(3, 40, 5))
        found = {at: progress.done(at, DIGEST) for at in range(5)}
        assert found == {0: False, 1: False, 2: True, 3: True, 4: False}
        assert progress.done(3, DIGEST[::-1]) is None
        assert [(each.n, each.out, each.value) for each in progress.lines()] == [
            (2, LeftOut("bad", "why"), None), (3, None, {"a": 1}),
        ]  # fmt: skip
        assert [each.n for each in progress.lines(iter([3, 1, 2, 3]))] == [3, 2, 3]
        assert progress.once(1, DIGEST.hex(), "key", lambda: "new") == "one"
        progress.add(line(1))
        assert progress.once(1, DIGEST.hex(), "key", lambda: "new") == "new"  # of a row that is done nothing is kept


def test_what_cannot_stand_in_a_row_or_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object cannot stand in a row"):
        encoded({"a": object()})
    with pytest.raises(VircError, match=f"cannot write {tmp_path}: "), Progress(tmp_path, HEAD, safe=False):
        pass


def test_a_progress_file_without_a_line_goes_and_one_with_a_reply_stays(tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl.progress"
    with Progress(file, HEAD, safe=False):
        assert file.exists()
    assert not file.exists()
    with Progress(file, HEAD, safe=False) as progress:
        progress.once(1, DIGEST.hex(), "key", lambda: 1)
    assert file.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"schema": "other"}\n', "is not the progress of virc data make"), (b"[1]\n", "is not the progress of virc"),
        (b"nonsense\n", "is not the progress of virc"), (b"\n", "is not the progress of virc"),
        (encoded({"schema": "virc.data.make.progress/1", **HEAD}) + b'\n{"n": "x"}\n', "is damaged: "),
        (encoded({"schema": "virc.data.make.progress/1", **HEAD, "seed": 1}) + b"\n", "was begun with seed 1, not 0"),
        (encoded({"schema": "virc.data.make.progress/1", **HEAD, "files": {}}) + b"\n",
         "was begun with files {}, not null"),
        (encoded({"schema": "virc.data.make.progress/1", "operator": "mine", "seed": 0}) + b"\n",
         'was begun with options null, not {"a":1}'),
    ],
)  # fmt: skip
def test_a_progress_file_of_something_else_is_refused_and_stays(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl.progress"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused, Progress(file, HEAD, safe=False):
        pass
    assert says in refused.value.message
    hint = "choose another --to" if "not the progress" in says else f"rm {file} "
    assert hint in (refused.value.hint or "")
    assert file.read_bytes() == content


def test_rows_that_cannot_be_written_leave_the_file_before_them(tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl"
    assert write_lines(file, [b"1", b"2"]) == 2

    def fails() -> Iterator[bytes]:
        yield b"3"
        raise KeyError

    with pytest.raises(KeyError):
        write_lines(file, fails())
    assert (file.read_text(), [*tmp_path.iterdir()]) == ("1\n2\n", [file])
    (tmp_path / "taken").mkdir()
    with pytest.raises(VircError, match=f"cannot write {tmp_path / 'taken'}: "):
        write_lines(tmp_path / "taken", [b"1"])
    assert sorted(tmp_path.iterdir()) == [file, tmp_path / "taken"]


def test_a_line_that_is_not_whole_is_written_again(tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl.progress"
    with Progress(file, HEAD, safe=False) as progress:
        progress.add(line(1))
    whole = file.read_bytes()
    file.write_bytes(whole + encoded(line(2))[:-1])
    with Progress(file, HEAD, safe=False) as progress:
        assert (progress.last, progress.resumed) == (1, 1)
        progress.add(line(2))
    assert file.read_bytes() == whole + encoded(line(2)) + b"\n"
    file.write_bytes(whole[:20])  # not even its head
    with Progress(file, HEAD, safe=False) as progress:
        progress.add(line(1))
    assert file.read_bytes() == whole


DEFINED = "import msgspec\nclass Options(msgspec.Struct):\n    a: int = 1\n"


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (DEFINED + "def run(row, means): pass", True),
        (DEFINED + "def measure(r, m): pass\ndef plan(r, m): pass", True),
        (DEFINED, False), (DEFINED + "def measure(r, m): pass", False), (DEFINED + "def plan(r, m): pass", False),
        ("def run(row, means): pass", False), ("class Options: pass\ndef run(row, means): pass", False),
        ("Options = 1\ndef run(row, means): pass", False),
        (DEFINED + "def run(r, m): pass\ndef measure(r, m): pass\ndef plan(r, m): pass", False),
    ],
)  # fmt: skip
def test_an_operator_has_options_and_one_way_to_work(text: str, fine: bool, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f'"""Does it.\n\nMore.\n"""\n{text}\n')
    if fine:
        assert (registry.get(str(file)).name, registry.get(str(file)).title) == ("mine", "Does it.")
        return
    with pytest.raises(ConfigError) as refused:
        registry.get(str(file))
    assert refused.value.message == f"{file} is no operator"
    assert refused.value.hint == "it defines Options, and run, or measure and plan"


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (["column=id", "contains=0012", "min=2", "missing=true"],
         {"column": "id", "contains": "0012", "min": 2, "missing": True}),
        (["contains= yes ", "equal=5"], {"contains": "yes", "equal": "5"}), ({"min": 1}, {"min": 1}), ([], {}),
        (["column=a=b", "column=c"], {"column": "c"}), (["seed=7"], {"seed": 7}), (["equal= yes"], {"equal": "yes"}),
    ],
)  # fmt: skip
def test_settings_are_read_by_what_the_option_takes(settings: Any, values: dict[str, Any]) -> None:
    assert registry.parsed(settings, registry.get("select")) == values


@pytest.mark.parametrize(
    ("setting", "says"),
    [("min", "--set min: it is KEY=VALUE"), ("=1", "--set =1: it is KEY=VALUE"), ("min=[", "--set min")],
)
def test_a_setting_that_cannot_be_read_is_refused(setting: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        registry.parsed([setting], registry.get("select"))
    assert says in refused.value.message


def test_rows_are_numbered_over_all_files_and_keep_what_they_are(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    one = write_rows(tmp_path / "one.jsonl", [
        {"id": "x", "image": "a.png", "question": "What?"}, {"id": True, "images": ["a.png", "a.png"], "question": "Q"},
        {"id": "c", "query": "Which?", "choices": ["red", "blue"], "image": "a.png"}, {"level": 1},
    ])  # fmt: skip
    with one.open("a") as file:
        file.write("nonsense\n")
    two = write_rows(tmp_path / "b" / "two.jsonl", [{"id": 7, "images": [None, "a.png"]}, {"level": 2}])
    with two.open("a") as file:
        file.write("[]\n")
    rows = [*read([str(one), str(two)])]
    assert [(row.number, row.id, row.source) for row in rows] == [
        (1, "x", 0), (2, 2, 0), (3, "c", 0), (4, 4, 0), (5, 5, 0), (6, 7, 1), (7, 7, 1), (8, 8, 1),
    ]  # fmt: skip
    assert [row.images for row in rows[:6]] == [("a.png",), ("a.png", "a.png"), ("a.png",), (), (), ("a.png",)]
    assert [row.question for row in rows[:2]] == ["What?", "Q"]
    assert all(choice in rows[2].question for choice in ("Which?", "red", "blue"))
    assert [bool(row.fault) for row in rows] == [False] * 4 + [True, False, False, True]
    assert [row.base for row in rows[4:6]] == [tmp_path, tmp_path / "b"]
    assert count([str(one), str(two)]) == 8
    assert len({digest(row) for row in rows}) == 8
    assert [digest(row) for row in read([str(one), str(two)])] == [digest(row) for row in rows]
    with pytest.raises(DataError, match="there is no file"):
        next(read([str(tmp_path / "none.jsonl")]))
    table, saved = pa.Table.from_pylist([{"id": 1, "image": "a.png"}]), tmp_path / "saved"
    saved.mkdir()
    with (saved / "a.arrow").open("wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    (saved / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
    assert [(row.id, row.base) for row in read([str(saved)])] == [(1, saved)]
    (tmp_path / "cut.json").write_text('[{"id": 1}, {"id"')
    with pytest.raises(DataError, match=r"cut.json: row 2: the file ends within it"):
        list(read([str(one), str(tmp_path / "cut.json")]))


def test_an_operator_is_told_which_picture_a_row_lacks(tmp_path: Path) -> None:
    names = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", size=(8, 6))]
    (row,) = read([str(write_rows(tmp_path / "rows.jsonl", [{"images": names, "question": "q"}]))])
    means = Means[Any](None, 5, tmp_path / "new.jsonl", "7-")  # type: ignore[type-var]
    assert [means.data(row, at) for at in (0, 1)] == [(tmp_path / name).read_bytes() for name in names]
    assert [means.image(row).size, means.image(row, 1).size] == [(64, 48), (8, 6)]
    for at in (2, 3):
        with pytest.raises(DataError) as refused:
            means.data(row, at)
        assert refused.value.message == f"it has 2 pictures, and picture {at + 1} is needed"
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(DataError, match="picture 2"):
        means.image(row, 1)
    assert [means.random.random() for _ in range(2)] == [*map(lambda dice: dice.random(), [dice := Random(5), dice])]
