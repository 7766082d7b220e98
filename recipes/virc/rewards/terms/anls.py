"""Normalized Levenshtein similarity of the answer: 1 - edits / length, and 0 from half on; of replies that answer only.

Of the row: `answers`, a list of right answers, of which the nearest counts; without it its `answer`.
Source: Biten et al., Scene Text Visual Question Answering (arXiv:1905.13648), section 4, ANLS with a threshold of 0.5;
letters without case, as in the evaluation of DocVQA.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from virc.core.errors import DataError
from virc.rewards.terms.exact import plain

if TYPE_CHECKING:
    from virc.rewards.means import Means
    from virc.rewards.sample import Prompt, Sample

NAME = "anls"
_MOST = 2000
"""Characters of a text that is read."""


def score(sample: "Sample", means: "Means") -> float | None:
    """The similarity to the nearest right answer."""
    if sample.answer is None:
        return None
    answer = plain(sample.answer)
    return max(similarity(answer, plain(each)) for each in _right(sample.prompt))


def similarity(answer: str, reference: str) -> float:
    """1 - edits / length of the longer one, 0 where that is under 0.5."""
    longer, shorter = max(len(answer), len(reference)), min(len(answer), len(reference))
    if longer == 0:
        return 1.0
    if longer > _MOST or 2 * shorter < longer:  # then at least half of it is to be written anew
        return float(answer == reference)
    near = 1 - edits(answer, reference) / longer
    return near if near > 0.5 else 0.0


def edits(one: str, other: str) -> int:
    """The Levenshtein distance of two texts, a column of the table at a time as the bits of two numbers.

    Source: Myers (1999), as Hyyrö, A bit-vector algorithm for computing Levenshtein distance (2003) writes it.
    """
    places: dict[str, int] = defaultdict(int)
    for at, letter in enumerate(other):
        places[letter] |= 1 << at
    full, last = (1 << len(other)) - 1, 1 << max(0, len(other) - 1)
    more, less, distance = full, 0, len(other)
    for letter in one if other else "":
        hits = places.get(letter, 0)
        same = ((hits & more) + more ^ more) | hits | less
        right, left = less | ~(same | more) & full, more & same
        distance += bool(right & last) - bool(left & last)
        right, left = (right << 1 | 1) & full, left << 1 & full
        more, less = (left | ~(same | right) & full) & full, right & same
    return distance if other else len(one)


def _right(prompt: "Prompt") -> list[str]:
    given: Any = prompt.columns.get("answers")
    if given is None:
        return [prompt.key.answer]
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        raise DataError("the row's answers are no list of texts")
    return given
