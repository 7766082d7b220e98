"""Families of drawn problems, one file each; to add a family, add a file here, or to an extra that names it by an entry
point of the group `virc.drawn_families`.

A family module has what `Family` lists. All of it is drawn from a seed: fonts, pictures and words do not depend on the
machine. Sides of its pictures are multiples of 28. But for a family that is drawn to be shown smaller, a picture needs
no more pixels than `problem.LARGEST`, so that a model with that limit sees it unchanged.
"""

import importlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from PIL import Image

from virc.core import entry_points, plugins
from virc.core.errors import UsageError
from virc.core.text import did_you_mean
from virc.data.synth.problem import Difficulty, Label, Split
from virc.data.synth.worked import Solution, Spot


class DrawnProblem(Protocol):
    """A problem of any family; it is a frozen msgspec struct."""

    question: str

    @property
    def answer(self) -> int:
        """The only right one."""

    @property
    def difficulty(self) -> Difficulty:
        """The docstring of the family's module says what it means."""

    @property
    def labels(self) -> Sequence[Label]:
        """Every text to be read in the picture with the exact box of its ink, px."""

    def split(self) -> Split:
        """By what is printed and the question only: the same problem is never in both, however it is drawn."""


class Family(Protocol):
    """A family module.

    Args:
        NAME: what the user calls it; the name of its file, too.
        ABOUT: one line for help.
        MAX_PIXELS: area of its largest picture, px; the unfamiliar pictures of refusals are no larger.
    """

    NAME: str
    ABOUT: str
    MAX_PIXELS: int

    def generate(self, rng: random.Random, split: Split = "train", difficulty: Difficulty | None = None) -> Any:
        """A problem of that split; None mixes difficulties."""

    def draw(self, problem: Any) -> Image.Image:
        """Its picture, RGB."""

    def counterfactual(self, problem: Any, rng: random.Random) -> Any:
        """The same figure and question with other values, so that the answer is another one."""

    def spots(self, problem: Any) -> Sequence[Spot]:
        """Every place with something to read, in reading order."""

    def solution(self, problem: Any) -> Solution:
        """How it is solved."""

    def absent(self, problem: Any, rng: random.Random) -> tuple[str, Solution]:
        """A question of the family about what this picture does not show, and how that is found out."""


_PACKAGE = "virc.data.synth.families"
_GROUP: entry_points.Group = "virc.drawn_families"


def names() -> list[str]:
    return sorted(plugins.built_in(_PACKAGE, _GROUP))


def get(name: str) -> Family:
    if module := plugins.built_in(_PACKAGE, _GROUP).get(name):
        return cast(Family, importlib.import_module(module))
    entry_points.check_installed(_GROUP, name, "family")
    raise UsageError(f"there is no family {name!r}", did_you_mean(name, names()))


def own_writer(chosen: Sequence[str]) -> Callable[..., Path] | None:
    """`write` of a family whose problems are files other than pictures: it writes the folder itself."""
    return next(filter(None, (getattr(get(name), "write", None) for name in chosen)), None)
