"""`virc data show`: one row as a reader sees it, and the schema of rows."""

import io
import json
from contextlib import redirect_stdout
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from chat_protocols import CROP, OWN, QUESTIONS, look, spoken, trained
from data import parquet_sets
from data.converted import write
from PIL import Image
from pyarrow import parquet  # type: ignore[import-untyped]
from support import crux
from support.called import virc
from support.solving import CROP as SEEN

from virc.data import show
from virc.data.check.result import Rules
from virc.data.formats import registry as formats
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.reasoning.grammar import TAGS
from virc.reasoning.images import Shown
from virc.solving.rows import read_rows
from virc_cli.main import main

SCHEMAS = ("batch", "sft", "trajectories", "pairs", "rl", "prompts", "conversation")
EVIL = "</title><script>alert(1)</script><img src=x onerror=y> \x1b[2J\u202e ${style}"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> crux.Crux:
    return crux.build(tmp_path_factory.mktemp("crux") / "set", unpacked=True)


def saved(folder: Path, *records: Record, **fields: object) -> Path:
    """A JSONL file of records, with their images beside it."""
    lines = []
    for number, record in enumerate(records):
        names = [f"{number}-{index}.png" for index in range(len(record.images))]
        for name, picture in zip(names, record.images, strict=True):
            (folder / name).write_bytes(picture.data or b"")
        messages = [{"role": message.role, "content": message.content} for message in record.messages]
        lines.append(json.dumps({"id": f"r{number}", "messages": messages, "images": names, **fields}))
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


class Terminal(io.TextIOWrapper):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


