"""Pictures to try on the page of an agent endpoint, each with a question: problems that `virc data synth` draws."""

import random
from functools import cache
from types import ModuleType

import msgspec

from virc.data.synth.families import charts, expressions, far, polygons
from virc.models.registry import EMBEDDED
from virc.reasoning.images import Shown

_OF_EMBEDDED = (("triangle", polygons, "0"), ("triangle", polygons, "1"), ("quadrilateral", polygons, "7"))
_OF_OTHERS = (("quadrilateral", expressions, "4"), ("chart", charts, "1"), ("plan", far, "6"))
_ENLARGED = 2  # other models see more pixels than the embedded one, which sees what it was trained on


class Example(msgspec.Struct, frozen=True):
    """A picture as a data URL, its name, and a question."""

    name: str
    question: str
    url: str


@cache
def of(model: str) -> tuple[Example, ...]:
    """Three examples for a model of that name."""
    if model == EMBEDDED:
        return tuple(_drawn(*each, 1) for each in _OF_EMBEDDED)
    return tuple(_drawn(*each, _ENLARGED) for each in _OF_OTHERS)


def _drawn(name: str, family: ModuleType, seed: str, times: int) -> Example:
    problem = family.generate(random.Random(seed), "heldout")
    picture = family.draw(problem)
    larger = picture.resize((picture.width * times, picture.height * times))
    return Example(name, problem.question, Shown(larger).data_url)
