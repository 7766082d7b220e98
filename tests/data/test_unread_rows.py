"""Rows that are no objects, files cut off, columns that nothing reads: what would be lost is said, with its place."""

import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from checking import FILE, good_set, report
from support.called import virc
from support.row_files import lines, saved

from virc.core.errors import DataError, UnreadError
from virc.core.json_stream import line_rows
from virc.data.check.run import CheckConfig, check_rows_of
from virc.data.convert.convert import ConvertConfig, convert


def rows(folder: Path) -> list[Any]:
    found: list[Any] = json.loads((folder / FILE).read_text())
    return found


def cut(folder: Path) -> Path:
    """A set whose third row of seven is broken, after which nothing of the file can be read."""
    good_set(folder)
    found = [json.dumps(row) for row in rows(folder)]
    (folder / FILE).write_text("[" + ",".join([*found[:2], '{"messages": oops}', *found[3:]]) + "]")
    return folder / FILE


@pytest.mark.parametrize("first", [0, 5])
def test_what_is_not_read_is_said_with_its_row(first: int, tmp_path: Path) -> None:
    file = cut(tmp_path / "a")
    clean = tmp_path / "clean"
    done = virc("data", "check", file, "--clean", clean, "--first", first, "--workers", 1)
    assert done.code == 5
    assert f"{file}:3: unread: it is not JSON: Expecting value at character 13\n" in done.out
    assert (
        f"2 rows are in {clean}, 1 with faults were left out; the rows behind row 3 of {file} were not read" in done.err
    )
    assert f"error: 1 of 3 rows has faults; the rows behind row 3 of {file} were not read\n" in done.err
    assert len(rows(clean)) == 2
    told = report(file)["datasets"][0]
    assert (told["unread_from"], told["unread"]) == (3, None)


def test_a_conversion_leaves_out_rows_that_it_can_count_alone(tmp_path: Path) -> None:
    file = cut(tmp_path / "a")
    for words in ((), ("--skip-faulty",), ("--skip-faulty", "--limit", 1)):
        done = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "trajectories", *words)
        assert done.code == 5
        assert f"{file}, row 3: it is not JSON" in done.err
        assert not (tmp_path / "to").exists()
    hint = done.err.rpartition("hint: ")[2]
    assert hint == f"virc data check {shlex.quote(str(file))} --clean DIR keeps the rows before it\n"
    typed = shlex.split(hint.partition(" keeps")[0])
    assert virc(*(tmp_path / "kept" if word == "DIR" else word for word in typed[1:])).code == 5
    assert len(rows(tmp_path / "kept")) == 2


def damaged(path: Path, count: int = 30, group: int = 10) -> Path:
    """RL rows of which the second group cannot be read."""
    prompt = [{"role": "user", "content": "q"}]
    row = {"prompt": prompt, "data_source": "a", "reward_model": {"ground_truth": "1"}}
    found = [row | {"extra_info": {"question": "q" * 400 + str(at)}} for at in range(count)]
    pq.write_table(pa.Table.from_pylist(found), path, row_group_size=group, compression="zstd")
    group = pq.read_metadata(path).row_group(1)
    start = min(group.column(index).dictionary_page_offset for index in range(group.num_columns))
    data = bytearray(path.read_bytes())
    data[start : start + 200] = bytes(200)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [0, 300])
def test_parquet_that_was_cut_off_is_a_fault_also_in_a_folder(size: int, tmp_path: Path) -> None:
    damaged(tmp_path / "good.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:size])
    for path in (tmp_path, tmp_path / "cut.parquet"):
        done = virc("data", "check", path, "--workers", 1)
        assert done.code == 5
        assert (
            f"{tmp_path / 'cut.parquet'}:1: unread: {tmp_path / 'cut.parquet'} cannot be read as parquet: " in done.out
        )
    refused = virc("data", "convert", tmp_path / "cut.parquet", "--to", tmp_path / "to", "--format", "batch")
    assert (refused.code, "Traceback" in refused.err) == (5, False)


class Failing(io.BytesIO):
    """A disk that fails after the first line."""

    def readline(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().readline(size)


def test_a_disk_that_fails_ends_the_rows() -> None:
    (_, first), (number, fault) = line_rows(Failing(b'{"a":1}\n{"a":2}\n'))
    assert first == {"a": 1}
    assert isinstance(fault, UnreadError)
    assert (number, fault.message) == (2, "line 2: it cannot be read: input/output error")


ROW: dict[str, Any] = {"id": 1, "image": "a.png", "question": "Which?", "answer": "red"}


def coloured(folder: Path, **columns: Any) -> Path:
    saved(folder, "a.png", 0)
    saved(folder, "b.png", 1)
    return lines(folder / "rows.jsonl", [ROW | columns, ROW | columns | {"id": 2}])


@pytest.mark.parametrize(
    "late",
    [
        {"hint": "It is a colour."}, {"prompt": "Count."}, {"options": ["red", "blue"]}, {"image_2": "b.png"},
        {"a": "red", "b": "blue"}, {"question2": "Why?"},
    ],
)  # fmt: skip
def test_a_column_that_only_later_rows_have_is_not_lost(late: dict[str, Any], tmp_path: Path) -> None:
    coloured(tmp_path)
    file = lines(tmp_path / "late.jsonl", [ROW | {"id": at} | (late if at == 23 else {}) for at in range(1, 26)])
    with pytest.raises(DataError, match=f"^{re.escape(str(file))}, row 23: nothing reads its {next(iter(late))} "):
        convert(ConvertConfig([file], tmp_path / "to", "batch"))


@pytest.mark.parametrize("skip", [True, False])
def test_rows_are_refused_unless_the_column_is_ignored(skip: bool, tmp_path: Path) -> None:
    file = coloured(tmp_path, meta={"crop": "b.png", "by": "me"}, direct_answers=["red", "crimson"])
    with pytest.raises(DataError, match=r"meta.crop \(pictures\) and direct_answers \(answers\)") as raised:
        convert(ConvertConfig([file], tmp_path / "to", "batch", skip_faulty=skip))
    assert "--ignore meta.crop --ignore direct_answers" in str(raised.value.hint)
    assert f"virc data layout {shlex.quote(str(file))} proposes" in str(raised.value.hint)
    convert(ConvertConfig([file], tmp_path / "to", "batch", ignore=("meta.crop", "direct_answers")))
    (row, _) = map(json.loads, (tmp_path / "to" / "rows.jsonl").read_text().splitlines())
    assert row == ROW | {"meta": {"by": "me"}}
    assert not check_rows_of(CheckConfig([tmp_path / "to"])).faults
