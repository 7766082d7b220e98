"""Whether an answer is right, as a person reads it: the one reading behind evaluation, votes and kept samples.

A reply is read for its conclusion (`reading`), which is compared as a value (`values`) or by algebra. Rewards that were
published keep the rules that they were published with (`rules`, `score`).
"""

import operator
import re
from collections.abc import Callable, Sequence
from functools import partial

from virc.scoring.reading.conclusions import Conclusion, conclusion
from virc.scoring.reading.phrases import DENIED, HEDGED
from virc.scoring.reading.quantities import Agree, quantity
from virc.scoring.reading.replies import latex_of, plain
from virc.scoring.reading.values import alike, are_values, names_differ, words
from virc.scoring.score import Key, Verdict, best_match, near

_MAX_LISTED = 500
_MORE_WORDS = 4  # than the right answer has, in one that is still compared with it
MAX_LENGTH = 100_000
"""Characters of a reply that is read; a longer one is right only where it is the reference."""


def extract(reply: str, choices: Sequence[str] | None = None) -> str | None:
    """The short answer that a reply comes to; None where it gives none, or does not stand by it.

    Args:
        reply: a short answer, or a text that ends in one.
        choices: contents of the choices in order, where there are some: then the letter of a choice is returned, or
            None where none is named, or several.
    """
    texts = _read(reply).texts
    if choices:
        meant = _meant(reply, _read(reply), _contents(tuple(choices)))
        return chr(ord("A") + meant[0]) if len(meant) == 1 else None
    return texts[0] if texts else None


def is_unread(answer: str, key: Key) -> bool:
    """Whether no rule reads a short answer in a text that was not found right: it names no choice, or says nothing that
    is as short as the right answer, or a value. Only a judge can tell then.
    """
    if key.choices:
        return not choices_named(answer, key.choices)
    most = _MORE_WORDS + max(len(each.split()) for each in key.accepted)
    return not any(len(text.split()) <= most or are_values(text, text) for text in _read(answer).texts)


def same_answer(answer: str, reference: str, choices: Sequence[str] | None = None) -> bool:
    """Whether two answers to one question say the same.

    Args:
        answer: what was answered, with whatever stands around it. Nothing in it raises or takes long.
        reference: the answer known to be right, or another answer.
        choices: contents of the choices in order, where there are some: then `B`, `I choose (B)`, `B. 102` and `102`
            are the same if the second is 102.
    """
    return _same(answer, reference, tuple(choices or ()), operator.eq)


def score(answer: str, key: Key, symbolic: Callable[[str, str], bool] | None = None) -> Verdict:
    """Whether an answer is right, equal to one that the key accepts, and who was asked last: the rules, or algebra.

    Args:
        answer: what the model answered, as in `same_answer`.
        key: the right answer.
        symbolic: equality by algebra (`Symbolic.same`). It is asked where the rules find no equality, there are
            neither choices nor a refusal, and not both sides are values that the rules know all of.
    """
    return best_match(_score, answer, key, symbolic)


def _score(answer: str, key: Key, symbolic: Callable[[str, str], bool] | None) -> Verdict:
    agree: Agree = operator.eq if key.decimals is None and key.tolerance is None else partial(near, key)
    if _same(answer, key.answer, key.choices, agree):
        return Verdict(True, "rule")
    said = _read(answer).texts
    if symbolic is None or key.choices or key.is_refusal or not said or are_values(said[0], key.answer):
        return Verdict(False, "rule")
    formulas = dict.fromkeys((said[0], latex_of(answer, said[0])))
    asked = [each for each in formulas if ":" not in each and ("=" in key.answer or not _EQUATION.match(each))]
    return Verdict(any(symbolic(each, key.answer) for each in asked), "symbolic" if asked else "rule")


_EQUATION = re.compile(r"[^=]*[-+*/^\d][^=]*=|[\d\s.]+[-+*][-+*/\d\s.]+$")
"""A text that does not say what one name is, or was not calculated: neither `x + 15 = 85` nor `80 + 5` is 85."""


