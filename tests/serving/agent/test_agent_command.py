"""`virc serve --agent` up to the moment it would answer."""

import json
import socket
import sys
from pathlib import Path

import pytest
from support import servers
from support.called import virc
from support.loopback import free_port

from virc.core.extras import install


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRC_CACHE", str(tmp_path / "cache"))


def test_a_dry_run_shows_the_engine_on_the_loopback_with_a_key_of_its_own(tmp_path: Path) -> None:
    words = ("serve", "tiny", "--agent", "--device", "cpu", "--host", "0.0.0.0", "--port", 8123, "--api-key", "abc123")
    done = virc(*words, "--dry-run", "--json")
    assert done.code == 0, done.err
    said = done.json
    command = said["command"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] != "8123"
    assert json.loads(command[command.index("--limit-mm-per-prompt") + 1])["image"] == 20
    assert said["environment"]["VLLM_API_KEY"] == "***"
    assert "abc123" not in done.out
    assert said["agent"] == {"url": "http://127.0.0.1:8123/v1", "model": "tiny", "turns": 16, "inputs": 4}
    done = virc(*words, "--dry-run", "--limit-images", 5)
    assert "url=http://127.0.0.1:8123/v1\n# at most 4 turns, about 1 image of a chat\n" in done.out
    assert not [*tmp_path.iterdir()]


def test_a_port_in_use_is_said_before_anything_is_asked() -> None:
    with servers.serve() as behind, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = virc("serve", "--agent", "--endpoint", behind.url, "--port", taken.getsockname()[1])
        assert behind.requests == []
    assert done.code == 3
    assert "is in use" in done.err


def test_the_key_of_the_server_behind_is_sent_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_API_KEY", "sesame")
    with servers.serve(models=("one", "two")) as behind:
        done = virc("serve", "--agent", "--endpoint", behind.url, "--port", free_port())
        assert behind.requests[0].headers["authorization"] == "Bearer sesame"
    assert done.code == 3
    assert "serves 2 models" in done.err


@pytest.mark.parametrize("missing", ["uvicorn", "fastapi"])
def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    done = virc("serve", "--agent", "--endpoint", servers.dead_url())
    assert done.code == 4
    assert f"hint: {install('serve')}" in done.err


def test_each_client_may_have_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    done = virc(
        "serve", "tiny", "--device", "cpu", "--engine", "vllm", "--api-key", "one", "--api-key", "two", "--dry-run"
    )
    assert (done.code, "vLLM takes one --api-key" in done.err) == (2, True)
    monkeypatch.setenv("VIRC_SERVE_KEY", "one two")
    assert "vLLM takes one --api-key" in virc("serve", "tiny", "--engine", "vllm", "--dry-run").err
    assert virc("serve", "tiny", "--agent", "--engine", "vllm", "--dry-run").code == 0
