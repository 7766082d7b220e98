"""Formats of text: what is written is read again, and files are known by their beginning."""

import json
import os
import re
import tempfile
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from data.text_records import PROBLEM, SOLVED, written
from hypothesis import given, settings
from hypothesis import strategies as st
from support.crux import build

from virc.core.errors import DataError, UsageError
from virc.data.formats import batch, published, sft, trajectories
from virc.data.formats import registry as formats
from virc.data.formats.registry import Writing
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Message, Picture, Record, Role, final_answer, inputs_of
from virc.solving.rows import read_rows
from virc.systems.layouts.layout import Layout


def known(record: Record | None) -> tuple[Record, list[bytes]]:
    """All that two records have to agree in; images may be called otherwise."""
    assert record
    return msgspec.structs.replace(record, images=()), [picture.read() for picture in record.images]


def comes_back(format: ModuleType, records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = written(format, records, Path(folder))
        assert [row.fault for row in rows] == [None] * len(records)
        assert [known(row.record) for row in rows] == [known(record) for record in records]


@pytest.mark.integration
@settings(max_examples=150, deadline=None)
@given(st.lists(SOLVED, min_size=1, max_size=3))
def test_trajectories_come_back_from_both_their_format(records: list[Record]) -> None:
    comes_back(sft, records)
    comes_back(trajectories, records)


@pytest.mark.integration
@settings(max_examples=150, deadline=None)
@given(st.lists(PROBLEM, min_size=1, max_size=3))
def test_problems_come_back_from_a_batch(records: list[Record]) -> None:
    comes_back(batch, records)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=2000, deadline=None)
@given(SOLVED, PROBLEM)
def test_records_come_back_in_many_tries(solved: Record, problem: Record) -> None:
    comes_back(sft, [solved])
    comes_back(trajectories, [solved])
    comes_back(batch, [problem])


