"""Numbers with their units, and whether two are equal: `quantity` reads one, `quantities_agree` compares two."""

import operator
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from virc.scoring.reading import dates, units
from virc.scoring.reading.numerals import MAX_LENGTH, NUMBER_WORDS, leading

Agree = Callable[[Fraction, Fraction], bool]
"""Whether two numbers of one unit count as equal; the answer's is the first."""
_PERCENT = "%"
_CLOSE_ENOUGH = Fraction(1, 10**9)  # share of a number; pint has some factors as binary fractions
_ROUNDED = Fraction(1, 1000)
_MIN_STEPS = 100  # a number may have been rounded if it is so many times its last digit: it has three digits


class Quantity(NamedTuple):
    """A number and its unit.

    Args:
        value: the number, without its unit.
        unit: a unit, a currency, or the things that are counted; empty if there is none.
        step: value of the last written digit; 0 if the number is not in digits.
        is_close: the unit is one letter without a space before it, which may be a variable: `5m`.
    """

    value: Fraction
    unit: str = ""
    step: Fraction = Fraction(0)
    is_close: bool = False


def quantities_agree(one: Quantity, other: Quantity, agree: Agree = operator.eq) -> bool:
    """Whether two numbers are equal. One may lack its unit, which the question has; 50% is also a half."""
    if one.unit == other.unit:
        return agree(one.value, other.value)
    if _PERCENT in (one.unit, other.unit):
        bare = other if one.unit else one  # 0.5 or 50 for 50%; 0.5 is not taken for 0.5%
        shares = [each.value / 100 if each.unit else each.value for each in (one, other)]
        return not bare.unit and (agree(*shares) or (abs(bare.value) >= 1 and agree(one.value, other.value)))
    if not one.unit or not other.unit:
        return not (one.is_close or other.is_close) and agree(one.value, other.value)
    in_unit_of_other = units.convert(one.value, one.unit, other.unit)
    if in_unit_of_other == [one.value]:  # another spelling of the unit: nothing is converted, so nothing is rounded
        return agree(one.value, other.value)
    converted = [(value, other, agree) for value in in_unit_of_other]
    # `agree` may allow a tolerance or decimals, which are those of the right number in its own unit
    converted += [(value, one, operator.eq) for value in units.convert(other.value, other.unit, one.unit)]
    if any(_is_as_written(*each) for each in converted):
        return True
    are_things = not units.is_known(one.unit) and not units.is_known(other.unit)
    return are_things and not _things(one.unit).isdisjoint(_things(other.unit)) and agree(one.value, other.value)


def _is_as_written(converted: Fraction, written: Quantity, agree: Agree) -> bool:
    """Whether a converted number equals the written one, which may have been rounded."""
    difference = abs(converted - written.value)
    if difference <= _CLOSE_ENOUGH * abs(written.value):
        return agree(written.value, written.value)
    may_be_rounded = written.step and abs(written.value) >= _MIN_STEPS * written.step
    is_rounded = may_be_rounded and difference <= min(written.step / 2, _ROUNDED * abs(written.value))
    return bool(is_rounded) or agree(converted, written.value)


_PLURALS = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot", "mice": "mouse",
    "geese": "goose", "teeth": "tooth", "leaves": "leaf", "knives": "knife", "wolves": "wolf", "shelves": "shelf",
    "news": "news", "lens": "lens", "glasses": "glasses",
}  # fmt: skip


def _things(unit: str) -> frozenset[str]:
    """The things that are counted, in the singular, without a preposition and what follows it."""
    return singulars(re.split(r" (?:in|on|of|at|with|from|that|which|who)\b", unit.casefold())[0])


def singulars(text: str) -> frozenset[str]:
    """A text, and the text with its last word in each singular it may have: `shoe` and `sho` of `shoes`."""
    before, space, last = text.rpartition(" ")
    found = {_PLURALS[last]} if last in _PLURALS else {last}
    if last not in _PLURALS and len(last) > 3 and re.search("[^s]s$", last):
        found |= {last[:-1], *([last[:-2]] if re.search("(?:[sxzo]|[cs]h)es$", last) else [])}
        found |= {f"{last[:-3]}y"} if last.endswith("ies") else set()
    return frozenset(before + space + each for each in found)


