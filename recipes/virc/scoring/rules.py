"""Whether an answer is right by rule: equality for rewards; evaluation, votes and sampling read answers (`answers`).

Spelling, ways to write a number, a missing unit and letters of choices make no difference. It does no algebra: what
is equal only after a calculation with letters is not equal here. Read `same` first, then `_alike`.
"""

import operator
import re
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

MAX_LENGTH = 2000
"""Characters of an answer that is read; longer ones are compared as they stand."""
_MAX_NUMBER = 120
_PASSES = 8  # depth to which LaTeX commands may stand in one another


def same(answer: str, reference: str, choices: Sequence[str] | None = None) -> bool:
    """Whether two answers to one question say the same; either may be the reference.

    Args:
        answer: what was answered. Nothing in it raises, and time and memory grow with its length at most.
        reference: the answer known to be right.
        choices: contents of the choices in order, where there are some: then `B`, `(B)`, `B. 102` and `102` are
            the same if the second is 102.
    """
    one, other = answer.strip(), reference.strip()
    if one == other:
        return one != ""
    if max(len(one), len(other)) > MAX_LENGTH:
        return False
    one, other = _plain(one), _plain(other)
    if not one or not other:
        return False
    if choices:
        contents = _contents(choices)
        chosen, right = _chosen(one, contents), _chosen(other, contents)
        if chosen is not None or right is not None:
            return chosen == right
    return _alike(one, other) or _alike_labelled(one, other)


def numbers_agree(
    answer: str, reference: str, agree: Callable[[Fraction, Fraction], bool] = operator.eq
) -> bool | None:
    """Whether two answers that are numbers agree; None if one is no number.

    Args:
        answer: what was answered; as in `same`, nothing in it raises or takes long.
        reference: the answer known to be right.
        agree: compares the two values, the answer's first; units are compared here, as in `same`.
    """
    if max(len(answer), len(reference)) > MAX_LENGTH:
        return None
    one, other = map(_number, unnamed(_plain(answer), _plain(reference)))
    return _equal(one, other, agree) if one and other else None


_OPTION = r"(?:(?:option|choice)(?: |(?=\()))?"  # a space before a bracket is gone from a plain text
_LABELLED = re.compile(rf"{_OPTION}\(?([a-z])(?:(?:\)[.:]?|[.:]) ?(.*))?")
_WRITTEN_OUT = re.compile(rf"{_OPTION}\(?([a-h])(?:\)[.:]?|\. |:(?![a-z]$)) ?(.+)")  # `a:b` is a ratio
_BARE = re.compile(rf"{_OPTION}\(?([a-h])\)?")


def _contents(choices: Sequence[str]) -> list[str]:
    """The choices in plain form, without the letters before them if all have theirs."""
    plain = [_plain(choice) if len(choice) <= MAX_LENGTH else choice.strip() for choice in choices]
    labels = [_LABELLED.fullmatch(choice) for choice in plain]
    if all(label and label[2] and _index(label[1]) == at for at, label in enumerate(labels)):
        return [label[2] for label in labels if label]
    return plain


def _chosen(text: str, contents: Sequence[str]) -> int | None:
    """The place of the choice that a text names by content or by letter; None if that is not clear."""
    if text in contents:
        return contents.index(text)
    label, letters = _LABELLED.fullmatch(text), [_letter(content) for content in contents]
    # if the choices are letters themselves, a letter is a content, with brackets or without
    if label and not any(letters):
        place, content = _index(label[1]), label[2]
        if place < len(contents) and (not content or _alike(content, contents[place])):
            return place
    letter = _letter(text)
    named = [at for at, content in enumerate(contents) if _alike(text, content) or (letter and letter == letters[at])]
    return named[0] if len(named) == 1 else None


def _index(letter: str) -> int:
    return ord(letter) - ord("a")


def _alike_labelled(one: str, other: str) -> bool:
    """Whether, if the choices are not known, one is the letter or the content, and the other is `B. 102` or `(B)`."""
    letter = _letter(one)
    if letter is not None and letter == _letter(other):
        return True
    for bare, written in ((one, _WRITTEN_OUT.fullmatch(other)), (other, _WRITTEN_OUT.fullmatch(one))):
        if written and (_letter(bare) == written[1] or _alike(bare, written[2])):
            return True
    return False


def _letter(text: str) -> str | None:
    found = _BARE.fullmatch(text)
    return found[1] if found else None


