"""The short answer that a reply comes to, as a person reads it: the last conclusion counts, a denied one does not."""

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
    """The ways to read what a sentence says, and its rank; 0 where it says nothing."""

    rank: int
    texts: tuple[str, ...]


_NOTHING = _Claim(0, ())


class Conclusion(NamedTuple):
    """What a reply comes to.

    Args:
        texts: ways to read the short answer, the likeliest first; none where the reply gives or stands by none.
        is_firm: the reply names it as its answer, or is nothing else.
    """

    texts: tuple[str, ...]
    is_firm: bool


@lru_cache(64)  # a vote compares each reply with many others; 64 replies are at most 26 MB
def conclusion(reply: str) -> Conclusion:
    """The short answer of a reply: that of the last sentence that gives one, and is not taken back."""
    text = untagged(reply.strip())
    if len(text) > _MAX_HEAD + _MAX_TAIL:
        text = f"{text[:_MAX_HEAD]}\n{text[-_MAX_TAIL:]}"
    claim = _boxed(text)
    if claim is None:
        said = list(sentences(plain(listed(text) or text)))
        claim = _claim(said[0], is_alone=True) if len(said) == 1 else _last(said)
    return Conclusion(claim.texts, claim.rank >= _IS_ALL) if claim else Conclusion((), False)


def _boxed(text: str) -> _Claim | None:
    """What the last boxes of a text hold, if there are any: nothing where it denies, weighs or takes it back."""
    found = boxes(text)
    if not found:
        return None
    last = [found.pop()]
    while found:
        between = text[found[-1].end : last[0].start]
        if re.match(r"\W{0,4}(?:\\text\s*\{)?\s*or\b", between):
            return _NOTHING
        if not re.fullmatch(r"[\s,;$]*(?:\\text\s*\{)?\s*(?:and)?\s*\}?[\s,;$]*", between):
            break
        last.insert(0, found.pop())
    before, after = re.split(r"[.!?;,]\s|\n", text[: last[0].start])[-1], text[last[-1].end :]
    taken_back = phrases.DISOWNED.search(after) or re.match(r"\W{0,4}(?:or|is wrong)\b", after)
    if phrases.DENIED.search(before) or taken_back:
        return _NOTHING
    claim = _claim(plain(", ".join(box.content for box in last)), is_alone=True)
    return claim and claim._replace(rank=_NAMES)


def _last(said: Sequence[str]) -> _Claim:
    """What several sentences come to: the last of the highest rank, of those that are not taken back."""
    best, min_rank = _NOTHING, _SAYS
    for at, each in enumerate(said):
        sentence = each
        if at and (taken_back := phrases.RETRACTION.match(sentence)):
            best, sentence = _NOTHING, sentence[taken_back.end() :]
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
    wrong = phrases.IS_WRONG.search(phrases.REASON.sub("", sentence))
    is_of_another = wrong and best.texts and not re.search(rf"\b{wrong['letter']}\b", best.texts[0])
    return bool(is_of_another or phrases.RECALLED.search(sentence) or (best.texts and phrases.REMARK.match(sentence)))


def _claim(sentence: str, *, is_alone: bool = False, is_first: bool = False) -> _Claim | None:
    """What a sentence says; None where it denies an answer.

    Args:
        is_alone: there is no other sentence, so that it may be the answer as a whole.
        is_first: others follow, which may be reasons.
    """
    sentence = phrases.CORRECTED.sub(lambda found: f"{found[found.lastgroup]} " if found.lastgroup else "", sentence)
    whole = (sentence,) if is_alone else ()
    if sentence.endswith("?"):
        return _Claim(0, whole)
    for truth_of, said_so in (("no", phrases.NO), ("yes", phrases.YES)) if is_alone else ():
        if said_so.fullmatch(sentence):
            return _Claim(_IS_ALL, (truth_of, *whole))
    named = _named(phrases.REASON.sub("", sentence)) or _named(sentence)
    if named:
        is_denied, rest = named
        truth = phrases.TRUTH.match(rest)
        found = phrases.BY_WHAT.fullmatch(rest)
        texts = _once(_tidied(rest), truth and truth[1], *whole, found and found["value"])
        return None if is_denied else _Claim(_NAMES, texts)
    bare = _tidied(sentence)
    if any(_is_value(text) for text in bare):
        return _Claim(_IS_ALL, _once(bare, *whole))
    truth = phrases.TRUTH.match(sentence)
    said = _said(sentence[truth.end() :] if truth else sentence)
    if truth:
        return _Claim(_IS_ALL, _once((truth[1], *said), *whole))
    return _Claim(_SAYS, _once((*said, *bare), sentence)) if is_alone else _of_several(sentence, said, is_first)


def _of_several(sentence: str, said: tuple[str, ...], is_first: bool) -> _Claim:
    """What a sentence of several says that does not name the answer: a few words alone, or that something is so."""
    is_short = (
        len(sentence.split()) <= 4 and not phrases.OPENING.match(sentence) and not phrases.DENIED.search(sentence)
    )
    if is_short and not said and (is_first or not re.search(r"[.;!]$", sentence)):
        return _Claim(_IS_ALL if is_first else _SAYS, _once(_tidied(sentence), sentence))
    return _Claim(_SAYS, (*said, sentence)) if said else _NOTHING


