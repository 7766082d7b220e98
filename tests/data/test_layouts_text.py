"""Layouts of text: what is written is read again, and rows mean what LLaMA-Factory takes them for."""

import json
import re
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from data import llamafactory
from data.crux import build
from hypothesis import event, given, settings
from hypothesis import strategies as st

from virc_recipes.batch import read_rows
from virc_recipes.data import layouts
from virc_recipes.data.layouts import Row, Source, Writing, batch, sft, trajectories
from virc_recipes.data.pictures import PictureStore
from virc_recipes.data.record import Message, Picture, Record, Role, final_answer, inputs_of
from virc_recipes.data.sft_rows import rows
from virc_recipes.errors import DataError, UsageError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["<image>\n<image>", 'a "b" \\']
)
HALVES = st.text(st.characters(), max_size=8).filter(
    lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text)
)
OURS = {"id", "messages", "conversations", "images", "image", "question", "answer", "choices"}
PICTURES = st.builds(
    Picture,
    name=st.sampled_from(["", "images/a.png", "b.jpg", "../c.png", "/d.png", "images/é ü.PNG"]) | HALVES,
    data=st.sampled_from([b"\x89PNG 1", b"\xff\xd8\xff 2", b"", b"other"]),
)


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    plain = (
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    )
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
        max_leaves=4,
    )


def extras(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(text.filter(lambda key: key not in OURS), values(text), max_size=2)


MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), HALVES | TEXT),
    min_size=1,
    max_size=5,
)
SOLVED = st.builds(
    Record,
    messages=MESSAGES.map(tuple),
    images=st.lists(PICTURES, max_size=3).map(tuple),
    id=st.none() | st.integers() | HALVES,
    question=st.none() | HALVES,
    answer=st.none() | HALVES,
    extra=extras(HALVES),
)
CHOICES = st.lists(TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=3)
PROBLEM = st.builds(
    Record,
    images=st.lists(PICTURES, min_size=1, max_size=3).map(tuple),
    id=st.integers() | TEXT,
    question=TEXT.filter(str.strip),
    answer=st.none() | TEXT,
    extra=st.builds(
        lambda extra, choices: extra | choices,
        extras(TEXT),
        st.fixed_dictionaries({}, optional={"choices": CHOICES}),
    ),
)


def written(layout: ModuleType, records: list[Record], folder: Path) -> list[Row]:
    """The rows of records that were written so, found as a user's are."""
    writing = Writing(PictureStore(folder), folder)
    assert layout.write(folder, "rows", records, writing) == len(records)
    (source,) = [source for source in layouts.sources(folder) if source.name == "rows"]
    assert source.layout == layout.NAME
    return list(layout.read(source))


def known(record: Record | None) -> tuple[Record, list[bytes]]:
    """All that two records have to agree in; images may be called otherwise."""
    assert record
    return msgspec.structs.replace(record, images=()), [picture.read() for picture in record.images]


def comes_back(layout: ModuleType, records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = written(layout, records, Path(folder))
        assert [row.fault for row in rows] == [None] * len(records)
        assert [known(row.record) for row in rows] == [known(record) for record in records]


@settings(max_examples=150, deadline=None)
@given(st.lists(SOLVED, min_size=1, max_size=3))
def test_trajectories_come_back_from_both_their_layouts(records: list[Record]) -> None:
    comes_back(sft, records)
    comes_back(trajectories, records)


@settings(max_examples=150, deadline=None)
@given(st.lists(PROBLEM, min_size=1, max_size=3))
def test_problems_come_back_from_a_batch(records: list[Record]) -> None:
    comes_back(batch, records)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None)
@given(SOLVED, PROBLEM)
def test_records_come_back_in_many_tries(solved: Record, problem: Record) -> None:
    comes_back(sft, [solved])
    comes_back(trajectories, [solved])
    comes_back(batch, [problem])


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
    (read,) = rows(Source(Path("rows.json"), "sft", "rows", entry), [(1, row)], "row")
    try:
        example = llamafactory.example(entry, row)
    except (KeyError, TypeError):
        example = None
    if read.record:
        assert as_llamafactory(read.record) == example
    elif example:  # other sides than ours, and what crashes it further on
        assert (
            {side for side, _ in example.turns} - {"user", "assistant"}
            or not all(isinstance(text, str) for _, text in [("system", example.system), *example.turns])
            or not all(isinstance(name, str) for name in example.images)
        )
    return bool(read.record and example)


