r"""The score of ReasonMap: whether a route on a transit map is right, and how much of it is as an app plans it.

Rows are of the `category` `short` or `long`, by their question. A reply is legs, which `--` separates, each with lines
`Route Name: `, `Departure Stop: ` and `Arrival Stop: `; behind the end of a thought, where it has one. A route is right
that leads from `station_1` to `station_2` by stops of the lines it names (`json`: line -> its stations), each leg from
where the one before arrived.

`routes` are the plans of an app. Of a route that begins and ends rightly, each plan gives 1. Each leg is
compared with the plan's: 2 for its line, and 1 for each of both stops; at most 10 for a short question, and 10 more if
the route is right. For a long question, at most 20 and 20 more, either the number of stops between is worth 4 a leg,
less in the share by which it is wrong, at most 10; or, if their names are asked, half of the names that the plan has,
at most 10, and half of ten times the IoU of all names of legs whose lines agree. The best plan counts, of equal ones
the last.

As published, with its quirks:

- Outside China the plan's line is not read, but made from the reply's own: `Line ` and its first one or two letters or
  digits, behind `Metro` or `Linea` where it has that. It agrees with itself rarely, as in `Line Metro A`.
- Where a plan's departure ends in the word for a station, its departure is also its arrival; in China of short
  questions alone.
- Names of stops between are compared letter by letter, with the space behind a comma, and only where 站 is in them.
- The number of stops between is the first number of a leg that does not say it.
- A row without plans is worth 0, though a route is right.

Weights by difficulty are published as `weight = 1 # TODO`: they are to be supplied, and all routes count alike here.
Source: fscdc/ReasonMap at e68dd65, main.py (`Evaluation pipeline` of both questions) and `clean_string` of tools.py.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from virc.core.errors import DataError
from virc.core.text import clause
from virc.rewards.delimiters import between
from virc_zoo.rewardmap import rewardmap

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

TERMS = (
    "right_short", "right_long", "score_short", "score_long", "ends", "lines", "stops", "via_count", "via_stops",
)  # fmt: skip
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
    """A part of a route as it is written: its stops as they are compared, and what is said of those between."""

    line: str
    departure: str
    arrival: str
    vias: str


class Worth(NamedTuple):
    """What a route is worth compared with a plan, by what it is worth it for."""

    score: float = 0.0
    ends: float = 0.0
    lines: float = 0.0
    stops: float = 0.0
    via_count: float = 0.0
    via_stops: float = 0.0


def right_short(sample: "Sample", means: "Means") -> float | None:
    """Whether the route is right: 1 or 0; of short questions."""
    return _right(sample, "short")


def right_long(sample: "Sample", means: "Means") -> float | None:
    """Whether the route is right: 1 or 0; of long questions."""
    return _right(sample, "long")


def score_short(sample: "Sample", means: "Means") -> float | None:
    """The score of a short question, 20 at most."""
    return _worth(sample).score if _question(sample).category == "short" else None


def score_long(sample: "Sample", means: "Means") -> float | None:
    """The score of a long question, 40 at most."""
    return _worth(sample).score if _question(sample).category == "long" else None


def ends(sample: "Sample", means: "Means") -> float:
    """Whether the route begins and ends rightly: 1 or 0."""
    return _worth(sample).ends


def lines(sample: "Sample", means: "Means") -> float:
    """What the lines are worth, 2 a leg."""
    return _worth(sample).lines


def stops(sample: "Sample", means: "Means") -> float:
    """What departures and arrivals are worth, 2 a leg."""
    return _worth(sample).stops


def via_count(sample: "Sample", means: "Means") -> float | None:
    """What the numbers of stops between are worth, 10 at most; of long questions that ask for them."""
    return _worth(sample).via_count if _asks_vias(sample) == "count" else None


def via_stops(sample: "Sample", means: "Means") -> float | None:
    """What the names of stops between are worth, 10 at most; of long questions that ask for them."""
    return _worth(sample).via_stops if _asks_vias(sample) == "names" else None


def total(t: Any) -> float:
    """The reward of the reply."""
    return float(t.score_long if t.score_short is None else t.score_short)


def whole(units: Sequence[float], t: Any) -> float:
    """The reward of a rollout, which is one reply."""
    return units[-1]


def _question(sample: "Sample") -> Question:
    try:
        return msgspec.convert(dict(sample.prompt.columns), Question, strict=False)
    except msgspec.ValidationError as error:
        raise DataError(f"the row is none of ReasonMap: {clause(error)}") from None


def _asks_vias(sample: "Sample") -> Literal["count", "names"] | None:
    """What a question asks of the stops between those of a leg."""
    if _question(sample).category == "short":
        return None
    return "count" if _COUNT in sample.prompt.question else "names"


def _right(sample: "Sample", category: str) -> float | None:
    asked = _question(sample)
    return float(_is_right([*_legs(sample)], asked)) if asked.category == category else None


def _worth(sample: "Sample") -> Worth:
    """What the reply is worth compared with the plan for which it is worth most."""
    asked, legs, best = _question(sample), [*_legs(sample)], Worth()
    if not legs:
        return best
    bonus = _MOST[asked.category] * _is_right(legs, asked)
    for plan in asked.routes.values():
        if plan is not None:
            found = _beside(plan, legs, asked, _asks_vias(sample))
            found = found._replace(score=min(found.score, _MOST[asked.category]) + bonus)
            best = found if found.score >= best.score else best
    return best


def _beside(plan: Sequence[Planned], legs: Sequence[Leg], asked: Question, vias: str | None) -> Worth:
    """What a route is worth compared with a plan, before it is limited."""
    if not _leads(legs, asked):
        return Worth()
    on_lines = at_stops = 0
    count = named = 0.0
    both, either = set[str](), set[str]()
    for leg, meant in zip(legs, plan, strict=False):
        agrees = _name(_line_of(meant, leg, asked)) == _name(leg.line)
        on_lines += 2 * agrees
        departure, arrival = _stops_of(meant, asked)
        at_stops += (_name(departure) == leg.departure) + (_name(arrival) == leg.arrival)
        if vias == "count":
            count += _counted(leg.vias, meant.num_via_stops or 0)
        elif vias == "names":
            own, known = leg.vias.split(",") if "站" in leg.vias else [], _vias_of(meant, asked)
            named += sum(each in known for each in own)
            if agrees:
                either |= {*own, *known}
                both |= {*own} & {*known}
    count = min(count, _MOST_VIAS)
    by_names = (10 * (len(both) / len(either) if either else 0.0) + min(named, _MOST_VIAS)) / 2
    return Worth(1 + on_lines + at_stops + by_names + count, 1, on_lines, at_stops, count, by_names)


def _counted(said: str, stops: int) -> float:
    """What the number of stops between is worth in one leg: 4, less the share by which it is wrong."""
    number = re.search(r"\d+", said)
    wrong = abs((int(number[0][:_MOST_DIGITS]) if number else 0) - stops)
    return 4.0 * (wrong == 0) if wrong >= stops else 4 - wrong / stops * 4


def _line_of(meant: Planned, leg: Leg, asked: Question) -> str:
    """The line of a plan's leg by its name on the map; outside China it is made from that of the reply."""
    if asked.country == "china":
        number = re.search(r"\d+", meant.route_name)
        return f"Line {int(number[0])}" if number else re.sub(r"\(.*?\)", "", meant.route_name).replace("地铁", "")
    found = next((own for pattern in _OWN_LINES if (own := pattern.search(leg.line))), None)
    if found is None:
        return leg.line
    is_b = found[1] == "B1" and asked.city == "rome" and found.re is _OWN_LINES[-1]
    return f"Line {'B' if is_b else found[1]}"


