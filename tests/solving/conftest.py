"""An environment of its own for every test, so that no config file or variable of the machine is read."""

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from batches import Rows, write
from support.called import virc
from support.servers import Server
from support.solving import ROOT, Serve, picture
from support.workspaces import empty_workspace

from virc.systems import registry as systems
from virc.systems.registry import System


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder without models, an empty config, and the environment put back afterwards."""
    return empty_workspace(monkeypatch, tmp_path)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a process of its own sees: PATH, an empty home, and this checkout importable."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))
    home = {"HOME": str(tmp_path), "VIRC_CONFIG": str(tmp_path / "config.yaml")}
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **home}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A picture of 112 x 84 px."""
    return picture(tmp_path / "figure.png")


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., Any]:
    """Run a batch over rows against a server."""

    def run(rows: Rows, server: Server, *words: object, out: object = None) -> Any:
        source = write(tmp_path / "in.jsonl", rows)
        return virc("batch", source, "--to", out or tmp_path / "out", "--endpoint", server.url, *words)

    return run


@pytest.fixture(scope="session")
def build_model() -> Callable[..., Path]:
    """Writes a random model of a family to a folder."""
    sys.path.insert(0, str(ROOT / "tests" / "backends"))
    build: Callable[..., Path] = importlib.import_module("tiny_factory").build
    return build


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, build_model: Callable[..., Path]) -> Path:
    """A model of the real architecture with random weights: loads in a moment, never says anything sensible."""
    return build_model(tmp_path_factory.mktemp("models") / "random")


@pytest.fixture
def virc_system() -> System:
    """The system of the released models."""
    return systems.get("virc")


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Serve]]]:
    """A web server on the loopback: its address, and what it does on each path."""
    pages: dict[str, Serve] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                pages[self.path](self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", pages
    server.shutdown()
    server.server_close()
