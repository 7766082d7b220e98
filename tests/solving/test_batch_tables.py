"""`virc batch` from and into tables, by its real entry point, on a scripted endpoint: what is written and resumed."""

import base64
import codecs
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from batches import echo
from PIL import Image
from support.called import virc
from support.servers import Server, serve
from support.solving import answer, picture

from virc import solve
from virc.core.errors import DataError, UsageError
from virc.solving import setup
from virc.solving.image_source import page_file

NOTHING_LEFT = "0 rows: 0 answered, 0 without an answer, 0 failed"
OURS = ["answer", "error", "model", "turns", "tool_calls", "prompt_tokens", "completion_tokens", "seconds", "trace"]


def table(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def opened(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")


def run(server: Server, *words: object) -> Any:
    return virc("batch", *words, "--endpoint", server.url)


@pytest.fixture
def rows(clean: Path) -> Path:
    """Three rows as a spreadsheet has them, with a column that says what is right."""
    picture(clean / "a.png")
    (clean / "rows.csv").write_text('nr,img,prompt,answer\n1,a.png,x?,3\n2,a.png,"y,\nz?",=4\n3,a.png,w?,5\n')
    return clean / "rows.csv"


def test_a_table_becomes_a_table_with_its_columns(rows: Path) -> None:
    with serve(echo) as server:
        done = run(server, rows, "--to", "out.csv", "--concurrency", 1)
    assert (done.code, done.out) == (0, "")
    assert "image is read from 'img', question is read from 'prompt'" in done.err
    found = table(Path("out.csv"))
    assert list(found[0]) == ["id", "nr", "img", "prompt", "input_answer", *OURS]
    assert [(row["id"], row["prompt"], row["input_answer"]) for row in found] == [
        ("1", "x?", "3"),
        ("2", "y,\nz?", "'=4"),
        ("3", "w?", "5"),
    ]
    assert [row["answer"] for row in found] == ["x?", "y,", "w?"]
    assert Path("out.csv").read_bytes()[:2] == b"id"
    rows.write_bytes(codecs.BOM_UTF8 + rows.read_bytes())  # as Excel saves a table
    with serve(echo) as server:
        assert run(server, rows, "--to", "excel.csv").code == 0
    assert Path("excel.csv").read_bytes().startswith(codecs.BOM_UTF8 + b"id")


def test_what_a_spreadsheet_would_compute_is_text_and_numbers_are_numbers(rows: Path) -> None:
    said = ("=SUM(A1:A9)", "-3", "-2+3", "+cmd|'/C calc'!A0", "\uff1d1+1", "+5")
    written = ("'=SUM(A1:A9)", "-3", "'-2+3", "'+cmd|'/C calc'!A0", "'\uff1d1+1", "+5")
    for at in (0, 3):  # of the three rows
        replies = iter(said[at:])
        with serve(lambda _, replies=replies: answer(next(replies))) as server:
            run(server, rows, "--to", f"out{at}.csv", "--concurrency", 1)
        assert [row["answer"] for row in table(Path(f"out{at}.csv"))] == [*written[at : at + 3]]


def test_a_finished_batch_is_known_without_its_model(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("out.csv", "out.jsonl"):
        command = ("batch", rows, "--to", rows.with_name(name))
        assert virc(*command).code == 0
        kept = rows.with_name(name).read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(setup, "open_model", None)
            rows.with_name("out.csv").unlink(missing_ok=True)  # it is made of its lines again
            again = virc(*command)
            assert (again.code, again.err.splitlines()[-1]) == (0, f"{NOTHING_LEFT}; 3 were done before")
            assert virc(*command, "--max-pixels", 20000).code != 0
        assert rows.with_name(name).read_bytes() == kept
    with rows.open("a") as file:
        file.write("4,a.png,v?,5\n")
    assert "; 3 were done before" in virc("batch", rows, "--to", rows.with_name("out.csv")).err


def test_a_table_goes_on_from_its_lines_wherever_they_were_torn(rows: Path) -> None:
    with serve(echo) as server:
        run(server, rows, "--to", "out.csv", "--concurrency", 1)
        whole = Path("out.csv.jsonl").read_bytes()
        lines = whole.splitlines(keepends=True)
        for cut, left in ((len(whole) - 5, 1), (len(lines[0]) + 4, 2), (10, 3), (0, 3)):
            Path("out.csv.jsonl").write_bytes(whole[:cut])
            before = len(server.chats())
            done = run(server, rows, "--to", "out.csv", "--concurrency", 1)
            assert (done.code, len(server.chats()) - before) == (0, left), done.err
            assert [row["answer"] for row in table(Path("out.csv"))] == ["x?", "y,", "w?"]


def test_rows_have_the_order_of_the_input_after_a_resume_and_a_row_that_cannot_be_read(clean: Path) -> None:
    picture(clean / "a.png")
    rows = [{"id": name, "image": "a.png" if name != "b" else "late.png", "question": name} for name in "abdc"]
    lines = [*map(json.dumps, rows), "{no JSON"]
    (clean / "rows.jsonl").write_text("\n".join([*lines[:2], lines[4], *lines[2:4]]))
    with serve(echo) as server:
        assert run(server, "rows.jsonl", "--to", "out.tsv").code == 1
        picture(clean / "late.png")
        (clean / "rows.jsonl").write_text("\n".join([lines[3], *lines[:2], lines[4], lines[2]]))
        assert run(server, "rows.jsonl", "--to", "out.tsv").code == 1
        assert len(server.chats()) == 4
    assert [row["id"] for row in table(Path("out.tsv"), "\t")] == ["c", "a", "b", "", "d"]
    assert [row["error"][:7] for row in table(Path("out.tsv"), "\t")] == ["", "", "", "line 4:", ""]


def test_values_that_are_objects_are_in_the_lines_alone_and_costs_are_a_column(clean: Path) -> None:
    picture(clean / "a.png")
    row = {"id": 1, "image": "a.png", "question": "x?", "corners": [{"x": 1}], "sides": [3, 4], "cost": 9}
    (clean / "rows.jsonl").write_text(json.dumps(row))
    with serve(echo, cost=0.25) as server:
        for name, delimiter in (("out.csv", ","), ("out.tsv", "\t")):
            assert run(server, "rows.jsonl", "--to", name).code == 0
            (found,) = table(Path(name), delimiter)
            given = ["id", "image", "question", "sides", "input_cost"]
            assert list(found) == [*given, *OURS[:7], "cost", *OURS[7:]]
            assert (found["sides"], found["input_cost"], found["cost"]) == ("[3, 4]", "9", "0.25")
            assert json.loads(Path(f"{name}.jsonl").read_text())["input"]["corners"] == [{"x": 1}]


def test_other_settings_columns_and_rows_are_refused_or_said(rows: Path) -> None:
    with serve(echo) as server:
        assert run(server, rows, "--to", "out.csv").code == 0
        before = Path("out.csv").read_bytes()
        done = run(server, rows, "--to", "out.csv", "--seed", 4)
        assert (done.code, "made with seed 0, not 4" in done.err) == (3, True)
        rows.write_text(rows.read_text().replace("w?", "other?"))
        for _ in range(2):
            done = run(server, rows, "--to", "out.csv", "--concurrency", 1)
            assert (done.code, "row 3: the row 3 has changed since it was answered" in done.err) == (1, True)
            assert "hint: take its line out of out.csv.jsonl, or use another --to\n" in done.err
            do = "take the lines of changed rows out of out.csv.jsonl"
            assert done.err.endswith(f"hint: {do}; the same command then does only them\n")
            assert [row["answer"] for row in table(Path("out.csv"))] == ["x?", "y,", ""]
        assert Path("out.csv").read_bytes().startswith(before.splitlines()[0])
        lines = Path("out.csv.jsonl").read_text().splitlines(keepends=True)
        Path("out.csv.jsonl").write_text("".join(line for line in lines if json.loads(line)["id"] != 3))
        assert run(server, rows, "--to", "out.csv").code == 0
    assert [row["answer"] for row in table(Path("out.csv"))] == ["x?", "y,", "other?"]


def test_rows_that_failed_are_done_again_and_another_table_is_not_touched(rows: Path) -> None:
    rows.write_text(rows.read_text().replace("2,a.png", "2,late.png"))
    with serve(echo) as server:
        assert run(server, rows, "--to", "out.csv").code == 1
        (failed,) = (row for row in table(Path("out.csv")) if row["error"])
        assert (failed["id"], failed["answer"], failed["error"]) == ("2", "", "there is no file late.png")
        picture(rows.parent / "late.png")
        assert run(server, rows, "--to", "out.csv").code == 0
        assert len(server.chats()) == 3
        for content in (b"id,answer\na,1\n", b"my thesis", b"id,answer,run\na,1,x\n"):
            Path("mine.csv").write_bytes(content)
            done = run(server, rows, "--to", "mine.csv")
            assert (done.code, "not the output of a batch" in done.err) == (3, True), done.err
            assert Path("mine.csv").read_bytes() == content
    assert sorted(row["id"] for row in table(Path("out.csv"))) == ["1", "2", "3"]


def test_one_question_is_asked_of_every_picture(clean: Path) -> None:
    for name in ("b.png", "a.png"):
        picture(clean / name)
    with serve(echo) as server:
        done = run(server, "*.png", "What?", "--to", "out.csv", "--concurrency", 1)
        assert done.code == 0, done.err
        lines = run(server, "a.png", "b.png", "What?", "--concurrency", 1).lines
        found = [(row["id"], row["image"], row["question"], row["answer"]) for row in table(Path("out.csv"))]
        other = run(server, "*.png", "Which?", "--to", "out.csv")
    assert (other.code, "has changed since it was answered" in other.err) == (1, True)
    assert found == [(name, name, "What?", "What?") for name in ("a.png", "b.png")]
    assert [line["id"] for line in lines] == ["a.png", "b.png"]


def test_what_is_not_shown_as_it_is_is_said(clean: Path) -> None:
    lines = Image.new("RGBA", (112, 112), (255, 255, 255, 0))
    lines.paste("white", (10, 10, 90, 13))
    lines.save(clean / "lines.png")
    deep = Image.new("I", (1120, 560), 4000)
    deep.convert("I;16").save(clean / "deep.tif")
    one = {"frames": 1, "shown": 1, "background": None, "range": None, "missing": 0, "notes": [], "scaled": 1.0}
    for name, changes, said in (
        ("lines.png", {"background": "black"}, "lines.png is transparent, and is shown on black: white would hide"),
        ("deep.tif", {"range": [0, 4095], "scaled": 0.5}, "deep.tif is shown from 0, as black, to 4095, as white"),
    ):
        with serve(echo) as server:
            words = ("--json", "--endpoint", server.url, "--max-pixels", "160000")
            done = virc("solve", name, "q", *words)
            assert done.json["pictures"] == [one | changes]
            assert f"warning: {said}" in done.err
            done = run(server, name, "q", "--max-pixels", "160000")
            assert done.lines[0]["pictures"] == [one | changes]
            assert f"warning: row '{name}': {said}" in done.err


def test_pictures_stand_at_the_marks_of_a_question(clean: Path) -> None:
    picture(clean / "a.png")
    picture(clean / "b.png")
    question = "my dog: <image> neighbour's dog: <image> Which barks?"
    (clean / "rows.jsonl").write_text(json.dumps({"id": 1, "images": ["a.png", "b.png"], "question": question}))
    with serve([answer("97")]) as server:
        run(server, "rows.jsonl")
        virc("solve", "a.png", question, "--image", "b.png", "--endpoint", server.url)
        solve(["a.png", "b.png"], question, endpoint=server.url)
        sent = [chat["messages"][-1]["content"] for chat in server.chats()]
    for content in sent:
        assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
        assert content[0]["text"].strip().endswith("my dog:")
        assert content[2]["text"].strip().endswith("neighbour's dog:")
    assert len(sent) == 3


@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_a_page_of_a_file_is_chosen(clean: Path, kind: str) -> None:
    pages = [
        Image.new("RGB", size, shade) for size, shade in (((60, 60), "red"), ((60, 60), "lime"), ((60, 60), "blue"))
    ]
    pages[0].save(clean / "pages", kind, save_all=True, append_images=pages[1:])
    with serve(echo) as server:
        done = virc("solve", "pages", "q", "--json", "--endpoint", server.url, "--page", "2")
        assert (done.json["warnings"], done.json["pictures"][0]["shown"], done.json["pictures"][0]["frames"]) == (
            [],
            2,
            3,
        )
        url = server.chats()[0]["messages"][-1]["content"][0]["image_url"]["url"]
        red, green, blue = opened(url).resize((1, 1)).getpixel((0, 0))
        assert (red < 40, green > 200, blue < 40) == (True, True, True)
        solution = solve(clean / "pages", "q", endpoint=server.url, page=3)
        assert solution.fields["pictures"][0]["shown"] == 3
        for page in (0, -1, 1.5, "x"):
            with pytest.raises(UsageError, match="page must be a whole number of at least 1"):
                solve(clean / "pages", "q", endpoint=server.url, page=page)
        done = virc("solve", "pages", "q", "--endpoint", server.url, "--page", "4")
        assert (done.code, done.err) == (5, "error: pages has no page 4\n")
    with pytest.raises(DataError) as raised:
        page_file((b"%PDF-1.7", "a.pdf"), 4)
    assert raised.value.hint == "pdftoppm -r 200 -png -f 4 -l 4 a.pdf page"
