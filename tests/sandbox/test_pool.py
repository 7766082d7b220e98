"""What one piece of code leaves for the next, and how many run at once."""

import signal
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import PIL.Image
import pytest
from support.sandboxed import SMALL, Runs, pool_of

from virc.core.errors import ConfigError
from virc.sandbox import pool as pools
from virc.sandbox.calls import Request
from virc.sandbox.child import Child
from virc.sandbox.pool import Limits, Machine, Past, Pool, Problem, Reply
from virc.sandbox.runner import Output, _take_shown

BARE = Machine(512, 4, ())
KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}
"""Ends of a sandbox that was killed; the second is bwrap's own, where what it runs was killed a moment before it."""


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with pool_of(1) as pool:
        yield pool


def runs_of(pool: Pool) -> Runs:
    return Runs(pool, BARE)


def test_state_is_kept_for_a_problem_and_no_other(pool: Pool) -> None:
    one, other = runs_of(pool), runs_of(pool)
    one.said("x = 1\nopen('a.txt', 'w').write('here')")
    assert one.said("print(x, open('a.txt').read())") == "1 here"
    assert "NameError" in other.said("x")
    assert "FileNotFoundError" in other.said("open('a.txt')")


def test_state_is_not_kept_where_nobody_wants_it(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_of(pool)
    started = list[Child]()
    monkeypatch.setattr(
        pool, "_take_warm", lambda machine: started.append(Pool._take_warm(pool, machine)) or started[-1]
    )
    runs.reply("x = 1", keeps=False)
    assert [child._popen.poll() in KILLED for child in started] == [True]  # and its process is gone
    assert "NameError" in runs.said("x")


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


def test_equal_code_has_equal_results(pool: Pool) -> None:
    code = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('a'), set('abcdef'))"
    assert Runs(pool).said(code) == Runs(pool).said(code) != ""


@pytest.mark.parametrize(
    ("code", "says", "sizes"),
    [
        ("6 * 7", "42", 0),
        ("print('a' * 9_000 + 'end')", "end", 0),
        ("1 / 0", "ZeroDivisionError", 0),
        ("for _ in range(9): display(Image.new('RGB', (30, 30)))", "more than 8 images", 8),
        ("Image.new('RGB', (5000, 5000))", "is not shown: the most is", 0),
        ("Image.new('LA', (2, 2), (0, 0))", "", 1),
    ],
)
def test_what_comes_back_of_code(pictures: Runs, code: str, says: str, sizes: int) -> None:
    said = pictures.said(code)
    assert says in said
    assert "/runner.py" not in said
    assert len(pictures.pixels) == sizes
    if "LA" in code:  # what is transparent is on white
        assert pictures.pixels == [b"\xff" * 12]


def test_a_file_is_shown_whenever_it_was_written(pictures: Runs) -> None:
    for code, says, shown in (
        ("Image.new('RGB', (9, 9)).save('a.png'); print('once')", "once", 1),
        ("Image.new('RGB', (9, 8)).save('a.png'); print('again')", "again", 1),
        ("print(open('a.png', 'rb').read(1))", "b'\\x89'", 0),
    ):
        assert (pictures.said(code), len(pictures.pixels)) == (says, shown)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.exit('done')", None),
        ("x = 1\nraise KeyError('a')", "    raise KeyError('a')"),
        ("display(Image.new('RGB', (3, 3)))", None),
    ],
)
def test_what_is_said_of_an_end(pictures: Runs, code: str, says: str | None) -> None:
    reply = pictures.reply(code)
    assert reply
    assert reply.fault == bool(says)
    assert (says or "") in reply.stderr
    assert reply.stdout == ""


@pytest.mark.parametrize("middle", [["x" * 200], ["x"] * 200, ["x" * 30] * 6 + ["x" * 20]])
def test_both_ends_of_an_output_are_kept(middle: list[str]) -> None:
    out = Output(10)
    for text in ("begin", *middle, "end!!"):
        out.write(text)
    assert out.value() == "begin\n[... 200 characters left out ...]\nend!!"
    whole = Output(10)
    whole.write("begin" + "".join(middle) + "end!!")
    assert whole.value() == out.value()


def test_figures_that_were_shown_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {1: "a figure"}
    pyplot = SimpleNamespace(
        get_fignums=lambda: [*figures], figure=figures.get, close=lambda which: figures.clear(), show=None
    )
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(pyplot=pyplot))
    monkeypatch.setattr(PIL.Image.Image, "show", PIL.Image.Image.show)  # which is changed
    shown: list[str] = []
    _take_shown("import matplotlib", SimpleNamespace(add_figure=shown.append), {})  # type: ignore[arg-type]
    pyplot.show()
    pyplot.show()
    assert shown == ["a figure"]


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


def test_a_fork_has_a_pool_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pools._of_process.cache_clear()
    own = pools.shared()
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert pools.shared() is not own
    pools._of_process.cache_clear()


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


class Meeting:
    """A process that counts those that run; each waits for a second one."""

    both, watch = threading.Barrier(2), None
    running, most = 0, 0

    def __init__(self, machine: Machine) -> None:
        self.counting = threading.Lock()

    def ready(self) -> None:
        """It is."""

    def kill(self) -> None:
        """There is nothing to end."""

    def run(self, *_: object) -> tuple[Reply, list[bytes]]:
        with self.counting:
            Meeting.running += 1
            Meeting.most = max(Meeting.most, Meeting.running)
        self.both.wait(60)
        with self.counting:
            Meeting.running -= 1
        return Reply(0, "", "", (), False, ()), []


def test_no_more_than_allowed_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "Child", Meeting)
    with pool_of(2) as pool:
        threads = [threading.Thread(target=runs_of(pool).said, args=("1",)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Meeting.most == 2


def test_a_problem_that_is_given_up_ends_its_process(pool: Pool) -> None:
    runs = runs_of(pool)
    runs.said("x = 1")
    child = pool._waiting[id(runs.past.problem)].child
    del runs
    assert child._popen.poll() in KILLED


def test_a_start_that_fails_names_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virc.sandbox.child.isolator.command", lambda *_: ["sh", "-c", "echo no right to >&2"])
    with pool_of(1) as pool, pytest.raises(Exception, match="does not start: no right to"):
        Runs(pool).said("1")


@pytest.mark.parametrize("value", ["0", "many", "-1", "9999"])
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
            Past(Problem()), "from PIL import Image\nImage.new('RGB', (4, 4))", [], SMALL, limits, False
        )
        assert reply.images == ((4, 4),)
        assert pixels == [bytes(48)]
