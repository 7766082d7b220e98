"""Rows of single units become trajectories again, as far as they are known."""

from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
from data.parquet_sets import joined_units, known, written
from support import crux

from virc.data.formats import registry as formats
from virc.data.formats import rl, sft
from virc.data.formats.registry import Source
from virc.data.rows.record import final_answer


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
