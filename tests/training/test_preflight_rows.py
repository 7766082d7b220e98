"""What is said of a stage's rows before an engine starts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from stage_rows import COUNT, Rows, base_of_type, chat_protocol, copied, drawn, request

from virc.core.errors import ConfigError, DataError
from virc.data.formats.registry import only_source
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.training.preflight.sft import check

Change = Callable[[Rows], object]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "rows")


def content(rows: Rows, row: int, turn: int, before: str, after: str) -> None:
    message = rows[row]["messages"][turn]
    assert before in message["content"]
    message["content"] = message["content"].replace(before, after)


def test_good_rows_are_counted(rows: Path) -> None:
    found = check(request(rows))
    records = json.loads(rows.read_text())
    assert (found.rows, found.dropped, found.looked_at, found.faults) == (COUNT, 0, COUNT, {})
    assert found.images == sum(len(record["images"]) for record in records)
    assert found.total == pytest.approx(found.mean * COUNT)
    assert found.percentiles[0] <= found.mean * 1.3
    assert found.percentiles[2] == found.longest
    assert (found.file, found.dataset, found.media) == (rows, "trajectories", rows.parent)
    assert found.entry == {key: value for key, value in only_source(rows).info.items() if key != "file_name"}


BROKEN: list[tuple[str, int, Change]] = [
    ("and assistant is due", 3, lambda rows: rows[2]["messages"][2].update(role="user")),
    ("not assistant", 3, lambda rows: rows[2]["messages"].pop()),
    ("marks for", 3, lambda rows: rows[2]["images"].pop()),
    ("there is no file", COUNT, lambda rows: rows[-1]["images"].__setitem__(0, "images/no.png")),
    ("<|image_pad|>", 3, lambda rows: content(rows, 2, 1, "Question:", "<|image_pad|>Question:")),
    ("a number, and text in row 1", 2, lambda rows: rows[1].update(id=2)),
    ("half a character", 3, lambda rows: rows[2].update(note="\ud800")),
]


@pytest.mark.parametrize(("said", "row", "change"), BROKEN)
def test_what_the_engine_drops_or_stops_at_is_one_sentence(
    rows: Path, tmp_path: Path, said: str, row: int, change: Change
) -> None:
    with pytest.raises(DataError) as error:
        check(request(copied(rows, tmp_path / "a", change)))
    assert f"1 of {COUNT} rows" in error.value.message
    assert f"row {row}: " in error.value.message
    assert said in error.value.message
    assert "--clean" in (error.value.hint or "")


def test_an_image_that_does_not_decode_is_found_among_the_rows_looked_at_closely(rows: Path, tmp_path: Path) -> None:
    file = copied(rows, tmp_path / "a")
    image = file.parent / json.loads(file.read_text())[3]["images"][0]
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(DataError, match=r"row 4: .*damaged or cut short"):
        check(request(file))


def test_an_image_without_a_readable_header_is_named_wherever_it_is(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "a"}]
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    names = ["good.png"] * 700
    names[601] = "bad.png"  # neither among the first rows nor among those between
    lines = [json.dumps({"messages": turns, "images": [name]}) + "\n" for name in names]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    protocol = chat_protocol(tmp_path, system="")
    with pytest.raises(DataError, match=r"row 602: .*bad\.png is not a picture"):
        check(request(tmp_path / "rows.jsonl", protocol=protocol))


@pytest.mark.parametrize(("text", "said"), [("[]", "holds no rows"), ('[{"messages": []}, {"messages"', "1 unread")])
def test_files_that_end_early_or_begin_oddly(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=said):
        check(request(tmp_path / "rows.json"))


def test_the_chat_protocol_is_that_beside_the_rows_if_it_is_theirs(rows: Path, tmp_path: Path) -> None:
    beside = read_protocol(rows.with_name(FILE_NAME))
    assert check(request(rows)).protocol == beside
    file = copied(rows, tmp_path / "a")
    shutil.copy(chat_protocol(tmp_path, system="of other rows"), file.with_name(FILE_NAME))
    found = check(request(file)).protocol
    assert (found.system, found.first) == (beside.system, beside.first)


def test_rows_without_one_chat_protocol_name_the_row_and_the_way_out(rows: Path, tmp_path: Path) -> None:
    def change(rows: Rows) -> None:
        for row in rows[:4]:
            row["messages"][2]["content"] = "no tags"  # not looked at for the chat protocol
        content(rows, 9, 1, "Reason in small steps", "Hurry")

    file = copied(rows, tmp_path / "a", change)
    file.with_name(FILE_NAME).unlink()
    with pytest.raises(DataError, match="row 10: ") as error:
        check(request(file))
    assert FILE_NAME in (error.value.hint or "")


def test_a_chat_protocol_given_must_be_that_of_the_rows(rows: Path, tmp_path: Path) -> None:
    other = chat_protocol(tmp_path, system="of other rows")
    with pytest.raises(DataError, match=r"no row of .* has the system message"):
        check(request(rows, protocol=other))
    with pytest.raises(ConfigError, match="cannot read the chat protocol"):
        check(request(rows, protocol=tmp_path / "none"))


@pytest.mark.parametrize(("written", "model_type"), [("permille", "qwen2_5_vl"), ("pixel", "qwen3_vl")])
def test_boxes_that_the_base_does_not_write_are_refused(
    rows: Path, tmp_path: Path, written: str, model_type: str
) -> None:
    file = copied(rows, tmp_path / "a")
    protocol = chat_protocol(tmp_path, **_as_in(rows, coordinates=written))
    base = base_of_type(tmp_path / "base", model_type)
    asked = request(file, protocol=protocol, base=base, name="a base")
    with pytest.raises(DataError, match="thousandths of the sides") as error:
        check(asked)
    assert "a base" in error.value.message
    assert model_type in error.value.message
    assert check(msgspec.structs.replace(asked, mixed_coordinates=True)).rows == COUNT


def _as_in(rows: Path, **values: Any) -> dict[str, Any]:
    beside = read_protocol(rows.with_name(FILE_NAME))
    return {name: getattr(beside, name) for name in beside.__struct_fields__} | values


def test_a_base_that_is_none_is_said_first(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        check(request(rows, base=tmp_path))
    base = base_of_type(tmp_path / "base", "qwen2_5_vl")
    (base / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no tokenizer"):
        check(request(rows, base=base))
    with pytest.raises(ConfigError, match="llava"):
        check(request(rows, base=base_of_type(tmp_path / "other", "llava")))
