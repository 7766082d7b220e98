"""Rows of conversations mean what LLaMA-Factory takes them for, or are faults."""

import json
import re
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from data import llamafactory
from data.text_records import SOLVED, TEXT, written
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.called import virc

from virc.core.errors import DataError
from virc.data.formats import registry as formats
from virc.data.formats import sft, trajectories
from virc.data.formats.registry import RowsFile
from virc.data.formats.sft import rows
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import Message, Picture, Record

STYLES = {"ours": ("role", "content", "user", "assistant"), "default": ("from", "value", "human", "gpt")}
"""Tags of roles and texts, and the names of the two sides."""


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Mostly as they should be, sometimes with a turn too few, an odd role or no text."""
    role, content, user, assistant = STYLES[draw(st.sampled_from(sorted(STYLES)))]
    roles = ["system"] * draw(st.booleans()) + [user, assistant] * draw(st.integers(0, 2))
    turns: list[dict[str, Any]] = [{role: each, content: draw(TEXT)} for each in roles]
    if turns and draw(st.integers(0, 3)) == 0:
        turn = draw(st.sampled_from(turns))
        change = draw(st.sampled_from(["drop", "role", "text", "none"]))
        if change == "drop":
            turns.remove(turn)
        elif change == "role":
            turn[role] = draw(st.sampled_from(["system", "observation", "function_call", "tool", user, 1]))
        elif change == "text":
            turn[content] = draw(st.none() | st.integers())
        else:
            del turn[draw(st.sampled_from([role, content]))]
    return turns


ROW = st.fixed_dictionaries(
    {"messages": conversations(), "conversations": conversations()},
    optional={
        "pictures": st.none() | TEXT | st.lists(TEXT | st.integers(), max_size=2) | st.booleans(),
        "images": st.lists(TEXT, max_size=2),
        "system": st.none() | TEXT,
    },
)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """Entries of `dataset_info.json`, with or without columns and tags; now and then one of these is not named."""
    entry: dict[str, Any] = {"formatting": "sharegpt"}
    if draw(st.booleans()):
        columns = {"messages": draw(st.sampled_from(["messages", "conversations", "dialog"]))}
        entry["columns"] = columns | draw(
            st.fixed_dictionaries(
                {}, optional={"images": st.sampled_from(["images", "pictures"]), "system": st.just("system")}
            )
        )
    if draw(st.booleans()):
        role, content, user, assistant = STYLES[draw(st.sampled_from(sorted(STYLES)))]
        tags = {"role_tag": role, "content_tag": content, "user_tag": user, "assistant_tag": assistant}
        entry["tags"] = tags | {"system_tag": "system"}
        if draw(st.integers(0, 3)) == 0:
            del entry["tags"][draw(st.sampled_from(["user_tag", "assistant_tag", "system_tag"]))]
    return entry


def as_llamafactory(record: Record) -> llamafactory.Example | None:
    """What LLaMA-Factory would train on if the record were the row."""
    messages = [(message.role, message.content) for message in record.messages]
    system = messages.pop(0)[1] if messages and messages[0][0] == "system" else ""
    expected = ["user", "assistant"] * (len(messages) // 2)
    if not messages or [role for role, _ in messages] != expected:
        return None
    return llamafactory.Example(system, [*messages], [picture.name for picture in record.images])


def same_as_llamafactory(entry: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether LLaMA-Factory trains on the row; then it is the same here, else there is no record, or a broken one."""
    (read,) = rows(RowsFile(Path("rows.json"), "sft", "rows", entry), [(1, row)], "row")
    try:
        example = llamafactory.example(entry, row)
    except (KeyError, TypeError):
        example = None
    if read.record:
        assert as_llamafactory(read.record) == example
    elif example:  # other sides than ours, a system column that it ignores, and what crashes it further on
        assert (
            "another system message" in str(read.fault)
            or {side for side, _ in example.turns} - {"user", "assistant"}
            or not all(isinstance(text, str) for _, text in [("system", example.system), *example.turns])
            or not all(isinstance(name, str) for name in example.images)
        )
    return bool(read.record and example)


@pytest.mark.integration
@settings(max_examples=1000, deadline=None)
@given(entries(), ROW)
def test_a_row_means_what_llamafactory_takes_it_for(entry: dict[str, Any], row: dict[str, Any]) -> None:
    event("trained on" if same_as_llamafactory(entry, row) else "not trained on")


