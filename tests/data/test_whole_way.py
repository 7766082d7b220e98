"""From a downloaded archive to rows that an engine reads: the commands one after another, on a CRUX-shaped set."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from support.crux import DYNAMIC, Crux, build

from virc.data.formats.registry import only_source
from virc.data.protocol.extract import study
from virc.data.rows.record import Record
from virc.models.chat_protocol import written
from virc_cli.main import main

pytestmark = pytest.mark.integration

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def set_(tmp_path_factory: pytest.TempPathFactory) -> Crux:
    """The set with its archive unpacked by `virc unpack`; to be read only."""
    made = build(tmp_path_factory.mktemp("way") / "crux")
    assert main(["unpack", str(made.archive), "--remove"]) == 0
    return made


def virc(*words: str | Path) -> None:
    """Run a command that must succeed, in this process alone where it could take several."""
    alone = ["--workers", "1"] if words[1] in ("check", "convert", "synth") else []
    assert main([*map(str, words), *alone]) == 0


def rows_of(file: Path) -> Rows:
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    loaded = pq.read_table(file).to_pylist() if file.suffix == ".parquet" else json.loads(file.read_text("utf-8"))
    assert isinstance(loaded, list)
    return loaded


def records_of(file: Path) -> list[Record]:
    source = only_source(file)
    return [row.known() for row in source.rows()]


def images_under(folder: Path) -> dict[str, bytes]:
    kinds = (".png", ".jpg")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.suffix in kinds
    }


def test_the_archive_becomes_the_images_that_rows_name(set_: Crux, tmp_path: Path) -> None:
    expected = build(tmp_path / "other", unpacked=True)
    assert images_under(set_.folder) == images_under(expected.folder)
    assert sorted(images_under(set_.folder)) == sorted(set_.images)
    assert not set_.archive.exists()


def test_the_set_has_no_fault_and_its_rows_say_what_they_hold(set_: Crux, capsys: pytest.CaptureFixture[str]) -> None:
    virc("data", "check", set_.folder, "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["faults"], told["rows"]) == ({}, told["good"])
    held = {Path(dataset["file"]).name: dataset["coordinates"] for dataset in told["datasets"]}
    assert held == {
        set_.dynamic.name: "pixel", set_.fixed.name: "permille", set_.train.name: "pixel", set_.val.name: "pixel"
    }  # fmt: skip


def test_units_of_the_trajectories_are_the_published_rl_rows(set_: Crux, tmp_path: Path) -> None:
    virc("data", "convert", set_.dynamic, "--format", "rl", "--embed", "--to", tmp_path / "rl")
    ours, published = rows_of(tmp_path / "rl" / f"{DYNAMIC}.parquet"), rows_of(set_.train)
    assert [_essence(row) for row in ours] == [_essence(row) for row in published]
    replies = [row["extra_info"]["reference"] for row in ours]
    said = [text["content"] for row in rows_of(set_.dynamic) for text in row["messages"] if text["role"] == "assistant"]
    assert replies == said


def _essence(row: dict[str, Any]) -> dict[str, Any]:
    """What both say of a unit; images by their bytes."""
    info = row["extra_info"]
    return {
        "prompt": row["prompt"], "answer": row["reward_model"]["ground_truth"], "source": row["data_source"],
        "images": [image["bytes"] for image in row["images"]], "ability": row["ability"],
        "said again": info["prompt"] == row["prompt"], "shown again": info["images"] == row["images"],
        "index": info["index"], "question": info["question"], "tool": info["tool_info_gt"],
    }  # fmt: skip


def test_rows_come_back_as_they_were_from_every_format_that_holds_them(set_: Crux, tmp_path: Path) -> None:
    before = set_.dynamic
    for format in ("trajectories", "sft"):
        after = tmp_path / format
        virc("data", "convert", before, "--format", format, "--to", after)
        virc("data", "check", after)
        before = after
    told = [(row["messages"], row["images"]) for row in rows_of(tmp_path / "sft" / f"{DYNAMIC}.json")]
    assert told == [(row["messages"], row["images"]) for row in rows_of(set_.dynamic)]
    images = {name: data for name, data in images_under(set_.folder).items() if "dynamic" in name}
    for format in ("trajectories", "sft"):
        assert images_under(tmp_path / format) == images


def test_pixels_become_thousandths_in_the_other_chat_protocol_and_pixels_again(set_: Crux, tmp_path: Path) -> None:
    pixel, permille = tmp_path / "pixel.json", tmp_path / "permille.json"
    for rows, file in ((set_.dynamic, pixel), (set_.fixed, permille)):
        file.write_bytes(written(study(enumerate(records_of(rows), 1)).protocol))
    fixed: list[str | Path] = ["--coordinates", "permille", "--images", "square_1000", "--protocol", permille]
    dynamic: list[str | Path] = ["--coordinates", "pixel", "--images", "smart", "--protocol", pixel]
    virc("data", "convert", set_.dynamic, "--format", "sft", "--to", tmp_path / "fixed", *fixed)
    virc("data", "convert", tmp_path / "fixed", "--format", "sft", "--to", tmp_path / "again", *dynamic)
    for made, like in (("fixed", set_.fixed), ("again", set_.dynamic)):
        virc("data", "check", tmp_path / made)
        systems = {row["messages"][0]["content"] for row in rows_of(tmp_path / made / f"{DYNAMIC}.json")}
        assert systems == {rows_of(like)[0]["messages"][0]["content"]}


def test_what_synth_draws_goes_the_same_way(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    virc("data", "synth", "--to", drawn, "--count", "6", "--formats", "sft,rl,prompts,batch")
    virc("data", "check", drawn)
    virc("data", "convert", drawn / "rl.parquet", "--format", "batch", "--to", tmp_path / "batch")
    problems = [{key: row[key] for key in ("id", "question", "answer")} for row in rows_of(drawn / "problems.jsonl")]
    assert [{key: row[key] for key in problems[0]} for row in rows_of(tmp_path / "batch/rl.jsonl")] == problems
    found = json.loads(written(study(enumerate(records_of(drawn / "trajectories.json"), 1)).protocol))
    own = json.loads((drawn / "virc_protocol.json").read_text("utf-8"))
    shown = ("system", "first", "image_line", "after_image", "coordinates", "images")
    assert {key: found[key] for key in shown} == {key: own[key] for key in shown}
