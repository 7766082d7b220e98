r"""The reward of FrameThinker: the right letter in a rollout that follows all rules, and a little more for looking.

    followed * right * (1 + 0.02 * chosen + 0.5 * timed)

    followed: there are as many thoughts as actions, the last of which answers; no frames are chosen twice, nor those
        just inside of them; at least 9 frames lie apart; the last two bare numbers of the thought are those of the
        choice; a time is asked for once, and its frame lies in the next choice
    right: the answer is the row's
    chosen: frames were chosen
    timed: a time was asked for whose frame is not the first, and the question has one

Source: lcqysl/FrameThinker-RL@3c917f3, verl/utils/reward_score/think_with_video_reward.py, v11. What differs: the first
choice that is taken is that of the whole clip, from 0 to its last frame, which is there the column `total_frames` less
one, here the last frame that was shown first where a row lacks it; where the program raises, the reward is 0.
"""

import re
from typing import Any, NamedTuple

from virc.reasoning.media import PLACES
from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.deepeyes.deepeyes import completion
from virc_zoo.delimiters import between
from virc_zoo.rollouts import of_last_reply

TERMS = ("followed", "right", "chosen", "timed")
whole = of_last_reply
_CHOICE = re.compile(r"choose frames between (\d{1,9}) and (\d{1,9})")
_TIME = re.compile(r"get frame number at time\s+(\d{1,3}:\d{2})")
_NUMBER = re.compile(r"is:\s*(\d{1,9})")
_ANSWER = re.compile(r"output answer:\s*(\S+)")
_BARE = re.compile(r"(?<!:)\b(\d+)\b(?!:)")
_CLOCK = re.compile(r"\d:\d")
_LEAST = 8  # frames apart


class _Looks(NamedTuple):
    """What a rollout that follows the rules did: the last frame that it chose, and that of a time, 0 without one."""

    answer: str
    chosen: int
    timed: int


def followed(sample: Sample, context: RewardContext) -> float:
    """Whether the rollout follows all rules: 1 or 0."""
    return float(_looks(sample) is not None)


def right(sample: Sample, context: RewardContext) -> float:
    """Whether the answer is that of the row, to the letter: 1 or 0."""
    looks = _looks(sample)
    return float(looks is not None and looks.answer == sample.prompt.record.answer)


def chosen(sample: Sample, context: RewardContext) -> float:
    """Whether frames were chosen: 1 or 0."""
    looks = _looks(sample)
    return float(looks is not None and looks.chosen > 0)


def timed(sample: Sample, context: RewardContext) -> float:
    """Whether a time was asked for that the question may be about: 1 or 0."""
    looks = _looks(sample)
    return float(looks is not None and looks.timed > 0 and _CLOCK.search(sample.prompt.question) is not None)


def _looks(sample: Sample) -> _Looks | None:
    """What the rollout did; None: it breaks a rule."""
    text = completion(sample)
    thoughts, actions = [*between(text, "<think>", "</think>")], [*between(text, "<action>", "</action>")]
    told = [*between(text, "</action>", "<think>")]
    answer = _ANSWER.match(actions[-1].strip()) if actions else None
    if answer is None or len(thoughts) != len(actions):
        return None
    taken, times, due = {(0, _last_frame(sample))}, set[str](), None
    last = furthest = 0
    for at, action in enumerate(actions[:-1]):
        choice, time = _CHOICE.match(action.strip()), _TIME.match(action.strip())
        if choice:
            pair = int(choice[1]), int(choice[2])
            bare = [int(each[-9:]) for each in _BARE.findall(thoughts[at])[-2:]]
            is_apart = pair[0] < pair[1] - _LEAST and pair not in taken
            if not is_apart or bare != [*pair] or (due is not None and not pair[0] <= due <= pair[1]):
                return None
            taken |= {pair, (pair[0] + 1, pair[1] - 1)}
            last, due = pair[1], None
        elif time:
            number = _NUMBER.search(told[at]) if at < len(told) else None
            if number is None or time[1] in times:
                return None
            times.add(time[1])
            due = int(number[1])
            furthest = max(furthest, due)
        else:
            return None
    return None if due is not None else _Looks(answer[1], last, furthest)


def _last_frame(sample: Sample) -> int:
    columns = sample.prompt.columns
    shown = [each["frame"] for each in columns.get(PLACES) or () if each and "frame" in each]
    total = columns.get("total_frames")
    return total - 1 if isinstance(total, int) else max(shown, default=-1)


def total(t: Any) -> float:
    """The reward of the rollout up to and with this reply."""
    return float(t.followed * t.right * (1 + 0.02 * t.chosen + 0.5 * t.timed))
