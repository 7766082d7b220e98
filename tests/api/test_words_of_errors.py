"""The same mistakes on the command line and from Python, each told in the words of its own interface."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import called
from support.entry import ROOT
from support.faults import status
from support.servers import MODEL, serve
from support.tables import each_case

import virc
from virc.core.errors import VircError
from virc.core.options import in_python, shown_by

PICTURE = ROOT / "tests" / "pictures" / "triangle.png"


def refused_key(endpoint: str, _: Path) -> tuple[list[object], Callable[[], object]]:
    words = ["solve", PICTURE, "How large is A?", "--model", MODEL, "--endpoint", endpoint]
    return words, lambda: virc.solve(PICTURE, "How large is A?", MODEL, endpoint=endpoint, api_key="k")


def setting_of_a_stage(_: str, folder: Path) -> tuple[list[object], Callable[[], object]]:
    words = ["train", "virc", "--stage", "rl", "--set", "clip_low=2"]
    return words, lambda: virc.train("virc", "rl", settings={"clip_low": 2}, folder=folder)


def two_solvers(endpoint: str, _: Path) -> tuple[list[object], Callable[[], object]]:
    words = ["solve", PICTURE, "Q", "--endpoint", endpoint, "--pipeline", "a.py", "--temperature", "1"]
    return words, lambda: virc.solve(PICTURE, "Q", endpoint=endpoint, pipeline="a.py", temperature=1.0)


MISTAKES = [
    (refused_key, "set VIRC_API_KEY to a key it accepts", "set api_key= to a key it accepts"),
    (setting_of_a_stage, "--set clip_low=0.2", "settings={'clip_low': 0.2}"),
    (two_solvers, "--temperature does not go with --pipeline", "temperature= does not go with pipeline="),
]


@each_case(("mistake", "typed", "written"), MISTAKES)
def test_a_mistake_is_told_in_the_words_of_its_interface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[str, Path], tuple[list[object], Callable[[], object]]], typed: str, written: str,
) -> None:  # fmt: skip
    if mistake is two_solvers:
        pytest.importorskip("virc_extras.pipelines")
    monkeypatch.chdir(tmp_path)
    with serve(fault=status(401, "no such key")) as server:
        words, call = mistake(server.url, tmp_path)
        done = called.virc(*words)
        assert done.code
        assert typed in done.err
        with shown_by(in_python):
            with pytest.raises(VircError) as raised:
                call()
            told = f"{raised.value} {raised.value.hint}"
    assert written in told
    assert not re.search("--|VIRC_|«", told), told


@pytest.mark.integration
def test_a_program_reads_the_words_of_python_and_a_command_in_it_does_not_change_that(tmp_path: Path) -> None:
    program = """if True:
        import json, virc
        from virc_cli.main import main
        told = []
        for _ in range(2):
            try:
                virc.train("virc", "rl", settings={"clip_low": 2})
            except virc.ConfigError as error:
                told.append(error.hint)
            main(["train", "virc", "--stage", "rl", "--set", "clip_low=2"])
        print(json.dumps(told))
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["settings={'clip_low': 0.2}"] * 2
    assert done.stderr.count("hint: --set clip_low=0.2") == 2
