"""The texts that the tokenizer of `tiny` is trained on.

The chat protocol is constant, so each constant part of it is one token: a trajectory has half as many ids. Questions
are split into words; merging across words would make the tokens depend on the phrasing.
"""

import random
import re
from collections.abc import Iterator, Sequence

from virc.data.synth import worked
from virc.data.synth.families import polygons
from virc.reasoning.protocol import Protocol
from virc_extras.drawn import unfamiliar

_WORDS = re.compile(r" ?[a-z∠]+|[A-Z][a-z]*")
_HOLES = re.compile(r"\{(?:index|width|height|question|images)\}")
# The constant parts of a worked solution between its letters, numbers and tool tags.
_SOLUTION = (
    "<think>", "</think>\n", "</think>\n<answer>", "</answer>", "Look at the first corner.", "Look at the next corner.",
    '\n{"name": "crop_image", "arguments": {"bbox_2d": [', '], "image_index": ', "}}\n",
    " is ", ". ", ", ", " - ", " = ",
    "I need angle ", ": it is printed, or the others leave it over. ", worked.AGAIN, worked.AGREES,
    "The sum is ", worked.FOUND, "I cannot read this picture.", "unreadable", "user\n", "assistant\n",
)  # fmt: skip


def constants(protocol: Protocol) -> Sequence[str]:
    """Every constant part of the chat protocol and of the worked solutions, without repeats."""
    turns = (protocol.first, protocol.image_line, protocol.after_image, protocol.after_scale)
    parts = [piece for turn in turns for piece in _HOLES.split(turn)]
    texts = [f"system\n{protocol.system}", *parts, *_SOLUTION]
    return list(dict.fromkeys(piece for piece in texts if len(piece) > 1))


def words(seed: int = 0, count: int = 3000) -> Iterator[str]:
    """Words of questions about polygons and unfamiliar things, in a fixed order."""
    rng = random.Random(seed)
    for _ in range(count):
        for text in (polygons.generate(rng).question, unfamiliar.question(rng)):
            yield from _WORDS.findall(text)
