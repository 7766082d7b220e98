"""The completion files are fresh, and complete commands and options in the real shells."""

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import regenerate
from support.entry import ROOT, Env, Run
from support.programs import needs

COMPLETIONS = ROOT / "completions"
QUOTED = shlex.quote(str(COMPLETIONS))


@pytest.mark.integration
@pytest.mark.smoke
def test_generated_files_are_fresh() -> None:
    for path, content in regenerate.generated().items():
        assert path.read_text(encoding="utf-8") == content, "run: python tests/regenerate.py"


@pytest.mark.integration
def test_every_completion_file_is_a_generated_one() -> None:
    assert set(COMPLETIONS.iterdir()) == {path for path in regenerate.generated() if path.parent == COMPLETIONS}


@pytest.fixture
def with_virc(environment: Env, tmp_path: Path) -> Env:
    """An environment whose PATH has a `virc` that runs this checkout."""
    program = tmp_path / "bin" / "virc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m virc_cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "picture.png").touch()
    (tmp_path / "folder").mkdir()
    path = f"{program.parent}{os.pathsep}{environment['PATH']}"
    return {**environment, "PATH": path, "TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null"}


@contextmanager
def terminal(command: list[str], env: Env, folder: Path) -> Iterator[int]:
    """A program in a terminal of its own; yields what its keyboard and screen are."""
    child, screen = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, env)
    try:
        yield screen
    finally:
        os.close(screen)
        os.waitpid(child, 0)


def types(screen: int, keys: str, expected: str) -> str:
    """Press keys and read the screen until it shows `expected`; returns what it showed."""
    os.write(screen, keys.encode())
    shown, deadline = "", time.monotonic() + 200
    while expected not in shown and time.monotonic() < deadline:
        if select.select([screen], [], [], 0.2)[0]:
            shown += os.read(screen, 4096).decode(errors="replace")
    return shown


STARTS = {
    "bash": (["--norc", "--noprofile", "-i"], f"source {QUOTED}/virc.bash; echo rea''dy\n"),
    "zsh": (["-f", "-i"], f"fpath=({QUOTED} $fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy\n"),
}


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=[pytest.mark.integration, needs("zsh")])])
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("virc conf\t", "virc config"),
        pytest.param("virc config show --js\t", "show --json", marks=pytest.mark.integration),
        ("virc solve pic\t", "solve picture.png"),
        pytest.param("virc solve --trace fol\t", "--trace folder/", marks=pytest.mark.integration),
    ],
)
def test_the_tab_key_completes(shell: str, keys: str, expected: str, with_virc: Env, tmp_path: Path) -> None:
    options, load = STARTS[shell]
    with terminal([shell, *options], with_virc, tmp_path) as screen:
        assert "ready" in types(screen, load, "ready\r\n")
        assert expected in types(screen, keys, expected)


@needs("zsh")
@pytest.mark.integration
def test_the_installed_zsh_completion_answers_the_first_tab(with_virc: Env, tmp_path: Path) -> None:
    install = ["zsh", "-c", "virc --install-completion; true"]  # Typer asks which program runs it
    subprocess.run(install, env=with_virc, check=True, capture_output=True)
    with terminal(["zsh", "-i"], {**with_virc, "ZDOTDIR": with_virc["HOME"]}, tmp_path) as screen:
        types(screen, "echo rea''dy\n", "ready\r\n")
        assert "virc config" in types(screen, "virc conf\t", "virc config")


VALUES = {
    "virc train vl": ["vla-r1", "vlaa-thinking", "vlm-r1", "vlm-r1-plain", "vlm-r3"],
    "virc train --stage pra": ["practice"],
    "virc train --with nosuch,3": ["nosuch,3b"],
    "virc solve --model ViRC-3": ["ViRC-3B"],
    "virc solve --system vi": [
        *"vicor vicrit video-com videorft vigorl vilasr virc virgo vision-g1 visreason visrl visual-rft".split(),
        *"visualwebinstruct visurf vitar".split(),
    ],
    "virc eval diag": ["diagrams"],
    "virc runs show my-": ["my-run"],
    "virc config set max_p": ["max_pixels"],
    "virc solve --model my": ["my-model", "my-run"],
    "virc solve --family gemma": ["gemma3", "gemma4"],
    "virc solve --strategy maj": ["majority"],
    "virc train tiny --with lora,mul": ["lora,multi-turn"],
    "virc download data": ["dataset"],
    "virc download dataset data": [],
    "virc download eval diag": [],
    "virc systems show vlm-r3 --stage p": [],
}


@pytest.mark.parametrize("line", VALUES)
def test_values_are_completed(line: str, virc_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/my-run", "runs/.my-removed", "models/my-model"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs" / "my-run" / "run.json").touch()
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = virc_here(env={"_VIRC_COMPLETE": "complete_bash", **words})
    assert (sorted(done.stdout.split()), done.stderr) == (VALUES[line], "")


@needs("fish")
@pytest.mark.integration
@pytest.mark.parametrize(("words", "expected"), [("virc conf", "config"), ("virc config show --js", "--json")])
def test_fish_completes(words: str, expected: str, with_virc: Env, tmp_path: Path) -> None:
    command = ["fish", "--no-config", "-c", f"source {QUOTED}/virc.fish; complete -C '{words}'"]
    done = subprocess.run(command, env=with_virc, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [expected]
