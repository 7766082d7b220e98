"""The examples of each page run, in order, in one fresh workspace."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from code_blocks import PAGES, ROOT, SKILL, TRIED, Block, blocks, make_programs
from support.loopback import free_port
from support.servers import Body, Server, serve

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SKIPPED = {"dry run", "run by", "install", "test", "not run", "output"}
HOSTS = ("localhost:8000", "host:8000", "strong:8000", "judge:8005", "127.0.0.1:8000")
"""Servers in examples; the scripted server answers for them."""


def runs(block: Block) -> bool:
    """Whether a block is run or written here."""
    return not SKIPPED & block.marks.keys()


TESTED = [page for page in PAGES if any(runs(block) for block in blocks(page))]


def reply(body: Body) -> str:
    """What the scripted server answers to everything."""
    return "<think>It can be read.</think><answer>73</answer>"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn problems with answers."""
    folder = tmp_path_factory.mktemp("drawn") / "figures"
    command = [sys.executable, "-m", "virc_cli", "data", "synth", "--to", folder, "--count", "3", "--seed", "5"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, drawn: Path) -> Path:
    """A folder with what the examples name: figure.png, later.png, and three files of problems."""
    folder = tmp_path / "workspace"
    shutil.copytree(drawn, folder)
    shutil.copy(ROOT / "docs" / "pictures" / "figure.png", folder)
    shutil.copy(ROOT / "docs" / "pictures" / "figure.png", folder / "later.png")
    for name in ("mine.jsonl", "held-out.jsonl"):
        shutil.copy(folder / "problems.jsonl", folder / name)
    (folder / "own").mkdir()
    return folder


@pytest.fixture
def environment(tmp_path: Path, workspace: Path) -> dict[str, str]:
    """A fresh account, whose `virc` and `python` are those of this checkout."""
    return {
        "PATH": f"{make_programs(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "recipes"))),
        "VIRC_CACHE": str(tmp_path / "cache"),
        "VIRC_CONFIG": str(tmp_path / "config.yaml"),
        "VIRC_OWN_WORDS": "1",
    }


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(reply) as running:
        yield running


def written(block: Block, number: int, folder: Path, ports: Mapping[str, str]) -> str:
    """The line of the page's script that runs a block, which is written to a file."""
    text = block.text
    for host in () if "own server" in block.marks else HOSTS:
        text = text.replace(host, ports["scripted"])
    text = text.replace("8000", ports["own"]) if "own server" in block.marks else text
    if "file" in block.marks:
        file = folder / block.marks["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return ""
    kept = folder.parent / f"{number}.{block.language}"
    kept.write_text(text, encoding="utf-8")
    program = {"sh": ".", "python": "python"}[block.language]
    return f"echo {block.place} >&2\n{program} {kept} >{kept}.out </dev/null\n"


@pytest.mark.parametrize("page", ["evaluation", "strategies", "concepts", "extras/push", "own-figures", "remote-tools"])
def test_the_first_commands_need_no_files(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    first, empty = blocks(f"docs/{page}.md")[0], tmp_path / "empty"
    empty.mkdir()
    script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    script += written(first, 0, empty, {"scripted": "localhost:9", "own": str(free_port())})
    done = subprocess.run(
        ["bash", "-c", script], cwd=empty, env=environment, stderr=subprocess.PIPE, text=True, timeout=570
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", TESTED)
def test_the_examples_of_a_page_run(page: str, workspace: Path, environment: dict[str, str], server: Server) -> None:
    run(page, workspace, environment, server)


@pytest.mark.skipif(SKILL not in TRIED, reason="needs the extras")
def test_the_skill_for_agents_runs_in_an_empty_folder(
    tmp_path: Path, environment: dict[str, str], server: Server
) -> None:
    (empty := tmp_path / "empty").mkdir()
    run(SKILL, empty, environment, server)
    assert len((empty / "answers.jsonl").read_text().splitlines()) == 3


def run(page: str, workspace: Path, environment: dict[str, str], server: Server) -> None:
    """Run the blocks of a page in order, and compare what they print."""
    ports = {"scripted": server.url.split("/")[2], "own": str(free_port())}
    script = ["set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"]
    expected: list[tuple[Block, Path]] = []
    last = Path()
    for number, block in enumerate(blocks(page)):
        if "output" in block.marks:
            expected.append((block, last))
        elif runs(block):
            script.append(written(block, number, workspace, ports))
            last = workspace.parent / f"{number}.{block.language}.out"
    done = subprocess.run(
        ["bash", "-c", "".join(script)], cwd=workspace, env=environment, stderr=subprocess.PIPE, text=True, timeout=570
    )
    assert done.returncode == 0, done.stderr
    for block, file in expected:
        assert file.read_text(encoding="utf-8") == block.text, block.place
