"""What `virc mcp` refuses before it serves."""

import asyncio
import signal
import socket

import pytest
from support.called import virc

from virc.serving.mcp import start


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--model", "nonesuch"), 3, "error: there is no model 'nonesuch'\nhint: "),
        (
            ("--system", "prism"),
            2,
            "error: the system prism answers by a pipeline, and `ask` runs none\nhint: virc solve",
        ),
        (("--api-key", "env:VIRC_API_KEY"), 2, "error: --api-key belongs to --http"),
    ],
)
def test_what_cannot_answer_is_refused_at_the_start(words: tuple[str, ...], code: int, error: str) -> None:
    done = virc("mcp", *words)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(error)


def test_options_reach_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list[start.McpRequest]()
    monkeypatch.setattr(start, "serve", lambda request, *_: found.append(request))
    assert virc("mcp", "--endpoint", "http://127.0.0.1:9/v1", "--max-turns", "3", "--seed", "7").code == 0
    config = found[0].setup().config
    assert (config.max_turns, config.seed) == (3, 7)


def test_the_hint_for_a_port_in_use_is_an_option_of_this_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = virc("mcp", "--http", f"127.0.0.1:{port}")
    assert done.code == 3
    assert done.err.endswith(f"is in use\nhint: --http 127.0.0.1:{port % 65_535 + 1}\n")


def test_a_signal_ends_the_server_where_loops_take_no_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError  # as on Windows

    async def serve() -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)

    taken: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: taken.append(number))
    monkeypatch.setattr("asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler", refuse)
    try:
        start._until_a_signal(serve())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert taken == [signal.SIGTERM]