@given(SOLVED, st.sampled_from([sft, trajectories]))
def test_what_is_written_is_trained_on_as_it_is(record: Record, format: ModuleType) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (row,) = written(format, [record], folder)
        entry = formats.read_info(folder)["rows"]
        text = (folder / entry["file_name"]).read_text(encoding="utf-8")
        example = llamafactory.example(entry, json.loads(text)[0] if format is sft else json.loads(text))
        assert row.record
        assert example == as_llamafactory(row.record)
        assert [name for name in (example.images if example else []) if not (folder / name).is_file()] == []


def read_one(folder: Path, rows: object, entry: dict[str, Any] | None = None) -> ParsedRow:
    """The first row of a file beside such an entry."""
    (folder / "rows.json").write_text(json.dumps(rows))
    if entry is not None:
        (folder / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.json"} | entry}))
    (source,) = formats.sources(folder / "rows.json")
    assert source.format == "sft"
    found: ParsedRow = next(iter(sft.read(source)))
    return found


def test_without_an_info_both_usual_shapes_are_read(tmp_path: Path) -> None:
    ours = [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "a"}]
    theirs = [{"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "a"}]
    shapes = [{"messages": ours}, {"conversations": theirs}, {"messages": theirs}, {"conversations": ours}]
    turns = (Message("user", "<image>q"), Message("assistant", "a"))
    for shape in shapes:
        for more in ({}, {"system": 5}, {"system": "Be brief."}):
            said = (Message("system", "Be brief."),) if more.get("system") == "Be brief." else ()
            record = read_one(tmp_path, [{**shape, "images": ["a.png"], "level": 3, **more}]).record
            extra = {"level": 3} if said else {"level": 3, **more}
            assert record == Record((*said, *turns), (Picture("a.png", tmp_path),), extra=extra)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": "x"}, "its messages are not a list of objects"),
        ({"messages": [{"role": "critic", "content": ""}]}, "message 1 has the role 'critic', not one of user,"),
        ({"messages": [{"role": "user", "content": None}]}, "message 1 has no text as content"),
        ({"messages": [], "images": [1]}, "its images are not a list of names"),
    ],
)
def test_a_row_that_cannot_be_understood_is_a_fault(tmp_path: Path, row: object, reason: str) -> None:
    fault = read_one(tmp_path, [row]).fault
    assert fault
    assert fault.message.startswith("row 1: ")
    assert reason in fault.message


@pytest.mark.parametrize("mark", [{"loss": False}, {"weight": 0}, {"train": False}, {"loss_mask": 0}, {"weight": 0.5}])
@pytest.mark.parametrize("shape", ["messages role assistant content", "conversations from gpt value"])
def test_a_reply_that_is_not_to_be_learnt_is_refused(tmp_path: Path, shape: str, mark: dict[str, Any]) -> None:
    column, role, name, content = shape.split()
    row = read_one(tmp_path, [{column: [{role: name, content: "a", **mark}]}])
    assert row.unread == {f"{column}.{next(iter(mark))}": "a reply that is not to be learnt"}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({}, "the formatting 'alpaca' in dataset_info.json is not that of conversations"),
        ({"formatting": "sharegpt", "columns": {"images": "images"}}, "has columns or tags, but names no messages"),
        ({"formatting": "sharegpt", "tags": {"content_tag": "c", "role_tag": None}}, "but names no role_tag"),
    ],
)
def test_an_info_that_llamafactory_could_not_use_is_refused(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        read_one(tmp_path, [{"messages": []}], entry)


def test_later_system_messages_begin_the_text_behind_them(tmp_path: Path) -> None:
    said = "system:A system:B user:C? assistant:1 system:D user:E? assistant:2".split()
    turns = [dict(zip(("role", "content"), each.split(":"), strict=True)) for each in said]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": turns, "images": []}) + "\n")
    done = virc("data", "convert", tmp_path / "rows.jsonl", "--to", tmp_path / "out", "--format", "sft")
    assert "a later system message begins the text behind it" in done.err
    row = json.loads((tmp_path / "out" / "rows.json").read_text())[0]
    assert [each["content"] for each in row["messages"]] == ["A\n\nB", "C?", "1", "D\n\nE?", "2"]
