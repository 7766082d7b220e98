"""How many replies a core rewards in a second, by every term that neither asks a judge nor does algebra.

PYTHONPATH=tests python benchmarks/reward.py
"""

import asyncio
import random
import time
from collections.abc import Sequence

from rewards.prompts import answer, crop, prompt, tool

from virc.rewards import registry as rewards
from virc.rewards.context import RewardContext
from virc.rewards.registry import Total
from virc.rewards.sample import Prompt, sample
from virc.systems.registry import Reward

_WORDS = (
    "the angle at B is half of the arc so we look at side AC which the figure marks with 12 and the label next to "
    "point H reads 97 degrees therefore triangle MBH has two equal sides and we still need the length from M to H"
).split()
_COUNT = 4000
_NOT_BY_RULE = ("reasoning", "focus", "symbolic", "length")


def thought(rng: random.Random, length: int) -> str:
    """A thought of about so many characters."""
    return " ".join(rng.choices(_WORDS, k=length))[:length]


async def rewarded(replies: Sequence[str], known: Prompt, total: Total) -> float:
    """Replies a second of processor time."""
    began = time.process_time()
    for reply in replies:
        await rewards.score(sample(reply, known), total, RewardContext())
    return len(replies) / (time.process_time() - began)


def main() -> None:
    """Print one line per length of a thought."""
    rng = random.Random(6)
    known = prompt(
        ((560, 392), (280, 196)),
        before=[tool(crop(0, 0, 280, 196))],
        strict="own",
        box=[20, 20, 200, 150],
        keywords=["angle", "arc"],
        choices=["4", "5"],
    )
    terms = [each.name for each in rewards.discover()[0] if each.name not in _NOT_BY_RULE]
    every = rewards.of(Reward("weighted", weights=dict.fromkeys(terms, 1.0)))
    for length in (100, 300, 700):
        replies = []
        for number in range(_COUNT):
            box = (rng.randrange(90), rng.randrange(90), 100 + rng.randrange(90), 100 + rng.randrange(90))
            said = thought(rng, length)
            replies.append(answer("5", said) if number % 4 == 0 else tool(crop(*box, index=number % 2), said))
        of_rules, of_all = (asyncio.run(rewarded(replies, known, total)) for total in (rewards.find("rules"), every))
        print(
            f"thoughts of {length} characters: {of_rules:,.0f} replies/s of a core by the total rules, "
            f"{of_all:,.0f} by all {len(terms)} terms"
        )


if __name__ == "__main__":
    main()
