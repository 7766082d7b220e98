"""Whether an answer is right: by rule first, by algebra only where the rules cannot tell.

Evaluation and reward call `score`; a judge, where there is one, is asked by them about what is left.
"""

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from virc.core.errors import DataError
from virc.core.text import clause, did_you_mean, plain
from virc.scoring.rules import MAX_LENGTH, numbers_agree, same

Decider = Literal["rule", "symbolic", "judge"]
Matcher = Literal["exact", "choice", "words", "value", "algebra"]
"""What finds two answers the same (`scoring.answers`), in the order in which each is tried."""
Metric = Literal["anls", "vqa_accuracy"]
UNREADABLE = "unreadable"
"""The answer of a row that is to be refused."""


class Key(msgspec.Struct, frozen=True):
    """The right answer of a row, and how an answer is compared with it.

    Args:
        choices: contents of the choices in order, where there are some.
        decimals: numbers are equal when they are rounded to this many decimals, halves away from zero.
        tolerance: share of the right number by which another may be off: 0.05 is 5 %.
        answers: all accepted answers as the row lists them, several times those that several people gave; empty where
            `answer` is the only one.
        metric: what the benchmark measures answers by, in addition to right and wrong (`accepted.measured`).
    """

    answer: str
    choices: tuple[str, ...] = ()
    decimals: int | None = None
    tolerance: float | None = None
    answers: tuple[str, ...] = ()
    metric: Metric | None = None

    @property
    def accepted(self) -> tuple[str, ...]:
        """The accepted answers, each once; `answer` is the first."""
        return tuple(dict.fromkeys((self.answer, *self.answers)))

    @property
    def reference(self) -> str:
        """The accepted answers as one text, for a judge or a person."""
        return " or ".join(self.accepted)

    @property
    def is_refusal(self) -> bool:
        """Whether refusing is right, because there is nothing to answer."""
        return not self.choices and any(each.strip().casefold() == UNREADABLE for each in self.accepted)


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether an answer is right, who was asked last, what found it right, and whether no rule could read it."""

    right: bool
    by: Decider
    matcher: Matcher | None = None
    unread: bool = False


class _Fields(msgspec.Struct):
    answer: str | int | float | None = None
    answers: Annotated[list[str | int | float], Meta(min_length=1)] | None = None
    choices: list[str | int | float] | None = None
    decimals: Annotated[int, Meta(ge=0, le=100)] | None = None
    tolerance: Annotated[float, Meta(ge=0, le=1)] | None = None
    metric: Metric | None = None


_LIST_TEXT = re.compile(r"\s*\[\s*[\"'].*[\"']\s*(?:,\s*)?\]\s*", re.DOTALL)


def is_list_text(answer: str) -> bool:
    """Whether an answer is the text of a list of texts, such as `['5 cm', '5']`, which is no answer."""
    return _LIST_TEXT.fullmatch(answer) is not None


def key_of(fields: Mapping[str, Any]) -> Key:
    """The key of a row of the batch format.

    Raises:
        DataError: it has no answer, a field of it is wrong, or its only answer is the text of a list of texts.
    """
    try:
        read = msgspec.convert(fields, _Fields)
    except ValueError as error:
        raise DataError(clause(error), _hint(fields)) from error
    answers = tuple(str(each) for each in read.answers or ())
    answer = next(iter(answers), "") if read.answer is None else str(read.answer)
    if not any(each.strip() for each in (answer, *answers)):
        raise DataError(NO_ANSWER)
    if not answers and is_list_text(answer):
        raise DataError(f"its answer {plain(answer, 60)} is the text of a list", AS_LIST)
    if read.metric == "vqa_accuracy" and len(answers) < _MIN_PEOPLE:
        raise DataError("VQA accuracy needs the answers of several people: the field `answers` has none, or one")
    choices = tuple(str(choice) for choice in read.choices or ())
    return Key(answer, choices, read.decimals, read.tolerance, answers, read.metric)


def _hint(fields: Mapping[str, Any]) -> str | None:
    """What to write in place of a field of the wrong kind."""
    if isinstance(fields.get("answer"), list):
        return AS_LIST
    tolerance, metrics = fields.get("tolerance"), get_args(Metric)
    if isinstance(tolerance, str) or (isinstance(tolerance, int | float) and not 0 <= tolerance <= 1):
        return "tolerance is a share of the right number: 0.05 is 5 %"
    metric = fields.get("metric")
    return did_you_mean(str(metric), metrics) if metric not in (None, *metrics) else None


AS_LIST = 'list all accepted answers in the field `answers`, as {"answers": ["5 cm", "5"]}'
NO_ANSWER = "it has no answer to compare the model's with"
_MIN_PEOPLE = 2

Compare = Callable[[str, Key, Callable[[str, str], bool] | None], Verdict]


def best_match(compare: Compare, answer: str, key: Key, symbolic: Callable[[str, str], bool] | None = None) -> Verdict:
    """The best verdict of `compare` over the accepted answers of a key; algebra is asked once no rule finds one right.

    Args:
        compare: gets the answer, a key with one of the accepted answers alone, and `symbolic` or None.
    """
    if not key.answers:
        return compare(answer, key, symbolic)
    by: Decider = "rule"
    alone = [msgspec.structs.replace(key, answer=each, answers=()) for each in key.accepted]
    for algebra in (None, symbolic) if symbolic else (None,):
        for one in alone:
            verdict = compare(answer, one, algebra)
            if verdict.right:
                return verdict
            by = "symbolic" if verdict.by == "symbolic" else by
    return Verdict(False, by)


def score(answer: str, key: Key, symbolic: Callable[[str, str], bool] | None = None) -> Verdict:
    """Whether an answer is right: equal to one that the key accepts. Nothing in it raises, and the rules take time that
    grows with its length at most.

    Args:
        answer: what the model answered: a short answer, or a text that ends in one (see `final`).
        key: the right answer.
        symbolic: equality by algebra (`Symbolic.same`). It is asked where all rules failed, there are neither choices
            nor a refusal, and not both sides are numbers: of numbers the rules know all.
    """
    return best_match(_score, answer, key, symbolic)


def _score(answer: str, key: Key, symbolic: Callable[[str, str], bool] | None) -> Verdict:
    short = final(answer)
    texts = [answer] if short is None else [answer, short]
    is_exact = key.choices or (key.decimals is None and key.tolerance is None)
    for text in texts:
        near_enough = not is_exact and numbers_agree(text, key.answer, partial(near, key))
        if near_enough or same(text, key.answer, key.choices or None):
            return Verdict(True, "rule")
    if symbolic is None or key.choices or key.is_refusal or numbers_agree(texts[-1], key.answer) is not None:
        return Verdict(False, "rule")
    return Verdict(symbolic(texts[-1], key.answer), "symbolic")


def relative_error(answer: str, key: Key) -> Fraction | None:
    """How far an answer is off the nearest right number, as a share of that; None where one of them is no number.

    Of 0 everything else is off by 1. As in `score`, the number may stand at the end of a text, and 50% is also a half.
    """
    errors: list[Fraction] = []

    def note(number: Fraction, reference: Fraction) -> bool:
        away = abs(number - reference)
        errors.append(away / abs(reference) if reference else Fraction(bool(away)))
        return False

    short = final(answer)
    for text in [answer] if short is None else [answer, short]:
        for accepted in key.accepted:
            numbers_agree(text, accepted, note)
    return min(errors, default=None)


def near(key: Key, number: Fraction, reference: Fraction) -> bool:
    """Whether a number agrees with the right one within the key's decimals or tolerance."""
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
    text = text[-MAX_LENGTH:]
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
