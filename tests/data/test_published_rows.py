"""Rows as others published them are read by a layout: their own columns become problems and conversations."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import published_rows, row_files, rows_of_thinkers
from support.called import virc
from support.engine_python import interpreter

from virc.data.formats.registry import only_source
from virc.systems import registry as systems

SYSTEM = """
name: mine
coordinates: thousand
tools: none
chat_protocol:
  system: ""
  first: "{question} Answer."
  image_line: ""
  grammar: {calls: [], think: null, answer: ["<answer>", "</answer>"]}
rows:
"""
BOXES = "{about: mine, question: q, images: image, boxes: b}"


def system(folder: Path, **layouts: str) -> Path:
    """A system with these layouts."""
    file = folder / "mine.yaml"
    file.write_text(SYSTEM + "".join(f"  {name}: {text}\n" for name, text in layouts.items()))
    return file


def written(folder: Path, *rows: Mapping[str, Any]) -> Path:
    """A file of rows beside a picture."""
    row_files.picture(0).save(folder / "a.png")
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def batch(folder: Path, layout: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a batch that a published row becomes."""
    file, to = written(folder, row), folder / "to"
    done = virc("data", "convert", file, "--system", system(folder, own=layout), "--to", to, "--format", "batch")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads((to / "rows.jsonl").read_text())
    return found


def test_the_layout_of_the_docs_reads_a_row(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
    layout = page.partition("```yaml\nrows:\n")[2].partition("```")[0]
    own = tmp_path / "mine.yaml"
    own.write_text(SYSTEM + layout)
    row = {"extra_info": {"question": "What?"}, "solution": "So <answer>12</answer>.", "images": "/data/train/a.png"}
    found = virc("data", "show", written(tmp_path, row), "--system", own, "--json").json
    assert (found["question"], found["answer"], found["images"][0]["width"]) == ("What?", "12", 252)


@pytest.mark.parametrize(
    ("boxes", "found"),
    [
        ("[{'Position': [0, 0, 500, 1000], 'Confidence': 1}]", [[0, 0, 126, 196]]),
        ("(0,0),(500,1000)", [[0, 0, 126, 196]]),
        (None, None),
    ],
)
def test_boxes_are_counted_in_pixels_of_the_file(boxes: object, found: object, tmp_path: Path) -> None:
    assert batch(tmp_path, BOXES, {"q": "Where?", "image": "a.png", "b": boxes}).get("boxes") == found


@pytest.mark.parametrize("files", [1, 3])
def test_a_folder_of_save_to_disk_is_read(files: int, tmp_path: Path) -> None:
    rows = [{"image": row_files.embedded(at), "problem": f"Which {at}?", "solution": "x"} for at in (0, 1, 2)]
    folder, to = row_files.save_to_disk(tmp_path / "set", rows, files), tmp_path / "to"
    assert virc("data", "check", folder, "--workers", 1).code == 0
    assert virc("data", "convert", folder / "train", "--to", to, "--format", "batch", "--name", "rows").code == 0
    read = [json.loads(line)["question"] for line in (to / "rows.jsonl").read_text().splitlines()]
    assert sorted(read) == ["Which 0?", "Which 1?", "Which 2?"]
    assert virc("data", "show", folder, "--row", 3, "--json").json["question"] == read[2]


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", ".hidden", None, 3])
def test_a_folder_reads_no_file_outside_it(name: object, tmp_path: Path) -> None:
    folder = published_rows.visual_rft_classify(tmp_path) / "train"
    (folder.parent / "secret.arrow").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    done = virc("data", "check", folder, "--system", "visual-rft", "--workers", 1)
    assert (done.code, done.out) == (5, ""), done
    assert done.err == f"error: {folder / 'state.json'} does not name files of rows next to it\n"


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    folder = published_rows.visual_rft_classify(tmp_path / "set") / "train"
    file = folder / "data-00000-of-00001.arrow"
    file.rename(tmp_path / "elsewhere.arrow")
    file.symlink_to(tmp_path / "elsewhere.arrow")
    assert virc("data", "check", folder, "--system", "visual-rft", "--workers", 1).code == 5


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_folder_gives_faults_and_no_traceback(damage: str, tmp_path: Path) -> None:
    rows = [{"image": row_files.embedded(0), "problem": f"Which {at}?", "solution": "x"} for at in range(40)]
    folder = row_files.save_to_disk(tmp_path / "set", rows, 2) / "train"
    file = folder / "data-00001-of-00002.arrow"
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        for at in range(0, len(data), 97):
            data[at] ^= 0xFF
    file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"" if damage == "empty" else bytes(data))
    done = virc("data", "check", folder, "--workers", 1)
    assert (done.code, "unread" in done.out, "20 good" in done.out) == (5, True, True), done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["vlm-r3", "honeybee"])  # replies of the second share the id of their question