def _same(answer: str, reference: str, choices: tuple[str, ...], agree: Agree) -> bool:
    one, other = answer.strip(), reference.strip()
    if one == other or not one or not other:
        return one == other != ""
    said, right = _read(one), _read(other)
    contents = _contents(choices)
    chosen = _meant(one, said, contents), _meant(other, Conclusion((other, *right.texts), True), contents)
    if (any if choices else all)(chosen):
        is_pair = len(chosen[0]) == 2 and not _IN_ORDER.search(one + other)
        return chosen[0] == chosen[1] or (is_pair and chosen[0] == chosen[1][::-1])
    if words(one) == words(other) != "" and not (quantity(one) or quantity(other)):
        return True
    pairs = [(text, plain(other)) for text in said.texts]
    # "the car is red" and "the dog is red" are not one answer, though both end in it
    are_weak = not said.is_firm and not right.is_firm
    pairs += [(text, meant) for text in said.texts for meant in right.texts[:1] if not are_weak or quantity(text)]
    return not names_differ(one, other) and any(
        alike(text, meant, agree) or _labels_alike(text, meant) for text, meant in pairs
    )


def _read(reply: str) -> Conclusion:
    return conclusion(reply) if len(reply) <= MAX_LENGTH else Conclusion((), False)


_LABEL = re.compile(
    r"(?:the )?(?:(?:option|choice|answer|letter|选项|选) ?)?[(\[{<]?(?P<letter>[A-Za-z])"
    r"(?:[)\]}>.]+\s*|:(?=\s|\w{2})\s*|,(?=\s|\w{2})(?!.*,\s)\s*|[:,]$|\s+[-:](?!>)\s*|\s+(?=\()|$)(?P<said>.*)",
    re.IGNORECASE | re.DOTALL,
)


def _label(text: str) -> tuple[str, str] | None:
    """The letter of a choice and what is said after it, in `B`, `(B)`, `B. blue`, `option B - blue`."""
    found = _LABEL.fullmatch(text.strip().rstrip("."))
    if not found or re.fullmatch(
        r"(?:(?:and|or|&|maybe|perhaps|possibly|probably) )*\(?[A-Za-z]\)?(?:[^A-Za-z].*)?", found["said"]
    ):  # A, C is a list
        return None
    return found["letter"].upper(), re.sub(r"^\((.*)\)$", r"\1", found["said"].strip())


def _labels_alike(one: str, other: str) -> bool:
    """Whether, of choices that are not known, both have the letter, or one has what the other says after its letter."""
    first, second = _label(one), _label(other)
    if first and second:
        return first[0] == second[0]
    return any(label and label[1] and alike(label[1], text) for label, text in ((first, other), (second, one)))


def _contents(choices: tuple[str, ...]) -> tuple[str, ...]:
    labels = [_label(choice) for choice in choices]
    if all(label and label[1] and label[0] == chr(ord("A") + at) for at, label in enumerate(labels)):
        return tuple(label[1] for label in labels if label)
    return choices


def _chosen(said: Conclusion, contents: tuple[str, ...]) -> int | None:
    """Which choice is named by the first of the readings that names any; None where it names several."""
    if not said.is_firm and said.texts and len(_mentioned(said.texts[-1], contents)) > 1:
        return None
    letters = [content.strip("() ").upper() for content in contents]
    has_letters = any(len(each) == 1 and 0 <= ord(each) - ord("A") < len(contents) for each in letters)
    for text in said.texts:
        equal = {at for at, content in enumerate(contents) if words(text) == words(content)}
        label = None if has_letters or len(equal) == 1 else _label(text)
        at = ord(label[0]) - ord("A") if label else len(contents)
        if label and at < len(contents):
            named = _named_in(label[1], contents) if label[1] else set()
            return at if not named or at in named else None
        if named := equal if len(equal) == 1 else _named_in(text, contents):
            at = next(iter(named))
            others = {*re.findall(r"\(([A-Z])\)", said.texts[0])} - {chr(ord("A") + at)}
            return at if len(named) == 1 and not others else None
    return _lone_letter(said.texts[-1], len(contents)) if said.texts and not has_letters else None


_LISTED = re.compile(
    r"(?:(?:only|both|the|all of|options?|choices?|letters?|answers?|选项)\b[ :]*)*(.+?)(?:,? only)?[\s.]*",
    re.IGNORECASE | re.DOTALL,
)
_AND = r"(?:and|und|et|y|e|и|en|och|og|dan|ve|và)\s+"
_BETWEEN = re.compile(
    rf"\s*[,;&+、，\n]\s*(?:{_AND})?|\s+{_AND}|\s*[和与及]\s*|[와과と]\s*|(?<=\))\s*(?=\()"
    r"|(?-i:(?:(?<=\b[A-Z])|(?<=\b[A-Z][.)]))\s+(?=[A-Z]\b))",
    re.IGNORECASE,
)
_MAX_LETTERS = 26  # of choices that are not known


