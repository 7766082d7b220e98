"""Polygons drawn to scale without any angle printed, which have to be measured: the pattern `measure`."""

import math
import random
from collections.abc import Sequence

import msgspec

from virc.data.synth.families import polygons
from virc.data.synth.families.polygons import Diagram
from virc.data.synth.problem import Difficulty, Split
from virc.data.synth.worked import measuring

_MOST_OFF = 0.35  # degrees between what is measured at whole px and the answer, so that rounding gives the answer


def diagram(rng: random.Random, split: Split, difficulty: Difficulty | None) -> Diagram:
    """A polygon of that split whose asked angle, measured at the nearest px, is the answer in whole degrees."""
    while True:
        found = polygons.generate(rng, split, difficulty)
        if abs(_degrees(_points(found)) - found.answer) <= _MOST_OFF:
            corners = tuple(msgspec.structs.replace(corner, printed="") for corner in found.corners)
            question = f"{found.question} It is drawn to scale; answer in whole degrees."
            return msgspec.structs.replace(found, corners=corners, question=question)


def replies(found: Diagram) -> list[str]:
    """The assistant turns: measure the angle, and answer."""
    asked = found.corners[found.asked].letter
    return measuring(polygons.wanted(asked), _points(found), str(found.answer))


def _points(found: Diagram) -> list[tuple[int, int]]:
    """The asked corner between its neighbours, px."""
    count = len(found.corners)
    corners = [found.corners[(found.asked + step) % count].point for step in (-1, 0, 1)]
    return [(round(x), round(y)) for x, y in corners]


def _degrees(points: Sequence[tuple[int, int]]) -> float:
    """The angle at the second of three points, as the tool `measure` gives it."""
    first, middle, last = points
    ends = [math.atan2(y - middle[1], x - middle[0]) for x, y in (first, last)]
    turned = abs(math.degrees(ends[0] - ends[1]))
    return min(turned, 360 - turned)
