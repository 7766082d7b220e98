"""Rows that are longer than the cutoff, and what is done about them."""

import json
import re
from pathlib import Path

import pytest
from stage_rows import COUNT, chat_protocol, drawn, request

from virc.core.errors import DataError
from virc.data.check.images import file_of
from virc.data.formats.registry import get, only_source
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.training.preflight import lengths as counts
from virc.training.preflight.lengths import Length, Text, counting, lengths
from virc.training.preflight.sft import check


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "rows", "sft,trajectories")


def by_row(file: Path, cutoff: int = 2048, max_pixels: int = 12_845_056) -> list[Length]:
    source = only_source(file)
    records = [row.record for row in source.rows()]
    texts = [Text(each.messages, tuple(map(file_of, each.images))) for each in records]
    return lengths(counting(EMBEDDED_FOLDER, 3136, max_pixels, cutoff), texts)


def test_long_rows_are_refused_with_ways_out_that_lead_out(rows: Path) -> None:
    tokens = [each.tokens for each in by_row(rows)]
    cutoff = sorted(tokens)[-4]
    over = [number for number, count in enumerate(tokens, 1) if count > cutoff]
    with pytest.raises(DataError) as error:
        check(request(rows, cutoff_len=cutoff))
    message, hint = error.value.message, error.value.hint or ""
    assert f"{len(over)} of {COUNT} rows are longer than the cutoff_len of {cutoff} tokens" in message
    assert f"rows {', '.join(map(str, over))};" in message
    assert f"has {max(tokens)}" in message
    enough = int(re.findall(r"cutoff_len=(\d+)", hint)[0])
    assert check(request(rows, cutoff_len=enough)).longest == max(tokens) == enough
    small = int(re.findall(r"max_pixels=(\d+)", hint)[0])
    shrunk = check(request(rows, cutoff_len=cutoff, max_pixels=small))
    assert shrunk.longest <= cutoff
    assert shrunk.shrunk > 0
    assert "filter_overlong=true" in hint


@pytest.mark.parametrize("name", ["trajectories.json"])
def test_dropping_leaves_a_dataset_of_the_other_rows(rows: Path, tmp_path: Path, name: str) -> None:
    file = rows.with_name(name)
    tokens = [each.tokens for each in by_row(file)]
    cutoff = sorted(tokens)[COUNT // 2]
    fitting = [count for count in tokens if count <= cutoff]
    found = check(request(file, cutoff_len=cutoff, filter_overlong=True, folder=tmp_path / "fewer"))
    assert (found.rows, found.dropped) == (len(fitting), COUNT - len(fitting))
    assert (found.longest, found.total) == (max(fitting), sum(fitting))
    assert (found.file.parent, found.file.suffix) == (tmp_path / "fewer", file.suffix)
    source = only_source(found.file)
    records = [row.record for row in source.rows()]
    assert [image.name for each in records for image in each.images]
    assert all(Path(image.name).is_file() for each in records for image in each.images)
    before = [row.record for row in get(only_source(file).format).read(only_source(file))]
    kept = [each for each, count in zip(before, tokens, strict=True) if count <= cutoff]
    assert [each.messages for each in records] == [each.messages for each in kept]
    assert found.images == sum(len(each.images) for each in kept)
    assert [each.extra for each in records] == [each.extra for each in kept]
    assert read_protocol(tmp_path / "fewer" / FILE_NAME) == found.protocol
    again = check(request(found.file, cutoff_len=cutoff))
    assert (again.rows, again.total, again.dropped) == (len(fitting), sum(fitting), 0)


@pytest.mark.integration
def test_several_processes_count_what_one_counts(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}]
    with (tmp_path / "rows.jsonl").open("w") as file:
        for number in range(4100):
            turns[1]["content"] = "word " * (number % 37)
            file.write(json.dumps({"messages": turns}) + "\n\n" * (number % 2) + "\n")
    protocol = chat_protocol(tmp_path, system="")
    one, two = (check(request(tmp_path / "rows.jsonl", protocol=protocol, workers=workers)) for workers in (1, 2))
    assert one == two
    assert one.rows == 4100


def test_second_check_decodes_nothing(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = check(request(rows))
    monkeypatch.setattr(counts, "stored_image", None)
    assert check(request(rows)) == first
