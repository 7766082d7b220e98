"""`virc batch` by its real entry point, on a scripted endpoint: what is asked, written and resumed."""

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from batches import asked, echo, problems, read, write
from support.called import virc
from support.servers import Body, serve
from support.solving import answer, picture

from virc.reasoning.protocol import own_protocol
from virc.tools import registry as tools


def test_every_row_gets_one_line(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    with serve(echo) as server:
        done = batch(problems(image, "a", "b", 3), server)
    assert (done.code, done.out) == (0, "")
    found = {line["id"]: line for line in read(tmp_path / "out")}
    assert {id: line["answer"] for id, line in found.items()} == {"a": "q a", "b": "q b", 3: "q 3"}
    assert "3 rows: 3 answered, 0 without an answer, 0 failed" in done.err
    assert not any("view" in line for line in found.values()), "of rows whose answer is a box alone"


def test_every_row_is_drawn_from_a_seed_of_its_own(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    """From one seed all rows would succeed or fail together, and no interval over them would hold."""
    drawn = []
    for out in ("once", "again"):
        with serve(echo) as server:
            rows = problems(image, *range(20))
            assert batch(rows, server, "--temperature", 1, out=tmp_path / out).code == 0
            drawn.append({asked(body): body["seed"] for body in server.chats()})
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0].values())) == 20


def test_rows_come_from_standard_input_with_paths_from_here(image: Path, clean: Path) -> None:
    picture(clean / "here.png")
    text = json.dumps({"id": 1, "image": "here.png", "question": "q"}).encode()
    with serve(echo) as server:
        done = virc("batch", "-", "--endpoint", server.url, stdin=text)
    assert [line["answer"] for line in done.lines] == ["q"]


def test_image_paths_start_from_the_file(batch: Callable[..., Any], tmp_path: Path) -> None:
    picture(tmp_path / "beside.png")
    url = "data:image/png;base64," + base64.b64encode((tmp_path / "beside.png").read_bytes()).decode()
    rows = [
        {"id": 1, "image": "beside.png", "question": "q"},
        {"id": 2, "images": ["beside.png", url], "question": "q"},
    ]
    with serve(echo) as server:
        assert batch(rows, server).code == 0
        counts = [
            sum(part["type"] == "image_url" for part in body["messages"][1]["content"]) for body in server.chats()
        ]
    assert sorted(counts) == [1, 2]


def test_other_fields_pass_through_under_input(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    with serve(echo) as server:
        batch(problems(image, 1, answer="97", choices=[97, 102], level={"a": 1}), server)
    (line,) = read(tmp_path / "out")
    assert line["input"] == {"question": "q 1", "answer": "97", "choices": [97, 102], "level": {"a": 1}}
    assert line["answer"] == "q 1 Choices: 97 102"


def test_bad_rows_become_lines_and_the_batch_goes_on(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    rows = [*problems(image, "a"), {"id": "b"}, "text", {"id": "c", "image": "gone.png", "question": "q"}]
    with serve(echo) as server:
        done = batch([*rows, *problems(image, "d")], server)
    assert done.code == 1
    lines = read(tmp_path / "out")
    codes = {line["id"]: line["error"] and line["error"]["code"] for line in lines}
    assert codes == {"a": None, "b": 5, None: 5, "c": 5, "d": None}
    failed = next(line for line in lines if line["id"] == "c")
    assert [failed[name] for name in ("answer", "turns", "calls", "tokens", "trace")] == [None] * 5
    assert "5 rows: 2 answered, 0 without an answer, 3 failed" in done.err
    assert "warning: row 'c': there is no file gone.png" in done.err


def test_no_answers_are_counted_and_the_exit_is_0(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    with serve(lambda body: answer("unreadable" if asked(body) == "q b" else "1")) as server:
        done = batch(problems(image, "a", "b"), server)
        assert (done.code, "1 answered, 1 without an answer" in done.err) == (0, True)
        codes = {line["id"]: line["error"] and line["error"]["code"] for line in read(tmp_path / "out")}
        assert codes == {"a": None, "b": 8}
        before = len(server.chats())
        again = batch(problems(image, "a", "b"), server)
        assert (again.code, "there are no rows" in again.err) == (0, False)
        assert len(server.chats()) == before


def test_only_what_failed_is_done_again(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    with serve(lambda body: answer("1")) as server:
        rows = [*problems(image, "a"), {"id": "b", "image": str(tmp_path / "late.png"), "question": "q b"}]
        assert batch(rows, server).code == 1
        picture(tmp_path / "late.png")
        done = batch(rows, server)
        assert done.code == 0
        assert [asked(body) for body in server.chats()] == ["q a", "q b"]
    assert {line["id"]: line["answer"] for line in read(tmp_path / "out")} == {"a": "1", "b": "1"}
    assert "1 row: 1 answered, 0 without an answer, 0 failed; 1 were done before" in done.err


def test_an_id_that_comes_twice_is_an_error_line_each_time(
    batch: Callable[..., Any], image: Path, tmp_path: Path
) -> None:
    rows = [*problems(image, "a"), *problems(image, "a")]
    with serve(echo) as server:
        for _ in range(2):
            assert batch(rows, server).code == 1
            found = read(tmp_path / "out")
            assert [line["error"] is None for line in found].count(True) == 1
            assert sum("comes twice" in line["error"]["message"] for line in found if line["error"]) == 1
        assert len(server.chats()) == 1


def test_a_row_that_changed_is_an_error_and_the_answer_to_the_old_one_stays(
    batch: Callable[..., Any], image: Path, tmp_path: Path
) -> None:
    with serve(echo) as server:
        batch(problems(image, "a"), server)
        assert batch(problems(image, "a", level=2), server).code == 1
        assert [line["answer"] for line in read(tmp_path / "out")] == ["q a", None]
        assert batch(problems(image, "a"), server).code == 0
    assert [line["answer"] for line in read(tmp_path / "out")] == ["q a"]


def test_another_chat_protocol_is_refused_for_a_file_that_has_answers(
    batch: Callable[..., Any], image: Path, tmp_path: Path
) -> None:
    words = own_protocol(tools.schemas(tools.DEFAULT))
    for name, system in (("a", "Look."), ("b", "Look twice.")):
        protocol = msgspec.structs.replace(words, system=system)
        (tmp_path / name).write_bytes(msgspec.json.encode(protocol))
    with serve(echo) as server:
        assert batch(problems(image, 1), server, "--protocol", tmp_path / "a").code == 0
        done = batch(problems(image, 1, 2), server, "--protocol", tmp_path / "b")
        assert (done.code, "made with chat_protocol " in done.err) == (3, True)
        assert batch(problems(image, 1, 2), server, "--protocol", tmp_path / "a").code == 0


def test_as_many_rows_as_asked_are_in_work_at_a_time(batch: Callable[..., Any], image: Path) -> None:
    together = threading.Barrier(4, timeout=60)

    def wait(body: Body) -> str:
        together.wait()
        return answer("1")

    with serve(wait) as server:
        assert batch(problems(image, *range(8)), server, "--concurrency", 4).code == 0


def test_rows_and_answers_are_not_one_file(image: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", problems(image, 1))
    (tmp_path / "link").symlink_to(source)
    before = source.read_bytes()
    for out in (source, tmp_path / "link"):
        assert virc("batch", source, "--to", out).code == 2
    assert source.read_bytes() == before