_UNITS = {
    name: names.split()[0]
    for names in (
        "° deg degree degrees", "rad radian radians", "% percent", "dollar dollars usd", "cent cents", "unit units",
        "mm millimeter millimeters millimetre millimetres", "cm centimeter centimeters centimetre centimetres",
        "m meter meters metre metres", "km kilometer kilometers kilometre kilometres", "in inch inches",
        "ft foot feet", "yd yard yards", "mi mile miles", "mg", "g gram grams", "kg kilogram kilograms",
        "lb lbs pound pounds", "oz ounce ounces", "ml milliliter milliliters", "l liter liters litre litres",
        "s sec secs second seconds", "min mins minute minutes", "h hr hrs hour hours", "day days", "week weeks",
        "month months", "year years", "km/h kmh", "m/s", "mph", "°c", "°f",
    )
    for name in names.split()
}  # fmt: skip
_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)(?:(?P<whole>\d+) )?(?P<top>{_DECIMAL})(?:/(?P<bottom>{_DECIMAL}))?"
    r"(?:(?:e|\*10\^)(?P<power>[-+]?\d{1,3}))?(?P<unit> ?[^\d\s.,*+=-].*)?"
)
_UNIT = re.compile(r"(?P<before>square|sq\.?|cubic|cu\.?)? ?(?P<name>[a-z°%/]+)\.?(?:\^(?P<after>[23]))?")
_NAMED = re.compile(r"[^\d=*/+^<>≤≥≠±!~-]{1,20}=([^=]+)")


class _Number(NamedTuple):
    value: Fraction
    unit: tuple[str, int] | None  # its name and power


def _alike(one: str, other: str) -> bool:
    """Whether two plain texts are the same text or number, or one is that with a name before it, as `x=5`."""
    if one == other:
        return True
    one, other = unnamed(one, other)
    if "±" in one and "±" in other:
        return all(map(_alike, one.split("±", 1), other.split("±", 1)))
    number, other_number = _number(one), _number(other)
    if number and other_number:
        return _equal(number, other_number, operator.eq)
    return one == other


def unnamed(one: str, other: str) -> tuple[str, str]:
    """Two plain texts, without the name before the value if only one has a name."""
    named, other_named = _NAMED.fullmatch(one), _NAMED.fullmatch(other)
    if (named is None) == (other_named is None):
        return one, other
    return named[1] if named else one, other_named[1] if other_named else other


def _equal(one: _Number, other: _Number, agree: Callable[[Fraction, Fraction], bool]) -> bool:
    """Whether numbers agree; a unit may be missing on one side (the question has it), and 50% is also a half."""
    if one.unit == other.unit:
        return agree(one.value, other.value)
    if one.unit is None or other.unit is None:
        return agree(one.value, other.value) or agree(_share(one), _share(other))
    return False


def _share(number: _Number) -> Fraction:
    return number.value / 100 if number.unit == ("%", 1) else number.value


def _number(text: str) -> _Number | None:
    """The exact number that a plain text is; None if it is something else or has too many digits."""
    found = _NUMBER.fullmatch(text) if len(text) <= _MAX_NUMBER else None
    if not found or (found["whole"] and not found["bottom"]):
        return None
    parts = [(found[name] or "").replace(",", "") for name in ("whole", "top", "bottom")]
    whole, top, bottom = (Fraction(f"0{part}0" if "." in part else part or "0") for part in parts)
    if found["bottom"]:
        if not bottom:
            return None
        top /= bottom
    value = (whole + top) * Fraction(10) ** int(found["power"] or 0)
    unit = unit_of(found["unit"]) if found["unit"] else None
    if found["unit"] and not unit:
        return None
    return _Number(-value if found["sign"] == "-" else value, unit)


def unit_of(text: str) -> tuple[str, int] | None:
    """The unit after a number, and its power; a letter without a space before it is a variable, as in `5m`."""
    found = _UNIT.fullmatch(text.strip())
    name = _UNITS.get(found["name"]) if found else None
    if not found or not name or (len(found["name"]) == 1 and found["name"].isalpha() and text[0] != " "):
        return None
    before = {"s": 2, "c": 3}.get((found["before"] or "")[:1], 1)
    return name, int(found["after"] or before)


