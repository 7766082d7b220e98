"""What the tokenizer of `tiny` is made from.

The wording is constant, so each stretch of it is one token: a trajectory takes half the ids. Questions are learnt word
by word; merging across their words would make the tokens depend on the phrasing.
"""

import random
import re
from collections.abc import Iterator, Sequence

from virc_recipes.data import unfamiliar
from virc_recipes.data.families import polygons
from virc_recipes.reasoning.protocol import Protocol

_HOLES = re.compile(r"\{(?:index|width|height|question|images)\}")
# The stretches of a worked solution between its letters, numbers and tool tags.
_SOLUTION = (
    "<think>", "</think>\n", "</think>\n<answer>", "</answer>", "Look at the first corner.", "Look at the next corner.",
    '\n{"name": "crop_image", "arguments": {"bbox_2d": [', '], "image_index": ', "}}\n",
    " is ", ". ", ", ", " - ", " = ",
    "The sum is ", "That is the one.", "I cannot read this picture.", "unreadable", "user\n", "assistant\n",
)  # fmt: skip


def constants(protocol: Protocol) -> Sequence[str]:
    """Every constant stretch of the wording and of the worked solutions, without repeats."""
    turns = (protocol.first, protocol.image_line, protocol.after_image, protocol.after_scale)
    stretches = [piece for turn in turns for piece in _HOLES.split(turn)]
    wanted = [f"system\n{protocol.system}", *stretches, *_SOLUTION]
    return list(dict.fromkeys(piece for piece in wanted if len(piece) > 1))


def words(seed: int = 0, count: int = 3000) -> Iterator[str]:
    """Words of questions, family and other, in a fixed order."""
    rng = random.Random(seed)
    for _ in range(count):
        for text in (polygons.generate(rng).question, unfamiliar.question(rng)):
            yield from re.findall(r" ?[a-z∠]+|[A-Z][a-z]*", text)