_ARTICLE = re.compile(
    r"^(?:an? (?=\d+-)|the (?=\d+(?:st|nd|rd|th)\b|[a-z]+(?:st|nd|rd|th)\b|second)|an? single (?=one))", re.IGNORECASE
)
_BRACKETS = re.compile(r"^[({](-?[\d./]*%?)[)}]$")  # with a comma it is a pair
_ONE = re.compile(
    r"^an? (?P<unit>second|minute|hour|day|week|month|year|century|meter|metre|kilometer|mile|foot|inch|yard|gram"
    r"|kilogram|kilo|ton|pound|liter|litre|gallon|dollar|euro|degree)(?P<half> and a half)?$",
    re.IGNORECASE,
)
_PART_OF = re.compile(r"^(?:a )?(half|quarter)(?: of)? an (?=hour)|^(half) a (?=[a-z])", re.IGNORECASE)
_NONE = re.compile(
    r"(?:no|zero) (?P<thing>[a-z]+s|people|children|men|women)"
    r"(?: (?:in|on|at|left|visible|shown|present)\b.{0,40})?|none",
    re.IGNORECASE,
)
_RATIO = re.compile(r"(\d+(?:\.\d+)?) ?: ?(\d+(?:\.\d+)?)")
_MONEY = re.compile(r"(?P<sign>[-+] ?)?" + units.BEFORE.pattern)
_MILLIONS = re.compile(r" ?([mbt])(?:n|ln)?\b", re.IGNORECASE)
_SCALES = {"m": 10**6, "b": 10**9, "t": 10**12}


def quantity(text: str) -> Quantity | None:
    """The number with its unit that all of a text is; None if it is something else.

    Args:
        text: with the signs of `same_signs`; case matters, `5 mW` is not `5 MW`.
    """
    return _quantity(text) if len(text) <= MAX_LENGTH else None


@lru_cache(4096)
def _quantity(text: str) -> Quantity | None:
    text = _BRACKETS.sub(r"\1", _ARTICLE.sub("", text.strip()))
    text = _ONE.sub(lambda found: f"{'1.5' if found['half'] else '1'} {found['unit']}", _PART_OF.sub(r"\1\2 ", text))
    if none := _NONE.fullmatch(text):
        return Quantity(Fraction(0), none["thing"] or "", Fraction(1))
    if ratio := _RATIO.fullmatch(text):
        whole = Fraction(ratio[2])
        return Quantity(Fraction(ratio[1]) / whole) if whole and not dates.time(text) else None
    if money := _MONEY.match(text):
        return _sum_of_money((money["sign"] or "").strip() + text[money.end() :], money["unit"])
    number = leading(text)
    unit = _unit(number.rest) if number else None
    if not number or unit is None:
        return _in_two_units(number.value, number.rest) if number else None
    return Quantity(number.value, unit, number.step, bool(re.fullmatch(r"[A-Za-z]", number.rest)))


def _sum_of_money(text: str, currency: str) -> Quantity | None:
    """The number after a sign of money; `million dollars` and `per person` may follow, another currency may not."""
    number = leading(text)
    if not number:
        return None
    value, rest, step = number
    if scale := _MILLIONS.match(rest):
        factor = _SCALES[scale[1].lower()]
        value, step, rest = value * factor, step * factor, rest[scale.end() :]
    unit = _unit(rest)
    if unit is None or (unit and units.is_known(unit) and not units.convert(Fraction(1), unit, currency)):
        return None
    return Quantity(value, currency, step)


