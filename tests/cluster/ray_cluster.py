"""A Ray cluster of this machine, started and ended by the programs of the engine's environment."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from virc.envs import environment as environments
from virc.envs import making

PATIENCE = 240.0
TOKEN = "RAY_AUTH_TOKEN"
"""The variable with the word that a cluster's members and clients know; without it Ray keeps one in the home folder."""


def python() -> Path:
    """The interpreter of the engine's environment, which is made where there is none."""
    return making.made(making.find("rl", "cpu"))


def recipes() -> Path:
    """The folder of our code that the engine's processes import: as the working tree has it."""
    return environments.recipes_in(making.find("rl", "cpu"))


def _port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@contextmanager
def running() -> Iterator[str]:
    """A cluster of one node that says it has a GPU; its address for jobs. Nothing of it is left afterwards."""
    port, folder = _port(), tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    argv = [
        str(python()), "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats",
        f"--port={_port()}", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}",
        f"--dashboard-agent-listen-port={_port()}",  # jobs start there; its own default is one for the whole machine
        f"--temp-dir={folder}", "--num-cpus=16", "--num-gpus=1",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv(TOKEN, secrets.token_hex(32))
        with Path(folder, "start.log").open("wb") as log:
            head = subprocess.Popen(argv, env={**os.environ, "RAY_worker_niceness": "0"}, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            _await(f"{url}/api/version", Path(folder, "start.log"))
            yield url
        finally:
            head.terminate()
            head.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


def answer(url: str) -> Any:
    """What the cluster says at an address, as JSON."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ[TOKEN]}"})
    with urllib.request.urlopen(request, timeout=10) as said:
        return json.loads(said.read())


def _await(url: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            answer(url)
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())
