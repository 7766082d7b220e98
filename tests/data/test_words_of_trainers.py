"""Rows in the words and files of other trainers are read as they mean them, or refused: nothing is learnt as a word."""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc
from support.preflight import in_this_process

from virc.core.errors import DataError
from virc.core.tables.encodings import encoding_of
from virc.data.check.run import CheckConfig, check
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.formats.registry import get, only_source
from virc.data.formats.sft import guessed
from virc.training.preflight.sft import with_entry

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


def data_url(folder: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode((folder / PICTURE).read_bytes()).decode()}"


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
    *(
        ("objects that are no more than said beside", {**grounded("<image>Find it.", "Here."), "objects": objects},
         ("<image>Find it.", "Here."))
        for objects in (["car"], [{"bbox": [1, 2, 3, 4]}], "car", 7)
    ),
    (
        "names alone",
        grounded("<image>What is it?", "<ref-object>, <ref-object>", ref=["a cat", "a dog"]),
        ("<image>What is it?", "a cat, a dog"),
    ),
    (
        "alpaca with a picture",
        {"instruction": "<image>What is it?", "input": "In a word.", "output": "Disk", "images": [PICTURE]},
        ("<image>What is it?\nIn a word.", "Disk"),
    ),
    (
        "alpaca whose mark is at the end",
        {"instruction": "What is it?", "input": "<image>", "output": "Disk", "images": [PICTURE]},
        ("What is it?\n<image>", "Disk"),
    ),
    (
        "alpaca with turns before",
        {"instruction": "And now?", "output": "Disk", "history": [["<image>Hi", "Hello"]], "image": PICTURE},
        ("<image>Hi", "Hello", "And now?", "Disk"),
    ),
    (
        "parts of OpenAI",
        {"messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What "}, {"type": "image_url", "image_url": {"url": PICTURE}},
                {"type": "text", "text": " is it?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Disk"}]}]},
        ("What <image> is it?", "Disk"),
    ),
    (
        "parts of transformers",
        {"messages": [
            {"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": "Disk"}]},
        ("<image>What?", "Disk"),
    ),
    (
        "a system message beside messages",
        {"system": "Be brief.", "messages": turns("<image>What?", "Disk"), "images": [PICTURE]},
        ("Be brief.", "<image>What?", "Disk"),
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
    (
        "the same system message twice",
        {"system": "So.", "messages": [{"role": "system", "content": "So."}, *turns("What?", "Disk")], "images": []},
        ("So.", "What?", "Disk"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("row", "said"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_rows_of_other_trainers_mean_what_these_read(folder: Path, row: Row, said: Sequence[str]) -> None:
    for name, text in (("rows.jsonl", f"{json.dumps(row)}\n" * 2), ("rows.json", json.dumps([row] * 2))):
        (folder / name).write_text(text)
        source = only_source(folder / name)
        found = [each.known() for each in get(source.format).read(source)]
        assert [tuple(message.content for message in each.messages) for each in found] == [tuple(said)] * 2
        assert not check(CheckConfig([folder / name])).faults
        convert(ConvertConfig([folder / name], folder / f"to-{name}", "sft"))


def test_objects_of_some_rows_alone_fill_theirs(folder: Path) -> None:
    filled = grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 3, 4]])
    beside = [{**grounded("<image>Find it.", "Here."), "objects": objects} for objects in (["car"], [{}], 7, None)]
    wrong = {**grounded("<image>Find it.", "<bbox>"), "objects": ["car"]}
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, [filled] * 24 + [*beside, wrong])))
    report = check(CheckConfig([folder / "rows.jsonl"]))
    assert (report.rows, report.good, report.faults) == (29, 28, {"row": 1})


@pytest.mark.parametrize("told", [(0,), (3,), (0, 1, 2, 3)])
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_system_message_of_some_rows_is_in_the_entry(folder: Path, told: tuple[int, ...], name: str) -> None:
    rows = [{"messages": turns("What?", "Disk")} | ({"system": "So."} if at in told else {}) for at in range(4)]
    (folder / name).write_text(json.dumps(rows) if name == "rows.json" else "\n".join(map(json.dumps, rows)))
    source = with_entry(only_source(folder / name), guessed)
    found = [each.known().messages[0].content for each in get(source.format).read(source)]
    assert found == ["So." if at in told else "What?" for at in range(4)]