@settings(max_examples=1000, deadline=None)
@given(entries(), ROW)
def test_a_row_means_what_llamafactory_takes_it_for(entry: dict[str, Any], row: dict[str, Any]) -> None:
    event("trained on" if same_as_llamafactory(entry, row) else "not trained on")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None)
@given(entries(), ROW)
def test_a_row_means_what_llamafactory_takes_it_for_in_many_tries(
    entry: dict[str, Any], row: dict[str, Any]
) -> None:
    same_as_llamafactory(entry, row)


@settings(max_examples=100, deadline=None)
@given(SOLVED, st.sampled_from([sft, trajectories]))
def test_what_is_written_is_trained_on_as_it_is(record: Record, layout: ModuleType) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (row,) = written(layout, [record], folder)
        entry = layouts.read_info(folder)["rows"]
        text = (folder / entry["file_name"]).read_text(encoding="utf-8")
        example = llamafactory.example(entry, json.loads(text)[0] if layout is sft else json.loads(text))
        assert row.record
        assert example == as_llamafactory(row.record)
        assert [name for name in (example.images if example else []) if not (folder / name).is_file()] == []


def read_one(folder: Path, rows: object, entry: dict[str, Any] | None = None) -> Row:
    """The first row of a file beside such an entry."""
    (folder / "rows.json").write_text(json.dumps(rows))
    if entry is not None:
        (folder / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.json"} | entry}))
    (source,) = layouts.sources(folder / "rows.json")
    assert source.layout == "sft"
    found: Row = next(iter(sft.read(source)))
    return found


def test_without_an_info_both_usual_shapes_are_read(tmp_path: Path) -> None:
    ours = [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "a"}]
    theirs = [{"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "a"}]
    shapes = [{"messages": ours}, {"conversations": theirs}, {"messages": theirs}, {"conversations": ours}]
    for shape in shapes:
        record = read_one(tmp_path, [{**shape, "images": ["a.png"], "level": 3}]).record
        assert record == Record(
            (Message("user", "<image>q"), Message("assistant", "a")),
            (Picture("a.png", tmp_path),),
            extra={"level": 3},
        )


def test_fields_of_other_kinds_than_ours_stay_as_they_are(tmp_path: Path) -> None:
    odd = {"id": True, "question": ["q"], "answer": None, "system": "s"}
    record = read_one(tmp_path, [{"messages": [], **odd}]).record
    assert record == Record(extra=odd)
    for answer, text in ((3, "3"), (2.5, "2.5"), ("x", "x")):
        assert read_one(tmp_path, [{"messages": [], "answer": answer, "id": 7}]).record == Record(
            id=7, answer=text
        )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "q"}, "it has neither messages nor conversations"),
        ({"messages": "x"}, "its messages are not a list of objects"),
        ({"messages": ["x"]}, "its messages are not a list of objects"),
        ({"messages": [{"role": "tool", "content": ""}]}, "message 1 has the role 'tool', not one of user,"),
        ({"messages": [{"role": ["user"], "content": ""}]}, "message 1 has the role"),
        ({"messages": [{"role": "user", "content": None}]}, "message 1 has no text as content"),
        ({"messages": [{"from": "gpt"}]}, "message 1 has no text as value"),
        ({"messages": [], "images": [1]}, "its images are not a list of names"),
        ({"messages": [], "images": 0}, "its images are not a list of names"),
    ],
)
def test_a_row_that_cannot_be_understood_is_a_fault(tmp_path: Path, row: object, reason: str) -> None:
    fault = read_one(tmp_path, [row]).fault
    assert fault
    assert fault.message.startswith("row 1: ")
    assert reason in fault.message


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({}, "formatting 'alpaca'"),
        ({"formatting": "share_gpt"}, "formatting 'share_gpt'"),
        ({"formatting": ["sharegpt"]}, "formatting"),
        ({"formatting": "sharegpt", "columns": {"images": "images"}}, "names no messages"),
        ({"formatting": "openai", "tags": {"role_tag": "role"}}, "names no content_tag"),
        ({"formatting": "sharegpt", "tags": {"content_tag": "c", "role_tag": None}}, "names no role_tag"),
        ({"formatting": "sharegpt", "columns": {"messages": 1}}, "columns in dataset_info.json is not"),
        ({"formatting": "sharegpt", "tags": "role"}, "tags in dataset_info.json is not"),
    ],
)
def test_an_info_that_llamafactory_could_not_use_is_refused(
    tmp_path: Path, entry: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        read_one(tmp_path, [{"messages": []}], entry)


def test_fields_that_are_called_like_our_columns_do_not_take_their_place(tmp_path: Path) -> None:
    row = {"dialog": [{"from": "human", "value": "q"}], "messages": "note", "images": ["x"], "pictures": []}
    entry = {"formatting": "sharegpt", "columns": {"messages": "dialog", "images": "pictures"}}
    record = read_one(tmp_path, [row], entry).record
    assert record == Record((Message("user", "q"),), extra={"messages": "note", "images": ["x"]})
    (tmp_path / "to").mkdir()
    (again,) = written(sft, [record], tmp_path / "to")
    assert again.record == Record((Message("user", "q"),))


def test_an_info_stands_beside_those_that_are_there(tmp_path: Path) -> None:
    other = {"theirs": {"hf_hub_url": "x/y", "note": "é"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(other))
    writing = Writing(PictureStore(tmp_path), tmp_path)
    assert sft.write(tmp_path, "a", [], writing) == 0
    assert trajectories.write(tmp_path, "b", [], writing) == 0
    assert layouts.read_info(tmp_path) == other | {"a": sft.info("a.json"), "b": sft.info("b.jsonl")}
    assert [(source.name, source.layout) for source in layouts.sources(tmp_path / "a.json")] == [("a", "sft")]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_batch_holds_the_problem_of_a_trajectory(tmp_path: Path) -> None:
    pictures = tuple(Picture(f"images/{each}.png", data=b"\x89PNG" + each.encode()) for each in "abc")
    talk: list[tuple[Role, str]] = [
        ("system", "s"),
        ("user", "<image><image>Question: q?"),
        ("assistant", "x"),
        ("user", "<image>go on"),
    ]
    record = Record(
        tuple(Message(role, text) for role, text in talk), pictures, None, "q?", "3", {"choices": [1, 2]}
    )  # type: ignore[arg-type]
    (row,) = written(batch, [record], tmp_path)
    text = (tmp_path / "rows.jsonl").read_text()
    assert json.loads(text) == {
        "id": "rows-1", "images": ["images/a.png", "images/b.png"], "question": "q?", "answer": "3", "choices": [1, 2],
    }  # fmt: skip
    assert not (tmp_path / "images/c.png").exists()
    assert row.record
    assert row.record.question == "q?"
    (problem,) = read_rows((tmp_path / "rows.jsonl").open("rb"))
    assert problem.question == "q? Choices: 1 2"
    assert inputs_of(record) == [0, 1]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(id="a", images=(Picture("", data=b"x"),)), "question of row 'a' is not known"),
        (Record(id="a", question="q"), "either an image or images"),
        (Record(id="a", question=" ", images=(Picture("", data=b"x"),)), "question is empty"),
        (Record(id="a", question="q", images=(Picture("", data=b"x"),) * 17), "17 images"),
        (Record(id="a", question="q", images=(Picture("no.png"),)), "no.png of row 'a' cannot be read"),
        (Record(id="a", question="q", images=(Picture("", data=b"x"),), extra={"choices": 3}), "choices"),
        (Record(id="a", question="q", images=(Picture("", data=b"x"),), extra={"x": b""}), "cannot be JSON"),
    ],
)
def test_a_batch_that_would_be_refused_is_not_written(tmp_path: Path, record: Record, reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        batch.write(tmp_path, "rows", [record], Writing(PictureStore(tmp_path), tmp_path))


def test_images_of_a_batch_lie_anywhere_and_within_the_row_and_on_the_network(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"\x89PNG out")
    (tmp_path / "in").mkdir()
    names = ["../out.png", "data:image/png;base64,iVBORw==", "https://host/x.png", str(tmp_path / "out.png")]
    (tmp_path / "in/rows.jsonl").write_text(json.dumps({"id": 1, "images": names, "question": "q"}) + "\n")
    (source,) = layouts.sources(tmp_path / "in")
    (row,) = batch.read(source)
    record = row.record
    assert record
    assert [record.images[at].read() for at in (0, 1, 3)] == [b"\x89PNG out", b"\x89PNG", b"\x89PNG out"]
    (tmp_path / "to").mkdir()
    writing = Writing(PictureStore(tmp_path / "to"), tmp_path / "to")
    assert batch.write(tmp_path / "to", "rows", [record], writing) == 1
    new = json.loads((tmp_path / "to/rows.jsonl").read_text())["images"]
    assert new[2] == "https://host/x.png"
    assert new[0] == new[3]
    assert [(tmp_path / "to" / new[at]).read_bytes() for at in (0, 1)] == [b"\x89PNG out", b"\x89PNG"]
    with pytest.raises(DataError, match=r"https://host/x\.png of row 1 .* on the network"):
        writing.pictures.names(record)


def test_a_problem_without_a_trajectory_is_not_written_as_one(tmp_path: Path) -> None:
    record = Record(id="p-1", question="q", images=(Picture("", data=b"x"),))
    for layout in (sft, trajectories):
        with pytest.raises(DataError, match="'p-1' has no trajectory") as raised:
            layout.write(tmp_path, "rows", [record], Writing(PictureStore(tmp_path), tmp_path))
        assert "virc data sample" in str(raised.value.hint)


@pytest.mark.parametrize("name", ["../rows", "a/b", "", ".rows", "..", "con:", "a\0b", "x" * 200])
def test_a_dataset_is_written_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "to").mkdir()
    for layout in (sft, trajectories, batch):
        with pytest.raises(UsageError, match="cannot name a dataset"):
            layout.write(tmp_path / "to", name, [], Writing(PictureStore(tmp_path / "to"), tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["to"]


@pytest.mark.parametrize(
    ("name", "text", "layout"),
    [
        ("a.json", ' \n[\n {"dialog": []}]', "sft"),
        ("a.json", "[]", "sft"),
        ("a.json", '\ufeff[{"messages": []}]', "sft"),
        ("a.json", "{}", None),
        ("a.json", "[1]", None),
        ("a.json", "", None),
        ("a.jsonl", '{"messages": [], "question": "q", "images": []}', "trajectories"),
        ("a.jsonl", '{"dialog": [{"who": "me"}], "images": []}', "trajectories"),
        ("a.jsonl", '\n{"broken"\n{"conversations": []}', "trajectories"),
        ("a.jsonl", '{"id": 1, "image": "x.png", "question": "q", "corners": [{}]}', "batch"),
        ("a.jsonl", '{"id": 1, "image": "x.png"}', None),
        ("a.jsonl", "\x00", None),
        ("a.txt", '[{"messages": []}]', None),
    ],
)
def test_files_are_known_by_their_beginning(tmp_path: Path, name: str, text: str, layout: str | None) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = [module.NAME for module in (batch, sft, trajectories) if module.recognises(tmp_path / name)]
    assert found[:1] == ([layout] if layout else [])
    assert not any(module.recognises(tmp_path / "none.json") for module in (batch, sft, trajectories))


def test_a_set_in_the_shape_of_crux_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    crux = build(tmp_path / "crux", rows=8, unpacked=True)
    published = json.loads(crux.dynamic.read_text())
    (source,) = layouts.sources(crux.dynamic)
    records = [row.record for row in sft.read(source) if row.record]
    assert [[message.content for message in record.messages] for record in records] == [
        [message["content"] for message in row["messages"]] for row in published
    ]
    assert all(final_answer(record) for record in records)
    (tmp_path / "to").mkdir()
    store = PictureStore(tmp_path / "to")
    assert sft.write(tmp_path / "to", "again", records, Writing(store, tmp_path / "to")) == 8
    again = json.loads((tmp_path / "to/again.json").read_text())
    assert [{key: row[key] for key in old} for row, old in zip(again, published, strict=True)] == published
    for row in published:
        for name in row["images"]:
            assert (tmp_path / "to" / name).samefile(crux.folder / name)
    assert store.stored_bytes == sum(
        (crux.folder / name).stat().st_size for name in {n for r in published for n in r["images"]}
    )
