"""`virc data synth`: a folder that is whole, reproducible, and readable by others."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.called import virc

from virc.data.formats import registry as formats
from virc.data.rows.record import Record
from virc.data.synth.draw import SynthConfig, write
from virc_cli.main import main

pytestmark = pytest.mark.usefixtures("capfd")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def synth(to: Path, *options: str) -> int:
    return main(["data", "synth", "--to", str(to), "--count", "12", *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def records(file: Path) -> list[Record]:
    (source,) = formats.sources(file)
    rows = list(source.rows())
    assert not [row.fault or row.flaws for row in rows if row.fault or row.flaws]
    return [row.record for row in rows if row.record]


@pytest.mark.integration
def test_the_same_seed_makes_the_same_folder_byte_for_byte_with_any_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virc.data.synth.draw._CHUNK", 3)
    for name, workers in (("a", 1), ("b", 2), ("c", 3)):
        write(SynthConfig(tmp_path / name, count=30, workers=workers))
    first = contents(tmp_path / "a")
    assert len(first) > 30
    assert first == contents(tmp_path / "b") == contents(tmp_path / "c")
    assert synth(tmp_path / "d", "--seed", "1") == 0
    theirs = contents(tmp_path / "d")["problems.jsonl"].splitlines()
    assert not {line[10:] for line in theirs} & {line[10:] for line in first["problems.jsonl"].splitlines()}


def test_the_formats_of_all_stages_tell_of_the_same_problems(tmp_path: Path) -> None:
    assert synth(tmp_path / "a", "--formats", "sft,rl,prompts,batch,trajectories", "--count", "3") == 0
    solved = records(tmp_path / "a/trajectories.json")
    assert records(tmp_path / "a/lines.jsonl") == solved
    problems, prompts = records(tmp_path / "a/problems.jsonl"), records(tmp_path / "a/prompts.parquet")
    for known in (problems, prompts):
        assert [(row.id, row.question, row.answer) for row in known] == [
            (row.id, row.question, row.answer) for row in solved
        ]
    assert [row.messages for row in prompts] == [row.messages[:2] for row in solved]
    units = records(tmp_path / "a/rl.parquet")
    assert [(row.id, row.messages, row.answer) for row in units] == [
        (row.id, row.messages[:end], row.answer) for row in solved for end in range(3, len(row.messages) + 1, 2)
    ]
    ours = (tmp_path / "a").resolve()
    assert all(image.path().is_relative_to(ours) and image.read() for row in units for image in row.images)


def started(to: Path, count: int) -> "subprocess.Popen[str]":
    """The real command with workers, as it runs in a terminal."""
    words = ["data", "synth", "--to", str(to), "--count", str(count), "--workers", "2", "--formats", "batch,sft,rl"]
    program = "import sys; from virc_cli.main import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def reached(to: Path, files: int, process: "subprocess.Popen[str]") -> None:
    """Wait until so many images are drawn; what a run before left may be cleared meanwhile, which os.walk allows."""
    while sum(name.endswith(".png") for _, _, names in os.walk(to.parent) for name in names) < files:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


@POSIX
@pytest.mark.integration
def test_ctrl_c_keeps_what_was_drawn_for_the_same_command(tmp_path: Path) -> None:
    with started(tmp_path / "a", 400) as process:
        reached(tmp_path / "a", 50, process)
        os.killpg(process.pid, signal.SIGINT)
        out, said = process.communicate(timeout=240)
    assert (process.returncode, out) == (130, "")
    assert [line for line in said.splitlines() if not line.endswith("drawn")] == ["error: interrupted"]
    (kept,) = tmp_path.iterdir()
    drawn = {path.name: path.stat().st_mtime_ns for path in kept.rglob("*.png")}
    with started(tmp_path / "a", 400) as process:
        process.communicate(timeout=240)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write(SynthConfig(tmp_path / "b", count=400))
    again = {path.name for path in (tmp_path / "a").rglob("*.png") if path.stat().st_mtime_ns != drawn.get(path.name)}
    left, right = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert left.pop("rl.parquet")
    assert left == right
    assert len(again & drawn.keys()) < 10  # of the last problem alone


@POSIX
@pytest.mark.integration
@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_rerun_completes_what_a_killed_run_left(tmp_path: Path, moments: int) -> None:
    rng = random.Random(0)
    for _ in range(moments):
        with started(tmp_path / "a", 10**6) as process:
            reached(tmp_path / "a", rng.randrange(1, 2000 if moments > 2 else 300), process)
            process.kill()
            process.communicate(timeout=240)  # ends when the workers have ended
        assert not (tmp_path / "a").exists()
    with started(tmp_path / "a", 120) as process:
        process.communicate(timeout=240)
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write(SynthConfig(tmp_path / "b", count=120))
    left, right = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert left.pop("rl.parquet")
    assert left == right


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = virc("data", "synth", "--to", tmp_path / "a")
    assert (done.code, "no space left on device" in done.err) == (1, True)
    assert [each for each in tmp_path.iterdir() if each.is_dir()] == []
