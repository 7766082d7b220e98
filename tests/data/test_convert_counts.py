"""What a conversion reads, writes and leaves out, recounted from its files; and what it says where it is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import VircError
from virc.data.convert.convert import ConvertConfig, Report, Split, convert

BROKEN = {3: "{", 7: '{"id": 1}'}
"""Places of rows that cannot be read, from 0."""
GOOD = [f"r{at}" for at in range(12) if at not in BROKEN]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Twelve problems, of which two cannot be read; every fourth has the same picture."""
    return problems(tmp_path / "from" / "rows.jsonl", 12, BROKEN)


def problems(file: Path, count: int, broken: Mapping[int, str] = {}, pictures: int = 4, first: str = "r") -> Path:
    file.parent.mkdir(exist_ok=True)
    for at in range(pictures):
        Image.new("RGB", (56, 56), (at, 0, ord(first))).save(file.with_name(f"{first}{at}.png"))
    asked = {"question": "How long is AB?", "answer": "5"}
    lines = [json.dumps({"id": f"{first}{at}", "image": f"{first}{at % pictures}.png", **asked}) for at in range(count)]
    file.write_text("".join(f"{broken.get(at, line)}\n" for at, line in enumerate(lines)))
    return file


def made(to: Path, *sources: Path, **more: Any) -> tuple[Report, dict[str, list[Any]]]:
    """The report of a conversion into problems, and the ids in each of its files."""
    report = convert(ConvertConfig(sources, to, "batch", **more))
    ids = {file.stem: [json.loads(line)["id"] for line in file.read_text().splitlines()] for file in to.glob("*.jsonl")}
    assert [(each.name, each.rows_out) for each in report.datasets] == [
        (each.name, len(ids.get(each.name, ()))) for each in report.datasets
    ]
    assert {each.name for each in report.datasets} >= ids.keys()
    assert report.rows_bytes == sum(file.stat().st_size for file in to.iterdir() if file.is_file())
    assert report.images_bytes == sum(file.stat().st_size for file in to.rglob("*.png"))
    return report, ids


def refused(to: Path, *sources: Path, **more: Any) -> VircError:
    with pytest.raises(VircError) as caught:
        convert(ConvertConfig(sources, to, more.pop("format", "batch"), **more))
    assert not to.exists()
    return caught.value


@pytest.mark.parametrize(("share", "limit"), [(0.3, None), (0.5, 8), (0.5, 5)])
def test_a_part_set_aside_shares_no_picture_and_faults_count_once(
    share: float, limit: int | None, rows: Path, tmp_path: Path
) -> None:
    report, ids = made(tmp_path / "to", rows, skip_faulty=True, split=Split("held", share), limit=limit)
    assert [each.name for each in report.datasets] == ["rows_train", "rows_held"]
    assert [(each.rows_in, each.left_out) for each in report.datasets] == [(12, 2), (12, 0)]
    assert len(report.faults) == 2
    train, held = ids["rows_train"], ids["rows_held"]
    whole = made(tmp_path / "whole", rows, skip_faulty=True, limit=limit)[1]["rows"]
    assert sorted(train + held) == sorted(whole)
    assert 0 < len(held) <= share * len(whole)
    assert not {int(key[1:]) % 4 for key in train} & {int(key[1:]) % 4 for key in held}
    assert [train, held] == [[key for key in GOOD if key in side] for side in (train, held)]


@pytest.mark.parametrize("more", [{}, {"limit": 1}, {"split": Split("held", 0.5)}])
@pytest.mark.parametrize("skip", [False, True])
def test_rows_behind_a_cut_cannot_be_left_out(more: dict[str, Any], skip: bool, tmp_path: Path) -> None:
    file = problems(tmp_path / "from" / "rows.jsonl", 2)
    cut = file.with_name("my cut.json")
    cut.write_text(f"[{','.join(file.read_text().splitlines())},{{")
    error = refused(tmp_path / "to", cut, skip_faulty=skip, **more)
    keeps = f"virc data check '{cut}' --clean DIR keeps the rows before it"
    assert (error.message, error.hint) == (f"{cut}, row 3: the file ends within it", keeps)
    cut.write_text('[{"id": 1')
    error = refused(tmp_path / "to", cut, skip_faulty=skip, **more)
    assert (error.message, error.hint) == (f"{cut}, row 1: the file ends within it", None)
