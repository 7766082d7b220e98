"""Whether two short answers say the same: numbers with units, dates, times, ranges, lists, yes and no, or words.

`alike` reads each text in every way that a person could (`_forms`). A value is all of a text: `73 or 74` is none.
"""

import operator
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from virc.scoring import rules
from virc.scoring.reading import dates
from virc.scoring.reading.numerals import MAX_LENGTH
from virc.scoring.reading.quantities import Agree, Quantity, quantities_agree, quantity, singulars

_MAX_ITEMS = 40


_ONLY_ITEM = re.compile(r"(?:\[ *)+([\"'“‘]?)([^\[\]\"'“”‘’,;]+)[\"'”’]?(?: *\])+")


def alike(one: str, other: str, agree: Agree = operator.eq) -> bool:
    """Whether two short answers say the same; `agree` compares two numbers of one unit, the answer's first."""
    one, other = (_ONLY_ITEM.sub(r"\2", each) if _ONLY_ITEM.fullmatch(each) else each for each in (one, other))
    if names_differ(one, other):
        return False
    one, other = rules.unnamed(one, other)
    first, second = quantity(one), quantity(other)
    if first and second:
        return quantities_agree(first, second, agree)
    one_words, other_words = words(one), words(other)
    if any(each and each.is_close for each in (first, second)):  # such as `5m`: compared as a product of variables
        return one_words == other_words
    if any(_forms_agree(form, each, agree) for form in _forms(one) for each in _forms(other)):
        return True
    has_words = one_words and not re.search(r"\d", one_words)
    if has_words and singulars(one_words) & singulars(other_words):
        return True
    return (one_words == other_words != "") or _formulas_alike(one, other)


def _formulas_alike(one: str, other: str) -> bool:
    if re.search("[$€£¥₹¢₽₩]", one + other):  # signs of money would be taken for those of LaTeX
        return False
    if bool(_UNIT.search(one)) != bool(_UNIT.search(other)):
        one, other = _UNIT.sub("", one), _UNIT.sub("", other)
    return rules.same(one, other)


_UNIT = re.compile(
    r"(?<=[π√\d)]) (?:(?:sq\.?|square|cubic) )?(?:units?|[cmk]?m|ft|in|inches|feet|[a-z]*met(?:er|re)s?)"
    r"(?: ?\^ ?[23])?$"
)
"""A unit after a formula; an answer may lack it, for the question has it."""


_NAME = re.compile(r"(?:∠|angle )?([A-Za-z]{1,3}|\w\([A-Za-z]\)) ?=.*", re.DOTALL)


def names_differ(one: str, other: str) -> bool:
    """Whether two equations are about different things: `AB = 10` is not `BC = 10`."""
    first, second = _NAME.fullmatch(one.strip()), _NAME.fullmatch(other.strip())
    return bool(first and second and first[1] != second[1])


def are_values(one: str, other: str) -> bool:
    """Whether both texts are values that are compared here, so that no algebra is needed."""
    return all(((number := quantity(text)) and not number.is_close) or _forms(text) for text in (one, other))


_YES = frozenset(
    "yes yep yeah yup true correct right affirmative 是 是的 对 对的 正确 sí si oui ja да はい 네 예 sim".split()
)
_NO = frozenset(
    "no nope nah false incorrect wrong negative 否 不是 没有 不 不对 错 错误 non nein нет いいえ 아니요 não".split()
)
_Form = tuple[Any, ...]
"""A kind, such as `date`, and the parts of the value."""


_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
"""A number whose commas may be those of thousands, or of a list."""


def _forms(text: str) -> tuple[_Form, ...]:
    """What a text may be apart from a number and words: a date, a time, a range or ratio, yes or no, a list."""
    found: list[_Form] = []
    plain = text.strip().rstrip(".!").casefold()
    if plain in _YES | _NO:
        found.append(("truth", plain in _YES))
    joined = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    pointed = re.sub(r"(?<=\d),(?=\d)", ".", text) if ";" in text else text  # `4,4; 0` in most of Europe
    lists = [("list", _items(each)) for each in dict.fromkeys((text, joined, pointed))]
    values = (("date", dates.date(text)), ("time", dates.time(text)), ("pair", _pair(text)), *lists)
    return (*found, *((kind, *value) for kind, value in values if value))


def _forms_agree(one: _Form, other: _Form, agree: Agree) -> bool:
    if one[0] != other[0]:
        return False
    match one[0]:
        case "pair":
            return all(quantities_agree(*each, agree) for each in zip(one[1:], other[1:], strict=True))
        case "time":
            return dates.times_agree((one[1], one[2]), (other[1], other[2]))
        case "list":
            return _lists_agree(one[1], one[2], other[1], other[2], agree)
    return one == other


_PAIR = re.compile(
    r"(?P<between>between |from )?(?P<low>[^:]{1,50}?)"
    r"(?: ?- ?| to |(?P<and> and )| through | thru | ?: ?|~|～|到|至)(?P<high>-?[\d$€£][^:]{0,50}|[a-z]+(?: .{1,30})?)",
    re.IGNORECASE,
)


