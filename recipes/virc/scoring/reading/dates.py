"""Dates and times of day as they are written in answers."""

import re

from virc.scoring.reading.numerals import leading

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = rf"(?P<month>sept|{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)})\.?"
_YEAR = r"(?P<year>[12]\d{3})"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_IN_WORDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_MONTH} {_DAY}(?:,? {_YEAR})?", rf"(?:the )?{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?",
        rf"{_MONTH}(?:,?(?: of)? {_YEAR})?", rf"{_YEAR} {_MONTH}(?: {_DAY})?",
        rf"{_YEAR}[-/.](?P<number>[01]?\d)(?:[-/.]{_DAY})?", rf"{_YEAR}年(?P<number>[01]?\d)月(?:{_DAY}[日号])?",
    )
)  # fmt: skip
_IN_NUMBERS = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2([12]\d{3}|\d{2})")
_WEEKDAY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)(?:s|nes|r|rs|ur)?(?:day)?", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:on|in|at|by|around|the year|year)\s+(?:the year )?|(?:mon|tues|wednes|thurs|fri|satur|sun)day,? (?=\w)",
    re.IGNORECASE,
)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Date = tuple[int, int, int]
Time = tuple[int, str]


def date(text: str) -> Date | None:
    """A date: year, month, day, with 0 for what is not said; of a weekday -1, 0 and its number.

    In `03/05/2021` the day comes first or the month: its numbers are below 0, so that only a date that is written in
    the same way agrees.
    """
    text = _LEADING.sub("", text.strip().rstrip("."), count=1)
    for pattern in _IN_WORDS:
        if found := pattern.fullmatch(text):
            parts = found.groupdict()
            name = (parts.get("month") or "")[:3].lower()
            month = int(parts.get("number") or next(at for at, each in enumerate(_MONTHS, 1) if each.startswith(name)))
            return int(parts.get("year") or 0), month, int(parts.get("day") or 0)
    if found := _WEEKDAY.fullmatch(text):
        return -1, 0, _DAYS.index(found[1].lower())
    if found := _IN_NUMBERS.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        if found[2] == "." and second <= 12:  # where dots are written, the day comes first
            return year, second, first
        if min(first, second) <= 12 < max(first, second):
            return year, min(first, second), max(first, second)
        return year, -first, -second
    return None


_HALF = r"(?P<half>[ap])\.?m\.?"
_CLOCK = re.compile(
    r"(?P<hour>[0-2]?\d)(?P<mark>[:.h])(?P<minute>[0-5]\d)(?::00)?"
    rf"(?: ?{_HALF}| o'clock| hours| uhr)?",
    re.IGNORECASE,
)
_HOUR = re.compile(rf"(?P<hour>[01]?\d|[a-z]+) ?(?:(?:o'clock ?)?{_HALF}|o'clock)", re.IGNORECASE)
_PAST = re.compile(
    r"(?:a )?(?P<minute>half|quarter|[a-z]+(?:[- ][a-z]+)?|\d{1,2})(?: minutes?)? (?P<way>past|after|to|till|before) "
    rf"(?P<hour>[a-z]+|\d{{1,2}})(?: o'clock)?(?: ?{_HALF})?",
    re.IGNORECASE,
)
_NUMERAL = "零一二两三四五六七八九十"
_CHINESE = re.compile(
    rf"(?P<hour>\d{{1,2}}|[{_NUMERAL}]+)[点時时](?:(?P<minute>\d{{1,2}}|[{_NUMERAL}]+)分?|(?P<thirty>半)|整)?"
)
_PARTS = {"half": 30, "quarter": 15}


def time(text: str) -> Time | None:
    """A time of day: minutes after midnight, and what says the half of the day.

    That is `half` where am or pm does, `day` where the hour does (15:45), or nothing.
    """
    text = re.sub(r"^(?:at|about|around|it's|it is) ", "", text.strip().lower())
    text = re.sub(r" in the morning$", " am", re.sub(r" (?:in the (?:afternoon|evening)|at night)$", " pm", text))
    if text in ("noon", "midday", "midnight"):
        return (0 if text == "midnight" else 720), "half"
    found = next((found for each in (_CLOCK, _HOUR, _PAST, _CHINESE) if (found := each.fullmatch(text))), None)
    parts = found.groupdict() if found else {}
    hour = _number(parts["hour"]) if parts else None
    minute = 30 if parts.get("thirty") else _PARTS.get(parts.get("minute") or "") or _number(parts.get("minute") or "0")
    if hour is None or minute is None or minute > 59 or (parts.get("mark") == "." and not parts["half"]):
        return None
    if parts.get("way") in ("to", "till", "before"):
        hour, minute = hour - 1, 60 - minute
    half = parts.get("half")
    if hour > 24 or (half and hour > 12):
        return None
    if half:
        return 60 * (hour % 12 + (12 if half == "p" else 0)) + minute, "half"
    return 60 * hour + minute, "day" if hour > 12 or hour == 0 else ""


def times_agree(one: Time, other: Time) -> bool:
    """Whether two times are one: 3:45 is also 3:45 am and 3:45 pm, but not 15:45."""
    if "" in (one[1], other[1]) and "half" in (one[1], other[1]):
        return one[0] % 720 == other[0] % 720
    return one[0] == other[0]


def _number(text: str) -> int | None:
    found = leading(text)
    return int(found.value) if found and not found.rest and found.value.denominator == 1 else None