def _once(texts: Iterable[str], *more: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in (*texts, *more) if text))


def _named(sentence: str) -> tuple[bool, str] | None:
    """Whether a sentence denies that something is the answer, and what it names; None where it does neither."""
    patterns = (phrases.NAMED, phrases.CHOSEN, phrases.NAMED_ELSEWHERE)
    if chinese := phrases.IS_RIGHT_CHINESE.fullmatch(sentence):
        return bool(phrases.DENIED.search(re.split("[,;]", sentence)[-1])), chinese[1]
    found = max((each for pattern in patterns for each in pattern.finditer(sentence)), key=re.Match.end, default=None)
    if found:
        before, rest = sentence[: found.start()], sentence[found.end() :]
        if not rest.strip(" .") and found.re is not phrases.CHOSEN:
            return None
        clause = re.split(r"[,;:](?:\s|(?=[\u4e00-\u9fff]|$))|\bbut\b", before)[-1]
        is_conditional = re.match(r"\W*if\b(?! i (?:had to|have to|must))", sentence, re.IGNORECASE)
        # `not 73`, without a value in its place; `not enough information` is an answer
        is_denied = re.match(r"not ", rest, re.IGNORECASE) and not phrases.NOT_BUT.match(rest)
        is_not = bool(phrases.IS_NOT.search(found[0]) or (is_denied and _is_value(rest[4:].rstrip(" ."))))
        if is_not and (instead := re.match(r"[^,;]{1,60}?,? but (?:rather )?(?=\S)", rest)):
            is_not, rest = False, rest[instead.end() :]
        return bool(
            phrases.DENIED.search(clause) or is_conditional or is_not or phrases.DENIED_BEHIND.match(rest)
        ), rest
    right = phrases.IS_RIGHT.match(sentence)
    if right and not phrases.PRONOUN.search(right["what"]):
        what = phrases.FILLER.sub("", phrases.SO.split(right["what"])[-1].split(", ")[-1])
        return bool(phrases.DENIED.search(what)), re.sub(r"^(?:the )?(?:statement|option|choice|answer) ", "", what)
    return (True, "") if phrases.IS_WRONG.search(sentence) else None


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
    remark = re.fullmatch(r"([^(]*\w[^(]*?)\s*\(([^()]{1,60})\)", text)
    if remark and _adds_nothing(remark[1], remark[2]):
        return text, remark[1]
    return (text,) if text else ()


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


def _said(sentence: str) -> tuple[str, ...]:
    """What a sentence says of a thing, and the thing where that is the answer; neither where it says it is not so."""
    parts = [part for part in phrases.SO.split(phrases.TRAILING.sub("", sentence)) if part.strip()]
    clause = parts[-1] if parts else ""
    found = [each for each in phrases.SAID_TO_BE.finditer(clause) if each.end() < len(clause.rstrip(" ."))]
    if not found:
        return tuple(text for text in _tidied(clause) if clause != sentence and _is_value(text)) or _ends_in(clause)
    before, verb, rest = clause[: found[-1].start()], found[-1][0], clause[found[-1].end() :]
    before = "" if _PUT_RIGHT.fullmatch(before) else before
    is_equation = verb.strip() == "=" and _IS_EQUATION.search(before)
    is_not = re.search(r"n't|cannot|lack|miss|exclud|exceed|surpass|preced", verb, re.IGNORECASE) or re.match(
        r"n't|(?:is |are )?not\b", rest
    )
    if is_not and (instead := _INSTEAD.match(rest)):
        return _tidied(rest[instead.end() :])
    if is_equation or is_not or phrases.DENIED.search(before) or phrases.DENIED_JUST_BEFORE.search(before):
        return (rest.rstrip("."),) if rest.startswith("not ") else ()
    said = [*_tidied(rest)]
    if doing := _DOING.match(rest):
        said += _tidied(rest[doing.end() :])
    thing, of = clause[: found[0].start()].split(", ")[-1].strip(), clause[found[0].end() :]
    if not phrases.DENIED.search(of):
        more = [*_tidied(of), *_tidied(of.partition(": ")[0])] if len(found) > 1 else []
        said = _with_thing(said, thing, of) + more
    return _once(said if any(map(_is_value, said)) else (*_ends_in(clause), *said))


def _with_thing(said: list[str], thing: str, of: str) -> list[str]:
    """What is said, and the thing it is said `of`: first where that is a value, last where it stands out by it."""
    value = phrases.FILLER.sub("", thing)
    is_of_value = not re.match(r"(?:too|missing|gone|out|off)\b|.*\d", of) if quantity(value) else _OF_ANSWER.match(of)
    if is_of_value and _is_value(value):
        return [*_tidied(thing), *said]
    stands_out = thing and len(thing.split()) <= 5 and phrases.STANDS_OUT.match(of) and not _POINTS_BACK.match(thing)
    return [*said, *_tidied(thing)] if stands_out else said


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
