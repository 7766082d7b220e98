"""`virc data convert`: what goes in comes out, in every format, or it is said."""

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from data.converted import bare, convert, records, tree, write
from PIL import Image
from pyarrow import parquet  # type: ignore[import-untyped]
from support import crux
from support.called import virc

from virc.data.convert.change import Target
from virc.data.convert.convert import ConvertConfig
from virc.data.convert.convert import convert as library_convert
from virc.data.formats import prompts, rl
from virc.data.formats.registry import only_source
from virc.data.protocol.extract import study
from virc.data.rows.record import Record
from virc.data.synth import worked
from virc.data.synth.draw import SynthConfig
from virc.data.synth.draw import write as draw
from virc.models.chat_protocol import written
from virc.reasoning.protocol import FILE_NAME

pytestmark = pytest.mark.usefixtures("capfd")
FORMATS = ("sft", "trajectories", "rl", "prompts", "batch")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few worked trajectories with their chat protocol."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    draw(SynthConfig(folder, count=6))
    return folder / "trajectories.json"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> crux.Crux:
    """A set in the shape of CRUX, unpacked."""
    return crux.build(tmp_path_factory.mktemp("crux") / "set", rows=7, unpacked=True)


@pytest.fixture(scope="module")
def everywhere(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same rows in every format; those of `rl` are a reply each."""
    home = tmp_path_factory.mktemp("everywhere")
    for format in FORMATS:
        assert convert(drawn, "--to", home / format, "--format", format, "--name", "rows") == 0
    return {format: home / format for format in FORMATS}


def left(record: Record, format: str) -> Record:
    """What that format keeps of a record."""
    if format not in ("prompts", "batch") or not record.messages:
        return record
    opening = prompts.opening(record)
    return msgspec.structs.replace(opening, messages=()) if format == "batch" else opening


def written_as(format: str, record: Record) -> list[Record]:
    """The records of the rows that a format has of a record."""
    return [bare(unit) for unit in rl.split(record)] if format == "rl" else [record]


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_pair_of_formats_keeps_all_that_both_can_hold(
    everywhere: dict[str, Path], drawn: Path, tmp_path: Path, source: str, target: str
) -> None:
    (whole,) = records(drawn).values()
    to = tmp_path / "out"
    code = convert(everywhere[source], "--to", to, "--format", target, "--protocol", drawn.parent / FILE_NAME)
    if source in ("prompts", "batch", "rl") and target in ("sft", "trajectories"):
        assert code == 5
        assert not to.exists()
        return
    assert code == 0
    # of a problem, prompts are made in the chat protocol that is named
    known = [record if source == "batch" != target else left(record, source) for record in whole]
    kept = [prompts.opening(record) if source == "batch" and target == "rl" else record for record in known]
    assert records(to) == {"rows": [unit for record in kept for unit in written_as(target, left(record, target))]}
    chat_protocol = msgspec.json.decode((to / FILE_NAME).read_bytes(), type=type(worked.PROTOCOL))
    assert msgspec.structs.replace(chat_protocol, name="own") == worked.PROTOCOL


def test_questions_are_taken_out_of_a_chat_protocol_that_nobody_told(published: crux.Crux, tmp_path: Path) -> None:
    """The SFT file holds the questions within its turns alone; the RL file of the same problems tells them."""
    assert convert(published.dynamic, "--to", tmp_path / "sft", "--format", "batch") == 0
    assert convert(published.train, "--to", tmp_path / "rl", "--format", "batch") == 0
    (found,), (known,) = records(tmp_path / "sft").values(), records(tmp_path / "rl").values()
    assert [(row.question, row.answer) for row in found] == [(row.question, row.answer) for row in known]


def test_problems_become_prompts_in_a_chat_protocol_that_is_named(
    everywhere: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lone = tmp_path / "lone"
    write(lone, "batch", [msgspec.structs.replace(row, messages=()) for row in records(everywhere["batch"])["rows"]])
    assert convert(lone, "--to", tmp_path / "out", "--format", "prompts") == 3
    assert "--protocol default" in capfd.readouterr().err
    assert convert(lone, "--to", tmp_path / "out", "--format", "prompts", "--protocol", "default") == 0
    (row, *_) = records(tmp_path / "out")["rows"]
    assert [message.role for message in row.messages] == ["system", "user"]
    assert f"Question: {row.question}\n" in row.messages[1].content


def test_boxes_go_to_permille_and_back_with_the_chat_protocol_beside_them(drawn: Path, tmp_path: Path) -> None:
    assert convert(drawn, "--to", tmp_path / "a", "--format", "sft", "--coordinates", "permille") == 0
    chat_protocol = json.loads((tmp_path / "a" / FILE_NAME).read_text())
    assert chat_protocol["coordinates"] == "permille"
    assert "thousandths" in chat_protocol["system"]
    assert records(tmp_path / "a") != records(drawn)
    counted = library_convert(ConvertConfig([drawn], tmp_path / "d", "sft", target=Target(coordinates="permille")))
    calls = [each.content.count("bbox_2d") for row in records(drawn)["trajectories"] for each in row.messages[1:]]
    assert counted.boxes.written == sum(calls) > 6  # of all rows
    assert convert(tmp_path / "a", "--to", tmp_path / "b", "--format", "sft", "--coordinates", "pixel") == 0
    assert records(tmp_path / "b") == records(drawn)
    assert convert(tmp_path / "b", "--to", tmp_path / "c", "--format", "sft", "--coordinates", "pixel") == 0
    assert tree(tmp_path / "c") == tree(tmp_path / "b")


def test_sources_of_two_chat_protocols_stay_apart(
    drawn: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--format", "sft", "--coordinates", "permille")
    assert convert(drawn, "--to", tmp_path / "other", *words) == 0
    (tmp_path / "other" / "trajectories.json").rename(tmp_path / "other" / "others.json")
    (tmp_path / "other" / "dataset_info.json").unlink()
    sources = drawn, tmp_path / "other" / "others.json"
    assert convert(*sources, "--to", tmp_path / "mixed", "--format", "sft", "--name", "all") == 3
    assert "the sources of all have different chat protocols" in capfd.readouterr().err
    assert convert(*sources, "--to", tmp_path / "apart", "--format", "sft") == 0
    assert "have 2 chat protocols, so no virc_protocol.json" in capfd.readouterr().err
    assert {each.name for each in (tmp_path / "apart").glob("*.json")} == {
        "trajectories.json", "others.json", "dataset_info.json",
    }  # fmt: skip


@pytest.mark.integration
def test_trajectories_move_onto_square_images_and_back(drawn: Path, tmp_path: Path) -> None:
    assert convert(drawn, "--to", tmp_path / "a", "--format", "sft", "--images", "square_1000") == 0
    (rows,) = records(tmp_path / "a").values()
    for row in rows:
        sizes = [Image.open(io.BytesIO(picture.data or b"")).size for picture in row.images]
        assert sizes[0] == (1000, 1000)
        assert all(side > 200 for size in sizes[1:] for side in size)
    assert json.loads((tmp_path / "a" / FILE_NAME).read_text())["images"] == "square_1000"
    assert convert(tmp_path / "a", "--to", tmp_path / "b", "--format", "trajectories", "--images", "smart") == 0
    (back,) = records(tmp_path / "b").values()
    assert all("1008 x 1008" in row.messages[1].content for row in back)


@pytest.mark.integration
def test_units_of_the_trajectories_are_the_published_rl_rows(published: crux.Crux, tmp_path: Path) -> None:
    assert convert(published.dynamic, "--to", tmp_path / "rl", "--format", "rl", "--embed") == 0
    ours, theirs = (
        parquet.read_table(file).to_pylist() for file in (*(tmp_path / "rl").glob("*.parquet"), published.train)
    )
    assert [essence(row) for row in ours] == [essence(row) for row in theirs]
    turns = [turn for row in json.loads(published.dynamic.read_text()) for turn in row["messages"]]
    replies = [row["extra_info"]["reference"] for row in ours]
    assert replies == [turn["content"] for turn in turns if turn["role"] == "assistant"]


def essence(row: dict[str, Any]) -> dict[str, Any]:
    """What both say of a unit; images by their bytes."""
    info = row["extra_info"]
    return {
        "prompt": row["prompt"], "answer": row["reward_model"]["ground_truth"], "source": row["data_source"],
        "images": [image["bytes"] for image in row["images"]], "ability": row["ability"],
        "said again": info["prompt"] == row["prompt"], "shown again": info["images"] == row["images"],
        "index": info["index"], "question": info["question"], "tool": info["tool_info_gt"],
    }  # fmt: skip


@pytest.mark.integration
def test_pixels_become_thousandths_in_the_other_chat_protocol_and_pixels_again(
    published: crux.Crux, tmp_path: Path
) -> None:
    pixel, permille = tmp_path / "pixel.json", tmp_path / "permille.json"
    for rows, file in ((published.dynamic, pixel), (published.fixed, permille)):
        found = [row.known() for row in only_source(rows).rows()]
        file.write_bytes(written(study(enumerate(found, 1)).protocol))
    fixed = ("--coordinates", "permille", "--images", "square_1000", "--protocol", permille)
    dynamic = ("--coordinates", "pixel", "--images", "smart", "--protocol", pixel)
    assert convert(published.dynamic, "--to", tmp_path / "fixed", "--format", "sft", *fixed) == 0
    assert convert(tmp_path / "fixed", "--to", tmp_path / "again", "--format", "sft", *dynamic) == 0
    for made, like in (("fixed", published.fixed), ("again", published.dynamic)):
        assert virc("data", "check", tmp_path / made, "--workers", 1).code == 0
        (ours,), (theirs,) = records(tmp_path / made).values(), records(like).values()
        assert ours[0].messages[0] == theirs[0].messages[0]
