"""What a total needs of rows beside the reply: whether rules alone can give it, whatever is replied."""

import asyncio
import io
from collections import Counter
from collections.abc import Iterable

import msgspec
from PIL import Image

from virc_recipes import rewards
from virc_recipes.data.record import MARK, Message, Picture, Record
from virc_recipes.errors import VircError
from virc_recipes.reasoning.protocol import Coordinates
from virc_recipes.rewards import Total
from virc_recipes.rewards.means import Means
from virc_recipes.rewards.sample import Strict, prompt_of, sample

_LOOK = '<think>a</think><tool_call>{"name": "display_image", "arguments": {"image_index": 0}}</tool_call>'
_REPLIES = ("<think>a</think><answer>a</answer>", _LOOK)
"""One of each kind: a total may need of one kind what it does not need of the other."""


class Scorable(msgspec.Struct):
    """How many of so many rows rules can score, and what the others lack, by the names of terms.

    Args:
        rows: looked at.
        by_rules: of them those whose reward is known without a judge, whether the reply answers or calls a tool.
        lacking: term -> rows that lack something for it; `why` has what, of one of them.
    """

    rows: int = 0
    by_rules: int = 0
    lacking: Counter[str] = msgspec.field(default_factory=Counter)
    why: dict[str, str] = {}

    @property
    def share(self) -> float:
        """Of the rows, 0 to 1."""
        return self.by_rules / self.rows if self.rows else 0.0


def without_judge(
    records: Iterable[Record], total: Total, coordinates: Coordinates, strict: Strict = "own"
) -> Scorable:
    """Try a total on rows without a judge.

    Raises:
        DataError: a row lacks what no judge gives, or an image of it cannot be read.
    """
    found = Scorable()
    with asyncio.Runner() as runner:
        for record in records:
            prompt = prompt_of(record, coordinates, strict)
            scored = [runner.run(rewards.score(sample(text, prompt), total, Means())) for text in _REPLIES]
            unscored = {
                name: why for each in scored if each.total is None for name, why in each.unscored.items()
            }
            found.rows += 1
            found.by_rules += all(each.total is not None for each in scored)
            found.lacking.update(unscored.keys())
            found.why.update(unscored)
    return found


def asks_judge(total: Total) -> bool:
    """Whether a total asks a judge about a row that has all else: an image, an answer, a box and a reference tool."""
    file = io.BytesIO()
    Image.new("RGB", (56, 56)).save(file, "PNG")
    record = Record(
        (Message("user", f"{MARK}?"),),
        (Picture("", data=file.getvalue()),),
        question="?",
        answer="a",
        extra={"tool_info_gt": {"name": "display_image"}, "box": [0, 0, 28, 28]},
    )
    try:
        found = without_judge([record], total, "pixel")
    except VircError:  # a term of the user's own that needs more than that
        return False
    return any("judge" in why for why in found.why.values())