_PLACE = r"(?:image|picture|photo|chart|figure|graph|diagram|table|plot|scene)"
_SAYS_NOTHING = re.compile(
    r" (?:ones?|long|wide|tall|high|deep|thick|old|away|apart|heavy|outside|inside"
    r"|left(?: over)?|remaining|each|total|altogether|overall|only"
    r"|exactly|approximately|approx\.?|or so|respectively"
    r"|in (?:total|all|length|width|height|area|volume|depth|(?:19|20)\d\d)"
    rf"|(?:as )?(?:shown|visible|present|depicted)\b.*|(?:in|on|from|of) (?:the|this) {_PLACE}\b.*)$",
    re.IGNORECASE,
)
_THINGS = re.compile(r"-?[^\W\d_]+(?:[ '/*-]+[^\W\d_]+){0,9}\.?")
_NOT_THINGS = NUMBER_WORDS - {"second", "seconds", "quarter", "quarters", "third"} | set(
    "or and plus minus to than out at most least maximum minimum but not nor pi squared cubed factorial however if "
    "between versus vs over times by is are was were does did would should could will shall might may must can "
    "cannot be been has have had no longer isn aren wasn weren doesn don didn won".split()
)  # fmt: skip
_MEASURE_WORD = re.compile(
    r"[个個只條条张張本辆輛匹头頭朵棵名人岁种種支枝把件座根颗粒杯瓶双雙对位架艘间层块次幅台部家所]"
)
_AREA = r"(?:square|sq\.?|cubic|cu\.?)? ?"
_POWER = r"(?: ?\^ ?-?[1-4])?"
_MEASURE = re.compile(rf"{_AREA}[^\W\d_°]+\.?{_POWER}(?: ?[/*·] ?[^\W\d_]+{_POWER})*")
_MEASURE_IN_WORDS = re.compile(
    rf"{_AREA}[a-z]+[23]|(?:[a-z]+ per )+.*|[a-z]+(?: [a-z]+)* (?:squared|cubed)", re.IGNORECASE
)
_MARK = re.compile(r"[°℃℉] ?[A-Za-z ]*|['\"′″]")
_SYMBOLS = "πθαβφ√∞"  # of formulas
_MONEY_BEHIND = re.compile(r"[$€£¥₹¢₽₩]|[A-Za-z]{1,2}\$")


def _unit(rest: str) -> str | None:
    """The unit, or the things counted, in the text after a number; None if that is neither."""
    while found := _SAYS_NOTHING.search(rest):
        rest = rest[: found.start()]
    rest = rest.rstrip(" .,;")
    unit, of, _ = rest.strip().partition(" of ")
    unit = unit if of and units.is_known(unit) else rest.strip()
    if not unit or _MARK.fullmatch(unit) or _MONEY_BEHIND.fullmatch(unit):
        return unit
    if percent := units.PERCENT.match(unit):
        words = unit[percent.end() :].casefold().split()
        is_share = len(words) <= 5 and not _NOT_THINGS & {*words} and not re.search(r"\d", unit)
        return _PERCENT if is_share else None
    if measured := _MEASURE_WORD.match(unit):
        return unit[measured.end() :] if len(unit) <= 6 else None
    if unit[0].isascii():
        return unit if _is_unit(unit, rest) else None
    return unit if unit[0] not in _SYMBOLS and units.is_known(unit) else None


def _is_unit(unit: str, rest: str) -> bool:
    """Whether a text in letters is a unit or things; `rest` is the same with the space before it, if there is one."""
    is_close = rest[0].isalpha()
    if not is_close and rest[0] not in " -":
        return False
    if _COMPARED.fullmatch(unit):  # "3 more boys than girls"
        return True
    if _MEASURE_IN_WORDS.fullmatch(unit) and units.is_known(unit):
        return True
    if any(word in _NOT_THINGS for word in re.findall(r"[^\W\d_]+", unit.casefold())):
        return False
    if is_close:  # letters close to a number are a product of variables, unless they are a unit
        return bool(_MEASURE.fullmatch(unit)) and (len(unit) == 1 or units.is_known(unit))
    return bool(_MEASURE.fullmatch(unit) or _THINGS.fullmatch(unit))


_COMPARED = re.compile(r"(?:more|fewer|less) [a-z]+ than [a-z ]+", re.IGNORECASE)
_LARGER = re.compile(r" ?-?([^\W\d_]+|['′])(?:,? (?:and )?| ?)(?=\d|half\b|a half\b|[a-z-]+ )")


def _in_two_units(value: Fraction, rest: str) -> Quantity | None:
    """A number in several units, the larger first, in the smallest: `1 h 30 min` is 90 min."""
    found = _LARGER.match(rest)
    if not found or found[1].lower() in _NOT_THINGS:
        return None
    larger, smaller = found[1], quantity(rest[found.end() :])
    if smaller and smaller.unit in ("m", "") and larger.lower() in ("h", "hr", "hrs"):
        smaller = smaller._replace(unit="min")
    if smaller is None or not smaller.unit or not units.is_known(larger):
        return None
    factors = units.convert(Fraction(1), larger, smaller.unit)
    if not factors or factors[0] <= 1 or abs(smaller.value) >= factors[0]:
        return None
    return Quantity(value * factors[0] + smaller.value, smaller.unit)
