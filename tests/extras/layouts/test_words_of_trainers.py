"""Rows in the words and files of other trainers are read as they mean them, or refused: nothing is learnt as a word."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc
from support.preflight import in_this_process
from support.tables import each_case

from virc.core.errors import DataError
from virc.data.check.run import CheckConfig, check_rows_of
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.formats.registry import only_source

Row = dict[str, Any]
PICTURE, SIZE = "a.png", (200, 100)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    in_this_process(monkeypatch)
    Image.radial_gradient("L").resize(SIZE).save(tmp_path / PICTURE)
    Image.new("RGB", (50, 50)).save(tmp_path / "b.png")
    return tmp_path


def turns(*texts: str) -> list[Row]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def grounded(user: str, reply: str, **objects: Any) -> Row:
    return {"messages": turns(user, reply), "images": [PICTURE, "b.png"][: user.count("<image>")], "objects": objects}


READ: list[tuple[str, Row, Sequence[str]]] = [
(
        "boxes and names of ms-swift",
        grounded("<image>Find <ref-object>.", "<bbox> and <bbox>", ref=["a cat"], bbox=[[1.4, 2, 30.6, 40], [5, 6]]),
        ("<image>Find a cat.", "[1, 2, 31, 40] and [5, 6]"),
    ),
(
        "boxes that are parts of the sides",
        grounded("<image>Find it.", "<bbox>", bbox=[[0.5, 0.25, 1, 1]], bbox_type="norm1"),
        ("<image>Find it.", "[100, 25, 200, 100]"),
    ),
(
        "boxes of the second picture",
        grounded("<image><image>Find it.", "<bbox>", ref=[], bbox=[[0, 0, 1, 0.5]], bbox_type="norm1", image_id=[1]),
        ("<image><image>Find it.", "[0, 0, 50, 25]"),
    ),
(
        "alpaca with turns before",
        {"instruction": "And now?", "output": "Disk", "history": [["<image>Hi", "Hello"]], "image": PICTURE},
        ("<image>Hi", "Hello", "And now?", "Disk"),
    ),
(
        "parts of transformers",
        {"messages": [
            {"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": "Disk"}]},
        ("<image>What?", "Disk"),
    ),
(
        "a system message beside conversations",
        {"conversations": [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "Disk"}],
         "system": "Be brief.", "image": PICTURE},
        ("Be brief.", "<image>What?", "Disk"),
    ),
(
        "a system message beside messages without marks",
        {"system": "Be brief.", "messages": turns("What?", "Disk"), "image": PICTURE},
        ("Be brief.", "<image>What?", "Disk"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("row", "said"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_rows_of_other_trainers_mean_what_these_read(folder: Path, row: Row, said: Sequence[str]) -> None:
    for name, text in (("rows.jsonl", f"{json.dumps(row)}\n" * 2), ("rows.json", json.dumps([row] * 2))):
        (folder / name).write_text(text)
        source = only_source(folder / name)
        found = [each.known() for each in source.rows()]
        assert [tuple(message.content for message in each.messages) for each in found] == [tuple(said)] * 2
        assert not check_rows_of(CheckConfig([folder / name])).faults
        convert(ConvertConfig([folder / name], folder / f"to-{name}", "sft"))


def test_rows_with_objects_and_without_are_of_one_file(folder: Path) -> None:
    plain = {"messages": turns("<image>What?", "Disk"), "images": [PICTURE]}
    rows = [grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 3, 4]]), plain, plain, plain]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = [row.known().messages[1].content for row in only_source(folder / "rows.jsonl").rows()]
    assert said == ["[1, 2, 3, 4]", "Disk", "Disk", "Disk"]


def test_columns_hold_pictures_that_urls_name(folder: Path) -> None:
    (folder / PICTURE).rename(folder / "a b.png")
    row = {"figure": f"file://{folder}/a%20b.png", "query": "What?", "label": "Disk"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    checked = check_rows_of(CheckConfig([folder / "rows.jsonl"]))
    assert (checked.faults, [each.counts.images for each in checked.datasets]) == ({}, [1])


@each_case(("words", "said"), [
    # ms-swift 4.6.0 scales a box of 700, 500, 1400, 1000 in a picture of 1400 x 1000 so where that becomes 280 x 196
    (("sft", "--max-pixels", 60_000), ["Find a cat near [28, 20].", "[140, 98, 280, 196] and [0, 0, 25, 50]"]),
    (("batch", "--images", "square_1000"), ["near [100, 100].", "[500, 500, 1000, 1000] and [0, 0, 500, 1000]"]),
])  # fmt: skip
def test_boxes_in_texts_follow_the_pictures(folder: Path, words: Sequence[Any], said: Sequence[str]) -> None:
    Image.new("RGB", (1400, 1000)).save(folder / PICTURE)
    bbox, names = [[140, 100], [700, 500, 1400, 1000], [0, 0, 25, 50]], ["a cat"]
    asked = "<image><image>Find <ref-object> near <bbox>."
    row = grounded(asked, "<bbox> and <bbox>", ref=names, bbox=bbox, image_id=[0, 0, 1])
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    to = folder / "".join(map(str, words))
    named = ("--to", to, "--workers", 1, "--format")
    assert (done := virc("data", "convert", folder / "rows.jsonl", *named, *words)).code == 0, done.err
    written = next(to.glob("rows.json*")).read_text()
    assert [text for text in said if text not in written] == []


@each_case(("words", "boxes"), [
    (("--max-pixels", 60_000), [[140.0, 98.0, 280.0, 196.0]]),
    (("--images", "square_1000"), [[500.0, 500.0, 1000.0, 1000.0]]),
    ((), [[700, 500, 1400, 1000]]),
])  # fmt: skip
def test_answers_that_are_boxes_follow_the_pictures(folder: Path, words: Sequence[Any], boxes: list[Any]) -> None:
    names = ("boxes", "crowd_boxes", "looks")
    Image.new("RGB", (1400, 1000)).save(folder / PICTURE)
    row = {"id": "a", "image": PICTURE, "question": "Where is it?"}
    row |= {name: [[700, 500, 1400, 1000]] for name in names}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    to = folder / f"to{len(words)}{words[-1:]}"
    named = ("--to", to, "--format", "prompts", "--protocol", "default", "--workers", 1)
    assert (done := virc("data", "convert", folder / "rows.jsonl", *named, *words)).code == 0, done.err
    record = next(only_source(to).rows()).known()
    assert [json.loads(record.answer or ""), *(record.extra[name] for name in names)] == [boxes] * 4


ASKED: Row = {"a": "<image>What is it?", "b": "In a word.", "images": [PICTURE]}
ENTRIES: list[tuple[Row, Row, Sequence[str], str]] = [
({"columns": {"prompt": "a", "query": "b", "response": "c", "images": "images"}}, {**ASKED, "c": "Disk"},
     ("<image>What is it?\nIn a word.", "Disk"), "instruct"),
({"columns": {"prompt": "a", "response": "c", "history": "h", "system": "s", "images": "images"}},
     {**ASKED, "c": "Disk", "h": [["Hi", "Hello"]], "s": "Be brief."},
     ("Be brief.", "Hi", "Hello", "<image>What is it?", "Disk"), "instruct"),
({"ranking": True, "columns": {"prompt": "a", "chosen": "c", "rejected": "d", "images": "images"}},
     {**ASKED, "c": "Disk", "d": "A cat"}, ("<image>What is it?", "Disk"), "dpo"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "row", "said", "stage"), ENTRIES)
def test_rows_of_alpaca_are_read_by_their_entry(
    folder: Path, entry: Row, row: Row, said: Sequence[str], stage: str
) -> None:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row | ({"ignored": at} if at % 2 else {})) for at in range(8)))
    (folder / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": file.name, **entry}}))
    for path in (folder, file):
        source = only_source(path)
        first = next(source.rows()).known()
        assert [message.content for message in first.messages] == [*said]
        done = virc("data", "check", path, "--workers", 1)
        assert done.code == 0, done.out
    words = ("--stage", stage, "--from", "tiny", "--dry-run", "--data", file)
    assert (done := virc("train", "tiny", *words)).code == 0, done.err


def in_parts(part: Row, **reply: Any) -> Row:
    return {"messages": [{"role": "user", "content": [part]}, {"role": "assistant", **reply}]}


REFUSED: list[tuple[Row, str]] = [
(grounded("<image>Find it.", "<bbox><bbox>", bbox=[[1, 2, 3, 4]]), "2 <bbox>, and its column objects 1"),
(grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 300, 4]]), "is outside the picture: 1, 2, 300, 4 in pixels"),
(grounded("<image>Find <ref-object>.", "<bbox>", ref=["a"], bbox=[[90, 60, 8, 9]]), "boxes is turned round: 90"),
*((grounded("<image>Find it.", "<bbox> <bbox>", bbox=[[5, 6], box], **kind), "write `bbox_type: norm1`")
      for box, kind in (([0.1, 0.2, 0.4, 0.5], {}), ([0, 0, 1, 1], {"bbox_type": "real"}), ([0.5, 0.25], {}))),
(grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 3, 4]], bbox_type="norm1000"), "bbox_type is norm1000"),
({"messages": turns("<image>?", "a"), "images": [PICTURE], "tools": '["f"]'}, "tools"),
({"messages": [{"role": "system", "content": "So."}, *turns("?", "a")], "system": "No."}, "another system message"),
({"messages": turns("<image>?", "a"), "images": [PICTURE], "system_prompt": "So."}, "system_prompt"),
*(({"messages": [turns("?")[0], {"role": "assistant", "content": None, **more}]}, said) for more, said in (
        ({"tool_calls": [{"id": "a"}]}, "message 2 has a call without a name"),
        ({"function_call": {"name": "f"}}, "but function_call"), ({}, "message 2 has no text as content: it is null"),
    )),
(in_parts({"text": "?"}, content=None, tool_calls=[{"id": "a"}]), "message 2 has a call without a name"),
({"messages": [turns("?")[0], {"role": "assistant", "content": "a", "loss": False}]}, "is not to be learnt"),
(in_parts({"type": "image", "image": PICTURE}, content="a", weight=0.0), "is not to be learnt"),
({**grounded("<image>a <image>", "<bbox>", bbox=[[1, 2, 3, 4]]), "images": [PICTURE]}, "2 <image> marks, and it has 1"),
({"messages": turns("?", "a"), "images": [], "rejected_conversations": turns("?", "b")}, "rejected_conversations"),
({"messages": turns("?", "a"), "images": [], "rejected_messages": turns("!", "b")}, "do not follow the same turns"),
({"messages": turns("<image>?", "a"), "images": [PICTURE], "rejected_response": "b", "rejected_images": ["b.png"]},
 "rejected_images"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "word"), REFUSED)
def test_what_would_be_learnt_as_a_word_is_refused_everywhere(folder: Path, row: Row, word: str) -> None:
    (folder / "rows.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    done = virc("data", "check", folder / "rows.jsonl", "--workers", 1)
    assert (done.code, word in done.out + done.err) == (5, True), done.out + done.err
    format = "pairs" if "chosen" in row else "batch" if "question" in row else "sft"
    with pytest.raises(DataError) as raised:
        convert(ConvertConfig([folder / "rows.jsonl"], folder / "to", format))
    assert word in raised.value.message
    stage = {"pairs": "dpo", "batch": "rl"}.get(format, "instruct")
    words = ("--stage", stage, "--from", "tiny", "--dry-run", "--data", folder / "rows.jsonl")
    assert virc("train", "tiny", *words, *(("--with", "multi-turn") if stage == "rl" else ())).code == 5
    if format == "batch":
        assert virc("eval", folder / "rows.jsonl", "--model", "tiny").code == 5


SAID = "图中的圆有多大？"
LINES, ARRAY = "rows.jsonl", "rows.json"
FILES: list[tuple[str, str, str | None]] = [
    *((name, encoding, said) for name in (LINES, ARRAY) for encoding, said in (
        ("utf-8", None), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"), ("utf-32", "utf-32"), ("gbk", "gb18030"), ("gb18030", "gb18030"),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("name", "encoding", "said"), FILES)
@pytest.mark.parametrize("swapped", [False, True])
def test_files_of_any_form_and_encoding_are_read(
    folder: Path, name: str, encoding: str, said: str | None, swapped: bool
) -> None:
    """`swapped`: lines are in a file named as an array is, and an array in one of lines."""
    row = {"messages": turns(f"<image>{SAID}", "很大。"), "images": [PICTURE]}
    text = json.dumps(row, ensure_ascii=False)
    content = f"{text}\n{text}\n" if (name == LINES) != swapped else f"[{text},\n{text}]"
    (folder / name).write_bytes(content.encode(encoding))
    report = check_rows_of(CheckConfig([folder / name]))
    assert (report.rows, report.faults) == (2, {})
    source = only_source(folder / name)
    first = next(source.rows()).known()
    assert first.messages[0].content == f"<image>{SAID}"
    assert source.encoding == said
    assert any(str(said) in line for line in source.reasons) == (said not in (None, "utf-8-sig"))
    assert source.as_engines_read == (said is None and not swapped)


@pytest.mark.parametrize(("text", "encoding"), [("원은 얼마나 큽니까?", "cp949"), ("円の大きさは？", "euc_jp")])
def test_a_file_that_may_be_in_two_encodings_is_refused(folder: Path, text: str, encoding: str) -> None:
    row = {"messages": turns(f"<image>{text}", text), "images": [PICTURE]}
    (folder / "rows.jsonl").write_bytes(f"{json.dumps(row, ensure_ascii=False)}\n".encode(encoding) * 3)
    done = virc("data", "check", folder / "rows.jsonl", "--workers", 1)
    assert (done.code, "iconv -f ENCODING -t UTF-8" in done.out + done.err) == (5, True), done.out + done.err