class Page(HTMLParser):
    """Tags and text of a page, and the boxes drawn on it."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.words: list[str] = []
        self.boxes: list[str | None] = []
        self.widths: list[str | None] = []
        self.opened = 0
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.text = "".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.opened += tag == "details" and "open" in found
        if tag == "image":
            self.widths.append(found["width"])
        if found.get("class") == "box":
            self.boxes.append(found["d"])

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.words.append(data)


def test_a_row_is_told_in_the_order_it_was_had(published: crux.Crux) -> None:
    done = virc("data", "show", published.dynamic, "--row", "3")
    assert done.code == 0
    row = json.loads(published.dynamic.read_text())[2]
    question = row["messages"][1]["content"].partition("Question: ")[2].partition("\n\n")[0]
    wanted = [
        "row 3 ", f"question   {question}\n", f"image 0    {row['images'][0]}  ", " px\n", "turn 1 ", "Step ",
        "scale image 0 by 1.5, shown as image 1", "turn 2 ", "crop ", "of image 1, shown as image 2", "turn 3 ",
        "answer: ",
    ]  # fmt: skip
    at = 0
    for words in wanted:
        assert words in done.out[at:], words
        at = done.out.index(words, at) + len(words)
    assert "fault" not in done.out


def test_rows_are_found_by_number_and_by_id_in_every_format(published: crux.Crux, tmp_path: Path) -> None:
    rows = parquet.read_table(published.train).to_pylist()
    for number in (1, 5, len(rows)):
        found = virc("data", "show", published.train, "--row", number, "--json").json
        assert (found["row"], found["rows"], found["format"]) == (number, len(rows), "rl")
        assert found["question"] == rows[number - 1]["extra_info"]["question"]
        assert len(found["images"]) == len(rows[number - 1]["images"])
    file = saved(tmp_path, *(spoken(OWN, question) for question in QUESTIONS))
    for id, question in (("r0", QUESTIONS[0]), ("r4", QUESTIONS[4])):
        found = virc("data", "show", file, "--id", id, "--json").json
        assert (found["id"], found["question"]) == (id, question)
    for words, said in ((("--row", 7), "has no row 7"), (("--id", "r9"), "no row with the id r9")):
        done = virc("data", "show", file, *words)
        assert done.code == 5
        assert said in done.err


def test_nothing_behind_the_row_is_read(tmp_path: Path) -> None:
    file = saved(tmp_path, spoken(OWN, QUESTIONS[0]), spoken(OWN, QUESTIONS[1]))
    rows = file.read_text().splitlines()
    array = tmp_path / "rows.json"
    array.write_text(f"[{rows[0]}, {rows[1]}, {{broken")
    assert virc("data", "show", array, "--row", "2").code == 0
    for words, said in ((("--row", 4), "cannot be read up to row 4: "), (("--id", "x"), "and cannot be read to its")):
        done = virc("data", "show", array, *words)
        assert (done.code, said in done.err) == (5, True), done.err


def test_the_page_shows_every_turn_and_draws_the_boxes_cut(published: crux.Crux, tmp_path: Path) -> None:
    done = virc("data", "show", published.fixed, "--row", "2", "--html", tmp_path / "row.html")
    assert done.code == 0
    page = Page(tmp_path / "row.html")
    assert page.boxes == ["M0 0H1000V1000H0Z", "M336 252H908V757H336Z"]  # 0..999 of 1000 and of 1008 px
    assert page.widths == ["1000", "1008", "560"]
    assert page.text.count("Step ") >= 3
    assert f"row 2 of {published.fixed.name}" in page.text
    assert "permille, as its system message says" in page.text
    assert "script" not in page.tags


def test_a_folder_for_pages_gets_one_by_number_and_a_page_is_replaced(published: crux.Crux, tmp_path: Path) -> None:
    for row in (1, 3, 3):
        assert virc("data", "show", published.dynamic, "--row", row, "--html", tmp_path / "pages").code == 0
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["row-1.html", "row-3.html"]
    assert virc("data", "show", published.dynamic, "--row", 2, "--html", tmp_path / "two.HTM").code == 0
    assert "row 2 of " in Page(tmp_path / "two.HTM").text
    assert virc("data", "show", published.dynamic, "--html", published.dynamic / "x.html").code == 1


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    replies = [f"<think>{EVIL}{CROP.partition('look.')[2]}", f"<think>{EVIL}</think><answer>{EVIL}</answer>"]
    file = saved(tmp_path, spoken(OWN, EVIL, replies), answer=EVIL)
    assert virc("data", "show", file, "--html", tmp_path / "page.html").code == 0
    page = Page(tmp_path / "page.html")
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text
    terminal = Terminal(io.BytesIO(), "utf-8")
    with redirect_stdout(terminal):
        assert main(["data", "show", str(file)]) == 0
    terminal.seek(0)
    shown = terminal.read()
    assert "<script>" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


def test_images_that_are_missing_or_elsewhere_have_a_placeholder_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    Image.new("RGB", (84, 56)).save(tmp_path / "secret.png")
    file = saved(tmp_path / "inner", spoken(OWN, QUESTIONS[0]))
    text = file.read_text().replace("0-1.png", "../secret.png").replace("0-2.png", "gone.png")
    file.write_text(text)
    done = virc("data", "show", file, "--html", tmp_path / "page.html")
    assert done.code == 0
    assert "../secret.png: it is outside the dataset's folder" in done.out
    assert "there is no file gone.png" in done.out
    page = Page(tmp_path / "page.html")
    assert "is outside the dataset's folder" in page.text
    assert page.tags.count("image") == 4
    images = virc("data", "show", file, "--json").json["images"]
    assert [image["fault"] is None for image in images] == [True, False, False, True]
    assert images[1]["width"] == 84  # as the text says


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("<think>So.</think>", "the tags are not one think"),
        ("<think>So.</think><tool_call>{</tool_call>", "not JSON"),
        (look("tilt_image", image_index=0), "there is no tool 'tilt_image'"),
        (look("crop_image", bbox_2d=[900, 0, 990, 56], image_index=0), "holds no pixel"),
    ],
)
def test_a_reply_that_breaks_the_protocol_is_shown_with_its_fault(tmp_path: Path, reply: str, said: str) -> None:
    record = spoken(OWN, QUESTIONS[0])
    messages = [{"role": message.role, "content": message.content} for message in record.messages]
    messages[2]["content"] = reply
    saved(tmp_path, record, messages=messages)
    done = virc("data", "show", tmp_path / "rows.jsonl", "--html", tmp_path / "page.html")
    assert done.code == 0
    assert f"question   {QUESTIONS[0]}\n" in done.out
    assert said in done.out.partition("turn 1")[2].partition("turn 2")[0]
    assert "fault " in done.out
    assert "answer: 42" in done.out
    page = Page(tmp_path / "page.html")
    assert said in page.text
    assert "Not usable" in page.text
    assert page.opened == 1
    assert "4Answer" in page.text.replace("\n", "")


def test_a_chat_protocol_that_no_code_here_knows_is_read(tmp_path: Path) -> None:
    chat_protocol = trained(
        first="{images}\nQuestion: {question}\n\nBegin.",
        image_line="{width} by {height} px, no. {index}",
        after_image="{width} by {height} px, no. {index}: go on.",
    )
    file = saved(tmp_path, spoken(chat_protocol, QUESTIONS[0], (CROP, "<think>Yes.</think><answer>1</answer>")))
    done = virc("data", "show", file)
    assert f"question   {QUESTIONS[0]}\n" in done.out
    assert "fault" not in done.out


def test_a_row_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    file = saved(tmp_path, spoken(OWN, QUESTIONS[0]))
    file.write_text(file.read_text() + '{"messages": 3}\n')
    done = virc("data", "show", file, "--row", "2", "--json")
    assert done.code == 5
    assert "line 2" in done.json["error"]["message"]
    assert done.json["messages"] == []


def test_a_problem_is_shown_without_turns(tmp_path: Path) -> None:
    Image.new("RGB", (56, 84)).save(tmp_path / "a.png")
    row = {"id": 7, "images": ["a.png", "http://127.0.0.1:9/b.png"], "question": "What?", "answer": 42}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    done = virc("data", "show", tmp_path / "rows.jsonl", "--html", tmp_path / "page.html")
    assert done.code == 0
    assert "id         7\nquestion   What?\nanswer     42\nimage 0    a.png  56 x 84 px\n" in done.out
    assert "not downloaded" in done.out
    assert virc("data", "show", tmp_path / "rows.jsonl", "--json").json["answer"] == "42"
    assert (tmp_path / "page.html").read_text().count('href="#image-') == 2


def test_show_needs_a_path_or_a_schema() -> None:
    done = virc("data", "show")
    assert done.code == 2
    assert "PATH" in done.err


ROWS: list[tuple[bool, Any]] = [
    (True, {"id": 1, "image": "a.png", "question": "What?"}),
    (True, {"id": "x", "images": ["a.png", "b.png"], "question": " ?\n"}),
    (True, {"id": "", "image": None, "images": [""], "question": "?"}),
    (True, {"id": -(10**18), "image": "a", "images": [], "question": "?", "choices": None, "answer": None}),
    (True, {"id": 1, "image": "", "images": ["a"], "question": "?", "choices": ["a b", 1, 2.5], "more": {"x": [1]}}),
    (True, {"id": 1, "images": ["a"] * 16, "question": "?", "choices": []}),
    (True, {"id": 1, "images": [], "question": "?"}),
    (False, {"id": 1, "images": ["a"] * 17, "question": "?"}),
    (False, {"id": 1, "image": "a", "images": ["b"], "question": "?"}),
    (False, {"id": 1, "question": "?"}),
    (False, {"id": 1, "image": "", "images": [], "question": "?"}),
    (False, {"id": 1, "image": 3, "question": "?"}),
    (False, {"id": 1, "images": ["a", None], "question": "?"}),
    (False, {"id": 1, "images": "a.png", "question": "?"}),
    (False, {"image": "a", "question": "?"}),
    (False, {"id": None, "image": "a", "question": "?"}),
    (False, {"id": 1.5, "image": "a", "question": "?"}),
    (False, {"id": True, "image": "a", "question": "?"}),
    (False, {"id": 1, "image": "a"}),
    (False, {"id": 1, "image": "a", "question": " \n\t"}),
    (False, {"id": 1, "image": "a", "question": ["?"]}),
    (False, {"id": 1, "image": "a", "question": "x" * (2**20 + 1)}),
    (False, {"id": 1, "image": "a", "question": "?", "choices": "A B"}),
    (False, {"id": 1, "image": "a", "question": "?", "choices": [["A"]]}),
    (False, {"id": 1, "image": "a", "question": "?", "choices": [None]}),
    (False, {"id": 1, "image": "a", "question": "?", "choices": [True]}),
    (False, ["a"]),
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(ROWS)))
def test_the_schema_of_a_batch_agrees_with_its_reader(at: int) -> None:
    good, row = ROWS[at]
    schema = json.loads(files("virc").joinpath("core", "schemas", "batch.json").read_text())
    [read] = read_rows(io.BytesIO(json.dumps(row).encode()))
    assert (read.fault is None) == good
    assert jsonschema.Draft202012Validator(schema).is_valid(row) == good


def printed(format: str) -> Any:
    """The schema of a row of that format."""
    done = virc("data", "show", "--schema", format)
    assert done.code == 0, done.err
    schema = json.loads(done.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"virc.{format}/1"
    return schema


@pytest.mark.parametrize(
    ("format", "wrong"),
    [
        ("batch", {"question": None}),
        ("sft", {"messages": [{"role": "user", "content": "?"}]}),
        ("trajectories", {"messages": [{"role": "user", "content": "?"}, {"role": "tool", "content": "!"}]}),
        ("pairs", {"rejected": "a text"}),
        ("rl", {"extra_info": {"index": 0, "question": "?"}}),
        ("prompts", {"reward_model": {"style": "rule", "ground_truth": None}}),
        ("conversation", {"role": "tool"}),
    ],
)
def test_the_schema_of_a_format_fits_what_it_writes(format: str, wrong: dict[str, Any], tmp_path: Path) -> None:
    pictures = tuple(Picture("", data=parquet_sets.IMAGE + bytes([at])) for at in range(3))
    record = msgspec.structs.replace(parquet_sets.example(), images=pictures, rejected="I do not know.")
    folder = write(tmp_path / "set", format, [record])
    file = next(file for file in folder.glob("rows.*"))
    if file.suffix == ".parquet":
        rows = parquet.read_table(file).to_pylist()
    else:
        text = file.read_text()
        rows = [json.loads(text)] if file.suffix == ".jsonl" else json.loads(text)
    checker = jsonschema.Draft202012Validator(printed(format))
    for row in rows:
        checker.validate([row] if format == "conversation" else row)
        other = {**row, **wrong}
        assert not checker.is_valid([other] if format == "conversation" else other)
    assert set(formats.names()) - {"published"} == {*SCHEMAS}


def test_a_row_is_found_by_an_id_that_is_a_number(tmp_path: Path) -> None:
    file = saved(tmp_path, spoken(OWN, QUESTIONS[0]), id=7)
    assert virc("data", "show", file, "--id", 7, "--json").json["question"] == QUESTIONS[0]


def test_each_call_of_a_turn_has_its_image_and_the_last_the_rest() -> None:
    shown = [show.RowImage(name, Shown(Image.new("RGB", (112, 84))), (112, 84)) for name in "abcde"]
    call = SEEN.partition("<tool_call>")[2].partition("</tool_call>")[0]
    grammar = msgspec.structs.replace(TAGS, most_calls=3)
    protocol = msgspec.structs.replace(OWN, grammar=grammar)
    reply = f"<think>a</think>{f'<tool_call>{call}</tool_call>' * 3}"
    turns = (Message("user", f"{MARK}Where?"), Message("assistant", reply), Message("user", MARK * 4))
    record = Record(turns, tuple(Picture(name, Path()) for name in "abcde"))
    unit = show.trace_of(record, shown, Rules("solutions", protocol=protocol)).units[0]
    assert [each.images for each in unit.results] == [(1,), (2,), (3, 4)]


def test_a_call_behind_an_image_that_is_missing_is_not_checked() -> None:
    shown = [show.RowImage("a", Shown(Image.new("RGB", (112, 84))), None, "gone")]
    turns = (Message("user", f"{MARK}Where?"), Message("assistant", SEEN))
    unit = show.trace_of(Record(turns, (Picture("a", Path()),)), shown, Rules("solutions")).units[0]
    assert [(each.kind, each.reason) for each in unit.rejected] == [
        ("tool", "an image before it is missing, so that its call is not checked")
    ]


def test_a_page_holds_so_many_pixels_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "MAX_PIXELS", 60 * 60)
    pictures = [parquet_sets.IMAGE] * 5
    record = Record((), tuple(Picture("", data=each) for each in pictures))
    shown = show.images_to_show(record, Rules("problems"))
    sizes = [each.shown.width * each.shown.height for each in shown]
    assert sum(sizes[:-1]) <= 2 * 60 * 60 < sum(sizes)
    assert len(shown) < 5


def test_all_images_behind_the_last_call_are_those_it_made() -> None:
    shown = [show.RowImage(name, Shown(Image.new("RGB", (112, 84))), (112, 84)) for name in "abcd"]
    turns = (Message("user", f"{MARK}Where?"), Message("assistant", SEEN), Message("user", MARK * 3))
    record = Record(turns, tuple(Picture(name, Path()) for name in "abcd"))
    assert show.trace_of(record, shown, Rules("solutions")).units[0].shown == [1, 2, 3]
