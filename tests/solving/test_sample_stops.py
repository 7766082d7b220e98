"""`virc data sample` in processes of its own that are stopped or killed, and with a real model."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from batches import asked, problems, read, write
from rollouts import LOOKED, NO_TAGS, RIGHT, SHOWN_AGAIN, WRONG, Rollouts, files
from support.called import virc
from support.servers import Body, Server, serve
from support.solving import ended, picture, start

Env = dict[str, str]

# The process kills itself at the n-th time that it puts something on disk or moves it into place.
DYING = """
import os, signal, sys
left = int(sys.argv.pop(1))
def dying(real):
    def call(*args, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call
for name in ("fsync", "replace", "rename", "unlink", "mkdir"):
    setattr(os, name, dying(getattr(os, name)))
from virc_cli.main import main
sys.exit(main())
"""
WRITES = 38  # of a run in peace
NAMES = list("abcdef")
SCRIPTS = {
    f"q {name}": [[WRONG, LOOKED, RIGHT], [LOOKED, SHOWN_AGAIN, RIGHT], [NO_TAGS, WRONG, WRONG]][at % 3]
    for at, name in enumerate(NAMES)
}


def words(source: Path, to: Path, server: Server) -> list[str]:
    given = ["data", "sample", source, "--to", to, "--endpoint", server.url, "--samples", 3, "--concurrency", 1]
    return list(map(str, given))


def killed(at: int, arguments: list[str], environment: Env) -> int:
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(at), *arguments], env=environment, capture_output=True, timeout=240
    )
    return done.returncode


def problems_in(folder: Path) -> Path:
    """Six problems with a picture each."""
    folder.mkdir(exist_ok=True)
    pictures = {name: picture(folder / f"{name}.png", 112 + 28 * at) for at, name in enumerate(NAMES)}
    rows = [row for name in NAMES for row in problems(pictures[name], name, answer=97)]
    return write(folder / "in.jsonl", rows)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return problems_in(tmp_path)


def assert_killed_runs_lose_nothing(moments: list[int], source: Path, environment: Env) -> int:
    """Kill a run at each moment, counted from the last, and let it end: the files are those of a run in peace.

    Returns:
        How many of them were killed before their end.
    """
    kills = 0
    with serve(Rollouts(SCRIPTS)) as server:
        assert virc(*words(source, source.parent / "whole", server)).code == 0
        to = source.parent / "killed"
        for moment in moments:
            code = killed(moment, words(source, to, server), environment)
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
        assert virc(*words(source, to, server)).code == 0
    assert files(to) == files(source.parent / "whole")
    return kills


@pytest.mark.integration
def test_killed_at_any_moment_nothing_is_lost_done_twice_or_left_lying(source: Path, environment: Env) -> None:
    seeded = random.Random(3)
    moments = [seeded.randint(1, 12) for _ in range(5)]
    assert assert_killed_runs_lose_nothing(moments, source, environment) == 5


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 51, 10))
def test_killed_at_each_of_its_writes_nothing_is_lost(first: int, tmp_path: Path, environment: Env) -> None:
    """Every write is the last of one run; those at the beginning of two runs in a row."""
    for number in range(first, first + 10):
        source = problems_in(tmp_path / str(number))
        moments = [number] if number <= WRITES else [number - WRITES] * 2
        assert assert_killed_runs_lose_nothing(moments, source, environment) == len(moments)


@pytest.mark.integration
def test_a_run_that_is_stopped_leaves_a_dataset_of_what_was_done(image: Path, tmp_path: Path, environment: Env) -> None:
    source = write(tmp_path / "in.jsonl", problems(image, "a", "b", answer=97))
    with serve([]) as server:

        def turn(body: Body) -> str:
            return str(server.stopping.wait(60)) if asked(body) == "q b" else RIGHT[0]

        server.script.turns = turn
        process = start(*words(source, tmp_path / "out", server), env=environment)
        assert server.wait_for(4)
        process.terminate()
        done = ended(process)
    assert (done.code, "1 problem: 3 of 3 rollouts right" in done.err) == (143, True)
    assert [row["id"] for row in read(tmp_path / "out" / "trajectories.jsonl")] == ["a-1"]


def test_images_that_no_row_names_go_and_other_files_stay(source: Path, tmp_path: Path) -> None:
    images = tmp_path / "out" / "trajectories.images"
    with serve(Rollouts(SCRIPTS)) as server:
        assert virc(*words(source, tmp_path / "out", server)).code == 0
        before = files(tmp_path / "out")
        left = ["0" * 32 + ".png", "." + "0" * 32 + ".png.140213"]
        for name in [*left, "mine.png"]:
            (images / name).write_bytes(b"")
        assert virc(*words(source, tmp_path / "out", server)).code == 0
    assert files(tmp_path / "out") == before | {"trajectories.images/mine.png": b""}
