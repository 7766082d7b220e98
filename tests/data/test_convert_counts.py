"""What a conversion reads, writes and leaves out, recounted from its files; and what it says where it is refused."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import DataError, UsageError, VircError
from virc.data.convert.convert import ConvertConfig, Report, Split, convert
from virc.data.convert.subset import score

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


@pytest.mark.parametrize("limit", [None, 1, 5, 9, 10])
def test_rows_are_written_or_left_out_and_counted(limit: int | None, rows: Path, tmp_path: Path) -> None:
    seen = list[int]()
    config = ConvertConfig([rows], tmp_path / "all", "batch", skip_faulty=True)
    convert(config, seen.append)
    assert seen == [*range(1, 13)]
    report, ids = made(tmp_path / "to", rows, skip_faulty=True, limit=limit, seed=3)
    (counted,) = report.datasets
    assert (counted.rows_in, counted.left_out, counted.cut, counted.unknown) == (12, 2, 0, 0)
    assert [message.partition(": ")[0] for message in report.faults] == [f"{rows}, line 4", f"{rows}, line 8"]
    first = sorted(GOOD, key=lambda key: score(3, key))[:limit]
    assert ids == {"rows": [key for key in GOOD if key in first]}
    shown = {f"r{int(key[1:]) % 4}.png": (rows.parent / f"r{int(key[1:]) % 4}.png").stat().st_size for key in first}
    assert report.images_bytes == sum(shown.values())
    assert report.unshared_bytes == sum(shown[f"r{int(key[1:]) % 4}.png"] for key in first)


def test_rows_without_ids_are_chosen_by_their_numbers(tmp_path: Path) -> None:
    file = problems(tmp_path / "rows.jsonl", 12)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**line, "id": None}) + "\n" for line in lines))
    _, ids = made(tmp_path / "to", file, limit=4)
    assert ids == {"rows": [f"rows-{at}" for at in sorted(sorted(range(1, 13), key=lambda key: score(0, key))[:4])]}


@pytest.mark.parametrize(("share", "limit"), [(0.3, None), (0.5, None), (0.5, 8), (0.5, 6), (0.5, 5)])
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


@pytest.mark.parametrize("place", ["", "https://host.invalid/"])
def test_parts_of_several_sets_share_no_picture_by_another_name(place: str, tmp_path: Path) -> None:
    """Each set is split for itself, and a picture that both have is known by its content, or where it is fetched."""
    one, other = problems(tmp_path / "a" / "one.jsonl", 8, pictures=8), tmp_path / "b" / "other.jsonl"
    problems(other, 8, pictures=8)
    for file in other.parent.glob("*.png"):
        file.rename(file.with_name(f"x{file.name}"))
    other.write_text(other.read_text().replace('"image": "r', '"image": "r' if place else '"image": "xr'))
    for each in (one, other):
        each.write_text(each.read_text().replace('"image": "', f'"image": "{place}'))
    report, ids = made(tmp_path / "to", one, other, split=Split("test", 0.5))
    assert [(each.name, each.rows_out) for each in report.datasets] == [
        ("one_train", 4), ("one_test", 4), ("other_train", 4), ("other_test", 4),
    ]  # fmt: skip
    assert ids["one_train"] == ids["other_train"]


def test_rows_without_pictures_are_split_one_by_one(tmp_path: Path) -> None:
    file = problems(tmp_path / "rows.jsonl", 10)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**line, "image": None, "images": []}) + "\n" for line in lines))
    assert {name: len(ids) for name, ids in made(tmp_path / "to", file, split=Split("val", 0.2))[1].items()} == {
        "rows_train": 8, "rows_val": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "limit", "counts"),
    [([1, 1], None, (6, 6)), ([1, 3], None, (2, 6)), ([2, 1], 6, (4, 2)), ([0.5, 0.5], 12, (6, 6))],
)
def test_a_mix_has_so_many_rows_of_each(
    weights: Sequence[float], limit: int | None, counts: tuple[int, int], tmp_path: Path
) -> None:
    one, other = problems(tmp_path / "a" / "one.jsonl", 8), problems(tmp_path / "b" / "other.jsonl", 6, first="s")
    report, ids = made(tmp_path / "to", one, other, weights=[*map(Fraction, weights)], limit=limit)
    assert [(each.name, each.rows_in) for each in report.datasets] == [("mix", 14)]
    keys = {first: [f"{first}{at}" for at in range(count)] for first, count in (("r", 8), ("s", 6))}

    def drawn(seed: int) -> list[str]:
        pairs = zip(keys.values(), counts, strict=True)
        chosen = {key for own, count in pairs for key in sorted(own, key=lambda key: score(seed, key))[:count]}
        return [key for own in keys.values() for key in own if key in chosen]

    assert ids == {"mix": drawn(0)}
    named = made(tmp_path / "named", one, other, weights=[*map(Fraction, weights)], limit=limit, name="all", seed=4)
    assert named[1] == {"all": drawn(4)}


def test_a_set_without_a_row_does_not_keep_the_others_back(tmp_path: Path) -> None:
    one, other = problems(tmp_path / "a" / "one.jsonl", 8), problems(tmp_path / "b" / "other.jsonl", 6, first="s")
    for limit in (1, 9):  # of one of both, and more than one has
        _, ids = made(tmp_path / f"few{limit}", one, other, name="all", limit=limit)
        assert [len(each) for each in ids.values()] == [limit]
    gone = json.dumps({"id": 1, "image": "gone.png", "question": "How long?", "answer": "5"})
    bad = problems(tmp_path / "c" / "bad.jsonl", 2, {0: gone, 1: gone}, first="t")
    report, _ = made(tmp_path / "to", one, bad, skip_faulty=True)
    assert [(each.rows_in, each.rows_out, each.left_out) for each in report.datasets] == [(8, 8, 0), (2, 0, 2)]
    tables = [tmp_path / f"{name}.csv" for name in ("asked", "told")]
    for table, asked in zip(tables, ("query", "problem"), strict=True):
        table.write_text(f"picture,{asked},answer\na/r0.png,How long?,5\n")
    reasons = made(tmp_path / "guessed", *tables)[0].reasons
    assert [sum(f"question: {name}," in each for each in reasons) for name in ("query", "problem")] == [1, 1]
    assert len(reasons) == len({*reasons})


def test_twenty_faults_are_named_and_all_are_counted(tmp_path: Path) -> None:
    file = problems(tmp_path / "rows.jsonl", 30, dict.fromkeys(range(2, 27), "{"))
    report, ids = made(tmp_path / "to", file, skip_faulty=True)
    assert (len(report.faults), report.datasets[0].left_out, ids) == (
        20,
        25,
        {"rows": ["r0", "r1", "r27", "r28", "r29"]},
    )


@pytest.mark.parametrize("more", [{}, {"limit": 2}, {"split": Split("held", 0.5)}, {"weights": [Fraction(1)]}])
def test_a_row_that_cannot_be_read_is_named_with_the_way_around_it(
    more: dict[str, Any], rows: Path, tmp_path: Path
) -> None:
    error = refused(tmp_path / "to", rows, **more)
    assert isinstance(error, DataError)
    assert error.message.startswith(f"{rows}, line 4: it is not JSON")
    assert error.hint == "--skip-faulty leaves such rows out"


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


@pytest.mark.parametrize(
    ("more", "kind", "message", "hint"),
    [
        ({"limit": 11}, DataError, "rows has 10 rows, and 11 are to be taken from it", None),
        ({"weights": [Fraction(1)], "limit": 11}, DataError, "rows has 10 rows, and 11 are to be taken from it", None),
        ({"weights": [Fraction(1)] * 2}, UsageError,
         "--weights needs one number per dataset, and has 2 for rows", None),
        ({"split": Split("held", 0.04)}, DataError, "0.04 of 10 rows cannot be set aside",
         "there are too few, or too many of them show the same picture"),
        ({"embed": True}, UsageError, "rows of batch hold no images", "--embed is for rl and prompts"),
        ({"name": "virc_protocol"}, UsageError, "no dataset can be called virc_protocol",
         "choose another name: --name"),
        ({"name": "dataset_info"}, UsageError, "no dataset can be called dataset_info", "choose another name: --name"),
        ({"format": "sft"}, DataError, "/rows.jsonl holds problems without trajectories", "--answers makes"),
        ({"format": "pairs"}, DataError, "/rows.jsonl holds problems, and no pairs of replies", "--pairs right"),
        ({"limit": 0}, DataError, "no row is left to write", None),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(
    more: dict[str, Any], kind: type[VircError], message: str, hint: str | None, rows: Path, tmp_path: Path
) -> None:
    error = refused(tmp_path / "to", rows, skip_faulty=True, **more)
    assert (type(error), error.message.removeprefix(str(rows.parent))) == (kind, message)
    assert hint in (error.hint or "") if hint else error.hint is None


def test_two_sets_of_one_name_are_refused(rows: Path, tmp_path: Path) -> None:
    other = problems(tmp_path / "other" / "ROWS.jsonl", 2)
    error = refused(tmp_path / "to", rows, other, skip_faulty=True)
    assert (error.message, error.hint) == (
        "two datasets would be called ROWS", "convert them one by one, or make one of them: --name",
    )  # fmt: skip
    report, ids = made(tmp_path / "to", rows, other, skip_faulty=True, name="both")
    assert ids == {"both": [*GOOD, "r0", "r1"]}
    assert (report.datasets[0].rows_in, report.lost) == (14, "")
