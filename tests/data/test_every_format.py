"""Records in every format and back, by fixed examples, and what is read off a record or a row of verl."""

import io
import json
from functools import reduce
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest
from data.converted import bare
from PIL import Image

from virc.core.errors import DataError, VircError
from virc.core.json_stream import MAX_DEPTH
from virc.data.formats import batch, conversation, pairs, prompts, rl, sft, trajectories
from virc.data.formats.registry import Source, Writing
from virc.data.rows import verl as verl_rows
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import MARK, Message, Picture, Record, file_sizes_field


def shade(level: int) -> Picture:
    file = io.BytesIO()
    Image.new("RGB", (56, 56), (level, 0, 0)).save(file, "PNG")
    return Picture("", data=file.getvalue())


CROP = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 28, 28], "image_index": 0}})
CALL = f"<think>look</think><tool_call>{CROP}</tool_call>"
SYSTEM, USER = Message("system", "You look."), Message("user", f"{MARK}Image 0\n{MARK}How long is ∠A?")
LOOK, NEXT = Message("assistant", CALL), Message("user", f"{MARK}Go on.")
REPLY = Message("assistant", "<think>a</think><answer>5</answer>")
PICTURES = tuple(map(shade, (10, 20, 30)))
EXTRA = {"note": "é", "level": 2, "tags": ["a", None], "of": {"x": 1.5}}
WHOLE = Record((SYSTEM, USER, LOOK, NEXT, REPLY), PICTURES, 7, "How long is ∠A?", "5", EXTRA)
SHORT = Record((USER, REPLY), PICTURES[:2], "b", "How long is ∠A?", "6", {})
PAIR = msgspec.structs.replace(WHOLE, rejected="<think>b</think><answer>9</answer>", id="p")
PROBLEM = Record((), PICTURES[:2], "q", "Which?", "red", {"choices": ["red", "blue"]})
OPEN = msgspec.structs.replace(WHOLE, messages=WHOLE.messages[:2], images=PICTURES[:2], extra={"note": "x"})