def _pair(text: str) -> tuple[Quantity, Quantity] | None:
    """The two ends of a range, or parts of a ratio; if only the second has a unit, it is that of both."""
    found = _PAIR.fullmatch(text.strip()) if len(text) <= MAX_LENGTH else None
    if not found or (found["and"] and not found["between"]):
        return None
    low, high = quantity(found["low"]), quantity(found["high"])
    if not low or not high:
        return None
    return (low if low.unit else low._replace(unit=high.unit)), high


_CLOSED_BY = {"(": ")]", "[": "])", "{": "}"}
_SEPARATOR = re.compile(r"\s*[,;、]\s*(?:and\s+)?|\s+(?:and|und|et|y)\s+|\s*&\s*|\s*[和与以及]+\s*")
_BETWEEN_TUPLES = re.compile(r"(?<=\))\s*(?:,\s*|and\s+)(?=\()")


def _items(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The brackets and the items of a list, such as `x = 1 or x = 2`; None if a text is no list."""
    text = re.sub(r"^[A-Z]'? ?(?:= ?)?(?=\(.*\)$)", "", text.strip())  # without the name of a point
    brackets = ""
    if len(text) > 1 and text[-1] in _CLOSED_BY.get(text[0], ""):
        brackets, text = text[0] + text[-1], text[1:-1]
    if re.search(r"\bor\b|或", text):
        solutions = tuple(re.split(r"\s+or\s+", text))
        is_list = len(solutions) > 1 and all(re.fullmatch(r"[A-Za-z] ?= ?[^=,]+", each) for each in solutions)
        return (brackets, solutions) if is_list else None
    tuples = _BETWEEN_TUPLES.split(text)
    if re.search(r"[()\[\]{}]", text) and len(tuples) < 2:
        return None
    items = tuple(item.strip() for item in (tuples if len(tuples) > 1 else _SEPARATOR.split(text)))
    is_list = (brackets or len(items) > 1) and len(items) <= _MAX_ITEMS and all(items)
    return (brackets, items) if is_list else None


def _lists_agree(
    brackets: str, items: Sequence[str], other_brackets: str, other_items: Sequence[str], agree: Agree
) -> bool:
    """Whether lists have the same items: in any order in braces or without brackets, in the same order in others."""
    if len(items) != len(other_items) or (brackets and other_brackets and brackets != other_brackets):
        return False
    if {brackets, other_brackets} - {"", "{}"}:
        return all(alike(item, other, agree) for item, other in zip(items, other_items, strict=True))
    unmatched = [*other_items]
    for item in items:
        match = next((other for other in unmatched if alike(item, other, agree)), None)
        if match is None:
            return False
        unmatched.remove(match)
    return True


_SPELLINGS = {
    "grey": "gray", "colour": "color", "colours": "colors", "centre": "center", "metre": "meter", "theatre": "theater",
    "tyre": "tire", "aluminium": "aluminum", "aeroplane": "airplane", "colourful": "colorful", "favourite": "favorite",
    "∞": "infinity", **{f"{each}{end}": each for each in "红橙黄绿蓝紫黑白灰棕粉青金银" for end in ("色", "色的")},
}  # fmt: skip
_QUOTES = re.compile(r"[\"“”‘’«»「」『』*`!?_]|(?<!\d)[,.;:]|[,.;:](?!\d)|(?<!\w)'|'(?!\w)")
_SHAPES = str.maketrans({"∠": "angle ", "△": "triangle "})
_INDEX = re.compile(r"(?<=[a-z])_(?:\{(\d+)\}|(\d+))")  # of `CO_2`
_INITIALS = re.compile(r"\b(?:[a-z]\.){2,}")
_ARTICLE = re.compile(r"^(?:(?:the|a(?! [a-z]\b)|an|some|its|his|her|their) )+(?=\S)")
_SIDE = re.compile(
    r"(?:(?:on|to|at|in|towards?) )?(?:the )?((?:top |bottom |upper |lower )?"
    r"(?:left|right|top|bottom|middle|center|front|back))(?: (?:side|corner|hand side|one))?"
)


def words(text: str) -> str:
    """A text without case, accents, articles, punctuation and hyphens; empty if the text is too long."""
    if len(text) > rules.MAX_LENGTH:
        return ""
    parts = unicodedata.normalize("NFKD", rules.same_signs(text).translate(_SHAPES))
    text = unicodedata.normalize("NFC", "".join(each for each in parts if not "\u0300" <= each <= "\u036f")).casefold()
    text = _INITIALS.sub(lambda found: found[0].replace(".", ""), text)
    text = _INDEX.sub(r"\1\2", re.sub(r"(?<=[^\W\d])'(?=s\b)", "", text))
    text = " ".join(_QUOTES.sub(" ", re.sub(r"(?<=[^\W\d])-(?=[^\W\d])", " ", text)).split())
    text = _ARTICLE.sub("", text)
    side = _SIDE.fullmatch(text)
    return " ".join(_SPELLINGS.get(word, word) for word in (side[1] if side else text).split())
