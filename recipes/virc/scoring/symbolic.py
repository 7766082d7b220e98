"""Equality by algebra, for what no rule knows: `2(x+1)` is `2x+2`, `√12` is `2√3`.

math-verify does it, in a process of its own (algebra.py): it knows no end (`9^9^9^9`), and time limits of its own
work in a main thread only.
"""

import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

from virc.core import forks
from virc.core.errors import SetupError
from virc.core.extras import install
from virc.core.limits import bounded
from virc.core.timeouts import LateError, within
from virc.scoring.rules import same_signs, unit_of

_MAX_LENGTH = 500  # characters of a formula that is read
_MAX_CACHED = 4096
_SECONDS_PER_CPU_SECOND = 5  # seconds that one second of CPU may take on a busy machine
_START_SECONDS = 120.0


class Symbolic:
    """Asks math-verify, a question at a time; threads may share one.

    Its process is started by the first question that needs it, ended and replaced where it is late, and ends with
    the `with` block, or with this process, however that ends.

    Args:
        seconds: of CPU after which two formulas count as not equal; so a busy machine comes to the same verdicts.

    Raises:
        SetupError: math-verify is not installed.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise SetupError("equality by algebra needs the extra eval", install("eval"))
        self._seconds = seconds
        self._lock = forks.lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._equal = lru_cache(_MAX_CACHED)(self._decide)
        forks.renew_in_child(self._forget)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._end()

    def same(self, answer: str, reference: str) -> bool:
        """Whether two formulas are equal; False where one is none, or it cannot be told in time.

        Args:
            answer: what was answered. Nothing in it raises or is run.
            reference: the answer known to be right. Where it is a value, an answer may be an equation that ends
                in it; `1, 2` is also `2, 1`, and is not `(1, 2)`.
        """
        one, other = formula(answer), formula(reference)
        if one is None or other is None or (one.unit and other.unit and one.unit != other.unit):
            return False
        return one.latex == other.latex or self._equal(one.latex, other.latex)

    def _decide(self, answer: str, reference: str) -> bool:
        question = json.dumps([answer, reference]).encode() + b"\n"
        with self._lock:
            for _ in range(2):  # a process that was killed by others, or by this very question, is replaced once
                try:
                    verdict = self._ask(question)
                except LateError:
                    return False
                if verdict:
                    return verdict == b"true\n"
        return False

    def _ask(self, question: bytes) -> bytes:
        """The line that answers; empty where the process ends instead, a LateError where the time is over."""
        process = self._process or self._start()
        try:
            end = time.monotonic() + _SECONDS_PER_CPU_SECOND * self._seconds
            verdict = within(end, lambda _: _exchange(process, question))
        except BaseException:  # also an interruption: its answer must not be taken for that to the next question
            self._end()
            raise
        if not verdict:
            code = self._end()
            if sys.platform != "win32" and code == -signal.SIGPROF:
                raise LateError
        return verdict

    def _start(self) -> "subprocess.Popen[bytes]":
        program = Path(__file__).with_name("worker.py")
        # -P: the modules next to the program are not to be found under their bare names
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), str(self._seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        process = self._process
        try:
            ready = within(time.monotonic() + _START_SECONDS, lambda _: _exchange(process, b""))
        except BaseException as error:
            self._end()
            if not isinstance(error, LateError):
                raise
            ready = b""
        if ready != b"ready\n":
            self._end()
            raise SetupError("math-verify does not start", f"{sys.executable} -c 'import math_verify'")
        return process

    def _forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self._process = None

    def _end(self) -> int:
        """End the process, if there is one, and say how it ended: its exit code, or the negative signal."""
        process, self._process = self._process, None
        if process is None:
            return 0
        bounded.end(process)
        return process.returncode


def _exchange(process: "subprocess.Popen[bytes]", question: bytes) -> bytes:
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(question)
        process.stdin.flush()
        return process.stdout.readline()
    except (OSError, ValueError):  # it has ended
        return b""


class Formula(NamedTuple):
    latex: str
    unit: tuple[str, int] | None


_COMMANDS = frozenset(
    "frac dfrac tfrac cfrac sqrt cdot times div pm mp pi theta alpha beta gamma delta lambda mu phi omega sin cos tan "
    "cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp left right infty circ le leq ge geq lt gt ne neq cup "
    "cap in begin end quad mathbb binom".split()
)
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|theta|alpha|beta|gamma"
_SIGNS = {
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "∞": r"\infty ", "°": r"^\circ ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "**": "^",
}  # fmt: skip
_WRITTEN = tuple(
    (re.compile(pattern), latex)
    for pattern, latex in (
        (r"\\[()\[\]]|\\?\$", ""),
        (r"\\text\s?\{\s*(?:and|or)\s*\}", ", "),
        (r"\\(?:text|mathrm|mbox|textbf|mathbf)\s?\{([^{}]*)\}", r" \1"),
        (r"(?:,\s?|\s)(?:and|or)\s", ", "),
        (rf"(?<![\\a-zA-Z])({_FUNCTIONS})(?![a-zA-Z])", r"\\\1 "),
        (r"(?:√|(?<![\\a-zA-Z])sqrt)\s?\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"√\s?(\d+(?:\.\d+)?|[a-zA-Z])", r"\\sqrt{\1}"),
        (r"\^\s?(-?\d+(?:\.\d+)?)", r"^{\1}"),
        (r"\^\s?\(([^()]*)\)", r"^{(\1)}"),
    )
)
_UNIT = re.compile(r"(?P<of>.*[^\s\\])(?P<unit>(?:\s|\\[,;: ])+[a-zA-Z][a-zA-Z./ ]{0,24}(?:\^\{?[23]\}?)?)\s*")
_COMMAND = re.compile(r"\\(?:([a-zA-Z]+)|[{}|,;:! \\])")
_PLAIN = re.compile(r"[0-9a-zA-Z\s.,;:!|+*/^_=<>()\[\]{}'&-]*")
_WORD = re.compile(r"[a-zA-Z]{4}|(?<!\S)[a-zA-Z]{2,}(?!\S)")
_SAYS_SOMETHING = re.compile(r"[\d+*/^=<>|\\-]")


def formula(text: str) -> Formula | None:
    """A text as a formula; None where it is none, or its length or commands are not those of an answer.

    Words are no formula, so that neither `not 97` nor `no` is read as a product of letters.
    """
    if len(text) > _MAX_LENGTH:
        return None
    latex = same_signs(text).strip("*_`.\"' \n")
    for sign, command in _SIGNS.items():
        latex = latex.replace(sign, command)
    for pattern, replacement in _WRITTEN:
        latex = pattern.sub(replacement, latex)
    latex, unit = " ".join(latex.split()), None
    if found := _UNIT.fullmatch(latex):
        unit = unit_of(" " + re.sub(r"[{}]|\\.", "", found["unit"]).strip().lower())
        latex = found["of"] if unit else latex
    rest = _COMMAND.sub(lambda found: " " if found[1] is None or found[1] in _COMMANDS else "?", latex)
    rest = re.sub(r" \{[pbv]?matrix\}", " ", rest)
    if not _PLAIN.fullmatch(rest) or _WORD.search(rest) or not _SAYS_SOMETHING.search(latex):
        return None
    return Formula(latex, unit)
