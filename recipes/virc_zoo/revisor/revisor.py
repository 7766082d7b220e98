r"""The reward of REVISOR: a right answer, one that the part of the clip that it looked at allows, and the form.

    questions:  0.6 * right + 0.3 * second + 0.1 * looked - 0.1 * malformed
    spans:      overlap - 0.1 * malformed

    right: the letter of the last <answer> is that of the row; wrong where it has 1,000 characters or more
    second: the same of the reply that the model gave to the frames of its first look alone (`second_reply`)
    looked: its environment gave frames for an interval, be it that of the last reply, whose frames nobody sees
    malformed: thoughts, answers or intervals are not in pairs, or lack; those of spans behind the last thought
    overlap: of the last interval with that of the row, over the span around both; 1 where both are one point

Source: SeerRay-Lab/REVISOR@7bc36fa, verl/utils/reward_score/vl_agent.py, compute_video_score_ours and
compute_temporal_grounding, with the rewards of video_tool_new_v1.py, which naive.py adds. What differs: several looks
are worth 0.1 together, and how long the clip is does not matter to that of the last reply.
"""

import re
from typing import Any

from virc.data.rows.record import MARK
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.rollouts import before_reply, of_last_reply

TERMS = ("right", "second", "looked", "overlap", "malformed")
whole = of_last_reply
_LONG = 1000
_LETTER = re.compile(r"([a-z])[.,)]?\s*.*|\(([a-z])\)\s*.*")
_SPAN = re.compile(r"\[\s*([\d.]{1,20})\s*,\s*([\d.]{1,20})\s*\]")
_INTERVAL = ("<time_interval>", "</time_interval>")
_CALL = re.compile(rf"{_INTERVAL[0]}\s*{_SPAN.pattern}\s*{_INTERVAL[1]}")
_ANSWER = re.compile(r"<answer>.+?</answer>", re.DOTALL)
_LEAST = 2  # seconds


def right(sample: Sample, context: RewardContext) -> float | None:
    """Whether the answer has the letter of the row: 1 or 0; None of a span."""
    answer = _last(_written(sample), "<answer>", "</answer>")
    return None if _is_span(sample) else _same(answer, sample) * (len(answer) < _LONG)


def second(sample: Sample, context: RewardContext) -> float | None:
    """Whether the reply to the frames of the first look alone has it: 1 or 0; None of a span."""
    return None if _is_span(sample) else _same(str(sample.prompt.columns.get("second_reply") or ""), sample)


def looked(sample: Sample, context: RewardContext) -> float | None:
    """Whether an interval was shown, or read for the last reply: 1 or 0; None of a span."""
    shown = any(MARK in each.content for each in before_reply(sample))
    last = None if _ANSWER.search(sample.text) else _CALL.search(sample.text)
    try:
        read = last is not None and float(last[2]) - float(last[1]) >= _LEAST
    except ValueError:
        read = False
    return None if _is_span(sample) else float(shown or read)


def overlap(sample: Sample, context: RewardContext) -> float | None:
    """The overlap of the last interval with the row's, 0 to 1; None of a question."""
    if not _is_span(sample):
        return None
    found, wanted = (
        _SPAN.search(each) for each in (_last(_written(sample), *_INTERVAL), sample.prompt.record.answer or "")
    )
    try:
        (start, end), (first, last) = ((float(each[1]), float(each[2])) for each in (found, wanted) if each)
    except ValueError:
        return 0.0
    around = max(end, last) - min(start, first)
    return max(0.0, min(end, last) - max(start, first)) / around if around > 0 else 1.0


def malformed(sample: Sample, context: RewardContext) -> float:
    """Whether marks are not in pairs, or lack: 1 or 0."""
    text, is_span = _written(sample), _is_span(sample)
    behind = text.split("</think>")[-1]
    intervals = behind if is_span else text
    counts = [(intervals.count("<time_interval>["), intervals.count("]</time_interval>"))]
    answers = () if is_span else ((behind.count("<answer>"), behind.count("</answer>")),)
    is_paired = all(opened == closed > 0 for opened, closed in (*counts, *answers))
    is_long = not is_span and len(_last(text, "<answer>", "</answer>")) >= _LONG
    return float(not is_paired or is_long or text.count("<think>") != text.count("</think>"))


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    if t.overlap is not None:
        return float(t.overlap - 0.1 * t.malformed)
    return float(0.6 * t.right + 0.3 * t.second + 0.1 * t.looked - 0.1 * t.malformed)


def _is_span(sample: Sample) -> bool:
    return bool(_SPAN.fullmatch((sample.prompt.record.answer or "").strip()))


def _written(sample: Sample) -> str:
    """What the model wrote and was shown behind the question, as one text."""
    return "\n".join((*(each.content for each in before_reply(sample)), sample.text))


def _last(text: str, opening: str, closing: str) -> str:
    """What stands behind the last opening mark, up to the next closing one; without them all of the text."""
    return text.rsplit(opening, maxsplit=1)[-1].split(closing, maxsplit=1)[0].strip()


def _same(answer: str, sample: Sample) -> float:
    letters = [
        _LETTER.fullmatch(each.strip().lower())
        for each in (answer.replace("Answer: ", ""), sample.prompt.record.answer or "")
    ]
    named = {each[1] or each[2] for each in letters if each}
    return float(all(letters) and len(named) == 1)
