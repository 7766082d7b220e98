"""Published rows that are not what they seem: they are refused in a sentence, and nothing of them is misread."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from data.test_published_rows import LAYOUT, PROBLEM, batch, checked, rows, system
from support import published_rows
from support.called import virc

from virc.core.errors import DataError
from virc.data.formats.registry import only_source
from virc.data.rows import raw
from virc.data.rows.laid_out import record_of
from virc.systems import registry as systems
from virc.systems.layouts.layout import Layout

TALK = "{about: mine, messages: talk, images: image}"
INSIDE = "{about: mine, messages: talk}"


def talk(*content: object) -> dict[str, Any]:
    """A row of one question, whose content is given, and one reply."""
    return {
        "talk": [{"role": "user", "content": list(content)}, {"role": "assistant", "content": "<answer>So</answer>"}]
    }


@pytest.mark.parametrize("name", ["chain-of-focus", "openvlthinker"])
@pytest.mark.parametrize("beside", [True, False])
def test_our_own_trajectories_are_no_rows_of_a_system(name: str, beside: bool, tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "mine", "--count", 2, "--formats", "trajectories").code == 0
    file = tmp_path / "mine" / "lines.jsonl"
    (tmp_path / "mine" / "dataset_info.json").unlink()  # which would name its format
    if not beside:
        (tmp_path / "mine" / "virc_protocol.json").unlink()
    source = only_source(file, systems.get(name))
    assert source.format == "trajectories"
    done = virc("data", "convert", file, "--system", name, "--to", tmp_path / "to", "--format", "sft")
    assert done.code == 0, done.err
    (row, *_) = json.loads((tmp_path / "to" / "lines.json").read_text())
    assert "crop_image" not in row["messages"][0]["content"], "the tools are not those of ViRC"


def test_a_chat_protocol_is_that_of_all_rows(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "mine", "--count", 2, "--formats", "trajectories").code == 0
    (tmp_path / "mine" / "virc_protocol.json").unlink()
    file = tmp_path / "mine" / "lines.jsonl"
    first, last = map(json.loads, file.read_text().splitlines())
    last["messages"][0]["content"] += " Be brief."
    file.write_text(f"{json.dumps(first)}\n{json.dumps(last)}\n")
    done = virc("data", "convert", file, "--system", "virc", "--to", tmp_path / "to", "--format", "sft")
    assert (done.code, "the rows hold 2 system messages" in done.err) == (5, True), done.err


@pytest.mark.parametrize(
    "told", [{"choices": ["1", "2"]}, {"answers": ["1", "2"]}, {"boxes": [[0, 0, 500, 500]]}, {"box": [0, 0, 500, 500]}]
)
def test_a_column_that_formats_interpret_passes_only_where_it_is_named(told: dict[str, Any], tmp_path: Path) -> None:
    (name,) = told
    with pytest.raises(AssertionError, match=f"nothing reads its {name} "):
        batch(tmp_path, LAYOUT, PROBLEM | told)
    ignored = LAYOUT.replace("{", f"{{ignore: [{name}], ", 1)
    assert batch(tmp_path, ignored, PROBLEM | told | {"turn": 3}).keys() == {
        "id", "image", "question", "answer", "data_source",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (', "test": [{"problem": "x"}]}', "the file has two lists of objects, train and test"),
        (", %%%", "the file is no whole JSON object"),
        ("", "the file is no whole JSON object"),
        (', "n": [1', "the file ends within it"),
        (', "n": 1} x', "there is more behind the end of the object"),
    ],
)
@pytest.mark.parametrize("command", ["check", "convert"])
def test_an_object_is_read_to_its_end(tail: str, said: str, command: str, tmp_path: Path) -> None:
    published_rows.picture(0).save(tmp_path / "a.png")
    row = json.dumps({"problem": "What?", "solution": "12", "image": "a.png"})
    (tmp_path / "rows.json").write_text(f'{{"info": [1], "train": [{row}, {row}]{tail}')
    words = ("--to", tmp_path / "to", "--format", "batch") if command == "convert" else ()
    done = virc("data", command, tmp_path / "rows.json", "--workers", 1, *words)
    assert (done.code, said in done.out + done.err) == (5, True), done


@pytest.mark.parametrize("tail", ['"tags": ["a", [1], {}], "more": {"a": [{}]}, "empty": []', '"n": 1'])
def test_lists_of_other_things_stand_around_the_rows(tail: str, tmp_path: Path) -> None:
    published_rows.picture(0).save(tmp_path / "a.png")
    row = json.dumps({"problem": "What?", "solution": "12", "image": "a.png"})
    (tmp_path / "rows.json").write_text(f'{{"splits": ["x"], "data": [{row}, {row}], {tail}}}')
    done = virc("data", "check", tmp_path / "rows.json", "--workers", 1)
    assert (done.code, "2 rows, 2 good" in done.out) == (0, True), done


@pytest.mark.parametrize("kind", [["image"], {}, 3])
def test_a_part_of_no_known_kind_is_a_fault_of_its_row(kind: object, tmp_path: Path) -> None:
    code, said = checked(tmp_path, INSIDE, talk({"type": kind}, "Why?"))
    assert (code, "message 1 is neither text nor a list of texts and images" in said) == (5, True), said


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


@pytest.mark.parametrize("content", [b"", b"ARROW1" * 9])
def test_a_damaged_arrow_file_is_named(content: bytes, tmp_path: Path) -> None:
    folder = published_rows.visual_rft_classify(tmp_path)
    file = folder / "train" / "data-00000-of-00001.arrow"
    file.write_bytes(content)
    done = virc("data", "check", folder)
    assert (done.code, f"{file} cannot be read" in done.err) == (5, True), done


def test_a_file_without_rows_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text("[]")
    done = virc("data", "check", tmp_path / "e.json")
    assert (done.code, done.err) == (5, f"error: there are no rows in {tmp_path / 'e.json'}\n")


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_compressed_rows_of_a_folder_are_refused(compression: str | None, dictionary: bool, tmp_path: Path) -> None:
    text = pa.array(["a" * 2**20] * 4)
    table = pa.table({"problem": text.dictionary_encode() if dictionary else text})
    file = tmp_path / "data.arrow"
    with pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table, max_chunksize=2)
    read = [*raw.arrow_rows(file)]
    if compression is None:
        assert read == [*enumerate(table.to_pylist(), 1)]
        assert [*raw.rows(file, 3)] == read[2:]
    else:
        ((number, fault),) = read
        assert (number, f"row 1: {file} cannot be read: its rows are compressed" in str(fault)) == (1, True)


def test_a_long_conversation_as_python_prints_it_is_refused(tmp_path: Path) -> None:
    told = [{"role": "user", "content": "Why?" * 2**15}, {"role": "assistant", "content": "So."}]
    layout = Layout(about="mine", messages="talk")
    assert len(record_of({"talk": json.dumps(told)}, layout, tmp_path, None).messages) == 2
    with pytest.raises(DataError, match="over 128 KiB"):
        record_of({"talk": repr(told)}, layout, tmp_path, None)


@pytest.mark.parametrize("row", [{"image": None, "images": ["a.png"]}, {"image": "a.png", "images": None}])
def test_a_column_that_is_null_is_passed_over(row: Mapping[str, Any], tmp_path: Path) -> None:
    layout = "{about: mine, question: q, images: [image, images]}"
    assert batch(tmp_path, layout, {"q": "What?", **row})["image"] == "a.png"


def test_what_is_null_in_messages_is_passed_over(tmp_path: Path) -> None:
    empty = dict.fromkeys(("role", "from", "content", "value", "type", "text", "image", "image_url"))
    parts = [empty | {"text": "Why?"}, empty | {"image_url": "a.png"}]
    turns = [empty | {"from": "human", "content": parts}, empty | {"role": "assistant", "value": "So."}]
    record = record_of({"talk": turns}, Layout(about="mine", messages="talk"), tmp_path, None)
    assert [(each.role, each.content) for each in record.messages] == [("user", "Why?<image>"), ("assistant", "So.")]
    assert [each.name for each in record.images] == ["a.png"]


@pytest.mark.parametrize("folder", ["/data/train", "/data/train/"])
def test_a_folder_ends_where_its_name_does(folder: str, tmp_path: Path) -> None:
    layout = Layout(about="mine", question="q", images="image", folder=folder)
    record = record_of({"q": "What?", "image": "/data/train//a.png"}, layout, tmp_path, None)
    assert record.images[0].name == "a.png"
    with pytest.raises(DataError, match="image /data/training/a"):
        record_of({"q": "What?", "image": "/data/training/a.png"}, layout, tmp_path, None)


@pytest.mark.parametrize(
    ("layout", "row"),
    [
        ("{about: mine, question: q, images: image, reply: r}", {"q": "Why?", "r": "An <image>. <answer>So</answer>"}),
        (INSIDE, talk({"type": "image", "image": "a.png"}, {"type": "text", "text": "<image> is what?"})),
        (TALK, talk("<image><image>Why?")),
        (TALK, talk("Why?")),
    ],
)
def test_marks_that_are_no_images_are_refused(layout: str, row: dict[str, Any], tmp_path: Path) -> None:
    file, to = rows(tmp_path, row | {"image": "a.png"}), tmp_path / "to"
    done = virc("data", "convert", file, "--system", system(tmp_path, own=layout), "--to", to, "--format", "sft")
    assert (done.code, "<image>" in done.err) == (5, True), done


def test_a_row_without_an_id_is_named_by_its_new_one(tmp_path: Path) -> None:
    layout = "{about: mine, question: q, answer: a, images: image, choices: c}"
    file, to = rows(tmp_path, PROBLEM | {"c": ["12", "x" * 2**21]}), tmp_path / "to"
    done = virc("data", "convert", file, "--system", system(tmp_path, own=layout), "--to", to, "--format", "batch")
    assert "None" not in done.err, done.err
    assert "row 'rows-1' is no row of a batch" in done.err


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"_data_files": [{"filename": "data-0.arrow"}, {"filename": "data-1.arrow"}]}, None),
        ({"_data_files": [{"filename": "../data-0.arrow"}]}, "does not name files of rows next to it"),
        ({"_data_files": [{"filename": "data-0.arrow"}, {"filename": "out.arrow"}]}, "does not name files"),
        ({"_data_files": [{"filename": ".hidden"}]}, "does not name files"),
        ({"_data_files": [{"filename": 3}]}, "does not name files"),
        ({"_data_files": []}, "does not name files"),
    ],
)
@pytest.mark.parametrize("is_link", [False, True])
def test_files_of_a_saved_dataset_are_in_its_folder(
    state: dict[str, Any], fault: str | None, is_link: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "link").symlink_to("set")
    for name in ("data-0.arrow", "data-1.arrow", ".hidden"):
        (folder / name).touch()
    (tmp_path / "outside.arrow").touch()
    (folder / "out.arrow").symlink_to(tmp_path / "outside.arrow")
    (folder / "state.json").write_text(json.dumps(state))
    read = tmp_path / "link" if is_link else folder
    if fault is None:
        assert raw.saved_files(read) == [read / "data-0.arrow", read / "data-1.arrow"]
        return
    with pytest.raises(DataError, match=fault):
        raw.saved_files(read)
