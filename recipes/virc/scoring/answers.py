"""Whether an answer is right, as a person reads it: used by evaluation, votes and the selection of samples.

The conclusion of a reply (`reading`) is compared as a value (`reading.values`) or by algebra. Published rewards keep
the rules that they were published with (`rules`, `score`).

Read `score` and `same_answer` first, then `_matcher`. With choices, `_meant` says which of them a text means, by their
places from 0: several that it lists (`_several`), or the one that it chooses (`_chosen`).
"""

import operator
import re
from collections.abc import Callable, Sequence
from functools import partial

from virc.scoring.reading.conclusions import Conclusion, conclusion
from virc.scoring.reading.phrases import DENIED, HEDGED
from virc.scoring.reading.quantities import Agree, quantity
from virc.scoring.reading.replies import boxes, latex_of, plain, unadorned
from virc.scoring.reading.values import alike, are_values, names_differ, words
from virc.scoring.score import Key, Matcher, Verdict, best_match, near

_MAX_LISTED = 500
_MORE_WORDS = 4  # words that a short answer may have more than the right answer, to be compared with it
MAX_LENGTH = 100_000
"""Characters of a reply that is read; a longer one is right only if it is the reference."""


def extract(reply: str, choices: Sequence[str] | None = None) -> str | None:
    """The short answer that a reply comes to; None if it gives none, or takes it back.

    Args:
        reply: a short answer, or a text that ends in one.
        choices: contents of the choices in order, if there are some: then the letter of the choice is returned, or
            None if the reply names none, or several.
    """
    reply = unadorned(reply)
    read = _read(reply)
    if choices:
        meant = _meant(reply, read, _contents(tuple(choices)))
        return chr(ord("A") + meant[0]) if len(meant) == 1 else None
    return read.texts[0] if read.texts else None


def is_unread(answer: str, key: Key) -> bool:
    """Whether only a judge can tell if a text is right that no rule finds right, because no rule reads an answer in it.

    An answer is read if the text names a choice, or, without choices, if it says a value or something as short as the
    right answer.
    """
    answer = unadorned(answer)
    if key.choices:
        return not _meant(answer, _read(answer), _contents(tuple(key.choices)))
    most = _MORE_WORDS + max(len(each.split()) for each in key.accepted)
    return not any(len(text.split()) <= most or are_values(text, text) for text in _read(answer).texts)


def same_answer(answer: str, reference: str, choices: Sequence[str] | None = None) -> bool:
    """Whether two answers to one question say the same.

    Args:
        answer: what was answered, with any text around it. Nothing in it raises or takes long.
        reference: the answer known to be right, or another answer.
        choices: contents of the choices in order, if there are some: then `B`, `I choose (B)`, `B. 102` and `102`
            are the same if the second is 102.
    """
    return _matcher(answer, reference, tuple(choices or ()), operator.eq) is not None


def score(answer: str, key: Key, symbolic: Callable[[str, str], bool] | None = None) -> Verdict:
    """Whether an answer is right, equal to one that the key accepts, and who was asked last: the rules, or algebra.

    Args:
        answer: what the model answered, as in `same_answer`.
        key: the right answer.
        symbolic: equality by algebra (`Symbolic.same`). It is asked if the rules find no equality, there are neither
            choices nor a refusal, and not both sides are values, of which the rules know all.
    """
    return best_match(_score, answer, key, symbolic)


def _score(answer: str, key: Key, symbolic: Callable[[str, str], bool] | None) -> Verdict:
    agree: Agree = operator.eq if key.decimals is None and key.tolerance is None else partial(near, key)
    if matcher := _matcher(answer, key.answer, key.choices, agree):
        return Verdict(True, "rule", matcher)
    answer, reference = unadorned(answer), unadorned(key.answer)
    texts = _read(answer).texts
    if symbolic is None or key.choices or key.is_refusal or not texts or are_values(texts[0], reference):
        return Verdict(False, "rule")
    equation = (answer,) if "=" in reference and "=" in answer else ()  # `y = 3 - x` is read as `3 - x`
    formulas = dict.fromkeys((texts[0], latex_of(answer, texts[0]), *equation))
    asked = [each for each in formulas if ":" not in each and ("=" in reference or not _EQUATION.match(each))]
    if any(symbolic(each, reference) for each in asked):
        return Verdict(True, "symbolic", "algebra")
    return Verdict(False, "symbolic" if asked else "rule")


_EQUATION = re.compile(r"[^=]*[-+*/^\d][^=]*=|[\d\s.]+[-+*][-+*/\d\s.]+$")
"""An equation that is not solved, or a sum that is not calculated: neither `x + 15 = 85` nor `80 + 5` is 85."""


