"""Equality by algebra with the real math-verify, and its process: hostile questions, kills, threads, the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import cases_of, each_case

from virc.core.errors import SetupError
from virc.core.extras import install
from virc.core.limits import bounded_worker
from virc.core.timeouts import Deadline, TimeUp
from virc.scoring import answers
from virc.scoring import worker as algebra
from virc.scoring.score import Key, Verdict, score
from virc.scoring.symbolic import Symbolic, formula

CASES = cases_of(__file__)

EQUAL = CASES["equal"]

DIFFERENT = CASES["different"]


@pytest.fixture(scope="module")
def symbolic() -> Iterator[Symbolic]:
    with Symbolic(seconds=1.0) as one:
        yield one


def process_of(symbolic: Symbolic) -> "subprocess.Popen[bytes]":
    """The process, which answers; what was asked before is forgotten."""
    symbolic._equal.cache_clear()
    assert symbolic.same("x+1", "1+x")
    process = symbolic._algebra.process
    assert process
    return process


@pytest.mark.integration
@pytest.mark.parametrize(("answer", "reference"), EQUAL)
def test_these_are_equal_only_by_algebra(symbolic: Symbolic, answer: str, reference: str) -> None:
    assert not score(answer, Key(reference)).right
    assert score(answer, Key(reference), symbolic.same) == Verdict(True, "symbolic")


@pytest.mark.integration
@each_case(("answer", "reference"), DIFFERENT)
def test_these_are_not(symbolic: Symbolic, answer: str, reference: str) -> None:
    assert not symbolic.same(answer, reference)


EXACTLY_EQUAL = CASES["exactly_equal"]
SMALLER_THAN_ROUNDING = CASES["smaller_than_rounding"]


@pytest.mark.integration
def test_small_differences_of_small_and_large_numbers_count(symbolic: Symbolic) -> None:
    """Rules and algebra together, in both directions: no rounding makes two of these equal."""
    told = {same: [pair for pair in pairs for one, other in (pair, pair[::-1])
                   if answers.score(one, Key(other), symbolic.same).right is not same]
            for same, pairs in ((True, EXACTLY_EQUAL), (False, SMALLER_THAN_ROUNDING))}  # fmt: skip
    assert told == {True: [], False: []}


# whether they are read as a formula or not: nothing may raise, last, or break what comes after
HOSTILE = [
    "9^9^9^9", "10**10**10", "(" * 240 + "x" + ")" * 240, "{" * 100_000, "\x00", "\ud800+1", "1/0",
    r"\frac{1}{0}", "0^{-1}",
    "[" * 400, "x_" * 200, "x,y" * 150, r"\begin{matrix}" * 30, "x" + "'" * 400, "\\" * 400,
    r"\frac{" * 70 + "1", "||",
]  # fmt: skip
LATE = [
    "10^{10^{10}}", "2^{2^{2^{2^{2^{2}}}}}", "10000000!", "9999!!!!", r"\binom{10^9}{10^8}", "2^{9999999999}x",
    r"\sqrt{" * 70 + "x" + "}" * 70, "x^{" * 60 + "1" + "}" * 60, r"\sin " * 90 + "x", "((x+y)^{99}+1)^{99}",
    "|" * 400, "1" + "0" * 490, "+" * 400, "(x+1)^{5000}", r"\sqrt{9^{9^9}}", "e^{e^{e^{e^{e}}}}", "x^{100000}-1",
]  # fmt: skip


def ask_hostile(symbolic: Symbolic, texts: list[str]) -> None:
    for text in texts:
        assert not symbolic.same(text, "x+1"), text[:30]
        assert not symbolic.same("x+1", text), text[:30]
    assert symbolic.same("x+x+1", "2x+1")


@pytest.mark.integration
def test_a_hostile_answer_is_wrong_in_time_and_the_next_is_read(symbolic: Symbolic) -> None:
    ask_hostile(symbolic, HOSTILE)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("text", LATE, ids=lambda text: text[:20])
def test_an_answer_without_end_is_wrong_in_time(symbolic: Symbolic, text: str) -> None:
    ask_hostile(symbolic, [text])


CODE = CASES["code"]


@pytest.mark.integration
def test_no_text_is_run(tmp_path: Path, symbolic: Symbolic) -> None:
    for number, text in enumerate(CODE):
        made = tmp_path / f"made{number}"
        assert not symbolic.same(text.format(made), "x+1")
        assert not symbolic.same("x+1", text.format(made))
        assert not made.exists(), text
    assert not list(tmp_path.iterdir())


# Code in the process itself, past the check for formulas: first as SymPy is, then as it is made to be there.
PROBE = """
import sys
from virc.scoring import worker as algebra
from sympy import sympify

