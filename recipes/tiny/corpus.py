"""The texts that the tokenizer of `tiny` is trained on.

The chat protocol is constant, so each constant part of it is one token: a trajectory has half as many ids. Questions
are split into words; merging across words would make the tokens depend on the phrasing.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from virc.data.synth import tasks, unfamiliar, worked
from virc.data.synth.families import charts, polygons
from virc.data.synth.families import registry as families
from virc.reasoning.protocol import Protocol

_OF_EACH = 200  # problems of a family that are read
_WORDS = re.compile(r" ?[a-z∠]+|[A-Z][a-z]*")
_NAME = "|".join(name for names in charts.NAMES for name in names if len(name) > 1)
_VARYING = re.compile(rf"(?<!_)\d+(?:\.\d+)?|{_NAME}|(?<![A-Za-z])(?!I )[A-Z]{{1,2}}(?![A-Za-z])|</?tool_call>")
_HOLES = re.compile(r"\{(?:index|width|height|question|images)\}")
# The constant parts of a worked solution between its letters, numbers and tool tags.
_SOLUTION = (
    "<think>", "</think>\n", "</think>\n<answer>", "</answer>", "Look at the first corner.", "Look at the next corner.",
    '\n{"name": "crop_image", "arguments": {"bbox_2d": [', '], "image_index": ', "}}\n",
    " is ", ". ", ", ", " - ", " = ",
    "I need angle ", ": it is printed, or the others leave it over. ", worked.AGAIN, worked.AGREES,
    "The sum is ", worked.FOUND, "I cannot read this picture.", "unreadable", "user\n", "assistant\n",
)  # fmt: skip


def constants(protocol: Protocol, names: Sequence[str] = ()) -> Sequence[str]:
    """Every constant part of the chat protocol and of the worked solutions, without repeats.

    Args:
        names: of families whose solutions are added to those of `polygons` in one pattern.
    """
    turns = (protocol.first, protocol.image_line, protocol.after_image, protocol.after_scale)
    parts = [piece for turn in turns for piece in _HOLES.split(turn)]
    texts = [f"system\n{protocol.system}", *parts, *_SOLUTION, *_constant_parts(names)]
    return list(dict.fromkeys(piece for piece in texts if len(piece) > 1))


def words(seed: int = 0, count: int = 3000, names: Sequence[str] = ()) -> Iterator[str]:
    """Words of questions about polygons, these families and unfamiliar things, in a fixed order."""
    rng = random.Random(seed)
    for name in names:
        for _ in range(_OF_EACH):
            yield from _WORDS.findall(families.get(name).generate(rng).question)
    for _ in range(count):
        for text in (polygons.generate(rng).question, unfamiliar.question(rng)):
            yield from _WORDS.findall(text)


def _constant_parts(names: Sequence[str]) -> Iterator[str]:
    """The texts between the names, numbers and tags of solutions that occur often."""
    rng, found = random.Random(0), Counter[str]()
    for name in names:
        for _ in range(_OF_EACH):
            paths = tasks.task(rng, "train", families.get(name), paths=len(worked.PATTERNS)).paths.values()
            found.update(piece for replies in paths for text in replies for piece in _VARYING.split(text))
    return (piece for piece, count in found.items() if count >= _OF_EACH / 10)
