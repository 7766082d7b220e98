"""What `make` writes, recounted from its files, for plans of every shape; its progress file; what is no operator."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from extras.make.made import read_rows, write_rows
from support.tables import each_case

from virc.core.errors import ConfigError, VircError
from virc.core.events import Event, Reporter
from virc_extras.make.job import write_lines
from virc_extras.make.progress import Progress, encoded
from virc_extras.make.run import make

PLAN = '''
"""Write what the options say."""

from typing import Any

import msgspec
from virc_extras.make.operator import LeftOut, Plan


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


@each_case(
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


HEAD = {"operator": "mine", "options": {"a": 1}, "seed": 0}


@each_case(
    ("content", "says"),
    [
        (b'{"schema": "other"}\n', "is not the progress of virc data make"),
        (b"nonsense\n", "is not the progress of virc"),
        (encoded({"schema": "virc.data.make.progress/1", **HEAD}) + b'\n{"n": "x"}\n', "is damaged: "),
        (encoded({"schema": "virc.data.make.progress/1", **HEAD, "seed": 1}) + b"\n", "was begun with seed 1, not 0"),
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
