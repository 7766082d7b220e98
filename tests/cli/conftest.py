"""The real entry point in its own process, with a home folder and environment of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.entry import BOOM, DRIVER, ROOT, Done, Env, Run


@pytest.fixture
def environment(tmp_path: Path) -> Env:
    """What a fresh account has: PATH, an empty home, and this checkout importable."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "recipes")))
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "PYTHONPATH": paths}


@pytest.fixture
def virc(environment: Env) -> Run:
    """Run `virc` with these words; `env` adds variables."""

    def run(*words: str, env: Mapping[str, str] | None = None) -> Done:
        return subprocess.run(
            [sys.executable, "-m", "virc_cli", *words],
            env={**environment, **(env or {})},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    return run


@pytest.fixture
def boom(tmp_path: Path) -> list[str]:
    """The command line, up to its arguments, of a virc that also has the command `boom`."""
    folder = tmp_path / "more_commands"
    folder.mkdir()
    (folder / "boom.py").write_text(BOOM, encoding="utf-8")
    return [sys.executable, "-c", DRIVER, str(folder), "boom"]
