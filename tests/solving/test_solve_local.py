"""`virc solve` with a model in this process: of the real architecture, its weights random."""

import os
import shutil
from pathlib import Path

import pytest
from support.called import Done, virc
from support.solving import ended, start

from virc.core.errors import ConfigError
from virc.models import registry as models

WATCHED = '''
"""Ends the process when it opens a connection."""
import os, socket
def refuse(*args): os.write(2, b"a connection was opened"); os._exit(99)
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
'''

SILENT = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DO_NOT_TRACK")


@pytest.fixture
def local(random_model: Path) -> Path:
    """The random model; its replies are never well-formed, so that every run ends by its time or its tries."""
    return random_model


def ask(image: Path, model: Path, *words: object) -> Done:
    return virc("solve", image, "q", "--model", model, "--device", "cpu", "--timeout", 1, "--json", *words)


@pytest.mark.integration
def test_it_runs_here_and_says_how_long_a_turn_takes(image: Path, local: Path) -> None:
    done = ask(image, local)
    assert done.code in (0, 6, 8)  # a random model may end, and what it wrote is an answer
    assert (done.json["device"], done.json["model"], done.json["protocol"]) == ("cpu", str(local), "stock")
    assert "on the CPU: 12 image tokens, about " in done.err
    assert "is asked as qwen2.5-vl (by config.json: qwen2_5_vl): boxes in pixels" in done.err


def test_a_released_model_without_its_chat_protocol_is_refused_before_it_is_loaded(image: Path, clean: Path) -> None:
    without = shutil.ignore_patterns("virc_protocol.json", "*.gguf")
    shutil.copytree(models.EMBEDDED_FOLDER, clean / "models" / "ViRC-7B", ignore=without)
    (clean / "models" / "ViRC-7B" / "model.safetensors").write_bytes(b"")
    done = ask(image, Path("ViRC-7B"))
    assert (done.code, "no chat protocol for ViRC-7B" in done.err) == (3, True)
    assert "--protocol default" in done.err


@pytest.mark.integration
def test_nothing_leaves_the_machine(image: Path, local: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    watch = tmp_path / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(WATCHED)
    env = {**environment, "PYTHONPATH": f"{watch}:{environment['PYTHONPATH']}"}
    done = ended(start("solve", image, "q", "--model", local, "--timeout", 1, env=env))
    assert done.code in (0, 6, 8), done.err  # a random model may end, and what it wrote is an answer
    assert ended(start("solve", image, "q", "--endpoint", "http://127.0.0.1:9/v1", env=env)).code == 99


def test_telemetry_is_off_before_anything_could_send_it(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SILENT:
        monkeypatch.delenv(name, raising=False)
    seen: dict[str, str] = {}

    def find(*_: object, **__: object) -> None:
        seen.update(os.environ)
        raise ConfigError("far enough")

    monkeypatch.setattr(models, "find", find)
    assert virc("solve", image, "q", "--model", "a-model").code == 3
    assert [seen.get(name) for name in SILENT] == ["1"] * 3
