"""Silent connections keep nobody from an answer, and slow clients keep theirs."""

import asyncio
import errno
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from agent_process import serving
from agent_server import ANSWER, Running, chat, raw, received, scripted
from support import faults, servers

from virc.core.events import Event, Reporter
from virc.serving import connections
from virc.serving.connections import Connections


@contextmanager
def silent(port: int, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(count)]


def test_an_honest_client_is_answered_where_no_further_file_can_be_opened() -> None:
    with servers.serve(lambda _: ANSWER) as behind, serving("--endpoint", behind.url) as process:
        resource.prlimit(process.popen.pid, resource.RLIMIT_NOFILE, (64, 64))
        with silent(process.port, 200), process.connected(chat()) as connection:
            assert received(connection, b"}}").startswith(b"HTTP/1.1 200")
        process.popen.terminate()
        process.popen.wait(240)
        assert process.popen.stderr is not None
        err = process.popen.stderr.read()
    assert err.count("connections cannot be accepted") == 1
    assert len(err) < 4096, err


def asked(running: Running, body: bytes, *pauses: int) -> bytes:
    """The answer to a request that is sent in pieces, which end at these places, on one connection."""
    with socket.create_connection(("127.0.0.1", running.port), 60) as connection:
        for begin, end in zip((0, *pauses), (*pauses, len(body)), strict=True):
            connection.sendall(body[begin:end])
            time.sleep(0.5)
        return received(connection, b"}}")


def test_who_sends_no_head_is_closed_and_who_sends_a_slow_body_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_HEAD", 0.2)
    body = raw(chat())
    with scripted() as running, silent(running.port, 3) as several:
        assert [each.recv(1) for each in several] == [b""] * 3
        with suppress(OSError):  # it may be closed before it has sent all
            assert asked(running, body, 20, 40) == b""
        assert asked(running, body, body.index(b"\r\n\r\n") + 4, len(body) - 9).startswith(b"HTTP/1.1 200")


def test_a_connection_is_kept_between_two_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_HEAD", 0.2)
    with scripted() as running, socket.create_connection(("127.0.0.1", running.port), 60) as connection:
        for _ in range(2):
            connection.sendall(raw(chat()))
            assert received(connection, b"}}").startswith(b"HTTP/1.1 200")
            time.sleep(0.5)


def test_beyond_the_most_the_silent_are_closed_and_then_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 4)
    with ExitStack() as stack:
        running = stack.enter_context(scripted(upstream={"fault": faults.hang}))
        several = stack.enter_context(silent(running.port, 9))
        for _ in range(4):
            stack.enter_context(running.start())
        assert [each.recv(1) for each in several] == [b""] * 9
        refused = asked(running, raw(chat()))
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 10" in refused.lower()


def test_what_cannot_be_accepted_is_said_once_a_minute_and_other_faults_as_ever(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said: list[Event] = []
    loop = asyncio.new_event_loop()
    made = Connections(Reporter(said.append))
    for _ in range(2000):
        made.on_fault(loop, {"exception": OSError(errno.EMFILE, "Too many open files")})
    made.on_fault(loop, {"message": "another fault"})
    loop.close()
    assert [each.text for each in said] == ["connections cannot be accepted (1 failure): too many open files"]
    assert "another fault" in capfd.readouterr().err


def test_where_others_have_the_files_open_no_connection_is_closed() -> None:
    made, closed = Connections(Reporter()), list[int]()
    made.count = connections._FEWEST - 1
    made.close_silent = closed.append  # type: ignore[method-assign]
    loop = asyncio.new_event_loop()
    made.on_fault(loop, {"exception": OSError(errno.ENFILE, "Too many open files in system")})
    loop.close()
    assert closed == [0]