_ALIKE_CHARACTERS = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {fraction: " " + unicodedata.normalize("NFKC", fraction).replace("⁄", "/") for fraction in "¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
    | dict.fromkeys("−–—‐‑‒―", "-")
    | dict.fromkeys("º˚", "°")
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", "")
    | {"⁄": "/", "∕": "/", "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "²": "^2", "³": "^3", "’": "'", "。": "."}
)
_WORDS = {
    "pi": "π", "theta": "θ", "alpha": "α", "beta": "β", "gamma": "γ", "infty": "∞", "angle": "∠", "triangle": "△",
    "circ": "°", "degree": "°", "cdot": "*", "times": "*", "div": "/", "pm": "±", "sqrt": "√", "neq": "≠", "ne": "≠",
    "emptyset": "∅", "varnothing": "∅",
    "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "left": "", "right": "", "quad": " ",
}  # fmt: skip
_WRAPPED = re.compile(r"\\(?:text|mathrm|mbox)\s*\{([^{}\\]*)\}")
_SWITCHES = (
    r"(?:bf|it|rm|sf|tt|sl|sc|em)(?:series|shape|family)?|tiny|(?:script|footnote|normal)size|small|[lL]arge|LARGE"
    r"|[hH]uge|(?:display|text|script)style|color\s*\{[^{}]*\}"
)
STYLES = (
    r"text(?:bf|it|rm|sf|tt|sl|sc|md|up|normal)|math(?:bf|it|sf|tt|normal)|boldsymbol|bm|pmb|emph|underline|uline"
    rf"|textcolor\s*\{{[^{{}}]*\}}|{_SWITCHES}"
)
"""A pattern of LaTeX's commands that say how their argument is set."""
_STYLED = re.compile(rf"\\(?:{STYLES}|mathbb|operatorname|boxed)\s*\{{([^{{}}]*)\}}")
_SWITCH = rf"\\(?:{_SWITCHES})(?![a-zA-Z]|\s*\{{)\s*"
_SWITCHED = re.compile(rf"(?<![\\\w}}\]^])\{{\s*(?:{_SWITCH})+([^{{}}]*)\}}|{_SWITCH}")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_REPEATING = re.compile(r"(?<![\d.])(\d{0,30})\.(\d{0,30})\\(?:overline|bar)\s*\{(\d{1,30})\}")
_ROOT = re.compile(r"(?:\\sqrt\s*\{([^{}]*)\}|√\(([^()]*)\)|(?<![a-z\\])sqrt\s*\(([^()]*)\))")
_POWER = re.compile(r"\^\s*\{(-?\d+|\w|\\circ)\}")
_COMMAND = re.compile(r"\\([a-zA-Z]+) ?")
_SIMPLE = re.compile(r"-?(?:\d+(?:\.\d+)?|\w)")


def same_signs(text: str) -> str:
    """A text in which signs that mean the same are one sign: `−` is `-`, `×` is `*`, `²` is `^2`, `+/-` is `±`."""
    return unicodedata.normalize("NFC", text).translate(_ALIKE_CHARACTERS).replace("+/-", "±")


def _plain(text: str) -> str:
    """A text without what only spells it: LaTeX, case, spaces, look-alikes, quotes, the last full stop."""
    text = without_latex(same_signs(text)).casefold()
    text = re.sub(r"(?<=\d)(?: ,| ?, )(?=\d{3}(?!\d))", ";", " ".join(text.split()))  # `3, 100` is no 3,100
    text = re.sub(r" ?([-+*/=,:;<>≤≥≠±()\[\]{}^|%°√]) ?", r"\1", text)
    while len(text) > 1 and text[0] == text[-1] and text[0] in "*\"'`_":
        text = text[1:-1].strip()
    return re.sub(r"[. ]+\Z", "", text).strip()


def without_switches(text: str) -> str:
    """A text without LaTeX's commands that say how what follows is set, to the end of their group if they have one."""
    return _SWITCHED.sub(lambda found: found[1] or "", text)


def without_latex(text: str) -> str:
    """A text with the commands of LaTeX as signs and plain words: `\\frac{1}{2}` is ` 1/2`, `\\pi` is `π`."""
    text = re.sub(r"(?<=\d)(?:(?:\\,|\\!|,\\!)(?=\d{3})|\{,\}(?=\d))", ",", text)
    text = _REPEATING.sub(_as_fraction, text)
    text = re.sub(r"\\[,;: ]|~", " ", text)
    text = re.sub(r"\\[!()\[\]]|\\?\$", "", text)
    text = re.sub(r"\\([%{}&#_])", r"\1", without_switches(text))
    for _ in range(_PASSES):
        before = text
        text = _POWER.sub(r"^\1", _STYLED.sub(r"\1", _WRAPPED.sub(r" \1", text)))
        text = _ROOT.sub(lambda found: "√" + _grouped(next(filter(None, found.groups()), "")), text)
        text = _FRACTION.sub(
            lambda found: f" {_grouped(found[1] or found[2] or '')}/{_grouped(found[3] or found[4] or '')}", text
        )
        if text == before:
            break
    text = _COMMAND.sub(lambda found: _WORDS.get(found[1], f"{found[1]} "), text)
    return text.replace("^°", "°")


def _as_fraction(decimal: re.Match[str]) -> str:
    before, after, repeated = decimal.groups()
    value = int(before + after + repeated) - int(before + after or "0")
    return f" {value}/{'9' * len(repeated)}{'0' * len(after)}"


def _grouped(text: str) -> str:
    """A part of a fraction or a root, in brackets unless it is a number or a letter."""
    text = text.strip()
    return text if _SIMPLE.fullmatch(text) else f"({text})"