def _matcher(answer: str, reference: str, choices: tuple[str, ...], agree: Agree) -> Matcher | None:
    """What finds two answers the same; None: they differ."""
    answer, reference = unadorned(answer.strip()), unadorned(reference.strip())
    if not answer or not reference:
        return None
    if answer == reference:
        return "exact"
    read, read_reference = _read(answer), _read(reference)
    contents = _contents(choices)
    meant = _meant(answer, read, contents)
    meant_by_reference = _meant(reference, Conclusion((reference, *read_reference.texts), True), contents)
    # without known choices both have to list some
    if (meant or meant_by_reference) if choices else (meant and meant_by_reference):
        have_order = _IN_ORDER.search(answer + reference)
        is_same = meant == meant_by_reference if have_order else sorted(meant) == sorted(meant_by_reference)
        return "choice" if is_same else None
    same_words = words(answer) == words(reference) != ""
    if same_words and not quantity(answer) and not quantity(reference):
        return "words"
    if names_differ(answer, reference):
        return None
    pairs = [(text, plain(reference)) for text in read.texts]
    # "the car is red" and "the dog is red" are not one answer, though both end in it
    are_both_statements = not read.is_firm and not read_reference.is_firm
    pairs += [
        (text, likeliest)
        for text in read.texts
        for likeliest in read_reference.texts[:1]
        if not are_both_statements or quantity(text)
    ]
    is_same = any(alike(text, right, agree) or _labels_alike(text, right) for text, right in pairs)
    return "value" if is_same else None


def _read(reply: str) -> Conclusion:
    return conclusion(reply) if len(reply) <= MAX_LENGTH else Conclusion((), False)


