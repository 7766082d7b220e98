"""Batches whose endpoint goes away: nothing is lost, nothing is done twice, and they go on by themselves."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from batches import asked, echo, problems, read, write
from support import faults
from support.servers import Body, Exchange, Server, Turns, serve
from support.solving import answer, ended, start, told_to_wait

from virc.solving import batch as outage

WAITING = "rows in work wait until the endpoint answers"


@pytest.fixture(autouse=True)
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    return told_to_wait(monkeypatch)


@contextmanager
def dying(turns: Turns, requests: int, away: threading.Event | None, done: int = 0) -> Iterator[list[Server]]:
    """A server that dies with so many requests in work, and is started again on its port.

    Args:
        turns: of both servers.
        requests: at which it dies; it stalls in its replies to them.
        away: what tells it to come back; None: it stays away.
        done: requests before them, which are answered.

    Yields:
        The server and, when it is back, the second.
    """

    def behind(exchange: Exchange) -> None:
        if len(exchange.server.chats()) > done:
            faults.stall(exchange)
        else:
            assert exchange.body
            exchange.complete(exchange.body)

    with ExitStack() as stack:
        first = stack.enter_context(serve(turns, fault=behind))
        servers = [first]

        def die_and_come_back() -> None:
            first.wait_for(done + requests)
            time.sleep(0.1)  # what they are sent before it dies arrives
            first.die()
            if away is not None:
                assert away.wait(200)
                servers.append(stack.enter_context(serve(turns, port=first.server_address[1])))

        thread = threading.Thread(target=die_and_come_back)
        thread.start()
        try:
            yield servers
        finally:
            thread.join()


@pytest.mark.integration
def test_rows_in_work_are_done_again_when_the_server_is_back(
    batch: Callable[..., Any], image: Path, tmp_path: Path, waiting: threading.Event
) -> None:
    names = list(range(9))
    with dying(echo, 3, away=waiting) as servers:
        done = batch(problems(image, *names), servers[0], "--concurrency", 3)
    assert done.code == 0
    assert done.err.count(WAITING) == 1
    lines = read(tmp_path / "out")
    assert sorted(line["id"] for line in lines) == names
    assert {line["answer"] for line in lines} == {f"q {name}" for name in names}
    assert "9 rows: 9 answered, 0 without an answer, 0 failed" in done.err


@pytest.mark.integration
def test_a_server_that_stays_away_ends_the_batch_and_the_same_command_takes_it_up(
    batch: Callable[..., Any], image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "MAX_SECONDS", 0.3)
    rows = problems(image, *range(6))
    with dying(echo, 1, away=None, done=2) as (first,):
        done = batch(rows, first, "--concurrency", 1)
    assert done.code == 6
    assert "error: the endpoint did not come back within" in done.err
    assert [line["id"] for line in read(tmp_path / "out")] == [0, 1]
    with serve(echo, port=first.server_address[1]) as again:
        done = batch(rows, again)
        assert (done.code, len(again.chats())) == (0, 4)
    assert sorted(line["id"] for line in read(tmp_path / "out")) == list(range(6))


@pytest.mark.integration
def test_ctrl_c_ends_the_wait(image: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    source = write(tmp_path / "in.jsonl", problems(image, *range(4)))
    with dying(echo, 4, away=None) as (first,):
        words = ("batch", source, "--to", tmp_path / "out", "--endpoint", first.url)
        process = start(*words, env=environment)
        assert process.stderr is not None
        while WAITING not in (line := process.stderr.readline().decode()):
            assert line, "it ended without waiting"
        process.send_signal(signal.SIGINT)
        assert ended(process).code == 130  # before the 300 s that it would wait
    assert read(tmp_path / "out") == []


def test_a_row_that_breaks_every_connection_fails_alone(batch: Callable[..., Any], image: Path, tmp_path: Path) -> None:
    def poisonous(body: Body) -> str:
        if asked(body) == "q bad":
            raise ConnectionError  # the server hangs up
        return answer("1")

    with serve(poisonous) as server:
        done = batch(problems(image, "bad", *range(5)), server)
        tries = sum(asked(body) == "q bad" for body in server.chats())
    assert done.code == 1
    assert WAITING not in done.err
    codes = {line["id"]: line["error"] and line["error"]["code"] for line in read(tmp_path / "out")}
    assert codes == {"bad": 6, **dict.fromkeys(range(5))}
    assert tries == 3 * 3  # the client's tries of each of ours
