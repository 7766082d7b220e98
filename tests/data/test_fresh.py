"""A folder that appears whole or not at all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.called import virc

from virc.core.errors import ConfigError, UsageError
from virc.core.files import fresh_folder

HOLD = """
import sys, time
from pathlib import Path
from virc.core.files import fresh_folder
with fresh_folder(Path(sys.argv[1])) as folder:
    (folder / "rows.jsonl").write_text("half")
    print("filling", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(to: Path, text: str = "whole") -> None:
    with fresh_folder(to) as folder:
        assert not names(folder)
        (folder / "rows.jsonl").write_text(text)


def test_nothing_is_there_until_it_is_whole(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "new/deep") as folder:
        (folder / "rows.jsonl").write_text("whole")
        assert not (tmp_path / "new/deep").exists()
        assert folder.parent == tmp_path / "new"
    assert (tmp_path / "new/deep/rows.jsonl").read_text() == "whole"
    assert names(tmp_path / "new") == ["deep"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> None:
        with fresh_folder(tmp_path / "a") as folder:
            (folder / "rows.jsonl").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not names(tmp_path)


def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "a"], stdout=subprocess.PIPE) as run:
        assert run.stdout
        assert run.stdout.readline() == b"filling\n"
        with pytest.raises(ConfigError, match="another run is writing"):
            fill(tmp_path / "a")
        run.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [".a.lock", ".a.partial"]
    fill(tmp_path / "a")
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["rows.jsonl"]
    assert (tmp_path / "a/rows.jsonl").read_text() == "whole"


def test_a_run_killed_after_its_last_step_leaves_no_lock_behind_either(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    (tmp_path / ".a.lock").touch()
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="in use"):
        fill(tmp_path / "a")
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_of_somebody_that_came_meanwhile_stays_and_an_empty_one_keeps_its_mode(tmp_path: Path) -> None:
    def late() -> None:
        with fresh_folder(tmp_path / "a"):
            (tmp_path / "a").mkdir()
            (tmp_path / "a/mine.txt").write_text("keep")

    with pytest.raises(UsageError, match="in use"):
        late()
    (tmp_path / "b").mkdir(mode=0o700)
    fill(tmp_path / "b")
    assert [names(tmp_path / name) for name in ("", "a", "b")] == [["a", "b"], ["mine.txt"], ["rows.jsonl"]]
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "words", [("check", "SET", "--clean"), ("convert", "SET", "--format", "batch", "--to"), ("synth", "--to")]
)
def test_no_command_writes_into_a_folder_in_use(words: tuple[str, ...], tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "set", "--count", 2, "--workers", 1).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    given = [tmp_path / "set" if word == "SET" else word for word in words]
    done = virc("data", *given, tmp_path / "set", "--workers", 1)
    assert (done.code, "in use" in done.err) == (2, True), done.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_or_file_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/mine.txt").write_text("keep")
    (tmp_path / "b").write_text("keep")
    for name in ("a", "a/mine.txt", "b"):
        with pytest.raises(UsageError, match="in use"):
            fill(tmp_path / name)
    assert names(tmp_path) == ["a", "b"]
    assert names(tmp_path / "a") == ["mine.txt"]
