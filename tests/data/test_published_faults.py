"""Published rows that are not what they seem: they are refused in a sentence, and nothing of them is misread."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from support import published_rows
from support.called import virc

from virc.data.formats.registry import only_source
from virc.data.rows import raw
from virc.systems import registry as systems


def talk(*content: object) -> dict[str, Any]:
    """A row of one question, whose content is given, and one reply."""
    return {
        "talk": [{"role": "user", "content": list(content)}, {"role": "assistant", "content": "<answer>So</answer>"}]
    }


@pytest.mark.parametrize("name", ["chain-of-focus"])
@pytest.mark.parametrize("beside", [True])
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


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (', "test": [{"problem": "x"}]}', "the file has two lists of objects, train and test"),
        ("", "the file is no whole JSON object"),
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


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("compression", ["zstd"])
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
