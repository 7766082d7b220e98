"""The code blocks of the pages: README.md, CONTRIBUTING.md, SECURITY.md and docs/.

HTML comments on the lines before a block say how it is tested:

- none: `test_pages.py` runs it (sh, python) in the page's workspace, after the blocks before it;
- `file: PATH`: it is written to PATH in the workspace, for the blocks behind it;
- `output`: the block before it prints exactly this;
- `own server`: addresses in it are those of a server that it starts, not of the scripted one;
- `dry run: WHY`: it is too large for a test; each `virc train` in it is planned by `test_dry_runs.py`;
- `run by: PATH`: another test runs it; `install` and `test`: `.ci/run` does;
- `not run: WHY`: nothing runs it.

All commands and options in it exist, however it is tested.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if path.name not in ("CHANGELOG.md", "AGENTS.md") and (find_spec("virc_extras") or path.parent.name != "extras")
)
SKILL = "recipes/virc_extras/skill/SKILL.md"
"""What agents read; it is no page of the site."""
TRIED = [*PAGES, *([SKILL] if (ROOT / SKILL).is_file() else [])]
_MARK = re.compile(r"<!-- ([a-z][a-z -]*?)(?:: (.*))? -->")
_FENCE = re.compile(r"^(`{3,}|~{3,})(\w*)$")


class Block(NamedTuple):
    """A block, the page and line that it begins at, and its marks: name -> text, or an empty one."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """All code blocks of a page, in order."""
    found: list[Block] = []
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    marks: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number]
        if fence := _FENCE.match(line):
            end = lines.index(fence[1], number + 1)
            found.append(Block(page, number + 1, fence[2], "\n".join(lines[number + 1 : end]) + "\n", marks))
            marks, number = {}, end
        elif mark := _MARK.fullmatch(line):
            marks = {**marks, mark[1]: mark[2] or ""}
        else:
            assert not line.startswith("```"), f"{page}:{number + 1}: an odd fence"
            marks = {}
        number += 1
    return tuple(found)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `virc ...` in lines of a shell."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in (*lexer, ";"):
            if set(word) <= set("();<>|&"):
                yield from _virc(words)
                words = []
            else:
                words.append(word)


def _virc(words: list[str]) -> Iterator[list[str]]:
    """The words of a command without the variables before it and the name of the program."""
    while words and re.match(r"[A-Za-z_]+=", words[0]):
        value = words.pop(0).partition("=")[2]
        if value.startswith("$"):  # answer=$(virc ...): its words begin behind the bracket
            return
    if words[:1] == ["virc"]:
        yield words[1:]


def inline(page: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each inline code span outside of blocks."""
    inside = False
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            yield from ((number, span) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", line))


def make_programs(folder: Path) -> Path:
    """A folder for PATH, whose `virc` and `python` are those of this checkout."""
    folder.mkdir()
    of_json = "-c 'import json, sys; print(json.load(sys.stdin)[sys.argv[2][1:]])'"  # not every machine has jq
    for name, words in (("virc", "-m virc_cli"), ("python", ""), ("jq", of_json)):
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def run_page(page: str, test: str, folder: Path) -> None:
    """Run the commands of a page, that `test` runs or that have no mark, on one core in a folder with its files."""
    script = ["set -euo pipefail\n"]
    for block in blocks(page):
        if "file" in block.marks:
            (folder / block.marks["file"]).write_text(block.text, encoding="utf-8")
        elif block.marks.get("run by") == test or not block.marks:
            script.append(block.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{make_programs(folder / 'bin')}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "recipes"))))
        patch.setenv("VIRC_CONFIG", str(folder / "config.yaml"))
        patch.setenv("OMP_NUM_THREADS", "1")
        done = subprocess.run(["bash", "-c", "".join(script)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
