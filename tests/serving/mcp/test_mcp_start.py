"""What `virc mcp` refuses before it serves."""

import gc
import socket

import pytest
from support.called import virc

from virc.serving.mcp.start import _without_collector


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("--model", "nonesuch"), 3, "error: there is no model 'nonesuch'\nhint: "),
        (
            ("--system", "prism"),
            2,
            "error: the system prism answers by a pipeline, and `ask` runs none\nhint: virc solve",
        ),
        (("--api-key", "x"), 2, "error: --api-key belongs to --http"),
    ],
)
def test_what_cannot_answer_is_refused_at_the_start(words: tuple[str, ...], code: int, error: str) -> None:
    done = virc("mcp", *words)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(error)


def test_the_hint_for_a_port_in_use_is_an_option_of_this_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = virc("mcp", "--http", f"127.0.0.1:{port}")
    assert done.code == 3
    assert done.err.endswith(f"is in use\nhint: --http 127.0.0.1:{port % 65_535 + 1}\n")


def test_the_collector_is_on_again_after_the_imports() -> None:
    with _without_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.unfreeze()
