"""The real entry point in its own process, with a home folder and environment of its own."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
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
            timeout=240,
        )

    return run


@pytest.fixture
def virc_here(environment: Env, monkeypatch: pytest.MonkeyPatch) -> Run:
    """As `virc`, in this process, which is faster by the start of one."""
    for name in [name for name in os.environ if name.startswith(("VIRC_", "OPENAI_", "XDG_", "COLUMNS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", environment["HOME"])

    def run(*words: str, env: Mapping[str, str] | None = None) -> Done:
        from virc_cli.main import main

        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(err):
            patched.setitem(sys.modules, "rich", sys.modules.get("rich"))  # type: ignore[misc]  # completion hides it
            for name, value in (env or {}).items():
                patched.setenv(name, value)
            try:
                code = main(words)
            except SystemExit as stop:  # Typer's own end of a completion
                code = int(stop.code or 0)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def boom(tmp_path: Path) -> list[str]:
    """The command line, up to its arguments, of a virc that also has the command `boom`."""
    folder = tmp_path / "more_commands"
    folder.mkdir()
    (folder / "boom.py").write_text(BOOM, encoding="utf-8")
    return [sys.executable, "-c", DRIVER, str(folder), "boom"]
