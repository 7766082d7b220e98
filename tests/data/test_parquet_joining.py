"""Rows of single units become trajectories again, as far as they are known."""

from pathlib import Path

import msgspec
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from data.parquet_sets import example, joined_units, known, written
from support import crux

from virc.core.errors import DataError
from virc.data.formats import registry as formats
from virc.data.formats import rl, sft
from virc.data.formats.registry import Row, Source
from virc.data.rows.record import Message, Picture, Record, final_answer


def test_published_rows_are_trajectories_without_their_last_unit(tmp_path: Path) -> None:
    made = crux.build(tmp_path, rows=8, unpacked=True)
    rows = joined_units(rl.read(Source(made.train, "rl", "train")))
    whole = known(list(sft.read(formats.sources(made.dynamic)[0])))
    cut = known(rows)
    assert [record.messages for record in cut] == [record.messages[:-1] for record in whole]
    assert all(rl.is_cut(record) for record in cut)
    assert not any(rl.is_cut(record) for record in whole)
    assert [record.answer for record in cut] == [final_answer(record) for record in whole]
    pictures = [[picture.read() for picture in record.images] for record in cut]
    assert pictures == [[picture.read() for picture in record.images] for record in whole]
    assert all(record.question and record.question in record.messages[1].content for record in cut)
    numbers = [row.number for row in rows]
    assert numbers == sorted(numbers)
    assert numbers[:3] == [2, 5, 8]  # of each problem its last row


def test_published_rows_written_again_are_the_same_rows(tmp_path: Path) -> None:
    made = crux.build(tmp_path / "crux", rows=8)
    units = known(list(rl.read(Source(made.train, "rl", "train"))))
    joined = known(joined_units(rl.read(Source(made.train, "rl", "train"))))
    theirs = pq.read_table(made.train).to_pylist()
    for name, found in (("units", units), ("joined", joined)):
        ours = pq.read_table(written(tmp_path / name, rl, found, embed=True).file).to_pylist()
        for row in ours:
            for key in ("id", "id_is_int", "extra", "turn", "reference"):
                del row["extra_info"][key]
        assert ours == theirs


def test_rows_are_joined_only_where_one_continues_the_other() -> None:
    def row(number: int, record: Record) -> Row:
        return Row(number, record)

    first, again, other = example(2), example(2), example(1, id="b")
    units = [unit for record in (first, again, other) for unit in rl.split(record)]
    fault = Row(9, fault=DataError("row 9: broken"))
    rows = [row(number, unit) for number, unit in enumerate(units, 1)]
    joined = joined_units([*rows[:4], fault, *rows[4:]])
    assert [found.record for found in joined] == [first, again, None, other]
    assert [found.number for found in joined] == [2, 4, 9, 5]
    assert joined[2] is fault
    apart = msgspec.structs.replace(units[1], id="c")
    assert [found.number for found in joined_units([row(1, units[0]), row(2, apart)])] == [1, 2]
    elsewhere = msgspec.structs.replace(units[1], images=(Picture("x.png"), *units[1].images[1:]))
    assert [found.number for found in joined_units([row(1, units[0]), row(2, elsewhere)])] == [1, 2]
    one, text = msgspec.structs.replace(units[0], id=1), msgspec.structs.replace(units[1], id="1")
    assert [found.number for found in joined_units([row(1, one), row(2, text)])] == [1, 2]
    redrawn = msgspec.structs.replace(units[1], images=(Picture("images/0.png", data=b"other"), *units[1].images[1:]))
    assert [found.number for found in joined_units([row(1, units[0]), row(2, redrawn)])] == [1, 2]
    foreign = (Message("system", "Another."), *units[1].messages[1:])
    unlike = msgspec.structs.replace(units[1], messages=foreign)
    assert [found.number for found in joined_units([row(1, units[0]), row(2, unlike)])] == [1, 2]
    unsolved = msgspec.structs.replace(units[0], messages=units[0].messages[:-1])
    assert [found.number for found in joined_units([row(1, unsolved), row(2, units[0])])] == [1, 2]
    (swapped,) = joined_units([row(1, units[1]), row(2, units[0])])
    assert swapped.record
    assert swapped.record.messages == units[1].messages
