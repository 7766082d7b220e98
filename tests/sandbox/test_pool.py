"""What one piece of code leaves for the next, and how many run at once."""

import threading
import time
from collections.abc import Iterator

import pytest
from support.sandboxed import SMALL, Runs, pool_of

from virc.core.errors import ConfigError
from virc.sandbox import pool as pools
from virc.sandbox.pool import Limits, Past, Pool, Problem

pytestmark = pytest.mark.integration


@pytest.fixture
def pool() -> Iterator[Pool]:
    with pool_of(1) as pool:
        yield pool


def test_state_is_kept_for_a_problem_and_no_other(pool: Pool) -> None:
    one, other = Runs(pool), Runs(pool)
    one.said("x = 1\nopen('a.txt', 'w').write('here')")
    assert one.said("print(x, open('a.txt').read())") == "1 here"
    assert "NameError" in other.said("x")
    assert "FileNotFoundError" in other.said("open('a.txt')")


def test_state_is_not_kept_where_nobody_wants_it(pool: Pool) -> None:
    runs = Runs(pool)
    runs.reply("x = 1", keeps=False)
    assert "NameError" in runs.said("x")


def test_state_comes_back_where_a_process_made_room(pool: Pool) -> None:
    first = Runs(pool)
    first.said("x = [1]")
    first.said("x.append(2)")
    others = [Runs(pool) for _ in range(9)]
    for each in others:
        each.said("x = 0")
    assert id(first.past.problem) not in pool._kept
    assert first.said("x") == "[1, 2]"


def test_a_call_that_is_taken_back_leaves_nothing(pool: Pool) -> None:
    runs = Runs(pool)
    runs.said("x = 1")
    before = runs.past
    runs.said("x = 2")
    runs.past = before
    assert runs.said("x") == "1"


def test_equal_code_has_equal_results(pool: Pool) -> None:
    code = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('a'), set('abcdef'))"
    assert Runs(pool).said(code) == Runs(pool).said(code)


def test_a_death_costs_the_state_and_the_next_call_works(pool: Pool) -> None:
    runs = Runs(pool)
    runs.said("x = 1")
    assert "ended" in runs.said("import os\nos._exit(1)")
    assert "NameError" in runs.said("x")


def test_no_more_than_allowed_run_at_once() -> None:
    with pool_of(2) as pool:
        everyone = [Runs(pool) for _ in range(6)]
        for each in everyone:
            each.said("import time")
        began = time.monotonic()
        threads = [threading.Thread(target=each.said, args=("time.sleep(0.5)",)) for each in everyone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1.4 < time.monotonic() - began < 5


def test_a_start_that_fails_names_the_reason(monkeypatch: pytest.MonkeyPatch, pool: Pool) -> None:
    monkeypatch.setattr("virc.sandbox.child.isolator.command", lambda *_: ["sh", "-c", "echo no right to >&2"])
    with pytest.raises(Exception, match="does not start: no right to"):
        Runs(pool).said("1")


@pytest.mark.parametrize("value", ["0", "many", "-1", "9999"])
def test_the_number_at_once_is_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(pools.AT_ONCE, value)
    pools._of_process.cache_clear()
    with pytest.raises(ConfigError, match="not a number from 1 to 1024"):
        pools.shared()
    pools._of_process.cache_clear()


def test_without_a_sandbox_code_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_UNSAFE_PYTHON", "1")
    with pool_of(1) as pool:
        runs = Runs(pool)
        assert runs.said("import numpy, os; int(numpy.ones(3).sum())") == "3"
        assert "took longer" in runs.said("while True: pass", 1)
        limits = Limits(5, "saved", 1, 10**6, 1000)
        reply, pixels, _ = pool.run(
            Past(Problem()), "from PIL import Image\nImage.new('RGB', (4, 4))", [], SMALL, limits, False
        )
        assert reply.images == ((4, 4),)
        assert pixels == [bytes(48)]
