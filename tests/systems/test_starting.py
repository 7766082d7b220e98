"""Rewards and tools to begin with: their own tests pass, and a system that names them uses them."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.called import virc

from virc.rewards import registry as rewards
from virc.tools import registry as tools


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tools, "_CUSTOM", {})


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["reward", "tool"])
def test_what_is_written_passes_the_test_that_comes_with_it(kind: str, tmp_path: Path) -> None:
    done = virc("systems", "new", kind, "mine")
    assert (done.code, done.out) == (0, "")
    assert f"mine.py is the {kind} mine, test_mine.py its test" in done.err
    recipes = str(Path(rewards.__file__).parents[2])
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    ran = subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": recipes}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert "passed" in ran.stdout


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("reward", "virc"), 3, "there is a reward virc already"),
        (("tool", "crop_image"), 3, "there is a tool crop_image already"),
        (("tool", "a-b"), 2, "'a-b' cannot name a tool"),
        (("rewards", "mine"), 2, "'rewards' is neither reward nor tool"),
        (("tool", "there"), 3, "there is a file there.py already"),
        (("reward", "only"), 3, "there is a file test_only.py already"),
        (("reward", "größe"), 2, "'größe' cannot name a reward"),
    ],
)
def test_mistakes_are_one_sentence(words: tuple[str, ...], code: int, sentence: str) -> None:
    Path("there.py").touch()
    Path("test_only.py").touch()
    done = virc("systems", "new", *words)
    assert done.code == code
    assert sentence in done.err
    assert {each.name for each in Path().iterdir()} == {"there.py", "test_only.py"}
