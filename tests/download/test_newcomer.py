"""The way from nothing to checked data in docs/data.md, as written there, against a hub."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import hub
from support import crux

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


def commands() -> list[str]:
    """The lines of the block, without their comments."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- checked-data -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert block
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


def test_three_commands_lead_from_nothing_to_checked_data(tmp_path: Path) -> None:
    install, *rest = commands()
    assert install == "python -m pip install '.[data]'"  # tests/cli/test_packaging.py installs extras
    assert [line.split()[:2] for line in rest] == [["virc", "download"], ["virc", "data"]]
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    with hub({"datasets/LeonMiao/CRUX": crux.publish(tmp_path / "published")}) as server:
        bin_folder = Path(sys.executable).parent
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, **server.env(tmp_path), "PATH": path}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(rest)],
            cwd=workspace, env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("data/CRUX\n")
    assert re.search(r"^(\d+) rows, \1 good$", done.stdout + done.stderr, re.MULTILINE)
    there = workspace / "data" / "CRUX"
    assert (there / "ViRC_images").is_dir()
    assert not (there / "ViRC_images.tar.lz4").exists()
