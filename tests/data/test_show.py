"""`virc data show`: one row as a reader sees it, and the schema of rows."""

import io
import json
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from chat_protocols import CROP, OWN, spoken
from data import parquet_sets
from data.converted import write
from PIL import Image
from pyarrow import parquet  # type: ignore[import-untyped]
from support import crux
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.rows.record import Picture, Record
from virc.reasoning.encoded import as_png
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
        checker.validate(row)
        other = {**row, **wrong}
        assert not checker.is_valid(other)
    assert set(formats.names()) - {"published"} == {*SCHEMAS}


def test_the_question_of_the_sample_is_shown_as_it_was_asked(sample: Path) -> None:
    done = virc("data", "show", sample / "conversation.json", "--json")
    asked = json.loads((sample / "conversation.json").read_text())[0]["content"]
    assert done.json["question"] == asked.partition("Question: ")[2].partition("\n")[0]
    assert done.json["format"] == "conversation"
    assert [image["fault"] is not None for image in done.json["images"]] == [True] * 3
    checked = virc("data", "check", sample / "conversation.json", "--json")
    assert checked.code == 5, "images that are not there are not pretended to be"


def test_a_plain_conversation_is_shown_with_all_its_questions(tmp_path: Path) -> None:
    texts = ("<image>What is it?", "A wall.", "Which colour?", "White.")
    rows = saved(tmp_path, Record(images=(Picture("", data=as_png(Image.new("RGB", (56, 56))).data),)))
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    rows.write_text(json.dumps({"messages": messages, "images": ["0-0.png"]}))
    assert virc("data", "check", rows, "--json").json["faults"] == {}
    found = virc("data", "show", rows, "--html", tmp_path / "row.html").out
    page = Page(tmp_path / "row.html").text
    for shown, none in ((found, "not usable"), (page, "rejected"), (page, "Unfinished")):
        assert [each for each in ("What is it?", *texts[1:]) if each not in shown] == []
        assert none not in shown