_LABEL = re.compile(
    r"(?:the )?(?:(?:option|choice|answer|letter|选项|选) ?)?(?!\{[A-Za-z]:)[(\[{<]?(?P<letter>[A-Za-z])"
    r"(?:[)\]}>.]+\s*|:(?=\s|\w{2})\s*|,(?=\s|\w{2})(?!.*,\s)\s*|[:,]$|\s+[-:](?!>)\s*|\s+(?=\()|$)(?P<content>.*)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTES = re.compile(r"(?<!\w)[\"'“‘«]|[\"'”’»](?!\w)")


def _label(text: str) -> tuple[str, str] | None:
    """The letter of a choice and the content after it, in `B`, `(B)`, `['B']`, `B. blue`, `option B - blue`."""
    label = _LABEL.fullmatch(_QUOTES.sub("", text.strip().rstrip(".")))
    if not label or re.fullmatch(
        r"(?:(?:and|or|&|maybe|perhaps|possibly|probably) )*\(?[A-Za-z]\)?(?:[^A-Za-z].*)?", label["content"]
    ):  # A, C is a list
        return None
    return label["letter"].upper(), re.sub(r"^\((.*)\)$", r"\1", label["content"].strip())


def _labels_alike(one: str, other: str) -> bool:
    """Whether, if the choices are not known, both have one letter, or one is the content after the other's letter."""
    first, second = _label(one), _label(other)
    if first and second:
        return first[0] == second[0]
    return any(label and label[1] and alike(label[1], text) for label, text in ((first, other), (second, one)))


def _contents(choices: tuple[str, ...]) -> tuple[str, ...]:
    """The choices without ornaments, if they stay different, and without their letters, if all have theirs."""
    plainer = tuple(map(unadorned, choices))
    choices = plainer if len({*plainer}) == len({*choices}) else choices
    labels = [_label(choice) for choice in choices]
    if all(label and label[1] and label[0] == chr(ord("A") + at) for at, label in enumerate(labels)):
        return tuple(label[1] for label in labels if label)
    return choices


def _chosen(read: Conclusion, contents: tuple[str, ...]) -> int | None:
    """The choice that is named by the first reading that names any; None if that names several, or none does."""
    if not read.is_firm and read.texts and len(_mentioned(read.texts[-1], contents)) > 1:
        return None
    are_letters = _are_letters(contents)
    first_letters = {*re.findall(r"(?:\(|^)([A-Z])(?:\)| (?=\d))", read.texts[0])} if read.texts else set()
    for text in read.texts:
        place, label = _place(text, contents), None if are_letters else _label(text)
        labelled = ord(label[0]) - ord("A") if label else len(contents)
        if place is None and label and labelled < len(contents):
            named = _named_in(label[1], contents)
            return labelled if not named or labelled in named else None
        if named := _named_in(text, contents) if place is None else {place}:
            place = next(iter(named))
            return place if len(named) == 1 and not first_letters - {chr(ord("A") + place)} else None
    return _lone_letter(read.texts[-1], len(contents)) if read.texts and not are_letters else None


def _are_letters(contents: tuple[str, ...]) -> bool:
    """Whether a letter may be the content of a choice, and not its place."""
    letters = [content.strip("() ").upper() for content in contents]
    return any(len(each) == 1 and 0 <= ord(each) - ord("A") < len(contents) for each in letters)


_LISTED = re.compile(
    r"(?:(?:only|both|the|all of|options?|choices?|letters?|answers?|选项)\b[ :]*)*(.+?)"
    r"(?:,? only| (?:are|is) (?:all |both )?(?:correct|right|true))?[\s.]*",
    re.IGNORECASE | re.DOTALL,
)
_AND = r"(?:and(?: also)?|as well as|plus|sowie|oraz|und|et|y|e|и|en|och|og|dan|ve|và)\s+"
_BETWEEN = re.compile(
    rf"\s*[,;&+、，\n]\s*(?:{_AND})?|\s+{_AND}|\s*[和与及]\s*|[와과と]\s*|(?<=\))\s*(?=\()|\s+(?=\([A-Z]\)\s)"
    r"|(?-i:(?:(?<=\b[A-Z])|(?<=\b[A-Z][.)]))\s+(?=[A-Z]\b))",
    re.IGNORECASE,
)
_MAX_LETTERS = 26  # letters, if the choices are not known


def choices_named(answer: str, choices: Sequence[str]) -> frozenset[int]:
    """The places of the choices that an answer names by letters or contents; empty if that is not clear."""
    return frozenset(_meant(answer, Conclusion((answer, *_read(answer).texts), True), _contents(tuple(choices))))


def _meant(text: str, read: Conclusion, contents: tuple[str, ...]) -> tuple[int, ...]:
    """The places of the choices that an answer names; empty if that is not clear.

    If the choices are not known, only an answer that lists several letters names some.
    """
    for each in (plain(text), *read.texts):
        if several := _several(each, contents):
            # a choice may be `both A and B`
            same = [at for at, content in enumerate(contents) if alike(each, content)] or [
                at for at, content in enumerate(contents) if " " in content and _several(content, contents) == several
            ]
            return (same[0],) if len(same) == 1 else several
    chosen = _chosen(read, contents) if contents else None
    if contents and chosen is None and (hiding := boxes(text)):  # what is in them is no choice
        for box in reversed(hiding):
            text = f"{text[: box.start]} {text[box.end :]}"
        stated = _read(text)
        chosen = _chosen(stated, contents) if stated.is_firm else None
    return () if chosen is None else (chosen,)


def _several(text: str, contents: tuple[str, ...]) -> tuple[int, ...] | None:
    """The choices that a text lists, as `A, C`, `C and A`, `(A)(C)`, `red and green`; None if it lists none.

    `AC` is a list only if the choices are known: it may else be the name of a thing. If they are not known, the order
    stays, which counts between brackets.
    """
    found = _LISTED.fullmatch(_QUOTES.sub("", text)) if len(text) <= _MAX_LISTED else None
    if not found:
        return None
    listed = re.sub(r"^[(\[{]([^()]+)[)\]}]$", r"\1", found[1])
    is_one_word = contents and listed.isascii() and listed.isalpha()
    parts = [*listed] if is_one_word else [*filter(None, _BETWEEN.split(listed))]
    if contents and len(parts) == 1:  # of choices that are not known, it may be a fraction
        parts = re.split(r"\s*[/|]\s*", listed)
    places = [place for part in parts if (place := _place(part, contents)) is not None]
    may_repeat = contents and not is_one_word
    if len(parts) < 2 or len(places if may_repeat else {*places}) < len(parts):
        return None
    is_unordered = contents or found[1][0] == "{"
    return tuple(sorted({*places}) if is_unordered else places)


_IN_ORDER = re.compile(r"[(\[]\s*[A-Za-z]\s*[,;]")
"""Letters have an order only in such brackets; people write `B, D` and `D, B` for the same choices."""


def _place(text: str, contents: tuple[str, ...]) -> int | None:
    """The place of the choice that an item of a list names; None if it names none of them."""
    equal = [at for at, content in enumerate(contents) if words(text) == words(content)]
    if equal:
        return equal[0] if len(equal) == 1 else None
    label = _label(text) or ((text[0].upper(), text[2:]) if re.match(r"[A-Za-z]\s", text) else None)
    if not label or _are_letters(contents):
        return None
    letter, content = label
    place = ord(letter) - ord("A")
    if place >= (len(contents) or _MAX_LETTERS):
        return None
    return place if not content or (contents and alike(content, contents[place])) else None


_LETTER = re.compile(r"(?<![A-Za-z0-9'-])([A-Z])(?![A-Za-z0-9'-])")
_CALLED = re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ll]etter) [A-Z]\b")
_OF_A_THING = re.compile(
    r"\bA [a-z]|\b[A-Z] \d|\b(?!(?:[Oo]nly|[Jj]ust|[Ss]elect|[Cc]hoose|[Pp]ick) )[A-Za-z]{3,} [A-Z]\b"
)
"""`A cat`, `A 12` and `point C` are no letters of choices."""


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
    """The choices, except numbers, whose words are in a text that does not weigh or deny them.

    Words within those of a longer choice do not count: `light green` does not mention `green`.
    """
    text_words = f" {words(text)} "
    named = dict[int, str]()
    for at, content in enumerate(contents):
        content_words = f" {words(content)} "
        is_in_words = re.search(r"[^\W\d_]{2}", content) and quantity(content) is None
        if not is_in_words or content_words not in text_words:
            continue
        around = text_words.replace(words(content), "") if HEDGED.search(content) else text
        if not HEDGED.search(around):
            named[at] = content_words

    def is_alone(content_words: str) -> bool:
        longer = "|".join(re.escape(other[:-1]) for other in named.values() if content_words in other != content_words)
        return content_words in (re.sub(rf"(?:{longer})(?= )", " |", text_words) if longer else text_words)

    return {at for at, content_words in named.items() if is_alone(content_words)}
