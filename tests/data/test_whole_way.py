"""From a downloaded archive to rows that an engine reads: the commands one after another, on a CRUX-shaped set."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from support.crux import DYNAMIC, FIXED, RL, Crux, build, copy

from virc.data.formats.registry import get, only_source
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
    loaded = pq.read_table(file).to_pylist() if file.suffix == ".parquet" else json.loads(file.read_text("utf-8"))
    assert isinstance(loaded, list)
    return loaded


def records_of(file: Path) -> list[Record]:
    source = only_source(file)
    return [row.known() for row in get(source.format).read(source)]


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


@pytest.mark.parametrize("damage", ["picture gone", "picture cut", "box outside", "mark too many"])
def test_one_damaged_row_is_found_and_left_out(
    set_: Crux, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    broken = copy(set_, tmp_path / "crux")
    rows = rows_of(broken.dynamic)
    picture = broken.folder / rows[1]["images"][0]
    match damage:
        case "picture gone":
            picture.unlink()
        case "picture cut":
            picture.write_bytes(picture.read_bytes()[:-300])
        case "box outside":
            turn = rows[1]["messages"][2]
            turn["content"] = turn["content"].replace('"bbox_2d": [', '"bbox_2d": [-').replace("[-0", "[-9")
            assert "[-9" in turn["content"]
        case _:
            rows[1]["messages"][1]["content"] += "<image>"
    broken.dynamic.write_text(json.dumps(rows), "utf-8")
    words = ["data", "check", str(broken.dynamic), "--workers", "1", "--clean", str(tmp_path / "clean")]
    assert main(words) == (0 if damage == "box outside" else 5)  # training takes a box as it is
    assert f"{broken.dynamic}:2: " in capsys.readouterr().out
    (kept,) = (tmp_path / "clean").glob(f"{DYNAMIC}*.json")
    assert [row["messages"] for row in rows_of(kept)] == [row["messages"] for at, row in enumerate(rows) if at != 1]
    virc("data", "check", tmp_path / "clean")


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
    for format in ("rl", "trajectories", "sft"):
        after = tmp_path / format
        virc("data", "convert", before, "--format", format, "--to", after)
        virc("data", "check", after)
        before = after
    told = [(row["messages"], row["images"]) for row in rows_of(tmp_path / "sft" / f"{DYNAMIC}.json")]
    assert told == [(row["messages"], row["images"]) for row in rows_of(set_.dynamic)]
    images = {name: data for name, data in images_under(set_.folder).items() if "dynamic" in name}
    for format in ("rl", "trajectories", "sft"):
        assert images_under(tmp_path / format) == images


@pytest.mark.parametrize("format", ["prompts", "batch"])
def test_published_rl_rows_become_problems(set_: Crux, tmp_path: Path, format: str) -> None:
    virc("data", "convert", set_.train, "--format", format, "--to", tmp_path / "out")
    virc("data", "check", tmp_path / "out")
    (file,) = [path for path in (tmp_path / "out").iterdir() if path.suffix in (".parquet", ".jsonl")]
    if format == "batch":
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        found = [(row["question"], row["answer"]) for row in rows]
    else:
        found = [(row["extra_info"]["question"], row["reward_model"]["ground_truth"]) for row in rows_of(file)]
    units = [(row["extra_info"]["question"], row["reward_model"]["ground_truth"]) for row in rows_of(set_.train)]
    assert found == list(dict.fromkeys(units))
    assert len(found) == len(rows_of(set_.dynamic))


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


def test_parts_share_no_picture_and_smaller_takes_lie_in_larger(set_: Crux, tmp_path: Path) -> None:
    virc("data", "convert", set_.dynamic, "--format", "sft", "--split", "val=0.3", "--to", tmp_path / "parts")
    train, val = (tmp_path / "parts" / f"{DYNAMIC}_{part}.json" for part in ("train", "val"))
    virc("data", "check", train, "--against", val)
    assert len(rows_of(train)) + len(rows_of(val)) == len(rows_of(set_.dynamic))
    assert rows_of(val)
    taken = {}
    for count in (2, 5):
        virc("data", "convert", set_.dynamic, "--format", "sft", "--limit", str(count), "--to", tmp_path / str(count))
        taken[count] = [json.dumps(row) for row in rows_of(tmp_path / str(count) / f"{DYNAMIC}.json")]
    assert [len(rows) for rows in taken.values()] == [2, 5]
    assert set(taken[2]) < set(taken[5])


def test_train_and_val_share_no_picture_and_sharing_is_a_fault(set_: Crux, capsys: pytest.CaptureFixture[str]) -> None:
    virc("data", "check", set_.train, "--against", set_.val)
    assert main(["data", "check", str(set_.dynamic), "--against", str(set_.train), "--workers", "1"]) == 5
    assert "leak" in capsys.readouterr().out


@pytest.mark.parametrize("name", [f"{DYNAMIC}.json", f"{FIXED}.json", RL.format(split="train")])
def test_a_row_is_shown_as_text_and_as_a_page(
    set_: Crux, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    virc("data", "show", set_.folder / name, "--row", "3", "--html", tmp_path / "page.html")
    said = capsys.readouterr().out
    row = rows_of(set_.folder / name)[2]
    first = next(text["content"] for text in (row.get("messages") or row["prompt"]) if text["role"] == "user")
    question = first.partition("Question: ")[2].partition("\n\n")[0]
    assert question in said
    assert "fault" not in said
    assert (tmp_path / "page.html").read_text("utf-8").count("data:image/png;base64,") >= first.count("<image>")


def test_what_synth_draws_goes_the_same_way(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    virc("data", "synth", "--to", drawn, "--count", "6", "--formats", "sft,rl,prompts,batch")
    virc("data", "check", drawn)
    virc("data", "convert", drawn / "rl.parquet", "--format", "sft", "--to", tmp_path / "sft")
    assert rows_of(tmp_path / "sft/rl.json") == rows_of(drawn / "trajectories.json")
    found = json.loads(written(study(enumerate(records_of(drawn / "trajectories.json"), 1)).protocol))
    own = json.loads((drawn / "virc_protocol.json").read_text("utf-8"))
    shown = ("system", "first", "image_line", "after_image", "coordinates", "images")
    assert {key: found[key] for key in shown} == {key: own[key] for key in shown}