def test_an_info_stands_beside_those_that_are_there(tmp_path: Path) -> None:
    other = {"theirs": {"hf_hub_url": "x/y", "note": "é"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(other))
    writing = Writing(PictureStore(tmp_path))
    assert sft.write(tmp_path, "a", [], writing) == 0
    assert trajectories.write(tmp_path, "b", [], writing) == 0
    assert formats.read_info(tmp_path) == other | {"a": sft.info("a.json"), "b": sft.info("b.jsonl")}
    assert [(source.name, source.format) for source in formats.sources(tmp_path / "a.json")] == [("a", "sft")]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_batch_holds_the_problem_of_a_trajectory(tmp_path: Path) -> None:
    pictures = tuple(Picture(f"images/{each}.png", data=b"\x89PNG" + each.encode()) for each in "abc")
    talk: list[tuple[Role, str]] = [
        ("system", "s"),
        ("user", "<image><image>Question: q?"),
        ("assistant", "x"),
        ("user", "<image>go on"),
    ]
    record = Record(tuple(Message(role, text) for role, text in talk), pictures, None, "q?", "3", {"choices": [1, 2]})  # type: ignore[arg-type]
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
    ("answer", "read"), [("3 cm", "3 cm"), (3, "3"), (3.5, "3.5"), (0.0, "0.0"), (None, None), ([3], None)]
)
def test_an_answer_of_a_batch_may_be_any_number(tmp_path: Path, answer: object, read: str | None) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": 1, "image": "a.png", "question": "q", "answer": answer}))
    (row,) = batch.read(formats.sources(tmp_path)[0])
    assert row.record
    assert row.record.answer == read


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(id="a", images=(Picture("", data=b"x"),)), "question of row 'a' is not known"),
        (Record(id="a", question=" ", images=(Picture("", data=b"x"),)), "question is empty"),
        (Record(id="a", question="q", images=(Picture("", data=b"x"),) * 17), "17 images"),
        (Record(id="a", question="q", images=(Picture("no.png"),)), "no.png of row 'a' cannot be read"),
        (Record(id="a", question="q", images=(Picture("", data=b"x"),), extra={"choices": 3}), "choices"),
        (Record(id="a", question="q", images=(Picture("", data=b"x"),), extra={"x": b""}), "cannot be JSON"),
    ],
)
def test_a_batch_that_would_be_refused_is_not_written(tmp_path: Path, record: Record, reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        batch.write(tmp_path, "rows", [record], Writing(PictureStore(tmp_path)))


def test_images_of_a_batch_lie_anywhere_and_within_the_row_and_on_the_network(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"\x89PNG out")
    (tmp_path / "in").mkdir()
    names = ["../out.png", "data:image/png;base64,iVBORw==", "https://host/x.png", str(tmp_path / "out.png")]
    names.append("DATA:image/png;base64,iVBORw==")
    (tmp_path / "in/rows.jsonl").write_text(json.dumps({"id": 1, "images": names, "question": "q"}) + "\n")
    (source,) = formats.sources(tmp_path / "in")
    (row,) = batch.read(source)
    record = row.record
    assert record
    assert [record.images[at].read() for at in (0, 1, 3, 4)] == [b"\x89PNG out", b"\x89PNG"] * 2
    (tmp_path / "to").mkdir()
    writing = Writing(PictureStore(tmp_path / "to"))
    assert batch.write(tmp_path / "to", "rows", [record], writing) == 1
    new = json.loads((tmp_path / "to/rows.jsonl").read_text())["images"]
    assert new[2] == "https://host/x.png"
    assert new[0] == new[3]
    assert [(tmp_path / "to" / new[at]).read_bytes() for at in (0, 1)] == [b"\x89PNG out", b"\x89PNG"]
    with pytest.raises(DataError, match=r"https://host/x\.png of row 1 .* on the network"):
        writing.pictures.names(record)


def test_what_a_source_is_and_what_solves_its_problems(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "a.json", tmp_path / "b.json"
    ours.write_text("[]")
    theirs.write_text("[]", encoding="utf-16")
    laid_out = formats.LaidOut("mine", Layout("mine", question="q"))
    whole, apart = (formats.Source(tmp_path, "published", "x", laid_out=each) for each in (laid_out, None))
    assert (whole.media, apart.media, formats.Source(ours, "sft", "a").media) == (tmp_path, tmp_path.parent, tmp_path)
    assert [formats.Source(file, name, "a").as_engines_read for file, name in (
        (ours, "sft"), (ours, "pairs"), (ours, "batch"), (theirs, "sft"),
    )] == [True, True, False, False]  # fmt: skip
    assert formats.Source(theirs, "sft", "b").reasons == ("b.json is read as utf-16",)
    problems = formats.Source(Path("my rows.jsonl"), "batch", "my rows")
    assert formats.solving(problems, "--pairs right") == "virc data sample 'my rows.jsonl' --pairs right --to NEW"
    assert formats.solving(formats.Source(Path("a.parquet"), "rl", "a")) == (
        "virc data convert a.parquet --to DIR --format batch, then virc data sample DIR/a.jsonl --to NEW"
    )
    (tmp_path / "rows.jsonl").write_text(json.dumps({f"c{at}": at for at in range(13)}))
    assert published.columns_of(tmp_path / "rows.jsonl") == f"{', '.join(f'c{at}' for at in range(12))}, …"


def test_a_problem_without_a_trajectory_is_not_written_as_one(tmp_path: Path) -> None:
    record = Record(id="p-1", question="q", images=(Picture("", data=b"x"),))
    for format in (sft, trajectories):
        with pytest.raises(DataError, match="'p-1' has no trajectory") as raised:
            format.write(tmp_path, "rows", [record], Writing(PictureStore(tmp_path)))
        assert "virc data sample" in str(raised.value.hint)


@pytest.mark.parametrize("name", ["../rows", "a/b", "", ".rows", "..", "con:", "a\0b", "x" * 200])
def test_a_dataset_is_written_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "to").mkdir()
    for format in (sft, trajectories, batch):
        with pytest.raises(UsageError, match="cannot name a dataset"):
            format.write(tmp_path / "to", name, [], Writing(PictureStore(tmp_path / "to")))
    assert [path.name for path in tmp_path.rglob("*")] == ["to"]


@pytest.mark.parametrize(
    ("name", "text", "format"),
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
def test_files_are_known_by_their_beginning(tmp_path: Path, name: str, text: str, format: str | None) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = [module.NAME for module in (batch, sft, trajectories) if module.recognises(tmp_path / name)]
    assert found[:1] == ([format] if format else [])
    assert not any(module.recognises(tmp_path / "none.json") for module in (batch, sft, trajectories))


@pytest.mark.integration
def test_a_set_in_the_shape_of_crux_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    crux = build(tmp_path / "crux", rows=8, unpacked=True)
    published = json.loads(crux.dynamic.read_text())
    (source,) = formats.sources(crux.dynamic)
    records = [row.record for row in sft.read(source) if row.record]
    assert [[message.content for message in record.messages] for record in records] == [
        [message["content"] for message in row["messages"]] for row in published
    ]
    assert all(final_answer(record) for record in records)
    (tmp_path / "to").mkdir()
    store = PictureStore(tmp_path / "to")
    assert sft.write(tmp_path / "to", "again", records, Writing(store)) == 8
    again = json.loads((tmp_path / "to/again.json").read_text())
    assert [{key: row[key] for key in old} for row, old in zip(again, published, strict=True)] == published
    for row in published:
        for name in row["images"]:
            assert (tmp_path / "to" / name).samefile(crux.folder / name)
    assert store.stored_bytes == sum(
        (crux.folder / name).stat().st_size for name in {n for r in published for n in r["images"]}
    )


def test_a_file_beside_the_rows_that_holds_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "image": "a.png", "question": "How many?"}\n')
    (tmp_path / "trainer_log.jsonl").write_text('{"loss": 1.5}\n')
    assert [source.file.name for source in formats.sources(tmp_path)] == ["rows.jsonl"]


def test_an_info_that_names_a_file_outside_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('[{"messages": [{"role": "user", "content": "hello"}]}]')
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "dataset_info.json").write_text('{"one": {"file_name": "../secret.json"}}')
    with pytest.raises(DataError, match="outside the folder"):
        formats.sources(folder)


@pytest.mark.parametrize("name", ["x\0.json", "x\ud800.json", "loop/x.json", "x" * 300, "x\x1b[2J.json"])
def test_an_info_that_names_what_no_file_can_be_called_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / formats.INFO).write_text(json.dumps({"a": {"file_name": name}}))
    with pytest.raises(DataError, match="which is not there") as raised:
        formats.sources(tmp_path)
    assert raised.value.message.isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_what_is_called_like_a_file_of_rows_and_is_none_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    os.mkfifo(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": []}) + "\n")
    assert [source.name for source in formats.sources(tmp_path)] == ["c"]