def test_rows_without_faults_are_kept_in_a_format_that_engines_read(tmp_path: Path, name: str) -> None:
    rows = published_rows.vlm_r3_sft if name == "vlm-r3" else rows_of_thinkers.honeybee
    file, to = rows(tmp_path / "published"), tmp_path / "clean"
    done = virc("data", "check", file, "--system", name, "--clean", to, "--workers", 1)
    assert (done.code, "3 good" in done.out) == (0, True), done.out
    assert only_source(to).format == "sft"
    assert virc("data", "check", to, "--workers", 1).code == 0  # by the chat protocol beside them


@pytest.mark.engine
def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    code = (
        "import sys, PIL.Image\n"
        "from datasets import Dataset, DatasetDict\n"
        "images = [PIL.Image.new('RGBA', (56, 56), each) for each in ('red', 'green', 'blue')]\n"
        "rows = Dataset.from_dict({'image': images, 'problem': ['a', 'b', 'c'], 'solution': ['x'] * 3})\n"
        "DatasetDict({'train': rows}).save_to_disk(sys.argv[1], num_shards={'train': 2})\n"
    )
    subprocess.run([interpreter("rl"), "-c", code, tmp_path / "set"], check=True, capture_output=True)
    done = virc("data", "check", tmp_path / "set", "--workers", 1)
    assert (done.code, "3 rows, 3 good" in done.out) == (0, True), done.out
    assert virc("data", "show", tmp_path / "set", "--row", 3, "--json").json["question"] == "c"


def test_our_own_trajectories_are_no_rows_of_a_system(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "mine", "--count", 2, "--formats", "trajectories").code == 0
    file = tmp_path / "mine" / "lines.jsonl"
    (tmp_path / "mine" / "dataset_info.json").unlink()  # which would name its format
    assert only_source(file, systems.get("chain-of-focus")).format == "trajectories"
    done = virc("data", "convert", file, "--system", "chain-of-focus", "--to", tmp_path / "to", "--format", "sft")
    assert done.code == 0, done.err
    (row, *_) = json.loads((tmp_path / "to" / "lines.json").read_text())
    assert "crop_image" not in row["messages"][0]["content"], "the tools are not those of ViRC"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "said"),
    [("data-00000-of-00001.arrow", "state.json does not name files of rows"), ("state.json", "state.json is no file")],
)
def test_a_pipe_in_a_folder_is_not_waited_for(name: str, said: str, tmp_path: Path) -> None:
    folder = published_rows.visual_rft_classify(tmp_path)
    (folder / "train" / name).unlink()
    os.mkfifo(folder / "train" / name)
    done = virc("data", "show", folder, "--system", "visual-rft")
    assert (done.code, said in done.err) == (5, True), done


@pytest.mark.parametrize(
    ("boxes", "fault"),
    [
        ("[{'Position': [0, 0, 500], 'Confidence': 1}]", "its boxes cannot be read"),
        ("[{'Position': [0, 0, 500, 900]}, {'Position': 'none'}]", "one of its boxes has not four numbers"),
        ("(0,0),(500)", "its boxes cannot be read"),
        ([[500, 500, 600, 400]], "one of its boxes is turned round"),
    ],
)
def test_a_wrong_box_is_a_fault_of_its_row(boxes: object, fault: str, tmp_path: Path) -> None:
    rows = [{"q": "Where?", "image": "a.png", "b": each} for each in ([[0, 0, 500, 900]], boxes)]
    file, own = written(tmp_path, *rows), system(tmp_path, own=BOXES)
    done = virc("data", "check", file, "--system", own, "--workers", 1)
    assert (done.code, fault in done.out, "1 good" in done.out) == (5, True, True), done


def test_an_image_may_be_named_by_a_file_url(tmp_path: Path) -> None:
    parts = [{"type": "image", "image": f"file://{tmp_path}/a.png"}, {"type": "text", "text": "What is it?"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": "A disk."}]
    own = system(tmp_path, own="{about: mine, messages: messages}")
    done = virc("data", "check", written(tmp_path, {"messages": turns}), "--system", own, "--workers", 1)
    assert ("1 image;" in done.out, "image_missing" in done.out) == (True, False), done
