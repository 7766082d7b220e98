r"""The reward of RewardMap: the answer, parts of the route, and more of both the harder the map and the question are.

    (10 * right + 0.5 * route) * difficulty

`right` depends on the `type` of the row:

- TorF1, TorF2: the reply is yes if the row's answer is 1, else no;
- Counting2, Counting3: the reply is the number;
- Counting1: the reply is the letter whose place, from 0, is the row's answer;
- planning: the reply is a list of legs, which `--` separates, each with the lines `Route Name: `, `Departure Stop: `
  and `Arrival Stop: `. The route is right if it leads from `station_1` to `station_2` by stops of the lines it names,
  and each leg departs where the one before arrived.

`route` is for planning only. A route that begins or ends wrongly gets 0. Otherwise it gets 2; 3 for each line that the
map has (in rows without a change, 4 for a line that both stations are on); 1 for each change at one stop; -5 for each
leg in excess of the number of changes; at most 10. So a right route, which has one more leg than changes, always loses
5, as published.
`difficulty` is 1, 1.2 or 1.5 by the row's `difficulty_city`, and 0.5 more for planning with a change.

The map is the row's `json`: line -> its stations. A row that lacks a column or has another type of value ends the run.
Source: fscdc/RewardMap, verl/utils/reward_score/reason_map.py, the answer of reasonmap_utils.py next to it, and
verl/workers/reward/custom.py.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from virc.core.errors import DataError
from virc.core.text import clause, plain
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("right", "route", "difficulty")
whole = of_last_reply
_CITIES = {"easy": 1.0, "middle": 1.2, "hard": 1.5}
_LEADS = ("final answer is", "answer is", "correct answer is", "answer should be")
_BOX = re.compile(r"oxed{(.*)}", re.DOTALL)
_SIGNS = (
    "\n", "\\text", "\\mbox", "\\left", "\\right", "^{\\circ}", "^\\circ", "{m}^3", "m^3", "{units}", "units",
    "{km}", "km", "\\!", "\\$", "$", "\\%",
)  # fmt: skip
_SPELLINGS = (
    ("Metro", ""), ("metro", ""), (",", ""), ("*", ""), ("\n", ""), ("'", ""), ("Univ.", "University"),
    ("Univ", "University"), ("Tech.", "Technology"), ("Tech", "Technology"), ("road", "lu"), ("Road", "lu"),
    ("Station", ""), ("station", ""), ("Asian Games Village", "yayuncun"),
)  # fmt: skip
_BRACKETS = re.compile(r"[(（][^)）]*([)）]?)")  # to the end where it is not closed: it is looked through once
_KINDS_OF_STATIONS = (" (Transfer Station)", " (Branch-starting Station)", "（换乘站）", "（支线起始站）")
_BRANCHES = {"八通": "Line 1", "大兴": "Line 4"}
_PARTS = ("Route Name:", "Departure Stop:", "Arrival Stop:")


class Question(msgspec.Struct, frozen=True):
    """What a row of ReasonMap-Train holds in addition to its question."""

    type: str
    difficulty_city: Literal["easy", "middle", "hard"]


class Plan(Question, frozen=True):
    """The same of a row that asks for a route."""

    station_1: str
    station_2: str
    question_transfer_count: Annotated[int, Meta(ge=0)]
    json: Mapping[str, Sequence[str]]


class Leg(msgspec.Struct, frozen=True):
    """A part of a route as it is written: the line, and both stops as they are compared."""

    line: str
    departure: str
    arrival: str


def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer or the route is right: 1 or 0."""
    asked = _question(sample)
    if isinstance(asked, Plan):
        return float(_is_right([*_legs(sample.text, exact=True)], asked))
    short_answer, answer = _short_answer(sample.text), sample.prompt.key.answer
    if "TorF" in asked.type:
        return float(short_answer == ("yes" if answer == "1" else "no"))
    if asked.type == "Counting1":
        return float(short_answer in tuple("abcd") and answer == str("abcd".index(short_answer)))
    if asked.type not in ("Counting2", "Counting3"):
        raise DataError(f"RewardMap has no rows of the type {plain(asked.type, 40)!r}")
    with suppress(ValueError):
        return float(int(short_answer) == int(answer))
    return 0.0


