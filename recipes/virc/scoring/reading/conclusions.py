"""The short answer that a reply comes to, as a person reads it: the last conclusion counts, a denied one does not.

Read `conclusion` first. `_boxed` reads replies with `\\boxed{}`, `_last` those of several sentences, and `_claim` reads
one sentence, in this order: a phrase that names the answer (`_named`: "the answer is 73"), an answer that stands alone
(`_tidied`: "about 73."), a statement (`_stated`: "the angle measures 73").
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from virc.scoring.reading import phrases
from virc.scoring.reading.dates import date, time
from virc.scoring.reading.quantities import quantities_agree, quantity
from virc.scoring.reading.replies import boxes, listed, plain, sentences, untagged

_MAX_HEAD, _MAX_TAIL = 500, 4000
"""Characters of a longer reply that are read: its beginning, where some answer first, and its end."""
_NAMES, _IS_ALL, _SAYS = 3, 2, 1
"""Ranks of sentences: one that names the answer, one that is nothing else, one that says that something is so."""


class _Claim(NamedTuple):
    """The ways to read the answer in a sentence, and the rank of the sentence; rank 0 if it has no answer."""

    rank: int
    texts: tuple[str, ...]


_NOTHING = _Claim(0, ())


class Conclusion(NamedTuple):
    """What a reply comes to.

    Args:
        texts: ways to read the short answer, the likeliest first; empty if the reply gives none, or takes it back.
        is_firm: whether the reply names it as its answer, or is nothing else.
    """

    texts: tuple[str, ...]
    is_firm: bool


@lru_cache(64)  # a vote compares each reply with many others; 64 replies are at most 26 MB
def conclusion(reply: str) -> Conclusion:
    """The short answer of a reply: that of the last sentence that gives one and is not taken back."""
    text = untagged(reply.strip())
    if len(text) > _MAX_HEAD + _MAX_TAIL:
        text = f"{text[:_MAX_HEAD]}\n{text[-_MAX_TAIL:]}"
    claim = _boxed(text)
    if claim is None:
        in_sentences = list(sentences(_without_shown_choices(plain(listed(text) or text))))
        claim = _claim(in_sentences[0], is_alone=True) if len(in_sentences) == 1 else _last(in_sentences)
    return Conclusion(claim.texts, claim.rank >= _IS_ALL) if claim else Conclusion((), False)


def _items(labels: Iterable[str], between: str) -> str:
    """A pattern of two items or more to the end of a line; each label is one of some characters."""
    first, second, *further = (rf"[(\[]?[{label}][).:\]]" for label in labels)
    return first + between + second + "".join(f"(?:{between}{one}" for one in further) + ")?" * len(further) + r"[^\n]*"


_LINE = r"[^\n]*\n\W{0,8}"
_LINES_OF_CHOICES = re.compile(
    r"^(?P<heading>[^\n]*(?::|(?i:options|choices)))?\W{0,8}?" + _items("ABCDEFGHIJ", _LINE), re.MULTILINE
)
_NAMED_CHOICES = re.compile(
    r"^(?P<heading>[^\n]*\b(?i:options|choices)\b[^\n:]{0,40}?)(?:[:\n]|(?=\s[A(]))\W{0,8}?"
    + _items(("Aa1", "Bb2", "Cc3", "Dd4", "Ee5", "Ff6", "Gg7", "Hh8"), rf"(?:[^\n]{{1,200}}?\s|{_LINE})"),
    re.MULTILINE,
)
_HEADS_ANSWERS = re.compile(r"(?<!possible )\banswers?\b(?! (?:choice|option))|correct|答案", re.IGNORECASE)


def _without_shown_choices(text: str) -> str:
    """A plain text without the list of the choices, as a reply repeats it from the question before it answers."""
    shown = _NAMED_CHOICES.search(text) or _LINES_OF_CHOICES.search(text)
    if not shown or _HEADS_ANSWERS.search(shown["heading"] or ""):
        return text
    return f"{text[: shown.start()]}\n{text[shown.end() :]}".strip() or text


def _boxed(text: str) -> _Claim | None:
    """The content of the last boxes of a text, None if it has none; no answer if the text denies it or takes it back.

    Boxes with nothing but `and` or a comma between them are one answer.
    """
    found = [box for box in boxes(text) if plain(box.content).strip(" ?.…_")]
    if not found:
        return None
    last_boxes = [found.pop()]
    while found:
        between = text[found[-1].end : last_boxes[0].start]
        if re.match(r"\W{0,4}(?:\\text\s*\{)?\s*or\b", between):
            return _NOTHING
        if not re.fullmatch(r"[\s,;$]*(?:\\text\s*\{)?\s*(?:and)?\s*\}?[\s,;$]*", between):
            break
        last_boxes.insert(0, found.pop())
    before = re.split(r"[.!?;,]\s|\n", text[: last_boxes[0].start])[-1]
    after = text[last_boxes[-1].end :]
    taken_back = phrases.DISOWNED.search(after) or re.match(r"\W{0,4}(?:or|is wrong)\b", after)
    if phrases.DENIED.search(before) or taken_back:
        return _NOTHING
    claim = _claim(plain(", ".join(box.content for box in last_boxes)), is_alone=True)
    return claim and claim._replace(rank=_NAMES)


def _last(in_sentences: Sequence[str]) -> _Claim:
    """What several sentences come to: the last claim of the highest rank that is not taken back."""
    best, min_rank = _NOTHING, _SAYS
    for at, each in enumerate(in_sentences):
        sentence = each
        if at and (retraction := phrases.RETRACTION.match(sentence)):
            best, sentence = _NOTHING, sentence[retraction.end() :]
        if phrases.DISOWNED.search(sentence) and not phrases.NAMED.search(sentence):
            best = _NOTHING
        elif sentence and not _is_aside(sentence, best):
            claim = _claim(sentence, is_first=at == 0)
            if claim is None:
                best = _NOTHING
            elif claim.rank >= max(best.rank, min_rank):
                best = claim
        if phrases.REFUSED.search(sentence):
            min_rank = _NAMES
    return best


def _is_aside(sentence: str, best: _Claim) -> bool:
    """Whether a sentence does not change the claim: it recalls, remarks, or says that another choice is wrong."""
    wrong = phrases.IS_WRONG.search(phrases.REASON.sub("", sentence))
    is_of_another = wrong and best.texts and not re.search(rf"\b{wrong['letter']}\b", best.texts[0])
    is_remark = best.texts and phrases.REMARK.match(sentence)
    return bool(is_of_another or is_remark or phrases.RECALLED.search(sentence))


def _claim(sentence: str, *, is_alone: bool = False, is_first: bool = False) -> _Claim | None:
    """The answer in a sentence; None if the sentence denies an answer.

    Args:
        is_alone: there is no other sentence, so that all of it may be the answer.
        is_first: others follow, which may be reasons.
    """
    # a verb between what is denied and what stands in its place is in a group, and stays
    sentence = phrases.CORRECTED.sub(lambda found: f"{found[found.lastgroup]} " if found.lastgroup else "", sentence)
    rest = phrases.OTHERS_DENIED.sub(" ", sentence).strip(" ,;")
    sentence = rest if re.search(r"(?<!\w)[A-Z](?!\w)", rest) else sentence
    whole = (sentence,) if is_alone else ()
    if sentence.endswith("?"):
        return _Claim(0, whole)
    for answer, pattern in (("no", phrases.NO), ("yes", phrases.YES)) if is_alone else ():
        if pattern.fullmatch(sentence):
            return _Claim(_IS_ALL, (answer, *whole))
    named = _named(phrases.REASON.sub("", sentence)) or _named(sentence)
    if named:
        yes_or_no = phrases.TRUTH.match(named.answer)
        found_by = phrases.BY_WHAT.fullmatch(named.answer)
        texts = _once(_tidied(named.answer), yes_or_no and yes_or_no[1], *whole, found_by and found_by["value"])
        return None if named.is_denied else _Claim(_NAMES, texts)
    tidied = _tidied(sentence)
    if any(_is_value(text) for text in tidied):
        return _Claim(_IS_ALL, _once(tidied, *whole))
    yes_or_no = phrases.TRUTH.match(sentence)
    stated = _stated(sentence[yes_or_no.end() :] if yes_or_no else sentence)
    if yes_or_no:
        return _Claim(_IS_ALL, _once((yes_or_no[1], *stated), *whole))
    whole_claim = _Claim(_SAYS, _once((*stated, *tidied), sentence))
    return whole_claim if is_alone else _of_several(sentence, stated, is_first)


def _of_several(sentence: str, stated: tuple[str, ...], is_first: bool) -> _Claim:
    """The answer in one of several sentences that does not name it: a few words alone, or a statement."""
    is_short = (
        len(sentence.split()) <= 4 and not phrases.OPENING.match(sentence) and not phrases.DENIED.search(sentence)
    )
    if is_short and not stated and (is_first or not re.search(r"[.;!]$", sentence)):
        return _Claim(_IS_ALL if is_first else _SAYS, _once(_tidied(sentence), sentence))
    return _Claim(_SAYS, (*stated, sentence)) if stated else _NOTHING


class _Named(NamedTuple):
    """What a sentence names as the answer, and whether it denies that it is."""

    is_denied: bool
    answer: str


def _once(texts: Iterable[str], *more: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in (*texts, *more) if text))


def _named(sentence: str) -> _Named | None:
    """What a sentence names as the answer, or denies to be it; None if it does neither."""
    if chinese := phrases.IS_RIGHT_CHINESE.fullmatch(sentence):
        last_clause = re.split("[,;]", sentence)[-1]
        return _Named(bool(phrases.DENIED.search(last_clause)), chinese[1])
    patterns = (phrases.NAMED, phrases.CHOSEN, phrases.NAMED_ELSEWHERE)
    matches = (match for pattern in patterns for match in pattern.finditer(sentence))
    if phrase := max(matches, key=re.Match.end, default=None):
        return _named_after(phrase, sentence)
    right = phrases.IS_RIGHT.match(sentence)
    if right and not phrases.PRONOUN.search(right["what"]):
        what = phrases.FILLER.sub("", phrases.SO.split(right["what"])[-1].split(", ")[-1])
        answer = re.sub(r"(?i)^(?:the )?(?:statement|option|choice|answer) ", "", what)
        return _Named(bool(phrases.DENIED.search(what)), answer)
    return _Named(True, "") if phrases.IS_WRONG.search(sentence) else None


def _named_after(phrase: re.Match[str], sentence: str) -> _Named | None:
    """What a sentence names after a phrase such as `the answer is`; None if nothing follows the phrase."""
    before, answer = sentence[: phrase.start()], sentence[phrase.end() :]
    if not answer.strip(" .") and phrase.re is not phrases.CHOSEN:
        return None
    clause = re.split(r"[,;:](?:\s|(?=[\u4e00-\u9fff]|$))|\bbut\b", before)[-1]
    is_conditional = re.match(r"\W*if\b(?! i (?:had to|have to|must))", sentence, re.IGNORECASE)
    # `not 73` denies a value; `not 73, but 74` has another in its place, and `not enough information` is an answer
    begins_with_not = re.match(r"not ", answer, re.IGNORECASE) and not phrases.NOT_BUT.match(answer)
    is_value_denied = begins_with_not and _is_value(answer[len("not ") :].rstrip(" ."))
    is_not = bool(phrases.IS_NOT.search(phrase[0]) or is_value_denied)
    if is_not and (instead := re.match(r"[^,;]{1,60}?,? but (?:rather )?(?=\S)", answer)):
        is_not, answer = False, answer[instead.end() :]
    is_denied = phrases.DENIED.search(clause) or is_conditional or is_not or phrases.DENIED_BEHIND.match(answer)
    return _Named(bool(is_denied), answer)


def _tidied(text: str) -> tuple[str, ...]:
    """A short answer without words around it that say nothing, as it stands and without a remark in brackets."""
    text = phrases.NOT_BUT.sub("", phrases.LEAD_IN.sub("", text.strip()))
    text = phrases.NOT_ANOTHER.sub("", phrases.REASON.sub("", text))
    if not re.fullmatch(r"\W*(?:answer|option|choice)\W*", text, re.IGNORECASE):
        text = phrases.FILLER.sub("", text)
    text = phrases.TRAILING.sub("", text).strip().rstrip(".,;!").strip()
    if wrapped := re.fullmatch(r"[\"'“‘«「『【]([^\"“”«»「」『』【】]+)[\"'”’»」』】]|\(([^(),;]{2,})\)", text):
        text = wrapped[1] or wrapped[2]
    one, _, other = text.partition(" or ")
    first, second = quantity(one), quantity(other)
    text = one if first and second and quantities_agree(first, second) else text  # as in `0.6 or 60%`
    left, equals, right = text.rpartition("=")
    is_calculation = re.search(r"\d\s*[-+*/^]", left) and not re.search(r",|\band\b", left)
    if equals and is_calculation and not _IS_EQUATION.search(left):
        text = right.strip()
    if measured := _without_uncertainty(text):
        return text, measured
    remark = re.fullmatch(r"([^(]*\w[^(]*?)\s*\(([^()]{1,60})\)", text)
    if remark and _adds_nothing(remark[1], remark[2]):
        return text, remark[1]
    return (text,) if text else ()


def _without_uncertainty(text: str) -> str | None:
    """The value of `88.55±0.04 cm`, with its unit; None of `5±2`, which is two values."""
    found = re.fullmatch(r"([^±]+?) ?± ?([\d.,]+)([^±\d]*)", text)
    value, uncertainty = (quantity(found[1]), quantity(found[2])) if found else (None, None)
    is_small = value and uncertainty and 10 * uncertainty.value <= abs(value.value)
    return f"{found[1]}{found[3]}" if found and is_small else None


def _adds_nothing(text: str, remark: str) -> bool:
    """Whether a remark in brackets neither doubts the text before it nor gives another number."""
    if re.search(r"\b(?:or|not|perhaps|maybe|possibly)\b", remark):
        return False
    said, more = quantity(text), quantity(phrases.FILLER.sub("", remark))
    if said and more:
        return said.value == more.value or bool(said.unit and more.unit)
    return bool(said) or len(text) > 1


def _is_value(text: str) -> bool:
    if quantity(text):
        return len(text.split()) <= 6
    return bool(phrases.LONE_VALUE.fullmatch(text) or date(text) or time(text))


def _stated(sentence: str) -> tuple[str, ...]:
    """The answers in a statement: what it says of a thing, and the thing itself, if that may be the answer.

    Empty if the statement is denied. `Germany has the highest value` may answer with what it says or with `Germany`.
    """
    clauses = [part for part in phrases.SO.split(phrases.TRAILING.sub("", sentence)) if part.strip()]
    clause = clauses[-1] if clauses else ""
    verbs = [verb for verb in phrases.SAID_TO_BE.finditer(clause) if verb.end() < len(clause.rstrip(" ."))]
    if not verbs:
        return tuple(text for text in _tidied(clause) if clause != sentence and _is_value(text)) or _ends_in(clause)
    first, last = verbs[0], verbs[-1]
    before, predicate = clause[: last.start()], clause[last.end() :]
    before = "" if _PUT_RIGHT.fullmatch(before) else before
    is_equation = last[0].strip() == "=" and _IS_EQUATION.search(before)
    is_not = re.search(r"n't|cannot|lack|miss|exclud|exceed|surpass|preced", last[0], re.IGNORECASE) or re.match(
        r"n't|(?:is |are )?not\b", predicate
    )
    if is_not and (instead := _INSTEAD.match(predicate)):
        return _tidied(predicate[instead.end() :])
    if is_equation or is_not or phrases.DENIED.search(before) or phrases.DENIED_JUST_BEFORE.search(before):
        return (predicate.rstrip("."),) if predicate.startswith("not ") else ()
    answers = [*_tidied(predicate)]
    if doing := _DOING.match(predicate):
        answers += _tidied(predicate[doing.end() :])
    thing, said_of_thing = clause[: first.start()].split(", ")[-1].strip(), clause[first.end() :]
    if not phrases.DENIED.search(said_of_thing):
        answers = _with_thing(answers, thing, said_of_thing)
        if len(verbs) > 1:
            answers += [*_tidied(said_of_thing), *_tidied(said_of_thing.partition(": ")[0])]
    return _once(answers if any(map(_is_value, answers)) else (*_ends_in(clause), *answers))


def _with_thing(answers: list[str], thing: str, said_of_thing: str) -> list[str]:
    """The answers with the thing of a statement: first if it is a value, last if it stands out by what is said."""
    value = phrases.FILLER.sub("", thing)
    if quantity(value):
        is_value_the_answer = not re.match(r"(?:too|missing|gone|out|off)\b|.*\d", said_of_thing)
    else:
        is_value_the_answer = bool(_OF_ANSWER.match(said_of_thing))
    if is_value_the_answer and _is_value(value):
        return [*_tidied(thing), *answers]
    is_short = thing and len(thing.split()) <= 5
    stands_out = is_short and phrases.STANDS_OUT.match(said_of_thing) and not _POINTS_BACK.match(thing)
    return [*answers, *_tidied(thing)] if stands_out else answers


_INSTEAD = re.compile(r"(?:not )?[^,;]{1,60}?,? but (?:rather |it is |it's )?(?=\S)", re.IGNORECASE)
_PUT_RIGHT = re.compile(r"(?!\W*if\b).*, (?:it|that|they|there)\s*", re.IGNORECASE)
"""Before a verb: what was denied before it is denied of another answer, as in `It isn't 4, it's 5`."""
_DOING = re.compile(r"\w+ing (?=(?:an?|the|his|her|their|its)\b)|\w+(?:ed|en|wn) by ", re.IGNORECASE)
_OF_ANSWER = re.compile(r"the (?:\w+ )?(?:answer|option|choice|one|solution)\b", re.IGNORECASE)


def _ends_in(clause: str) -> tuple[str, ...]:
    """The only number of a clause, at its end, where no word before it makes it another one."""
    found = re.fullmatch(r"([^\W\d][^\d<>≠≤≥±*/^=+]* )([-$€£]?\d.*)", clause.rstrip(" ."))
    if not found or len(found[1].split()) < 2 or phrases.QUALIFIED.search(found[1]) or phrases.DENIED.search(found[1]):
        return ()
    return (found[2],) if quantity(found[2]) else ()


_IS_EQUATION = re.compile(r"(?<![A-Za-z])[a-z] ?[-+*/^] ?\d|\d ?[-+*/] ?[a-z](?![A-Za-z])")
"""The left side has an unknown: `x + 15 = 85`."""
_POINTS_BACK = re.compile(r"(?:it|this|that|there|he|she|they|i|we)\b", re.IGNORECASE)
