"""Whether an answer is right: by rule first, by algebra only where the rules cannot tell.

Evaluation and reward call `score`; a judge, where there is one, is asked by them about what is left.
"""

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache, partial
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.core.errors import DataError
from virc.core.text import clause
from virc.scoring.rules import MOST, numbers_agree, same

Decider = Literal["rule", "symbolic", "judge"]
UNREADABLE = "unreadable"
"""The answer of a row that is to be refused."""
_KNOWN = 1024  # answers whose verdicts are remembered: several terms of a reward ask about one


class Key(msgspec.Struct, frozen=True):
    """The right answer of a row, and how an answer is compared with it.

    Args:
        choices: contents of the choices in order, where there are some.
        decimals: numbers are equal when they are rounded to so many decimals, halves away from zero.
        tolerance: share of the right number by which another may be off: 0.05 is 5 %.
    """

    answer: str
    choices: tuple[str, ...] = ()
    decimals: int | None = None
    tolerance: float | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether refusing is right, because there is nothing to answer."""
        return not self.choices and self.answer.strip().casefold() == UNREADABLE


class Verdict(msgspec.Struct, frozen=True):
    """Whether an answer is right, and who was asked last."""

    right: bool
    by: Decider


class _Fields(msgspec.Struct):
    answer: str | int | float | None = None
    choices: list[str | int | float] | None = None
    decimals: Annotated[int, Meta(ge=0, le=100)] | None = None
    tolerance: Annotated[float, Meta(ge=0, le=1)] | None = None


def key_of(fields: Mapping[str, Any]) -> Key:
    """The key of a row of the batch format; a DataError where it has no answer, or a field of it is wrong."""
    try:
        read = msgspec.convert(fields, _Fields)
    except ValueError as error:
        raise DataError(clause(error)) from error
    if read.answer is None or not str(read.answer).strip():
        raise DataError("it has no answer to hold the model's against")
    choices = tuple(str(choice) for choice in read.choices or ())
    return Key(str(read.answer), choices, read.decimals, read.tolerance)


def score(answer: str, key: Key, symbolic: Callable[[str, str], bool] | None = None) -> Verdict:
    """Whether an answer is right. Nothing in it raises, and the rules take time that grows with its length at most.

    Args:
        answer: what the model answered: a short answer, or a text that ends in one (see `final`).
        key: the right answer.
        symbolic: equality by algebra (`Symbolic.same`). It is asked where all rules failed, there are neither choices
            nor a refusal, and not both sides are numbers: of numbers the rules know all.
    """
    short = final(answer)
    texts = [answer] if short is None else [answer, short]
    if any(_right_by_rule(text, key) for text in texts):
        return Verdict(True, "rule")
    if symbolic is None or key.choices or key.is_refusal or numbers_agree(texts[-1], key.answer) is not None:
        return Verdict(False, "rule")
    return Verdict(symbolic(texts[-1], key.answer), "symbolic")


@lru_cache(_KNOWN)
def relative_error(answer: str, key: Key) -> Fraction | None:
    """How far an answer is off the right number, as a share of that; None where one of them is no number.

    Of 0 everything else is off by 1. As in `score`, the number may stand at the end of a text, and 50% is also a half.
    """
    errors: list[Fraction] = []

    def note(number: Fraction, reference: Fraction) -> bool:
        away = abs(number - reference)
        errors.append(away / abs(reference) if reference else Fraction(bool(away)))
        return False

    short = final(answer)
    for text in [answer] if short is None else [answer, short]:
        numbers_agree(text, key.answer, note)
    return min(errors, default=None)


@lru_cache(_KNOWN)
def _right_by_rule(answer: str, key: Key) -> bool:
    if same(answer, key.answer, key.choices or None):
        return True
    if key.choices or (key.decimals is None and key.tolerance is None):
        return False
    return bool(numbers_agree(answer, key.answer, partial(_near, key)))


def _near(key: Key, number: Fraction, reference: Fraction) -> bool:
    if key.decimals is not None and _rounded(number, key.decimals) == _rounded(reference, key.decimals):
        return True
    # by its digits: 0.05 is not the nearest binary fraction here, so that 95 of 100 is within
    return key.tolerance is not None and abs(number - reference) <= Fraction(str(key.tolerance)) * abs(reference)


def _rounded(number: Fraction, decimals: int) -> int:
    size: int = math.floor(abs(number) * 10**decimals + Fraction(1, 2))
    return -size if number < 0 else size


_SAID = re.compile(r"\banswer[*_`\"' ]{0,6}(?:\bis\b|[:：=])[:：*_`\"\s]{0,9}", re.IGNORECASE)
_BOX = re.compile(r"\\boxed\s{0,3}\{")
_CLAUSE = re.compile(r"[.!?;](?=\s)|\n")
_DENIED = re.compile(
    r"\b(?:not|never|cannot|wrong|incorrect|if|unless|whether|either|or|but|however)\b|n['’]t\b|\\boxed", re.IGNORECASE
)
_PUT_RIGHT = re.compile(r"\A\W*(?:but|however)\b", re.IGNORECASE)


def final(text: str) -> str | None:
    """The short answer that a longer text ends in, None where it names none or does not stand by it.

    Two forms count, whichever is last: the content of `\\boxed{}`, and what follows `answer is`, `answer:` or
    `answer =` up to the end, if that is one line. So `the answer is 97, not 98` ends in `97, not 98`, which is no
    number. A form does not count where a word such as not, if, or, wrong is before it in its clause, or after a
    box; nor where it is a question. Only the last 2,000 characters are read.
    """
    text = text[-MOST:]
    form = max(chain(_SAID.finditer(text), _BOX.finditer(text)), key=lambda found: found.start(), default=None)
    if form is None or _DENIED.search(_PUT_RIGHT.sub("", _CLAUSE.split(text[: form.start()])[-1])):
        return None
    if form.re is _BOX:
        return _boxed(text, form.end())
    rest = text[form.end() :].rstrip("*_`. \n")  # emphasis that began before it
    return None if not rest or "\n" in rest or rest.endswith("?") else rest


def _boxed(text: str, start: int) -> str | None:
    """The content of a box that begins at `start`, if nothing after it takes it back."""
    depth = 1
    for brace in re.finditer(r"(?<!\\)[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            end = start + brace.start()
            return None if _DENIED.search(text, end) else text[start:end].strip() or None
    return None
