"""Whether the answer is the right one, letter by letter: 1 or 0, but for case and space; of replies that answer only.

Source: the string match of most rule rewards, such as Reason-RFT (tanhuajie/Reason-RFT, train/stage_rl/reward.py) and
ViGoRL (Gabesarch/grounded-rl, string_match.py), of which only the second takes capitals as small letters.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Sample

NAME = "exact"


def score(sample: "Sample", means: "Means") -> float | None:
    """1 where the texts are the same."""
    if sample.answer is None:
        return None
    return float(plain(sample.answer) == plain(sample.prompt.key.answer))


def plain(text: str) -> str:
    """A text in small letters, with one space where it has some."""
    return " ".join(text.casefold().split())
