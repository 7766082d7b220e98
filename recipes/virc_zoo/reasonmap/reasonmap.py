r"""The score of ReasonMap: whether a route on a transit map is right, and how much of it is as an app plans it.

The column `category` of a row is `short` or `long`, after its question. A reply is legs, which `--` separates;
each has the lines `Route Name: `, `Departure Stop: ` and `Arrival Stop: `. A thought before it is left out. A route is
right if it leads from `station_1` to `station_2` by stops of the lines that it names (`json`: line -> its stations),
and each leg departs where the one before arrived.

`routes` are the plans of an app. A route that begins or ends wrongly is worth 0. Otherwise it is compared with each
plan, leg by leg, and the best plan counts, the last of equal ones. A plan gives

- 1 for the right beginning and end;
- for each leg 2 for its line, and 1 for each of its two stops;
- for a long question that asks for the number of stops between: 4 a leg, less the share by which the number is wrong,
  at most 10;
- for a long question that asks for the names of stops between: half of (how many of them the plan has, at most 10),
  and half of 10 times the IoU of all such names in legs whose lines agree.

The sum is at most 10 for a short question and 20 for a long one; a right route gives 10 or 20 more.

As published, with its quirks:

- Outside China the plan's line is not read, but made from the reply's own: `Line ` and its first one or two letters or
  digits, or those after `Metro` or `Linea`. So a line rarely agrees, as `Line Metro A` does.
- If a plan's departure ends in the word for a station, its departure is also taken for its arrival; in China only for
  short questions.
- Names of stops between are compared letter by letter, including the space after a comma, and only if they have 站.
- For a leg that does not say the number of stops between, the first number in the leg is taken.
- A row without plans is worth 0, even if the route is right.

Means are weighed by difficulty in `__main__.py`.
Source: fscdc/ReasonMap at e68dd65, main.py (`Evaluation pipeline` of both questions) and `clean_string` of tools.py.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import msgspec

from virc.core.errors import DataError
from virc.core.text import clause
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rewardmap import rewardmap
from virc_zoo.rollouts import of_last_reply

TERMS = (
    "right_short", "right_long", "score_short", "score_long", "ends", "lines", "stops", "via_count", "via_stops",
)  # fmt: skip
whole = of_last_reply
_NAME, _FROM, _TO, _VIAS, _COUNT = (
    "Route Name:", "Departure Stop:", "Arrival Stop:", "Via Stops: ", "Number of Via Stops:",
)  # fmt: skip
_THOUGHTS = ("◁/think▷", "</think>")
_MOST = {"short": 10, "long": 20}
_MOST_VIAS = 10
_MOST_DIGITS = 4000  # of a number; Python reads none with 4301
_OWN_LINES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"Metro\s+([A-Z0-9]{1,2})[-\s]?Line", r"Metro\s+([A-Z0-9]{1,2})", r"Linea\s+([A-Z0-9]{1,2})",
        r"([A-Z0-9]{1,2})",
    )
)  # fmt: skip


class Planned(msgspec.Struct, frozen=True):
    """A leg of an app's plan."""

    route_name: str
    departure_stop: str
    arrival_stop: str
    num_via_stops: int | None = 0
    via_stops: Sequence[str] | None = ()


class Question(msgspec.Struct, frozen=True):
    """What a row of ReasonMap holds in addition to its question.

    Args:
        json: line -> its stations.
        routes: plans by their names. Rows of parquet have the names of all rows; null is no plan, and no line.
    """

    category: Literal["short", "long"]
    country: str
    city: str
    station_1: str
    station_2: str
    json: Mapping[str, Sequence[str] | None]
    routes: Mapping[str, Sequence[Planned] | None]


class Leg(NamedTuple):
    """A leg of a reply: line as written, stops as `_name` makes them, and the text after the mark of stops between."""

    line: str
    departure: str
    arrival: str
    vias: str


class Worth(NamedTuple):
    """What a route is worth compared with a plan: the score, and the parts that it is the sum of."""

    score: float = 0.0
    ends: float = 0.0
    lines: float = 0.0
    stops: float = 0.0
    via_count: float = 0.0
    via_stops: float = 0.0