def route(sample: Sample, context: RewardContext) -> float | None:
    """What parts of a route are worth, 10 at most; of planning only."""
    asked = _question(sample)
    if not isinstance(asked, Plan):
        return None
    legs, lines, changes = [*_legs(sample.text, exact=False)], _lines(asked), asked.question_transfer_count
    if not _leads(legs, asked):
        return 0.0
    both_ends = {_name(asked.station_1), _name(asked.station_2)}
    worth = 2.0 - 5 * max(0, len(legs) - changes)
    for number, leg in enumerate(legs, 1):
        if leg.line not in lines:
            continue
        stations = lines[leg.line]
        if changes:
            worth += 3
        elif both_ends <= set(stations):
            worth += 4
        is_change = number < len(legs) and _is_on(leg, stations) and leg.arrival == legs[number].departure
        if is_change and number <= changes:
            worth += 1
    return min(worth, 10.0)


def difficulty(sample: Sample, context: RewardContext) -> float:
    """The factor of the reward for the map and the question: 1 to 2."""
    asked = _question(sample)
    has_change = isinstance(asked, Plan) and asked.question_transfer_count > 0
    return _CITIES[asked.difficulty_city] + (0.5 if has_change else 0.0)


def total(t: Any) -> float:
    """The reward of the reply."""
    return float((10 * t.right + 0.5 * (t.route or 0.0)) * t.difficulty)


def _question(sample: Sample) -> Question | Plan:
    columns = dict(sample.prompt.columns)
    try:
        return msgspec.convert(columns, Plan if "planning" in str(columns.get("type")) else Question)
    except msgspec.ValidationError as error:
        raise DataError(f"the row is none of ReasonMap-Train: {clause(error)}") from None


def _short_answer(text: str) -> str:
    """The text in the last box, or after words such as `the answer is`, without signs and units."""
    if "oxed{" not in text:
        for lead in (f"{article} {words}" for words in _LEADS for article in ("the", "The")):
            _, has_lead, after = text.rpartition(lead)
            text = after.strip()
            if has_lead:
                text = text.split("\n")[0].split(". ")[0]
    elif text.count("oxed{") > 1:
        text = "oxed{" + text.rpartition("oxed{")[2]
    text = text.lower().replace("{}", "")
    boxed = _BOX.search(text)
    text = boxed[1] if boxed else text
    before, brace, _ = text.partition("}")
    if brace and "{" not in before:
        text = before
    text = text.split("=")[-1].split("\\approx")[-1].replace(" ", "").replace("\\,", "").replace("\\\\", "\\")
    for sign in _SIGNS:
        text = text.replace(sign, "")
    return text.rstrip(".").lstrip(":").strip()


def _legs(text: str, exact: bool) -> Iterator[Leg]:
    """The legs of a route; `exact`: only those that name their parts in the letter case of the prompt."""
    for section in text.split("--"):
        named = section if exact else section.lower()
        if not all((part if exact else part.lower()) in named for part in _PARTS):
            continue
        line, departure = (next(between(section, f"{part} ", "\n"), None) for part in _PARTS[:2])
        yield Leg(
            _branch("Wrong" if line is None else line.strip()),
            "wrong" if departure is None else _name(_name(departure)),
            _name(_name(section.rpartition(_PARTS[2])[2].strip())),
        )


def _branch(line: str) -> str:
    """The name that the map has for a line: a branch goes under the name of its main line."""
    return next((main_line for branch, main_line in _BRANCHES.items() if branch in line), line)


def _leads(legs: Sequence[Leg], asked: Plan) -> bool:
    """Whether a route begins and ends where it should."""
    return bool(legs) and (legs[0].departure, legs[-1].arrival) == (_name(asked.station_1), _name(asked.station_2))


def _is_right(legs: Sequence[Leg], asked: Plan) -> bool:
    lines = _lines(asked)
    joined = all(leg.arrival == after.departure for leg, after in pairwise(legs))
    return _leads(legs, asked) and joined and all(_is_on(leg, lines.get(leg.line, ())) for leg in legs)


def _is_on(leg: Leg, stations: Sequence[str]) -> bool:
    """Whether both stops of a leg are among these."""
    return leg.departure in stations and leg.arrival in stations


def _lines(asked: Plan) -> dict[str, list[str]]:
    """The stations of each line as they are compared."""
    return {line: [_name(_plain(each)) for each in stations] for line, stations in asked.json.items()}


def _plain(station: str) -> str:
    """The name of a station of the map without its kind, such as ` (Transfer Station)`."""
    for kind in _KINDS_OF_STATIONS:
        station = station.replace(kind, "")
    return station


def _name(stop: str) -> str:
    """A stop as it is compared: one spelling, no brackets, no spaces, small letters."""
    for written, kept in _SPELLINGS:
        stop = stop.replace(written, kept)
    stop = _BRACKETS.sub(lambda found: "" if found[1] else found[0], stop.removesuffix("站"))
    return re.sub(r"[\s\-]+", "", stop).lower()
