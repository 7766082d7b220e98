"""Equality by algebra, for what no rule knows: `2(x+1)` is `2x+2`, `√12` is `2√3`.

math-verify does it, in a process of its own (worker.py): it knows no end (`9^9^9^9`), and time limits of its own
work in a main thread only.
"""

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

from virc.core.errors import SetupError
from virc.core.extras import install
from virc.core.limits.bounded import Bounded, CostlyError
from virc.scoring.rules import STYLES, same_signs, unit_of, without_switches

_MAX_LENGTH = 500  # characters of a formula that is read
_MAX_CACHED = 4096


class Symbolic:
    """Asks math-verify, a question at a time; threads may share one.

    Its process ends with the `with` block, or with this process, however that ends.

    Args:
        seconds: of CPU after which two formulas count as not equal; so a busy machine comes to the same verdicts.

    Raises:
        SetupError: math-verify is not installed.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise SetupError("equality by algebra needs the extra eval", install("eval"))
        self._seconds = seconds
        self._algebra = Bounded(Path(__file__).with_name("worker.py"))
        self._equal = lru_cache(_MAX_CACHED)(self._decide)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._algebra.close()

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
        try:
            return bool(self._algebra.ask("equal", self._seconds, answer, reference))
        except CostlyError:
            return False


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
        (rf"\\(?:text|mathrm|mbox|{STYLES})\s?\{{([^{{}}]*)\}}", r" \1"),
        (rf"\\(?:{STYLES})\s?(?=\{{)", ""),
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
    latex = without_switches(same_signs(text).strip("*_`.\"' \n"))
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