def _stops_of(meant: Planned, asked: Question) -> tuple[str, str]:
    """Departure and arrival of a plan's leg, with the word for a station."""
    word = "站" if asked.country == "china" else " Station"
    departure, arrival = meant.departure_stop, meant.arrival_stop
    if asked.country == "china" and asked.category == "long":
        return f"{departure.removesuffix(word)}{word}", f"{arrival.removesuffix(word)}{word}"
    if departure.endswith(word.strip()):
        return departure, departure
    return f"{departure}{word}", f"{arrival}{word}"


def _vias_of(meant: Planned, asked: Question) -> list[str]:
    """The stops between those of a plan's leg; in China alone are there some."""
    return [f"{each.removesuffix('站')}站" for each in meant.via_stops or ()] if asked.country == "china" else []


def _legs(sample: "Sample") -> Iterator[Leg]:
    """The legs of a reply."""
    asked = _question(sample)
    text, vias = sample.text, _asks_vias(sample)
    for mark in _THOUGHTS:
        _, found, behind = text.rpartition(mark)
        text = behind.strip() if found else text
    for section in text.split("--"):
        if not all(part in section for part in (_NAME, _FROM, _TO)):
            continue
        line, departure, arrival = (next(between(section, f"{part} ", "\n"), None) for part in (_NAME, _FROM, _TO))
        if asked.category == "short":
            arrival = section.rpartition(_TO)[2].strip()
        said = section.split(f"{_COUNT} " if vias == "count" else _VIAS)[-1].strip()
        yield Leg("Wrong" if line is None else line.strip(), _stop(departure), _stop(arrival), said)


def _stop(said: str | None) -> str:
    """A stop of a reply as it is compared: it is cleaned twice, and one that is not said is `wrong`."""
    return "wrong" if said is None else _name(_name(said))


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
