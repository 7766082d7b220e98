"""Rows as others published them are read by a layout: their own columns become problems and conversations."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import published_rows
from support.called import virc
from support.engine_python import interpreter

from virc.data.formats.registry import only_source
from virc.data.rows.record import MARK
from virc.systems import registry as systems
from virc.systems import texts

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
PROBLEM = {"image": "a.png", "q": "What?", "a": "12"}
LAYOUT = "{about: mine, question: q, answer: a, images: image}"


def system(folder: Path, **layouts: str) -> Path:
    """A system with these layouts."""
    file = folder / "mine.yaml"
    file.write_text(SYSTEM + "".join(f"  {name}: {text}\n" for name, text in layouts.items()))
    return file


def rows(folder: Path, *written: Mapping[str, Any]) -> Path:
    """A file of rows beside a picture."""
    published_rows.picture(0).save(folder / "a.png")
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in written))
    return file


def checked(folder: Path, layout: str, *written: Mapping[str, Any]) -> tuple[int, str]:
    """The exit code and the output of a check of rows in a layout of a system of one's own."""
    done = virc("data", "check", rows(folder, *written), "--system", system(folder, own=layout), "--workers", 1)
    return done.code, done.out + done.err


def batch(folder: Path, layout: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a batch that a published row becomes."""
    file, to = rows(folder, row), folder / "to"
    done = virc("data", "convert", file, "--system", system(folder, own=layout), "--to", to, "--format", "batch")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads((to / "rows.jsonl").read_text())
    return found


@pytest.mark.parametrize("write", [published_rows.r1_v, published_rows.easy_r1])
def test_shared_layouts_need_no_system(write: Callable[[Path], Path], tmp_path: Path) -> None:
    file, to = write(tmp_path), tmp_path / "to"
    assert virc("data", "check", file, "--workers", 1).code == 0
    done = virc("data", "convert", file, "--to", to, "--format", "batch")
    assert done.code == 0, done.err
    found = [json.loads(line) for line in (to / f"{file.stem}.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in found] == list(published_rows.NUMBERS)
    assert all(MARK not in row["question"] and (to / row["image"]).is_file() for row in found)
    assert virc("data", "check", to, "--workers", 1).code == 0


def test_the_layout_of_the_system_comes_before_shared_ones(tmp_path: Path) -> None:
    file = published_rows.r1_v(tmp_path)
    own = system(tmp_path, mine="{about: mine, question: problem, images: image}")
    assert only_source(file).laid_out.name == "r1-v"
    assert only_source(file, systems.load(own)).laid_out.name == "mine"


def test_the_layout_of_the_docs_reads_a_row(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
    layout = page.partition("```yaml\nrows:\n")[2].partition("```")[0]
    own = tmp_path / "mine.yaml"
    own.write_text(SYSTEM + layout)
    row = {"extra_info": {"question": "What?"}, "solution": "So <answer>12</answer>.", "images": "/data/train/a.png"}
    found = virc("data", "show", rows(tmp_path, row), "--system", own, "--json").json
    assert (found["question"], found["answer"], found["images"][0]["width"]) == ("What?", "12", 252)


def test_columns_without_a_field_pass_through(tmp_path: Path) -> None:
    found = batch(
        tmp_path, LAYOUT, PROBLEM | {"level": 3, "meta": {"from": "x"}, "messages": [], "prompt": "Say: What?"}
    )
    assert found == {"id": "rows-1", "image": "a.png", "question": "What?", "answer": "12", "level": 3,
                     "meta": {"from": "x"}, "data_source": "mine"}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "row", "question"),
    [
        ("question: info.q", {"info": {"q": "Deep?"}}, "Deep?"),
        ("question: [b, a]", {"a": "Second?"}, "Second?"),
        ("question: talk.1.value", {"talk": [{"value": "No."}, {"value": "Yes?"}]}, "Yes?"),
        ("question: {column: t, after: 'Q: ', before: ' End'}", {"t": "Hi. Q: Why? End. Bye."}, "Why?"),
        ("question: {column: t, after: 'Q: '}", {"t": "No mark?"}, "No mark?"),
        ("question: t", {"t": "<image>\nWhich?"}, "Which?"),
        ("question: t", {"t": "In <image>, which?"}, "In <image 1>, which?"),
    ],
)
def test_a_column_is_named_in_every_way(layout: str, row: Mapping[str, Any], question: str, tmp_path: Path) -> None:
    row = {**row, "image": "a.png"}
    assert batch(tmp_path, f"{{about: mine, {layout}, images: image}}", row)["question"] == question


@pytest.mark.parametrize("image", [["a.png"], {"path": "a.png"}, "/data/train/a.png", {"path": "a.png", "bytes": None}])
def test_an_image_is_a_path_in_every_form(image: object, tmp_path: Path) -> None:
    layout = "{about: mine, question: q, images: image, folder: /data/train}"
    assert batch(tmp_path, layout, {"q": "What?", "image": image})["image"] == "a.png"


@pytest.mark.parametrize(
    ("boxes", "found"),
    [
        ("[{'Position': [0, 0, 500, 1000], 'Confidence': 1}]", [[0, 0, 126, 196]]),
        ([[0, 0, 500, 1000]], [[0, 0, 126, 196]]),
        ("(0,0),(500,1000)", [[0, 0, 126, 196]]),
        ("rose", None),
        (None, None),
    ],
)
def test_boxes_are_counted_in_pixels_of_the_file(boxes: object, found: object, tmp_path: Path) -> None:
    layout = "{about: mine, question: q, images: image, boxes: b}"
    assert batch(tmp_path, layout, {"q": "Where?", "image": "a.png", "b": boxes}).get("boxes") == found


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"a": ""}, "its answer, column a, is empty"),
        ({"a": None}, "its answer, column a, is empty"),
        ({"q": 3}, "its column q is a number, not text"),
        ({"image": 3}, "its column image is a number, not an image"),
        ({"image": "b.png"}, "b.png"),
        ({"image": "../../etc/passwd"}, "outside the dataset's folder"),
    ],
)
def test_what_does_not_fit_is_a_fault_of_its_row(change: Mapping[str, Any], fault: str, tmp_path: Path) -> None:
    code, said = checked(tmp_path, LAYOUT, PROBLEM, PROBLEM | change, PROBLEM)
    assert (code, fault in said, "layout own" in said) == (5, True, True), said
    assert "3 rows, 2 good" in said


MAP = {"question": "What?", "answer": "12", "figure": "a.png", "json": "maps/a.json"}


def test_a_row_of_rewardmap_gets_the_map_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.json").write_text('{"Line 1": ["Old Town", "Harbour"]}')
    to = tmp_path / "to"
    done = virc("data", "convert", rows(tmp_path, MAP), "--system", "rewardmap", "--to", to, "--format", "batch")
    assert done.code == 0, done.err
    assert json.loads((to / "rows.jsonl").read_text())["json"] == {"Line 1": ["Old Town", "Harbour"]}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("b.json", "the file b.json of its column json cannot be read: no such file or directory"),
        ("../../etc/passwd", "cannot be read: it is outside the dataset's folder"),
        ("a.png", "the file a.png of its column json holds no JSON"),
        (3, "its column json is no name of a file: 3"),
    ],
)
def test_a_map_that_cannot_be_read_is_a_fault_of_its_row(name: object, fault: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{}")
    file = rows(tmp_path, {**MAP, "json": "c.json"}, {**MAP, "json": name})
    done = virc("data", "check", file, "--system", "rewardmap", "--workers", 1)
    assert (done.code, fault in done.out + done.err) == (5, True), done.out + done.err


def test_a_missing_column_is_a_fault_of_its_row(tmp_path: Path) -> None:
    code, said = checked(tmp_path, LAYOUT, PROBLEM, {"q": "What?", "image": "a.png"})
    assert (code, "rows.jsonl:2: row: it has no column a" in said) == (5, True), said


def test_a_file_of_no_layout_names_columns_and_layouts(tmp_path: Path) -> None:
    code, said = checked(tmp_path, LAYOUT, {"x": 1, "y": 2})
    listed = "layouts are own, critique-vqa, easy-r1, "
    assert (code, "its columns are x, y" in said, listed in said) == (5, True, True), said


@pytest.mark.parametrize("role", ["role", "from"])
def test_a_conversation_is_kept_as_it_was_published(role: str, tmp_path: Path) -> None:
    text = {"role": ("content", "user", "assistant"), "from": ("value", "human", "gpt")}[role]
    turns = [{role: text[1], text[0]: "<image>Why? Answer."}, {role: text[2], text[0]: "<answer>So</answer>"}]
    layout = "{about: mine, messages: talk, images: image}"
    file, to = rows(tmp_path, {"talk": turns, "image": "a.png"}), tmp_path / "to"
    done = virc("data", "convert", file, "--system", system(tmp_path, own=layout), "--to", to, "--format", "sft")
    assert done.code == 0, done.err
    (found,) = json.loads((to / "rows.json").read_bytes())
    assert [each["content"] for each in found["messages"]] == ["<image>Why? Answer.", "<answer>So</answer>"]


BOTH = {
    "sft": "{about: turns, messages: talk, images: image}",
    "rl": "{about: problems, question: q, answer: a, images: image}",
}
ASKED = [{"role": "user", "content": "<image>What? Answer."}]
TOLD, SO = {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "<answer>12</answer>"}


@pytest.mark.parametrize(
    ("talk", "layout"),
    [(ASKED, "rl"), ([TOLD, *ASKED], "rl"), ([*ASKED, SO], "sft")],
    ids=["asked", "told and asked", "answered"],
)
def test_a_conversation_without_a_reply_is_a_problem(talk: list[Any], layout: str, tmp_path: Path) -> None:
    file = rows(tmp_path, {**PROBLEM, "talk": talk})
    done = virc("data", "check", file, "--system", system(tmp_path, **BOTH), "--workers", 1, "--ignore", "q")
    assert f"(published, layout {layout})" in done.out + done.err


def test_a_conversation_of_the_question_alone_is_read(tmp_path: Path) -> None:
    code, said = checked(tmp_path, LAYOUT, {**PROBLEM, "messages": [TOLD, *ASKED]})
    assert code == 0, said
    code, said = checked(tmp_path, LAYOUT, {**PROBLEM, "messages": [*ASKED, SO, *ASKED]})
    assert (code, "unread_column" in said) == (5, True), said


def test_a_reply_becomes_a_conversation_of_the_system(tmp_path: Path) -> None:
    layout = "{about: mine, question: q, images: image, reply: r}"
    file, to = rows(tmp_path, {"q": "Why?", "image": "a.png", "r": "<answer>So</answer>"}), tmp_path / "to"
    own = system(tmp_path, own=layout)
    assert virc("data", "check", file, "--system", own, "--workers", 1).code == 0
    assert virc("data", "convert", file, "--system", own, "--to", to, "--format", "sft").code == 0
    (found,) = json.loads((to / "rows.json").read_bytes())
    assert [each["content"] for each in found["messages"]] == ["<image>Why? Answer.", "<answer>So</answer>"]


def test_published_rows_are_only_read(tmp_path: Path) -> None:
    file = published_rows.r1_v(tmp_path)
    done = virc("data", "convert", file, "--to", tmp_path / "to", "--format", "published")
    assert (done.code, "not written" in done.err, (tmp_path / "to").exists()) == (2, True, False), done.err


def test_a_layout_without_question_is_refused(tmp_path: Path) -> None:
    done = virc("systems", "check", system(tmp_path, own="{about: mine, answer: a}"))
    assert (done.code, "a layout needs `question` or `messages`" in done.out + done.err) == (3, True), done


def test_files_of_one_dataset_are_one_source(tmp_path: Path) -> None:
    folder = published_rows.visual_rft_detect(tmp_path)
    done = virc("data", "check", folder, "--system", "visual-rft", "--workers", 1)
    assert (done.code, "3 rows, 3 good" in done.out, "layout problems" in done.out) == (0, True, True), done.out
    assert virc("data", "show", folder / "data", "--system", "visual-rft", "--row", 3, "--json").json["row"] == 3
    (folder / "data" / "train-00000-of-00002.parquet").unlink()
    done = virc("data", "check", folder, "--system", "visual-rft", "--workers", 1)
    assert (done.code, "1 row, 1 good" in done.out) == (0, True), done.out
    assert "has 1 of the 2 files of train" in done.err


@pytest.mark.parametrize("files", [1, 3])
def test_a_folder_of_save_to_disk_is_read(files: int, tmp_path: Path) -> None:
    rows = [{"image": published_rows.embedded(at), "problem": f"Which {at}?", "solution": "x"} for at in (0, 1, 2)]
    folder, to = published_rows.saved(tmp_path / "set", rows, files), tmp_path / "to"
    assert virc("data", "check", folder, "--workers", 1).code == 0
    assert virc("data", "convert", folder / "train", "--to", to, "--format", "batch", "--name", "rows").code == 0
    read = [json.loads(line)["question"] for line in (to / "rows.jsonl").read_text().splitlines()]
    assert sorted(read) == ["Which 0?", "Which 1?", "Which 2?"]
    assert virc("data", "show", folder, "--row", 3, "--json").json["question"] == read[2]


def test_a_folder_of_several_splits_asks_for_one(tmp_path: Path) -> None:
    folder = published_rows.visual_rft_classify(tmp_path)
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    done = virc("data", "check", folder, "--system", "visual-rft", "--workers", 1)
    assert (done.code, "has the splits train, test" in done.err, f"{folder / 'train'}" in done.err) == (5, True, True)


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
    rows = [{"image": published_rows.embedded(0), "problem": f"Which {at}?", "solution": "x"} for at in range(40)]
    folder = published_rows.saved(tmp_path / "set", rows, 2) / "train"
    file = folder / "data-00001-of-00002.arrow"
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        for at in range(0, len(data), 97):
            data[at] ^= 0xFF
    file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"" if damage == "empty" else bytes(data))
    done = virc("data", "check", folder, "--workers", 1)
    assert (done.code, "unread" in done.out, "20 good" in done.out) == (5, True, True), done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize("before", ['"info": {"a": [1]}, "n": 3, "t": "x", ', ""])
def test_the_list_in_an_object_is_read(before: str, tmp_path: Path) -> None:
    published_rows.picture(0).save(tmp_path / "a.png")
    row = json.dumps({"problem": "What?", "solution": "12", "image": "a.png"})
    (tmp_path / "rows.json").write_text(f'{{{before}"data": [{row}, {row}], "more": 1}}')
    done = virc("data", "check", tmp_path / "rows.json", "--workers", 1)
    assert (done.code, "2 rows, 2 good" in done.out, "layout r1-v" in done.out) == (0, True, True), done


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"a": 1}', '{"a": [', '{"a" [1]}', '{"a": [1, 2]}', "{]", '{"a": }', "{1: [2]}"]
)
def test_an_object_without_rows_is_of_no_format(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(text)
    done = virc("data", "check", tmp_path / "rows.json", "--workers", 1)
    assert (done.code, "is of no known format" in done.err) == (5, True), done


def test_a_question_that_says_how_to_answer_is_the_whole_prompt(tmp_path: Path) -> None:
    for write, shown in ((published_rows.visual_rft_detect, True), (published_rows.visual_rft_ground, False)):
        file, to = write(tmp_path / write.__name__), tmp_path / f"{write.__name__}-to"
        done = virc("data", "convert", file, "--system", "visual-rft", "--to", to, "--format", "prompts")
        assert done.code == 0, done.err
        found = virc("data", "show", to, "--json").json
        first = found["messages"][1]["content"]
        assert (first == MARK + found["question"]) == shown
        assert first.startswith(MARK + found["question"])
        assert shown or first.endswith(texts.text(systems.get("visual-rft").file.parent, "user"))


def test_rows_without_faults_are_kept_in_a_format_that_engines_read(tmp_path: Path) -> None:
    file, to = published_rows.vlm_r3_sft(tmp_path / "published"), tmp_path / "clean"
    done = virc("data", "check", file, "--system", "vlm-r3", "--clean", to, "--workers", 1)
    assert done.code == 0, done.out
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
