"""What one piece of code leaves for the next, and how many run at once."""

import gc
import signal

import pytest
from support.sandboxed import SMALL, Runs, pool_of
from support.tables import each_case

from virc.core.errors import ConfigError
from virc_extras.sandbox import pool as pools
from virc_extras.sandbox.calls import Request
from virc_extras.sandbox.child import Child
from virc_extras.sandbox.pool import Limits, Machine, Past, Pool, SandboxProblem

BARE = Machine(512, 4, ())
KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}
"""Ends of a sandbox that was killed; the second is bwrap's own, where what it runs was killed a moment before it."""


def runs_of(pool: Pool) -> Runs:
    return Runs(pool, BARE)


def test_state_is_kept_for_a_problem_and_no_other(pool: Pool) -> None:
    one, other = runs_of(pool), runs_of(pool)
    one.said("x = 1\nopen('a.txt', 'w').write('here')")
    assert one.said("print(x, open('a.txt').read())") == "1 here"
    assert "NameError" in other.said("x")
    assert "FileNotFoundError" in other.said("open('a.txt')")


def test_state_comes_back_where_a_process_made_room(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_max_sessions", 1)
    first, other = runs_of(pool), runs_of(pool)
    first.said("x = [1]")
    first.said("x.append(2)")
    other.said("x = 0")
    assert id(first.past.problem) not in pool._waiting
    assert first.said("x") == "[1, 2]"


def test_a_call_that_is_taken_back_leaves_nothing(pool: Pool) -> None:
    runs = runs_of(pool)
    runs.said("x = 1")
    before = runs.past
    runs.said("x = 2")
    runs.past = before
    assert runs.said("x") == "1"


@each_case(
    ("code", "says", "sizes"),
    [
        ("6 * 7", "42", 0), ("print('a' * 9_000 + 'end')", "characters left out", 0), ("1 / 0", "ZeroDivisionError", 0),
        ("print(1)\nraise SystemExit(3)\nprint(2)", "1", 0), ("input()", "EOFError", 0),
        ("import os; Image.effect_noise((9, 9), 9).save('a.png'); os.truncate('a.png', 50)", "a.png cannot be sho", 0),
        ("import json\ndef f():\n    return json.loads('{')\nf()", "line 3, in f", 0),
        ("for _ in range(9): display(Image.new('RGB', (30, 30)))", "more than 8 images", 8),
        ("Image.new('RGB', (5000, 5000))", "is not shown: the most is", 0), ("Image.new('LA', (2, 2), (0, 0))", "", 1),
    ],
)  # fmt: skip
def test_what_comes_back_of_code(pictures: Runs, code: str, says: str, sizes: int) -> None:
    said = pictures.said(code)
    assert says in said
    assert "/runner.py" not in said
    assert len(pictures.pixels) == sizes
    if "LA" in code:  # what is transparent is on white
        assert pictures.pixels == [b"\xff" * 12]


def test_without_a_sandbox_the_folder_goes_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_UNSAFE_PYTHON", "1")
    child = Child(Machine(512, 4, ()))
    try:
        child.run(Request("open('left', 'w').close()", (), "none", 0, 0, 99), [], 20)
        assert child._folder
        assert (child._folder / "left").exists()
    finally:
        child.kill()
    assert not child._folder.exists()


@pytest.fixture(scope="module")
def pictures(pool: Pool) -> Runs:
    """A process that has PIL."""
    runs = Runs(pool)
    assert runs.said("from PIL import Image") == ""
    return runs


def test_a_death_costs_the_state_and_the_next_call_works(pool: Pool) -> None:
    runs = runs_of(pool)
    runs.said("x = 1")
    assert "ended" in runs.said("import os\nos._exit(1)")
    assert "NameError" in runs.said("x")


def test_a_problem_that_is_given_up_ends_its_process(pool: Pool) -> None:
    runs = runs_of(pool)
    runs.said("x = 1")
    child = pool._waiting[id(runs.past.problem)].child
    del runs
    gc.collect()
    assert child._popen.wait(60) in KILLED


@each_case("value", ["0", "many", "-1", "9999"])
def test_the_number_at_once_is_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(pools.AT_ONCE, value)
    pools._of_process.cache_clear()
    with pytest.raises(ConfigError, match="not a number from 1 to 1024"):
        pools.shared()
    pools._of_process.cache_clear()


@pytest.mark.integration
def test_without_a_sandbox_code_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_UNSAFE_PYTHON", "1")
    with pool_of(1) as pool:
        runs = Runs(pool)
        assert runs.said("import numpy, os; int(numpy.ones(3).sum())") == "3"
        assert "took longer" in runs.said("while True: pass", 1)
        limits = Limits(5, "saved", 1, 10**6, 1000)
        reply, pixels, _ = pool.run(
            Past(SandboxProblem()), "from PIL import Image\nImage.new('RGB', (4, 4))", [], SMALL, limits, False
        )
        assert reply.images == ((4, 4),)
        assert pixels == [bytes(48)]