def choices_named(answer: str, choices: Sequence[str]) -> frozenset[int]:
    """The places of the choices that an answer names by letters or contents; none where that is not clear."""
    return frozenset(_meant(answer, Conclusion((answer, *_read(answer).texts), True), _contents(tuple(choices))))


def _meant(text: str, said: Conclusion, contents: tuple[str, ...]) -> tuple[int, ...]:
    """The choices that an answer names; none where that is not clear. Where none are known, it must list several."""
    for each in (plain(text), *said.texts):
        if several := _several(each, contents):
            same = [at for at, content in enumerate(contents) if alike(each, content)] or [
                at for at, content in enumerate(contents) if " " in content and _several(content, contents) == several
            ]
            return (same[0],) if len(same) == 1 else several  # a choice may be `both A and B`
    chosen = _chosen(said, contents) if contents else None
    return () if chosen is None else (chosen,)


def _several(text: str, contents: tuple[str, ...]) -> tuple[int, ...] | None:
    """The choices that a text lists in whatever form, as `A, C`, `C and A`, `(A)(C)`, `red and green`; `AC` where they
    are known, for else it may be the name of a thing. Where they are not known, the order stays: they may be steps.
    """
    found = _LISTED.fullmatch(text.replace('"', "")) if len(text) <= _MAX_LISTED else None
    listed = re.sub(r"^[(\[{]([^()]+)[)\]}]$", r"\1", found[1]) if found else ""
    is_close = contents and listed.isascii() and listed.isalpha()
    parts = [*listed] if is_close else [*filter(None, _BETWEEN.split(listed))]
    places = [place for part in parts if (place := _place(part, contents)) is not None]
    if len(parts) < 2 or len({*places}) < len(parts):
        return None
    return tuple(sorted(places) if contents or (found and found[1][0] == "{") else places)


_IN_ORDER = re.compile(r"[(\[]\s*[A-Za-z]\s*[,;]")
"""Two letters are in an order in such brackets alone; people write `B, D` and `D, B` for the same two choices."""


def _place(text: str, contents: tuple[str, ...]) -> int | None:
    equal = [at for at, content in enumerate(contents) if words(text) == words(content)]
    label = None if equal else _label(text)
    at = ord(label[0]) - ord("A") if label else equal[0] if len(equal) == 1 else _MAX_LETTERS
    if at >= (len(contents) or _MAX_LETTERS):
        return None
    return at if not label or not label[1] or (contents and alike(label[1], contents[at])) else None


_LETTER = re.compile(r"(?<![A-Za-z0-9'-])([A-Z])(?![A-Za-z0-9'-])")
_CALLED = re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter) [A-Z]\b")
_OF_A_THING = re.compile(r"\bA [a-z]|\b(?!(?:[Oo]nly|[Jj]ust|[Ss]elect|[Cc]hoose|[Pp]ick) )[A-Za-z]{3,} [A-Z]\b")
"""`A cat` and `point C` are no letters of choices."""


def _lone_letter(sentence: str, count: int) -> int | None:
    """The choice whose letter is the only single capital of a short sentence that weighs and denies nothing."""
    letters = _LETTER.findall(sentence)
    is_short = len(sentence.split()) <= 4 and not _OF_A_THING.search(sentence)
    if len(letters) != 1 or not (is_short or _CALLED.search(sentence)) or sentence.endswith("?"):
        return None
    at = ord(letters[0]) - ord("A")
    return None if at >= count or HEDGED.search(sentence) or DENIED.search(sentence) else at


def _named_in(text: str, contents: tuple[str, ...]) -> set[int]:
    equal = {at for at, content in enumerate(contents) if alike(text, content)}
    if equal or re.search(r"\b(?:and|then|but)\b", text):
        return equal
    return _mentioned(text, contents)


def _mentioned(text: str, contents: tuple[str, ...]) -> set[int]:
    """The choices, but for numbers, whose words a text has, where it has them without those that weigh or deny, and not
    only within another choice: `light green` does not mention `green`.
    """
    said = f" {words(text)} "
    named = {
        at: each for at, content in enumerate(contents)
        if re.search(r"[^\W\d_]{2}", content) and quantity(content) is None and (each := f" {words(content)} ") in said
        and not HEDGED.search(text if not HEDGED.search(content) else said.replace(words(content), ""))
    }  # fmt: skip

    def apart(each: str) -> str:
        longer = "|".join(re.escape(other[:-1]) for other in named.values() if each in other != each)
        return re.sub(rf"(?:{longer})(?= )", " |", said) if longer else said

    return {at for at, each in named.items() if each in apart(each)}
