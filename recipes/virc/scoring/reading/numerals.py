"""Numbers at the beginning of a text: digits, grouped in any country's way, English words, and Chinese numerals.

Read `leading` first: `_digits`, `_words` and `_chinese` read the three kinds.
"""

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

MAX_LENGTH = 120
"""Characters of a text that is read as a number."""


class Numeral(NamedTuple):
    """A number, what follows it, and the value of its last written digit (0 for a number that is exact)."""

    value: Fraction
    rest: str
    step: Fraction = Fraction(0)


_SMALL = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
} | {word: 10 * tens for tens, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12,
} | {(f"{word[:-1]}ieth" if word[-1] == "y" else f"{word}th"): number for word, number in _SMALL.items()}  # fmt: skip
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    f"{word}{plural}": number for word, number in _ORDINALS.items() if number > 2 for plural in ("", "s")
}
NUMBER_WORDS = frozenset({*_SMALL, *_SCALES, *_PARTS, "dozen"})
_SUFFIXES = {
    "k": 10**3, "thousand": 10**3, "m": 10**6, "mn": 10**6, "mio": 10**6, "million": 10**6, "millions": 10**6,
    "b": 10**9, "bn": 10**9, "billion": 10**9, "billions": 10**9, "trillion": 10**12, "trillions": 10**12, "dozen": 12,
    "hundred": 100, "lakh": 10**5, "crore": 10**7, "万": 10**4, "亿": 10**8, "thousands": 10**3,
}  # fmt: skip
_SUFFIX = re.compile(
    r" ?(?P<word>thousands?|millions?|mio|mn|billions?|bn|trillions?|hundred|dozen|lakh|crore)\b|"
    r"(?P<sign>[Kk]\b| ?[MB]\b| ?[万亿])"  # 5 K may be kelvin
)
_GROUPED = (
    r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:(?P<gap>[ '\u00a0\u202f])\d{3})(?:(?P=gap)\d{3})*(?!\d)(?:[.,]\d+)?"
)
_INDIAN = r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?"
_EUROPEAN = r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+"
_COMMA = r"(?:0,\d+|\d+,\d{1,2})(?![\d,.])"  # three digits after a comma are thousands
_POINT = r"\d+\.\d+|\d+\.(?!\w)|\.\d+|\d+"
_DIGITS = re.compile(
    rf"(?P<sign>[-+]) ?(?=[\d.])|(?:(?P<indian>{_INDIAN})|(?P<european>{_EUROPEAN})|(?P<grouped>{_GROUPED})"
    rf"|(?P<comma>{_COMMA})|(?P<point>{_POINT}))(?![.,]?\d)"
)
_POWER = re.compile(r"[eE]([-+]?\d{1,3})(?!\w)| ?[*x] ?10(?:\^|\*\*) ?\{?\(?([-+]?\d{1,3})\)?\}?")
_TEN_TO = re.compile(r"10(?:\^|\*\*) ?\{?\(?([-+]?\d{1,3})\)?\}?")
_OVER = re.compile(r" ?/ ?(\d{1,12})(?![\d.,/:])")
_MIXED = re.compile(r"(?: (?:and )?|-)(\d{1,6}) ?/ ?(\d{1,6})(?![\d.,/])")
_AND_PART = re.compile(r"(?:[ -]and)?[ -](?:(a|an|one|two|three|four)[ -])?(half|halves|quarters?|thirds?|fifths?)\b")
_PART_OF = re.compile(r"(?:half a |(one and a half )|half )(?=(?:hundred|thousand|million|billion|dozen)\b)")
_OUT_OF = re.compile(
    r" (?:out of|in every|in(?= (?:[2-9]|\d\d\d?|two|three|four|five|six|seven|eight|nine|ten|a hundred)$)) "
)


def leading(text: str) -> Numeral | None:
    """The number at the beginning of a text and what follows it; None if it does not begin with one.

    Args:
        text: signs are those of `same_signs`: `-` for every minus, `*` for `×`. Case matters: `5 M` is a scale.
    """
    if len(text) > MAX_LENGTH:
        return None
    lower = text.lower()
    for word in ("minus ", "negative ", "零下"):
        if lower.startswith(word):
            found = leading(text[len(word) :])
            return found and found._replace(value=-found.value)
    if part := _PART_OF.match(lower):
        found = leading(f"1 {text[part.end() :]}")
        return found and found._replace(value=found.value * (Fraction(3, 2) if part[1] else Fraction(1, 2)))
    found = _chinese(text) or _digits(text) or _year(text) or _words(text)
    if found and (out := _OUT_OF.match(found.rest)):
        whole = leading(found.rest[out.end() :])
        return Numeral(found.value / whole.value, whole.rest) if whole and whole.value else None
    return found


def _digits(text: str) -> Numeral | None:
    is_negative = False
    found = _DIGITS.match(text)
    if found and found["sign"]:
        is_negative = found["sign"] == "-"
        found = _DIGITS.match(text, found.end())
    if not found or found["sign"]:
        return None
    digits = re.sub(r"[ '\u00a0\u202f]", "", found[0])
    if found["indian"] or (found["grouped"] and not found["gap"]):
        digits = digits.replace(",", "")
    if found["european"]:
        digits = digits.replace(".", "")
    digits = digits.replace(",", ".").rstrip(".")
    number = Numeral(Fraction(digits), text[found.end() :], Fraction(1, 10 ** len(digits.partition(".")[2])))
    number = _scaled(_with_suffix(number, is_whole="." not in digits))
    return number._replace(value=-number.value) if is_negative else number


def _with_suffix(number: Numeral, *, is_whole: bool) -> Numeral:
    """A number with the power of ten, the fraction (`/4`, ` 1/2`) or the ordinal ending (`th`) that follows it."""
    value, rest, step = number
    if found := _TEN_TO.match(f"{value}{rest}") if value == 10 else None:
        return Numeral(Fraction(10) ** int(found[1]), rest[found.end() - 2 :])
    if found := _POWER.match(rest):
        scale = Fraction(10) ** int(found[1] or found[2])
        return Numeral(value * scale, rest[found.end() :], step * scale)
    if found := _OVER.match(rest):
        return Numeral(value / int(found[1]), rest[found.end() :]) if int(found[1]) else number
    if is_whole and (found := _MIXED.match(rest)) and int(found[2]) > int(found[1]):
        return Numeral(value + Fraction(int(found[1]), int(found[2])), rest[found.end() :])
    if found := re.match(r"(?:st|nd|rd|th)\b", rest):
        return Numeral(value, rest[found.end() :])
    return number


def _scaled(number: Numeral) -> Numeral:
    """A number with the scale that follows it, as in `5 million`, or parts, as in `2 and a half` and `2 thirds`."""
    if found := _AND_PART.match(number.rest):
        part = Fraction(_SMALL.get(found[1] or "", 1), _PARTS[found[2]])
        is_added = "and" in found[0] or found[1]
        value = number.value + part if is_added else number.value * part
        return Numeral(value, number.rest[found.end() :])
    while found := _SUFFIX.match(number.rest):
        scale = _SUFFIXES[(found["word"] or found["sign"].strip()).lower()]
        number = Numeral(number.value * scale, number.rest[found.end() :], number.step * scale)
    return number


_DECIMALS = re.compile(rf" point(?: (?:{'|'.join([*_SMALL][:10])})\b)+", re.IGNORECASE)
_WORD = re.compile(r"([A-Za-z]+)[ -]*")
_ONE = re.compile(r"(?:an? )(?=(?:hundred|thousand|million|billion|dozen|half|quarter|\w+th|third)\b)", re.IGNORECASE)


_DIGIT, _TENS = "|".join([*_SMALL][1:10]), "|".join([*_SMALL][20:])
_TWO_DIGITS = rf"(?:{'|'.join([*_SMALL][10:20])}|(?:{_TENS})(?:[ -](?:{_DIGIT}))?)"
_YEAR = re.compile(rf"({_TWO_DIGITS})[ -](?:({_TWO_DIGITS})|(?:oh?|zero)[ -]({_DIGIT}))\b", re.IGNORECASE)


def _year(text: str) -> Numeral | None:
    """A year such as `nineteen eighty-four` and `nineteen oh five`; `ten thirty` is a time."""
    found = _YEAR.match(text)
    century, year = (_words(part) for part in found.groups() if part) if found else (None, None)
    if not (found and century and year) or century.value > 20 or (century.value < 13 and year.value < 60):
        return None
    return Numeral(100 * century.value + year.value, text[found.end() :])


def _words(text: str) -> Numeral | None:
    """A number in English words, which ends before the first word that does not continue it."""
    total, group = 0, 0  # of two thousand three hundred and five: 2,000 and 305
    max_added, max_scale = 10**13, 10**13  # the next word must be less than this to be added, or to multiply
    article = _ONE.match(text)  # the `a` of `a hundred`, which is 1
    at = end = article.end() if article else 0
    while found := _WORD.match(text, at):
        word, at = found[1].lower(), found.end()
        is_after_number = end > 0
        if word == "and" and is_after_number and max_added >= 100:
            continue
        if word in _SMALL and _SMALL[word] < max_added:
            group += _SMALL[word]
            max_added = 10 if _SMALL[word] >= 20 else 0
        elif word == "hundred" and group < 100:
            group, max_added = (group or 1) * 100, 100
        elif word != "hundred" and word in _SCALES and _SCALES[word] < max_scale:
            total, group, max_added, max_scale = total + (group or 1) * _SCALES[word], 0, 1000, _SCALES[word]
        elif word == "dozen":
            return Numeral(Fraction((total + group or 1) * 12), text[found.end(1) :])
        elif word in _PARTS and (is_after_number or word not in _ORDINALS):
            return Numeral(Fraction(total + group or 1, _PARTS[word]), text[found.end(1) :])
        elif word in _ORDINALS and _ORDINALS[word] < max_added:
            return Numeral(Fraction(total + group + _ORDINALS[word]), text[found.end(1) :])
        else:
            break
        end, article = found.end(1), None
    if not end or article:
        return None
    value, rest = Fraction(total + group), text[end:]
    if decimals := _DECIMALS.match(rest):  # six point five
        digits = "".join(str(_SMALL[word.lower()]) for word in decimals[0].split()[1:])
        return Numeral(value + Fraction(int(digits), 10 ** len(digits)), rest[decimals.end() :])
    return _scaled(Numeral(value, rest))


_CHINESE = re.compile(r"第?(负?)([零〇一二两三四五六七八九十百千万亿]+)(?:点([零〇一二三四五六七八九]+))?")
_PER_CENT = re.compile(r"百分之(.+)")
_SHARE = re.compile(r"([一二两三四五六七八九十百千]+)分之([一二两三四五六七八九十百千]+)")


def _chinese(text: str) -> Numeral | None:
    if found := _PER_CENT.match(text):
        share = leading(found[1])
        return share and Numeral(share.value, "%" + share.rest)
    if found := _SHARE.match(text):
        below, above = _of_signs(found[1]), _of_signs(found[2])
        return Numeral(above / below, text[found.end() :]) if below else None
    if half := re.match(r"一?半个?(?=\w|$)", text):
        return Numeral(Fraction(1, 2), text[half.end() :])
    found = _CHINESE.match(text)
    if not found:
        return None
    value = _of_signs(found[2])
    if found[3]:
        value += Fraction(_digits_of(found[3]), 10 ** len(found[3]))
    return Numeral(-value if found[1] else value, text[found.end() :])


def _of_signs(signs: str) -> Fraction:
    if len(signs) > 1 and not re.search("[十百千万亿]", signs):  # 二〇二一
        return Fraction(_digits_of(signs))
    total = part = digit = 0
    for sign in signs:
        number = _sign(sign)
        if number < 10:
            digit = number
        elif number < 10**4:
            part, digit = part + (digit or 1) * number, 0
        else:
            total, part, digit = (total + part + digit) * number, 0, 0
    return Fraction(total + part + digit)


def _digits_of(signs: str) -> int:
    return int("".join(str(_sign(sign)) for sign in signs))


def _sign(sign: str) -> int:
    return 2 if sign == "两" else int(unicodedata.numeric(sign))
