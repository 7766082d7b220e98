"""What .ci/parts and .ci/full make of tests that fail, pass the second time, or ran already, in a small repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from code_blocks import ROOT
from support.programs import needs

pytestmark = [pytest.mark.integration, needs("git"), pytest.mark.skipif(sys.platform == "win32", reason="bash")]

PASSES, FAILS, SKIPPED = "def test_{}(): pass\n", "def test_{}(): assert 0\n", "@skip\ndef test_{}(): pass\n"
WANTING = "@needs('no such program')\ndef test_{}(): pass\n"
FLAKY = "def test_{}():\n    if not (tried := Path('tried')).exists():\n        tried.touch()\n        assert 0\n"
HEAD = f"""import sys
from pathlib import Path
from pytest import mark
sys.path.append({str(ROOT / "tests")!r})
from support.programs import needs
skip = mark.skip('why')
"""
Done = subprocess.CompletedProcess[str]


class Repository:
    """A repository with .ci and one file of tests; `python` is this interpreter, in place of a new environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir()
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -ra\n")
        (folder / "python").write_text(
            '#!/bin/sh\ncase "$1 $2" in\n"-m venv") mkdir -p "$3/bin" && ln -s "$0" "$3/bin/python" ;;\n'
            f"*) exec '{sys.executable}' \"$@\" ;;\nesac\n"
        )
        (folder / "python").chmod(0o755)
        (folder / ".ci/parts").write_text((ROOT / ".ci/parts").read_text(encoding="utf-8"))
        self.git("init", "-q")

    def write(self, script: str, lines: str, *tests: str) -> None:
        """A script of .ci with these parts in place of its own, and tests `a`, `b`, ...; all is committed."""
        text = (ROOT / ".ci" / script).read_text(encoding="utf-8").partition("\npart environment ")[0]
        (self.folder / ".ci" / script).write_text(f"{text}\n{lines}\nfinish 1\n")
        file = HEAD + "".join(text.format(name) for name, text in zip("abc", tests, strict=False))
        (self.folder / "test_it.py").write_text(file)
        self.git("add", ".ci", "test_it.py")
        self.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "All")

    def run(self, script: str, *parts: str) -> Done:
        env = {
            **os.environ, "PYTHON": str(self.folder / "python"), "PIP_FIND_LINKS": "none", "PYTEST_ADDOPTS": "-p xdist",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }  # fmt: skip
        return subprocess.run(
            ["bash", self.folder / ".ci" / script, *parts], cwd=self.folder, env=env, capture_output=True, text=True
        )

    def count(self, part: str) -> int:
        """How often a part of `ONCE` ran."""
        return len((self.folder / part).read_bytes())

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.folder, check=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def remarks(done: Done) -> dict[str, str]:
    """What the table at the end says of each part behind its seconds."""
    return dict(re.findall(r"^ci: (\w+) +\d+ s of +-?\d+ s(.*)$", done.stdout, re.MULTILINE))


@pytest.mark.parametrize(
    ("tests", "remark", "flaky"),
    [
        ([PASSES, FAILS], ", failed (1)", []),
        ([PASSES, FLAKY], "", ["b"]),
        ([FLAKY, FAILS, PASSES], ", failed (1)", ["a"]),
        ([SKIPPED, SKIPPED], ", failed (1)", []),
        ([PASSES, SKIPPED], "", []),
        ([PASSES, WANTING], ", failed (1)", []),
        ([], ", failed (5)", []),
        ([PASSES, "1 / 0\n"], ", failed (2)", []),
    ],
    ids=[
        "fails twice",
        "passes the second time",
        "both",
        "all are skipped",
        "one is",
        "for want of a program",
        "no test",
        "cannot be collected",
    ],
)
def test_a_suite_fails_if_a_test_fails_twice_or_none_passes(
    repository: Repository, tests: list[str], remark: str, flaky: list[str]
) -> None:
    repository.write("run", "suite toys 60 tests", *tests)
    done = repository.run("run")
    assert (done.returncode, remarks(done)) == (bool(remark), {"toys": remark}), done.stdout
    assert {*re.findall(r"^flaky: test_it.py::test_(.*)$", done.stdout, re.MULTILINE)} == {*flaky}


def test_a_part_in_the_background_turns_all_of_it_red(repository: Repository) -> None:
    repository.write("run", "part behind 60 false &\nbehind=$!\npart good 60 true\nwait $behind")
    done = repository.run("run")
    assert (done.returncode, remarks(done)) == (1, {"behind": ", failed (1)", "good": ""})
    repository.write("run", "part behind 60 kill -9 $BASHPID &\nbehind=$!\npart good 60 true\nwait $behind")
    assert repository.run("run").returncode