def written(module: ModuleType, folder: Path, records: list[Record], embed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    count = module.write(folder, "rows", records, Writing(PictureStore(folder), embed))
    (file,) = (each for each in folder.glob("rows.*") if each.is_file())
    assert count == sum(1 for _ in module.read(source(file, module)))
    return file


def source(file: Path, module: ModuleType) -> Source:
    return Source(file, module.NAME, file.stem, {})


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize(
    ("module", "records"),
    [
        (sft, [WHOLE, SHORT]), (trajectories, [WHOLE, SHORT]), (pairs, [PAIR]), (batch, [PROBLEM, PROBLEM]),
        (prompts, [OPEN]), (sft, []), (trajectories, []),
    ],
    ids=lambda value: value.NAME if isinstance(value, ModuleType) else str(len(value)),
)  # fmt: skip
def test_records_come_back(module: ModuleType, records: list[Record], embed: bool, tmp_path: Path) -> None:
    if embed and module is not prompts:
        return
    file = written(module, tmp_path, records, embed)
    rows = [*module.read(source(file, module))]
    assert [row.number for row in rows] == [*range(1, len(records) + 1)]
    assert [row.record and bare(row.record) for row in rows] == records
    assert [row.number for row in module.read(source(file, module), 2)] == [*range(2, len(records) + 1)]
    assert not records or module.recognises(file)
    if module is not prompts:
        assert not module.recognises(file.rename(file.with_suffix(".txt")))


def test_units_come_back_as_they_were_split(tmp_path: Path) -> None:
    file = written(rl, tmp_path, [WHOLE, SHORT])
    rows = [row for row in rl.read(source(file, rl)) if row.record]
    units = [bare(row.record) for row in rows if row.record]
    assert units == [unit for each in (WHOLE, SHORT) for unit in rl.split(each)]
    tool = {"name": "crop_image"}
    sizes = [(len(each.messages), len(each.images), each.extra["turn"]) for each in units]
    assert sizes == [(3, 2, 0), (5, 3, 1), (2, 2, 0)]
    assert [each.extra["tool_info_gt"] for each in units] == [tool, None, None]
    merged = [row.record for row in rl.merged(iter(rows), rl.continued(rows))]
    assert [each and bare(each) for each in merged] == [WHOLE, SHORT]
    backwards = [row.record for row in rl.merged(reversed(rows), rl.continued(rows[::-1]))]
    assert [each and bare(each) for each in backwards] == [SHORT, WHOLE]


@pytest.mark.parametrize(
    ("module", "record", "says", "hint"),
    [
*((module, {"extra": {"x": float("nan")}}, "row 7 cannot be JSON: ", None) for module in (sft, trajectories)),
(batch, {"question": None}, "the question of row 7 is not known, only the chat protocol around it",
         "name the chat protocol: --protocol virc_protocol.json"),
(sft, {"messages": (), "id": None}, "a row without an id has no trajectory, only a problem",
         "virc data sample makes trajectories"),
],
    ids=str,
)  # fmt: skip
def test_a_row_that_cannot_be_written_is_named(
    module: ModuleType, record: dict[str, Any], says: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises(VircError) as refused:
        module.write(tmp_path, "rows", [msgspec.structs.replace(WHOLE, **record)], Writing(PictureStore(tmp_path)))
    assert refused.value.message.startswith(says)
    assert refused.value.hint == hint


def test_one_conversation_comes_back_without_what_its_format_has_not(tmp_path: Path) -> None:
    moved = Message("user", f"{MARK * 2}Image 0\nHow long is ∠A?")
    one = msgspec.structs.replace(WHOLE, messages=(SYSTEM, moved, LOOK, NEXT, REPLY))
    file = written(conversation, tmp_path, [one])
    saved = json.loads(file.read_text())
    assert [(turn["role"], "image" in turn, len(turn.get("images", ()))) for turn in saved] == [
        ("system", False, 0), ("user", True, 2), ("assistant", False, 0), ("user", True, 0), ("assistant", False, 0),
    ]  # fmt: skip
    assert saved[1]["image"] == saved[1]["images"][0] != saved[3]["image"]
    assert "∠" in file.read_text()
    (row,) = conversation.read(source(file, conversation))
    assert row.record
    assert bare(row.record) == Record(one.messages, PICTURES)
    assert [*conversation.read(source(file, conversation), 2)] == []
    with pytest.raises(DataError, match="message 2 of row 7 shows an image within its text"):
        written(conversation, tmp_path / "within", [WHOLE])
    with pytest.raises(DataError, match="there are several rows, and a file of this format holds one"):
        written(conversation, tmp_path / "two", [one, one])
    with pytest.raises(DataError, match="row 'q' has no trajectory, only a problem"):
        written(conversation, tmp_path / "none", [PROBLEM])


def of(**fields: Any) -> Record:
    return msgspec.structs.replace(WHOLE, **fields)


@pytest.mark.parametrize(
    ("sizes", "crops", "found"),
    [
([((9, 8), (9, 8))], "file", None),
([((9, 8), (4, 4))], "file", [(9, 8)]),
],
)  # fmt: skip
def test_sizes_of_files_are_kept_where_crops_are_cut_from_larger_ones(sizes: Any, crops: str, found: Any) -> None:
    images: Any = [SimpleNamespace(original=original, size=size) for original, size in sizes]
    protocol: Any = SimpleNamespace(crops=crops)
    assert file_sizes_field(images, protocol) == ({"file_sizes": found} if found else {})


ROW = {
    "prompt": [{"role": "user", "content": "<image>Q"}], "images": [{"bytes": b"x", "path": "a.png"}],
    "reward_model": {"style": "rule", "ground_truth": "5"}, "data_source": "theirs",
    "extra_info": {"index": 3, "question": "Q", "prompt": [{"role": "user", "content": "<image>Q"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
({"prompt": [], "extra_info": {}}, "prompt is empty"),
({"prompt": [{"role": "tool", "content": ""}]}, "prompt is not a list of messages"),
({"extra_info": 5}, "extra_info is not an object"),
({"reward_model": {"ground_truth": reduce(lambda inner, _: [inner], range(MAX_DEPTH + 2), [])}},
         "it is nested too deeply"),
],
)  # fmt: skip
def test_a_row_of_verl_that_cannot_be_read_says_why(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as refused:
        verl_rows.record_of(ROW | change, Path())
    assert refused.value.message.startswith(says)
