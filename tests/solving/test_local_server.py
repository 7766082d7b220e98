"""`virc solve` and the server of this machine that has the model loaded (setting `local_server`)."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.called import virc
from support.servers import Server, serve
from support.solving import answer

from virc.models import local_server
from virc.models import registry as models
from virc.models.load import Choice, grid_here, prompt_setup_here
from virc.models.registry import Weights
from virc.serving.settings import published
from virc.solving.one import SolveConfig
from virc.solving.setup import set_up


def facts(weights: Weights) -> dict[str, Any]:
    """What `virc serve` publishes of a model."""
    spoken = prompt_setup_here(weights, Choice())
    known = grid_here(weights, spoken, Choice()), spoken.chat_protocol, local_server.fingerprint(weights)
    fields: dict[str, Any] = json.loads(published(*known, image_ids=False))
    return fields


@pytest.fixture
def tiny() -> Weights:
    return models.find("tiny", Path())


@contextmanager
def holding(weights: Weights, name: str = "tiny", **changes: object) -> Iterator[Server]:
    """A server that has a model loaded, set as the local one; a machine under load may take long for its answer."""
    with (
        pytest.MonkeyPatch.context() as patience,
        serve([answer("97")], models=(name,), owned_by="virc", extra=facts(weights) | changes) as server,
    ):
        patience.setattr(local_server, "SECONDS", 60.0)
        done = virc("config", "set", "local_server", port(server))
        assert done.code == 0, done.err
        yield server


def port(server: Server) -> int:
    number: int = server.server_address[1]
    return number


@pytest.mark.parametrize("words", [[], ["--model", "tiny"]])
def test_the_server_that_has_the_model_answers_and_gets_no_key(
    image: Path, tiny: Weights, words: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "of-an-endpoint-that-is-named")
    with holding(tiny) as server:
        done = virc("solve", image, "How many?", "--json", *words)
    assert (done.code, done.json["answer"], done.json["model"]) == (0, "97", "tiny"), done.err
    assert f"tiny is loaded in virc serve at {server.url}, which is asked" in done.err
    assert "loading the model" not in done.err
    assert ("only shows how it works" in done.err) is ("--model" not in words)
    assert not any("authorization" in request.headers for request in server.requests)


def test_a_replaced_file_is_another_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "notes.txt"):
        (folder / name).write_text("{}")
    before = local_server.fingerprint(Weights("model", folder))
    (folder / "notes.txt").write_text("changed")
    assert local_server.fingerprint(Weights("model", folder)) == before
    os.utime(folder / "model.safetensors", ns=(0, 10**18))  # as when it is written anew in its place
    written_anew = local_server.fingerprint(Weights("model", folder))
    assert written_anew != before
    (folder / "new").write_text("{}")
    os.utime(folder / "new", ns=(0, (folder / "model.safetensors").stat().st_mtime_ns))
    (folder / "new").replace(folder / "model.safetensors")
    assert local_server.fingerprint(Weights("model", folder)) not in (before, written_anew)


@contextmanager
def stranger(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where somebody else's program accepts one connection."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def accept() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    behave(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(60)


def drip(connection: socket.socket) -> None:
    """Send the beginning of an answer, a byte at a time, for three times as long as is waited."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n{")
    for _ in range(30):
        time.sleep(0.05)
        connection.sendall(b" ")


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not list its models"),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 2**21), "does not list its models"),
        (
            lambda connection: connection.sendall(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
            "does not list its models",
        ),
        pytest.param(drip, "did not answer within 0.5 s", marks=pytest.mark.integration),
    ],
    ids=["no-http", "endless", "elsewhere", "drips"],
)
def test_somebody_elses_program_is_not_used_nor_waited_for(
    tiny: Weights, behave: Callable[[socket.socket], None], said: str
) -> None:
    with stranger(behave) as number:
        found, why = local_server.find(tiny, None, number)
    assert (found, why) == (None, f"127.0.0.1:{number} {said}")


FLAGS = dict.fromkeys(("model", "endpoint", "system", "device", "max_pixels", "max_tokens", "family", "timeout"))


def test_a_server_is_looked_for_only_where_nothing_else_was_chosen(
    monkeypatch: pytest.MonkeyPatch, tiny: Weights
) -> None:
    def port_of(**flags: str) -> int | None:
        return set_up({**FLAGS, **flags}, SolveConfig(), None, None, offline=True).local_server

    assert port_of() is None
    assert virc("config", "set", "local_server", "8000").code == 0
    assert port_of() == port_of(model="tiny") == 8000
    assert port_of(endpoint="none") is port_of(endpoint="http://localhost:1/v1") is port_of(device="cpu") is None
    monkeypatch.setenv("VIRC_ENDPOINT", "none")
    assert port_of() is None