def put(texts):
    for text in texts:
        for read in (sympify, lambda text: algebra.equal(text, text), algebra._read):
            try:
                read(text)
            except Exception:
                pass

before, after = (part.split("\\0") for part in sys.stdin.read().split("\\0\\0"))
put(before)
algebra._refuse_code()
put(after)
"""


@pytest.mark.integration
def test_the_process_runs_no_text_even_if_it_gets_it(tmp_path: Path) -> None:
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
    texts = ["\0".join(text.format(tmp_path / when / "made") for text in CODE) for when in ("before", "after")]
    done = subprocess.run(
        [sys.executable, "-c", PROBE], input="\0\0".join(texts), text=True, stderr=subprocess.DEVNULL, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0
    assert list((tmp_path / "before").iterdir())  # SymPy runs what it reads
    assert not list((tmp_path / "after").iterdir())


@pytest.mark.integration
def test_a_question_that_is_late_costs_the_process_and_no_more(symbolic: Symbolic) -> None:
    first = process_of(symbolic)
    assert not symbolic.same("10000000!", "x+1")
    # By its limit of CPU time; where the machine is too busy for that, by the wall time that is a multiple of it.
    assert first.returncode in ((-signal.SIGPROF, -signal.SIGKILL) if hasattr(signal, "SIGPROF") else (1,))
    assert symbolic._algebra.process is None
    assert not symbolic.same("10000000!", "x+1")
    assert symbolic._algebra.process is None  # known, so nobody is asked
    assert process_of(symbolic).pid != first.pid


@pytest.mark.integration
def test_a_process_that_was_killed_is_replaced_and_the_question_asked_again(symbolic: Symbolic) -> None:
    process = process_of(symbolic)
    process.kill()
    process.wait()
    assert symbolic.same("3(x+1)", "3x+3")
    assert process_of(symbolic).pid != process.pid


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interruption_leaves_no_answer_for_the_next_question(symbolic: Symbolic) -> None:
    process = process_of(symbolic)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(TimeUp), Deadline(0.1).armed():
        symbolic.same("5(x+1)", "5x+5")
    assert process.returncode == -signal.SIGKILL
    assert not symbolic.same("6(x+1)", "6x+7")


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not say")
def test_memory_is_bounded_and_a_process_that_keeps_much_ends(symbolic: Symbolic) -> None:
    limits = Path(f"/proc/{process_of(symbolic).pid}/limits").read_text()
    assert int(limits.split("Max address space")[1].split()[0]) == algebra.MAX_BYTES
    program = (
        "import sys, runpy; worker = runpy.run_path(sys.argv[1]); worker['main'].__globals__['_MAX_AFTERWARDS'] = 0; "
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{program} worker['main'](sys.argv[2])", bounded_worker.__file__, algebra.__file__],
        input=b'["equal", 2, "x+1", "1+x"]\n' * 2, stdout=subprocess.PIPE, timeout=120,
    )  # fmt: skip
    assert done.stdout == b"true\n"  # it answered one question and ended


PROGRAM = """
import sys, threading
from virc.scoring.symbolic import Symbolic
symbolic = Symbolic(1.0)
symbolic.same("x+1", "1+x")
print(symbolic._algebra.process.pid, flush=True)
if sys.argv[1] == "at work":
    symbolic.same("10000000!", "x+1")
sys.stdin.read()
"""


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("moment", [pytest.param("idle", marks=pytest.mark.slow), "at work"])
def test_the_process_ends_with_its_parent_however_that_ends(moment: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, moment], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, text=True,
    )  # fmt: skip
    with parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(0.1 if moment == "at work" else 0)
        parent.kill()
        parent.wait()
    end = time.monotonic() + 200
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_without_math_verify_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(SetupError, match="needs the extra eval") as raised:
        Symbolic()
    assert raised.value.hint == install("eval")


WORDS = r"x y 2 1.5 + - * / ^ ( ) { } [ ] , = < \frac \sqrt \pi \text{ cm or and not √ π ° ² sin $ \{ & | ! ' _ % \ ٣"
PIECES = WORDS.split()


@pytest.mark.integration
@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, " ", "\n", "\ud800"]), max_size=20).map("".join) | st.text())
def test_what_is_asked_is_one_line_of_formula(text: str) -> None:
    found = formula(text)
    if found:
        assert found.latex.isascii()
        assert "\n" not in found.latex
        assert "$" not in found.latex
