"""`virc batch` by its real entry point, on a scripted endpoint: what is asked, written and resumed."""

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


def test_rows_come_from_standard_input_with_paths_from_here(image: Path, clean: Path) -> None:
    picture(clean / "here.png")
    text = json.dumps({"id": 1, "image": "here.png", "question": "q"}).encode()
    with serve(echo) as server:
        done = virc("batch", "-", "--endpoint", server.url, stdin=text)
    assert [line["answer"] for line in done.lines] == ["q"]


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
