"""Spans of time in answers: how they are written, and what published measures make of them."""

import asyncio

import pytest
from support.tables import each_case

from virc.data.rows.record import Record
from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.sample import prompt_of, sample
from virc.systems.registry import Reward
from virc_extras.video.spans import ends_iou, hull_iou, span_of


@each_case(
    ("text", "span"),
    [
        ("3.5 - 8.0 seconds", (3.5, 8)), ("from 0:12 to 1:02.5", (12, 62.5)), ("8 and 3", (3, 8)), ("1s-2s", (1, 2)),
        ('{"start_time": "3.5", "end_time": "8"}', (3.5, 8)), ('[{"start": 3, "end": 8.25}]', (3, 8.25)),
        ("[1:00:00, 1:00:30]", (3600, 3630)), ("[3, 8]", (3, 8)), ('["0:03", "0:08"]', (3, 8)),
        ("It falls in 9 scenes. <time_interval>[3.0, 8.0]</time_interval>", (3, 8)),
        ("3.5", None), ("1 to 2, or 4 to 5", None), ("", None), ('{"start": 3}', None), ("frames a to b", None),
    ],
)  # fmt: skip
def test_a_span_is_read_in_any_unit(text: str, span: tuple[float, float] | None) -> None:
    assert span_of(text) == span


# what iou_timestamp_reward_v2 of Time-R1 and temporal_iou of Temporal-R1 give for (4, 12) and a clip of 20 s
@each_case(
    ("found", "ends", "hull"),
    [((4.0, 12.0), 1, 1), ((4.0, 8.0), 0.4, 0.5), ((8.0, 30.0), 4 / 26 * 0.8 * 0.1, 4 / 26),
     ((4.0, 40.0), -0.0888888889, 8 / 36), ((12.0, 20.0), 0, 0), ((12.0, 4.0), 0, 0), ((4.0, 4.0), 0, 0)],
)  # fmt: skip
def test_spans_are_measured_as_published(found: tuple[float, float], ends: float, hull: float) -> None:
    assert ends_iou(found, (4, 12), 20) == pytest.approx(ends)
    assert hull_iou(found, (4, 12)) == pytest.approx(hull)
    assert hull_iou((4, 4), (4, 4)) == 0


@each_case(
    ("text", "values"),
    [("<think></think><answer>0:04 to 0:08</answer>", [0.5, 0.4]), ("<think></think><answer>soon</answer>", [0, 0])],
)
def test_terms_of_a_reward_compare_spans(text: str, values: list[float]) -> None:
    total = rewards.of(Reward(total="weighted", weights={"span_iou": 1, "span_iou_ends": 1}))
    prompt = prompt_of(Record(question="When?", answer="[4, 12]", extra={"duration": 20}))
    scored = asyncio.run(rewards.score(sample(text, prompt), total, RewardContext()))
    assert [scored.terms[name] for name in ("span_iou", "span_iou_ends")] == pytest.approx(values)
