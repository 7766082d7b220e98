"""The reward of STAR-R1: the format, parts of each change that are right, less for guesses and for silence.

    R = framed + sum over the changes that were said of 5, 1.5, 0.5 or 0 - wrong - missed

5 for a change that is right, 1.5 where its value alone is wrong, 0.5 where its object alone is right. An answer lists
changes as `index.attribute.value`; one that is written twice counts once, and a right one is taken by one of the answer
alone, by that which agrees in most parts. `framed` is that of `visual_rft`.
Source: arXiv:2505.15804 (STAR-R1), R_pos and R_pun, as a note on its version of CVPR 2026 has them; no code of
its authors was found. Assumed: what is right in parts is no wrong object, and what counts twice.
"""

import re
from typing import Any

from virc.rewards.context import RewardContext
from virc.rewards.sample import Sample
from virc_zoo.rollouts import of_last_reply
from virc_zoo.visual_rft import visual_rft

TERMS = ("framed", "matched", "wrong_objects", "missed_changes")
whole = of_last_reply
Change = tuple[str, str, str]
"""An object's number, which of its attributes changed, and to what or by how much (front-left.2), in small letters."""
_WORTH = (0.0, 0.5, 1.5, 5.0)
_PRICE = 1.0
_WRITTEN = re.compile(r"(?<![\w.])(\d+)\.([a-z]+)\.([a-z]+(?:[_-][a-z]+)*(?:\.\d+(?!\.\w))?)\b", re.IGNORECASE)
framed = visual_rft.framed


def matched(sample: Sample, context: RewardContext) -> float:
    """What the parts that are right are worth: 0 to 5 times the number of right changes."""
    return sum(_WORTH[parts] for parts in _agreeing(sample))


def wrong_objects(sample: Sample, context: RewardContext) -> float:
    """How many changes were said of objects that did not change so."""
    return float(_agreeing(sample).count(0))


def missed_changes(sample: Sample, context: RewardContext) -> float:
    """By how many changes the answer has too few."""
    return float(max(0, len(changes(sample.prompt.key.answer)) - len(changes(sample.answer))))


def changes(text: str | None) -> list[Change]:
    """The changes in a text, each once, in their order."""
    found = _WRITTEN.findall((text or "").lower())
    return list(dict.fromkeys((index, attribute, value) for index, attribute, value in found))


def _agreeing(sample: Sample) -> list[int]:
    """For each change that was said, how many of its parts agree with a right one, from its object on: 0 to 3."""
    said, left = changes(sample.answer), changes(sample.prompt.key.answer)
    found = [0] * len(said)
    for parts in (3, 2, 1):
        for at, each in enumerate(said):
            match = next((other for other in left if other[:parts] == each[:parts]), None)
            if not found[at] and match:
                found[at] = parts
                left.remove(match)
    return found


def total(t: Any) -> float:
    """The reward of one unit."""
    return float(t.framed + t.matched - _PRICE * (t.wrong_objects + t.missed_changes))
