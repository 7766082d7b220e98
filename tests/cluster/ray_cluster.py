"""A Ray cluster of this machine, started and ended by the programs of the engine's environment."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.loopback import free_port

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


class Cluster:
    """A running cluster; each node is a raylet of its own on this machine that says it has a GPU.

    Attributes:
        address: for jobs.
        folder: of Ray's files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._port, dashboard = folder, free_port(), free_port()
        self.address = f"http://127.0.0.1:{dashboard}"
        self._workers: list[subprocess.Popen[bytes]] = []
        head = ("--head", f"--port={self._port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
                f"--temp-dir={folder}")  # fmt: skip
        self._head = self._started(*head)

    def _started(self, *options: str) -> "subprocess.Popen[bytes]":
        argv = [
            str(python()), "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
            f"--dashboard-agent-listen-port={free_port()}",  # jobs start there; its own default is one for the machine
            "--num-cpus=16", "--num-gpus=1", *options,
        ]  # fmt: skip
        env = {**os.environ, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "token"}
        with (self.folder / "start.log").open("ab") as log:
            return subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True)

    def add_node(self) -> None:
        """Start a further node, and wait until the cluster has it."""
        before = self.alive()
        self._workers.append(self._started(f"--address=127.0.0.1:{self._port}"))
        self._until(lambda: self.alive() > before)

    def kill_node(self) -> None:
        """Kill the newest node and all its processes at the same moment, as a power cut would.

        Waits until the cluster knows.
        """
        before, node = self.alive(), self._workers.pop()
        for pid in _descendants(node.pid):
            os.kill(pid, signal.SIGKILL)
        node.wait(240)
        self._until(lambda: self.alive() < before)

    def nodes(self) -> set[str]:
        """The ids of the nodes that the cluster has."""
        rows = answer(f"{self.address}/nodes?view=summary")["data"]["summary"]
        return {row["raylet"]["nodeId"] for row in rows if row["raylet"].get("state") == "ALIVE"}

    def alive(self) -> int:
        """How many nodes the cluster has."""
        return len(self.nodes())

    def shown(self) -> str:
        """All that its pages and logs show of jobs and nodes."""
        lists = ("jobs", "actors", "tasks", "runtime_envs", "workers", "nodes")
        pages = ["/api/jobs/", *(f"/api/v0/{each}?detail=1&limit=1000" for each in lists)]
        texts = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        return "".join(page(f"{self.address}{each}") for each in pages) + b"".join(texts).decode("latin-1")

    def wait(self) -> None:
        """Wait until the head answers."""
        self._until(lambda: bool(answer(f"{self.address}/api/version")) and self.alive() > 0)

    def end(self) -> None:
        """End all of it."""
        for process in (*self._workers, self._head):
            process.terminate()
        for process in (*self._workers, self._head):
            process.wait(240)

    def _until(self, done: Any) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if done():
                    return
            except OSError:
                pass
            time.sleep(0.5)
        raise AssertionError((self.folder / "start.log").read_text())


@contextmanager
def running(nodes: int = 1) -> Iterator[Cluster]:
    """A cluster of so many nodes. Nothing of it is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv(TOKEN, secrets.token_hex(32))
        cluster = Cluster(folder)
        try:
            cluster.wait()
            for _ in range(nodes - 1):
                cluster.add_node()
            yield cluster
        finally:
            cluster.end()
            shutil.rmtree(folder, ignore_errors=True)


def answer(url: str) -> Any:
    """What the cluster says at an address, as JSON."""
    return json.loads(page(url))


def page(url: str) -> str:
    """What the cluster says at an address."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ[TOKEN]}"})
    with urllib.request.urlopen(request, timeout=30) as said:
        return str(said.read().decode("utf-8", "replace"))


def _descendants(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(file.parent.name)] = int(file.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found
