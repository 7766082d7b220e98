"""`virc.serving.serve` for a script."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support import servers

from virc.core.errors import ConfigError, UsageError
from virc.core.events import Event
from virc.serving import serve
from virc.serving.address import free_port


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))


def models_of(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
        return [model["id"] for model in json.load(answer)["data"]]


def test_a_server_answers_within_the_block_and_ends_with_it() -> None:
    events: list[Event] = []
    with servers.serve() as behind:
        server = serve(agent=True, endpoint=behind.url, port=free_port(), name="mine", on_event=events.append)
        with server:
            assert server.model == "mine"
            assert models_of(server.url) == ["mine"]
        with pytest.raises(urllib.error.URLError):
            models_of(server.url)
    assert {event.kind for event in events} <= {"note", "warning"}


def test_a_server_can_be_closed_without_having_answered() -> None:
    port = free_port()
    with servers.serve() as behind:
        for _ in range(2):  # the port is free again
            serve(agent=True, endpoint=behind.url, port=port).close()


def test_mistakes_are_errors_of_the_package() -> None:
    with pytest.raises(UsageError, match="needs agent=True"):
        serve("tiny", endpoint="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="no model 'nothing-like-it'"):
        serve("nothing-like-it")


@pytest.mark.slow
def test_a_model_of_this_process_answers_within_the_block() -> None:
    with serve("tiny", engine="transformers", device="cpu", port=free_port()) as server:
        assert models_of(server.url) == ["tiny"]