def right_short(sample: Sample, context: RewardContext) -> float | None:
    """Whether the route is right: 1 or 0; of short questions."""
    return _right(sample, "short")


def right_long(sample: Sample, context: RewardContext) -> float | None:
    """Whether the route is right: 1 or 0; of long questions."""
    return _right(sample, "long")


def score_short(sample: Sample, context: RewardContext) -> float | None:
    """The score of a short question, 20 at most."""
    return _worth(sample).score if _question(sample).category == "short" else None


def score_long(sample: Sample, context: RewardContext) -> float | None:
    """The score of a long question, 40 at most."""
    return _worth(sample).score if _question(sample).category == "long" else None


def ends(sample: Sample, context: RewardContext) -> float:
    """Whether the route begins and ends rightly: 1 or 0."""
    return _worth(sample).ends


def lines(sample: Sample, context: RewardContext) -> float:
    """What the lines are worth, 2 a leg."""
    return _worth(sample).lines


def stops(sample: Sample, context: RewardContext) -> float:
    """What departures and arrivals are worth, 2 a leg."""
    return _worth(sample).stops


def via_count(sample: Sample, context: RewardContext) -> float | None:
    """What the numbers of stops between are worth, 10 at most; of long questions that ask for them."""
    return _worth(sample).via_count if _asks_vias(sample) == "count" else None


def via_stops(sample: Sample, context: RewardContext) -> float | None:
    """What the names of stops between are worth, 10 at most; of long questions that ask for them."""
    return _worth(sample).via_stops if _asks_vias(sample) == "names" else None


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.score_long if t.score_short is None else t.score_short)