ALPACA: Row = {"instruction": "<image>What?", "input": "", "output": "Disk", "images": [PICTURE]}
QUESTION: Row = {"image": PICTURE, "question": "What?", "answer": "Disk"}
MISSING = {"image_missing": 1}
ODD: list[tuple[str, Row, Row, dict[str, int]]] = [
    ("a missing picture", QUESTION, {"image": "gone.png"}, MISSING),
    ("a missing picture of another column", {"shot": PICTURE, **QUESTION, "image": None}, {"shot": "no.png"}, MISSING),
    ("a missing picture of a folder", {**QUESTION, "image": "p#.png"}, {"image": "gone.png"}, MISSING),
    ("a missing picture of a stem", {**QUESTION, "image": "p#"}, {"image": "gone"}, MISSING),
    ("a missing picture under a dropped folder", {**QUESTION, "image": "x/p/p#.png"}, {"image": "x/p/q.png"}, MISSING),
    ("a missing picture of alpaca", ALPACA, {"images": ["gone.png"]}, MISSING),
    ("no pictures of alpaca", ALPACA, {"instruction": "What?", "images": []}, {}),
    ("no column of pictures of alpaca", ALPACA, {"instruction": "What?", "images": ...}, {}),
    ("text alone of alpaca", {**ALPACA, "instruction": "What?", "images": []}, {}, {}),
    ("an empty reply of alpaca", ALPACA, {"output": ""}, {"no_answer": 1}),
    ("no reply of alpaca", ALPACA, {"output": None}, {"row": 1}),
    ("no marks of alpaca", ALPACA, {"images": [PICTURE] * 2}, {"row": 1}),
    (
        "an empty reply",
        {"messages": turns("<image>?", "a"), "image": PICTURE},
        {"messages": turns("<image>?", " ")},
        {"no_answer": 1},
    ),
    (
        "an empty reply before the last",
        {"messages": turns("<image>?", "a", "b", "c"), "image": PICTURE},
        {"messages": turns("<image>?", "", "b", "c")},
        {"no_answer": 1},
    ),
    ("no answer", QUESTION, {"answer": ""}, {"row": 1}),
]


