"""Replies that are there to cost time or to break a reward: every term gives a number, and within a second."""

import asyncio
import inspect
import math
import time
from contextlib import suppress
from functools import cache

import msgspec
import pytest
from rewards.prompts import prompt

from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext, UnscoredError
from virc.rewards.sample import Sample, sample

LENGTH = 30_000
OPEN = (
    "<answer>", "<think>", "<tool_call>", "</think>", "</answer>", "</think><answer>", "<answer></think>",
    "<output>", "{", '{"bbox": ', '{"bbox_2d":[', "[[", "(", "（", r"\boxed{", r"\text{", "oxed{", "Route Name: ",
    "-", "9", "(1,1),", " ", "\n", "<", "1 ",
)  # fmt: skip
BEFORE = (
    "", "<think>", "<think>a</think><answer>", r"<think></think>\boxed{", r"\boxed{\text{a}",
    "Route Name: a\nDeparture Stop: a\nArrival Stop: ", "<output>",
    "Route Name: 1\nDeparture Stop: a\nArrival Stop: b\nVia Stops: 站", "Route Name: Metro ",
)  # fmt: skip
REPLIES = [f"{before}{part * (LENGTH // len(part))}" for before in BEFORE for part in OPEN]
COLUMNS = {
    "boxes": [[10, 10, 60, 60]], "data_source": "vision_g1_bbox", "published_data_source": "JigsawQA",
    "type": "planning", "difficulty_city": "easy", "station_1": "a", "station_2": "b", "question_transfer_count": 1,
    "json": {"1": ["a", "b"]}, "keywords": ["a"], "answers": ["a"], "task": "detection", "dataset": "tallyqa",
    "category": "long", "programmability": "high", "csv": "a,b\n1,2",
    "country": "china", "city": "wuhan",
    "routes": {"1": [{"route_name": "1", "departure_stop": "a", "arrival_stop": "b", "via_stops": ["c"]}]},
}  # fmt: skip
ANSWERS = {"vla_r1": "[[1,2],[30,40]]", "grit": "2"}
"""Right answers of rewards that take no box; that of the others is one."""
TERMS, TOTALS = rewards.discover()
SCORED = {f"{each.file.stem}.{each.name}": each for each in (*TERMS, *(each for of in TOTALS for each in of.terms))}
"""Each term once; without a judge, as far as it goes."""
BROAD = [
    form.format("9" * digits)
    for digits in (9, 200, 400, 5000)
    for form in (
        "<answer>(0,0),({0},{0})</answer>",
        r"\boxed{{[0,0,{0},{0}]}}",
        "<think>a</think><answer>[0,0,{0},{0}]</answer>",
        '<answer>[{{"Position":[0,0,{0},{0}],"Confidence":{0}}}]</answer>',
        "<output>[[0,0],[{0},{0}]]</output>",
    )
]
"""Boxes and paths of long numbers."""
LEGS = "Route Name: 1\nDeparture Stop: a\nArrival Stop: b\nVia Stops: c站,c站\n--" * (LENGTH // 70)
"""A route of hundreds of legs."""
LONG = f"<output>[{'[0,1],' * (LENGTH // 6)}[1,0]]</output>"
"""A path of thousands of points."""
BEFORE_RETHINK = [f"{part * (LENGTH // len(part))}<rethink>" for part in ("1,", "1, ", "1,1,1,1 ", "1,\n\n", "9")]
"""Boxes in GRIT's thoughts, and what is nearly one."""
MEANS = RewardContext(token_ids=lambda text: [*text.encode()])


def of_term(name: str, every: int) -> list[Sample]:
    return samples(ANSWERS.get(SCORED[name].file.stem, "[1,2,30,40]"), every)


@cache
def samples(right: str, every: int) -> list[Sample]:
    """Every reply, to a row that terms take; what it says is read once for all terms with this right answer."""
    known = prompt(right=right, reference="<think>a</think><answer>5</answer>", **COLUMNS)
    known = msgspec.structs.replace(known, record=msgspec.structs.replace(known.record, id="vg-1"))
    return [sample(reply, known) for reply in (*REPLIES[::every], *BROAD[::every], LEGS, LONG, *BEFORE_RETHINK)]


async def value(term: rewards.Term, read: Sample) -> float | None:
    with suppress(UnscoredError):
        found = term.score(read, MEANS)
        return await found if inspect.isawaitable(found) else found
    return None


@pytest.mark.parametrize(
    ("names", "every"), [([*SCORED], 60), *(pytest.param([each], 1, marks=pytest.mark.integration) for each in SCORED)]
)
def test_no_reply_takes_long_or_breaks_a_term(names: list[str], every: int) -> None:
    """All replies at night; at every change a few of them."""
    with asyncio.Runner() as runner:
        for name, read in [(each, read) for each in names for read in of_term(each, every)]:
            start = time.process_time()
            found = runner.run(value(SCORED[name], read))
            assert time.process_time() - start < 1, read.text[:100]
            assert found is None or math.isfinite(found), read.text[:100]
