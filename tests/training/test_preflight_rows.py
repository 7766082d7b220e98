"""What is said of a stage's rows before an engine starts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stage_rows import COUNT, Rows, base_of_type, chat_protocol, copied, drawn, request

from virc.core.errors import ConfigError, DataError
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.training.preflight.sft import check


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "rows")


def content(rows: Rows, row: int, turn: int, before: str, after: str) -> None:
    message = rows[row]["messages"][turn]
    assert before in message["content"]
    message["content"] = message["content"].replace(before, after)


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
    assert check(request(file, protocol=protocol, base=base, mixed_coordinates=True)).rows == COUNT


def _as_in(rows: Path, **values: Any) -> dict[str, Any]:
    beside = read_protocol(rows.with_name(FILE_NAME))
    return {name: getattr(beside, name) for name in beside.__struct_fields__} | values