@pytest.mark.parametrize(("usual", "odd", "faults"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
@pytest.mark.parametrize("at", [0, 3, 25])
def test_a_row_unlike_the_others_is_judged_alone(
    folder: Path, usual: Row, odd: Row, faults: dict[str, int], at: int
) -> None:
    (folder / "p").mkdir()
    Image.new("RGB", (70, 70)).save(folder / "p" / PICTURE)
    for side in range(30):
        Image.new("RGB", (60 + side, 60)).save(folder / "p" / f"p{side}.png")
    rows = [{**usual} for _ in range(30)]
    rows[at] |= odd
    texts = [json.dumps({key: value for key, value in row.items() if value is not ...}) for row in rows]
    lines = (text.replace("#", str(number)) for number, text in enumerate(texts))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    report = check(CheckConfig([folder / "rows.jsonl"]))
    assert (report.rows, report.faults) == (30, faults)


ASKED: Row = {"a": "<image>What is it?", "b": "In a word.", "images": [PICTURE]}
ENTRIES: list[tuple[Row, Row, Sequence[str], str]] = [
    ({"columns": {"prompt": "a", "query": "b", "response": "c", "images": "images"}}, {**ASKED, "c": "Disk"},
     ("<image>What is it?\nIn a word.", "Disk"), "instruct"),
    ({"formatting": "alpaca", "columns": {"prompt": "a", "response": "c", "images": "images"}}, {**ASKED, "c": "Disk"},
     ("<image>What is it?", "Disk"), "instruct"),
    ({"columns": {"prompt": "a", "response": "c", "history": "h", "system": "s", "images": "images"}},
     {**ASKED, "c": "Disk", "h": [["Hi", "Hello"]], "s": "Be brief."},
     ("Be brief.", "Hi", "Hello", "<image>What is it?", "Disk"), "instruct"),
    ({}, {"instruction": "What?", "input": "", "output": "Disk"}, ("What?", "Disk"), "instruct"),
    ({"ranking": True, "columns": {"prompt": "a", "chosen": "c", "rejected": "d", "images": "images"}},
     {**ASKED, "c": "Disk", "d": "A cat"}, ("<image>What is it?", "Disk"), "dpo"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "row", "said", "stage"), ENTRIES)
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_rows_of_alpaca_are_read_by_their_entry(
    folder: Path, entry: Row, row: Row, said: Sequence[str], stage: str, name: str
) -> None:
    rows = [row | ({"ignored": at} if at % 2 else {}) for at in range(8)]
    text = json.dumps(rows) if name == "rows.json" else "\n".join(map(json.dumps, rows))
    (folder / name).write_text(text)
    (folder / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": name, **entry}}))
    for path in (folder, folder / name):
        source = only_source(path)
        first = next(get(source.format).read(source)).known()
        assert [message.content for message in first.messages] == [*said]
        done = virc("data", "check", path, "--workers", 1)
        assert done.code == 0, done.out
    words = ("--stage", stage, "--from", "tiny", "--dry-run", "--data", folder / name)
    assert (done := virc("train", "tiny", *words)).code == 0, done.err


@pytest.mark.parametrize("columns", [{"prompt": "a"}, {"response": "c"}, {}, {"prompt": "a", "response": ["c"]}])
def test_an_entry_that_names_too_few_columns_is_refused(folder: Path, columns: Row) -> None:
    (folder / "rows.jsonl").write_text(f"{json.dumps(ASKED)}\n" * 2)
    (folder / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.jsonl", "columns": columns}}))
    for path in (folder, folder / "rows.jsonl"):
        assert virc("data", "check", path, "--workers", 1).code == 5


@pytest.mark.parametrize("url", [data_url, lambda folder: PICTURE, lambda folder: str(folder / PICTURE)])
def test_pictures_within_rows_are_trained_on(folder: Path, url: Callable[[Path], str]) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url(folder)}}, {"type": "text", "text": "What?"}]
    row = {"messages": [{"role": "user", "content": parts}, *turns("", "Disk")[1:]]}
    (folder / "rows.jsonl").write_text(f"{json.dumps(row)}\n" * 4)
    done = virc("train", "tiny", "--stage", "instruct", "--from", "tiny", "--dry-run", "--data", folder / "rows.jsonl")
    assert done.code == 0, done.err
    assert "4 rows, 4 images" in done.err


def in_parts(part: Row, **reply: Any) -> Row:
    return {"messages": [{"role": "user", "content": [part]}, {"role": "assistant", **reply}]}


REFUSED: list[tuple[Row, str]] = [
    (grounded("<image>Find it.", "<bbox><bbox>", bbox=[[1, 2, 3, 4]]), "2 <bbox>, and its column objects 1"),
    (grounded("<image>Find <ref-object>.", "<bbox>", bbox=[[1, 2, 3, 4]]), "1 <ref-object>, and its column objects 0"),
    (grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 3]]), "neither 2 nor 4 numbers"),
    (grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 300, 4]]), "is outside the picture: 1, 2, 300, 4 in pixels"),
    (grounded("<image>Find <ref-object>.", "<bbox>", ref=["a"], bbox=[[90, 60, 8, 9]]), "boxes is turned round: 90"),
    (grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 3, 4]], image_id=[1]), "of image 1"),
    (grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 3, 4]], image_id=1), "are lists"),
    (grounded("<image>Find it.", "<bbox>", bbox=4), "are lists"),
    (grounded("<image>Find it.", "<bbox>", bbox=[[0.5, 0.5, 1.9, 1.9]], bbox_type="norm1"), "outside the picture"),
    *((grounded("<image>Find it.", "<bbox> <bbox>", bbox=[[5, 6], box], **kind), "write `bbox_type: norm1`")
      for box, kind in (([0.1, 0.2, 0.4, 0.5], {}), ([0, 0, 1, 1], {"bbox_type": "real"}), ([0.5, 0.25], {}))),
    (grounded("<image>Find it.", "<bbox>", bbox=[[1, 2, 3, 4]], bbox_type="norm1000"), "bbox_type is norm1000"),
    *(({**grounded("<image>Find it.", "<bbox>"), "objects": objects}, word)
      for objects, word in ((["car"], "are lists"), ([{}], "are lists"), (7, "are lists"))),
    ({"messages": turns("<image>?", "a"), "images": [PICTURE], "tools": '[{"name": "f"}]'}, "tools"),
    ({"conversations": [
        {"from": "human", "value": "<image>?"}, {"from": "function_call", "value": "{}"},
        {"from": "observation", "value": "7"}, {"from": "gpt", "value": "a"}], "images": [PICTURE]}, "function_call"),
    ({"messages": [{"role": "system", "content": "So."}, *turns("?", "a")], "system": "No."}, "another system message"),
    ({"messages": turns("<image>?", "a"), "images": [PICTURE], "system_prompt": "So."}, "system_prompt"),
    *(({"messages": [turns("?")[0], {"role": "assistant", "content": None, **more}]}, said) for more, said in (
        ({"tool_calls": [{"id": "a"}]}, "message 2 has no text as content, but tool_calls, which nothing reads"),
        ({"function_call": {"name": "f"}}, "but function_call"), ({}, "message 2 has no text as content: it is null"),
    )),
    (in_parts({"text": "?"}, content=None), "message 2 has no text: it is null"),
    (in_parts({"text": "?"}, content=None, tool_calls=[{"id": "a"}]), "message 2 has no text, but tool_calls"),
    (in_parts({"type": "image", "source": {"data": "iVBORw0KGgo"}}, content="a"), "message 1 has an image as source"),
    *(({"messages": turns("?", "a"), "images": [], f"rejected_{side}": turns("?", "b")}, f"rejected_{side}")
      for side in ("messages", "conversations", "response")),
    ({"messages": [*turns("<image>?", "a"), {"role": "tool", "content": "7"}], "images": [PICTURE]}, "role 'tool'"),
    *(({"messages": turns(f"<image>{word} What?", "a"), "images": [PICTURE]}, word) for word in (
        "<video>", "<audio>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|image|>",
        "<|image_1|>", "<IMG_CONTEXT>", "<Image>", "<IMAGE>", "<image_soft_token>",
        "<start_of_image>", "<|begin_of_image|>", "<|media_pad|>", "<ImageHere>", "[IMG]", "<cot-process>", "<bbox>",
    )),
    ({"messages": turns("<image>What?", "It is at <bbox>."), "images": [PICTURE]}, "<bbox>"),
    ({"instruction": "<image><video>What?", "input": "", "output": "a", "images": [PICTURE]}, "<video>"),
    ({"id": 1, "image": PICTURE, "question": "<|vision_start|>What?", "answer": "a"}, "<|vision_start|>"),
    ({"messages": turns("<image>?"), "images": [PICTURE], "chosen": turns("", "a")[1],
      "rejected": turns("", "<ref-object>")[1]}, "<ref-object>"),
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