def _question(sample: Sample) -> Question:
    try:
        return msgspec.convert(dict(sample.prompt.columns), Question, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(f"the row is none of ReasonMap: {clause(error)}") from None


def _asks_vias(sample: Sample) -> Literal["count", "names"] | None:
    """What a question asks of the stops between those of a leg."""
    if _question(sample).category == "short":
        return None
    return "count" if _COUNT in sample.prompt.question else "names"


def _right(sample: Sample, category: str) -> float | None:
    asked = _question(sample)
    return float(_is_right([*_legs(sample)], asked)) if asked.category == category else None


def _worth(sample: Sample) -> Worth:
    """What the reply is worth compared with the plan for which it is worth most."""
    asked, legs, best = _question(sample), [*_legs(sample)], Worth()
    if not legs:
        return best
    bonus = _MOST[asked.category] if _is_right(legs, asked) else 0
    for plan in asked.routes.values():
        if plan is not None:
            worth = _compared(plan, legs, asked, _asks_vias(sample))
            worth = worth._replace(score=min(worth.score, _MOST[asked.category]) + bonus)
            best = worth if worth.score >= best.score else best
    return best


def _compared(plan: Sequence[Planned], legs: Sequence[Leg], asked: Question, vias: str | None) -> Worth:
    """What a route is worth compared with a plan, before the score is limited."""
    if not _leads(legs, asked):
        return Worth()
    for_lines = for_stops = 0
    for_count = named = 0.0
    in_both, in_either = set[str](), set[str]()  # names of stops between, of legs whose lines agree
    for leg, planned in zip(legs, plan, strict=False):
        agrees = _name(_line_of(planned, leg, asked)) == _name(leg.line)
        for_lines += 2 if agrees else 0
        departure, arrival = _stops_of(planned, asked)
        for_stops += int(_name(departure) == leg.departure) + int(_name(arrival) == leg.arrival)
        if vias == "count":
            for_count += _worth_of_count(leg.vias, planned.num_via_stops or 0)
        elif vias == "names":
            reply_vias = leg.vias.split(",") if "站" in leg.vias else []
            plan_vias = _vias_of(planned, asked)
            named += sum(via in plan_vias for via in reply_vias)
            if agrees:
                in_either |= {*reply_vias, *plan_vias}
                in_both |= {*reply_vias} & {*plan_vias}
    for_count = min(for_count, _MOST_VIAS)
    iou = len(in_both) / len(in_either) if in_either else 0.0
    for_names = (10 * iou + min(named, _MOST_VIAS)) / 2
    return Worth(1 + for_lines + for_stops + for_names + for_count, 1, for_lines, for_stops, for_count, for_names)


def _worth_of_count(text: str, stops: int) -> float:
    """What the number of stops between in a leg is worth: 4, less the share by which it is wrong."""
    match = re.search(r"\d+", text)
    number = int(match[0][:_MOST_DIGITS]) if match else 0
    error = abs(number - stops)
    if error >= stops:
        return 4.0 if error == 0 else 0.0
    return 4 - error / stops * 4


def _line_of(planned: Planned, leg: Leg, asked: Question) -> str:
    """The line of a plan's leg by its name on the map; outside China it is made from that of the reply."""
    if asked.country == "china":
        number = re.search(r"\d+", planned.route_name)
        return f"Line {int(number[0])}" if number else re.sub(r"\(.*?\)", "", planned.route_name).replace("地铁", "")
    match = next((match for pattern in _OWN_LINES if (match := pattern.search(leg.line))), None)
    if match is None:
        return leg.line
    is_b = match[1] == "B1" and asked.city == "rome" and match.re is _OWN_LINES[-1]
    return f"Line {'B' if is_b else match[1]}"


def _stops_of(planned: Planned, asked: Question) -> tuple[str, str]:
    """Departure and arrival of a plan's leg, with the word for a station."""
    word = "站" if asked.country == "china" else " Station"
    departure, arrival = planned.departure_stop, planned.arrival_stop
    if asked.country == "china" and asked.category == "long":
        return f"{departure.removesuffix(word)}{word}", f"{arrival.removesuffix(word)}{word}"
    if departure.endswith(word.strip()):
        return departure, departure
    return f"{departure}{word}", f"{arrival}{word}"


def _vias_of(planned: Planned, asked: Question) -> list[str]:
    """The stops between of a plan's leg; none outside China."""
    return [f"{each.removesuffix('站')}站" for each in planned.via_stops or ()] if asked.country == "china" else []


def _legs(sample: Sample) -> Iterator[Leg]:
    """The legs of a reply."""
    asked = _question(sample)
    text, vias = sample.text, _asks_vias(sample)
    for mark in _THOUGHTS:
        _, has_mark, after = text.rpartition(mark)
        text = after.strip() if has_mark else text
    for section in text.split("--"):
        if not all(part in section for part in (_NAME, _FROM, _TO)):
            continue
        line, departure, arrival = (next(between(section, f"{part} ", "\n"), None) for part in (_NAME, _FROM, _TO))
        if asked.category == "short":
            arrival = section.rpartition(_TO)[2].strip()
        vias_text = section.split(f"{_COUNT} " if vias == "count" else _VIAS)[-1].strip()
        yield Leg("Wrong" if line is None else line.strip(), _stop(departure), _stop(arrival), vias_text)


def _stop(text: str | None) -> str:
    """A stop of a reply as it is compared: cleaned twice, as published; a missing one is `wrong`."""
    return "wrong" if text is None else _name(_name(text))


def _leads(legs: Sequence[Leg], asked: Question) -> bool:
    """Whether a route begins and ends where it should."""
    return (legs[0].departure, legs[-1].arrival) == (_name(asked.station_1), _name(asked.station_2))


def _is_right(legs: Sequence[Leg], asked: Question) -> bool:
    if not legs or not _leads(legs, asked):
        return False
    joined = all(leg.arrival == after.departure for leg, after in pairwise(legs))
    return joined and all({leg.departure, leg.arrival} <= _stations(leg.line, asked) for leg in legs)


def _stations(line: str, asked: Question) -> set[str]:
    """The stations of a line as they are compared; none where the map has no such line."""
    branch = next((of for part, of in rewardmap._BRANCHES.items() if part in line), line)
    return {_name(rewardmap._plain(each)) for each in asked.json.get(branch) or ()}


def _name(stop: str) -> str:
    """A stop or a line as it is compared: no brackets, no spaces, small letters, and without `Metro`."""
    for sign in ("Metro", "metro", ",", "*", "\n"):
        stop = stop.replace(sign, "")
    stop = rewardmap._BRACKETS.sub(lambda found: "" if found[1] else found[0], stop)
    return re.sub(r"[\s\-]+", "", stop).lower()
