"""Polygons drawn to scale without any angle printed, which have to be measured: the pattern `measure`."""

import random

import msgspec

from virc.data.synth.families import polygons
from virc.data.synth.families.polygons import Diagram
from virc.data.synth.problem import Difficulty, Split
from virc.data.synth.worked import measuring
from virc.reasoning.calls import Point
from virc.tools.measure import angle

_MAX_OFF = 0.35  # degrees between what is measured at whole px and the answer, so that rounding gives the answer


def diagram(rng: random.Random, split: Split, difficulty: Difficulty | None) -> Diagram:
    """A polygon of that split whose asked angle, measured at the nearest px, is the answer in whole degrees."""
    while True:
        found = polygons.generate(rng, split, difficulty)
        if abs(angle(*_points(found)) - found.answer) <= _MAX_OFF:
            corners = tuple(msgspec.structs.replace(corner, printed="") for corner in found.corners)
            question = f"{found.question} It is drawn to scale; answer in whole degrees."
            return msgspec.structs.replace(found, corners=corners, question=question)


def replies(found: Diagram) -> list[str]:
    """The assistant turns: measure the angle, and answer."""
    asked = found.corners[found.asked].letter
    return measuring(polygons.wanted(asked), _points(found), str(found.answer))


def _points(found: Diagram) -> tuple[Point, Point, Point]:
    """The asked corner between its neighbours, px."""
    count = len(found.corners)
    first, middle, last = (found.corners[(found.asked + step) % count].point for step in (-1, 0, 1))
    return _rounded(first), _rounded(middle), _rounded(last)


def _rounded(point: tuple[float, float]) -> Point:
    return round(point[0]), round(point[1])