@pytest.mark.parametrize("bad", [0, 2])
@pytest.mark.parametrize("box", [[1, 2, 300, 4], [0.1, 0.2, 0.4, 0.5]])
def test_a_wrong_box_is_the_fault_of_its_row_alone(folder: Path, bad: int, box: list[float]) -> None:
    rows = [grounded("<image>Find it.", "<bbox>", bbox=[box if at == bad else [1, 2, 3, 4]]) for at in range(4)]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert check(CheckConfig([folder / "rows.jsonl"])).faults == {"row": 1}


@pytest.mark.parametrize(
    "text",
    [
        "Give <bbox>[1, 2, 3, 4]</bbox>.",
        "<image 1> and <image_2>",
        "<|box_start|>(1,2)",
        "x <b>y</b>",
        "`<img>`, </img> and </IMAGE>",
        "[img]a.png[/img]",
        "<video controls>a</video>",
        "<audio src=a></audio>",
    ],
)
def test_words_that_stand_for_themselves_are_learnt(folder: Path, text: str) -> None:
    row = {"messages": turns(f"<image>{text}", text), "images": [PICTURE]}
    (folder / "rows.jsonl").write_text(f"{json.dumps(row)}\n")
    assert not check(CheckConfig([folder / "rows.jsonl"])).faults


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"a": "é"}\n'.encode("latin-1"), "it is not UTF-8 at byte 7\nhint: iconv -f ENCODING"),
        ("a.json", '[{"a": "é"}]'.encode("latin-1"), "not UTF-8"),
        ("a.csv", "image,question\na.png,é\n".encode("cp1252"), "not UTF-8"),
        ("a.jsonl", b"{'a': None}\n", "Python's objects"),
        ("a.jsonl", b"", "it is empty"),
        ("a.json", b"", "it is empty"),
        ("a.csv", b"", "it is empty"),
        ("a.jsonl", b"\n\n", "it has no rows"),
        ("a.jsonl", b"So it is.\n", "not JSON"),
    ],
)
def test_a_file_of_no_format_says_why(name: str, content: bytes, said: str, folder: Path) -> None:
    (folder / name).write_bytes(content)
    done = virc("data", "check", folder / name, "--workers", 1)
    assert (done.code, said in done.out + done.err) == (5, True), done.err


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
    report = check(CheckConfig([folder / name]))
    assert (report.rows, report.faults) == (2, {})
    source = only_source(folder / name)
    first = next(get(source.format).read(source)).known()
    assert first.messages[0].content == f"<image>{SAID}"
    assert source.encoding == said
    assert any(str(said) in line for line in source.reasons) == (said not in (None, "utf-8-sig"))
    assert source.as_engines_read == (said is None and not swapped)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", None), (b"{", None), ("é".encode("latin-1") + b"t\xe9 " * 9, None),
        ("日本語のテスト".encode("shift_jis"), "cp932"),
        ("这个值不能为空。".encode("gbk"), "gb18030"), ("這個值不能為空。".encode("gbk"), "gb18030"),
        ("값이 올바르지 않습니다".encode("cp949"), None), ("똠방각하 펲시콜라".encode("cp949"), None),
        ("このページには結果が含まれていません。".encode("euc_jp"), None), ("東京大学".encode("euc_jp"), None),
        ("這個值不能為空。".encode("big5"), None), ("Für Köln, schöne Grüße".encode("latin-1"), None),
        ("数".encode("gbk"), None), (("x" * (2**20 - 1) + "数").encode("gbk") + b"x", None),
    ],
)  # fmt: skip
def test_only_chinese_and_japanese_are_guessed(tmp_path: Path, content: bytes, encoding: str | None) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with (tmp_path / "a.jsonl").open("rb") as file:
        assert encoding_of(file) == encoding
        assert file.tell() == 0


@pytest.mark.parametrize(("text", "encoding"), [("원은 얼마나 큽니까?", "cp949"), ("円の大きさは？", "euc_jp")])
def test_a_file_that_may_be_in_two_encodings_is_refused(folder: Path, text: str, encoding: str) -> None:
    row = {"messages": turns(f"<image>{text}", text), "images": [PICTURE]}
    (folder / "rows.jsonl").write_bytes(f"{json.dumps(row, ensure_ascii=False)}\n".encode(encoding) * 3)
    done = virc("data", "check", folder / "rows.jsonl", "--workers", 1)
    assert (done.code, "iconv -f ENCODING -t UTF-8" in done.out + done.err) == (5, True), done.out + done.err


def test_a_file_that_leaves_its_encoding_is_unread_from_there_on(folder: Path) -> None:
    row = {"messages": turns(f"<image>{SAID}", "a"), "images": [PICTURE], "note": "x" * 2**19}
    line = json.dumps(row, ensure_ascii=False).encode("gbk") + b"\n"
    (folder / "rows.jsonl").write_bytes(line * 3 + b"\xff\xff\xff")
    assert "unread" in check(CheckConfig([folder / "rows.jsonl"])).faults
