"""Diagrams this project draws, of the figures held out from the training of the embedded model: always the same 500."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from virc.solving.rows import ProblemRow, as_row

if TYPE_CHECKING:
    from virc.data.synth.families.polygons import Diagram

NAME = "diagrams"
ABOUT = "500 drawn triangles and quadrilaterals, one angle to be found, unseen by the embedded model"
HUB = None
SPLITS: tuple[str, ...] = ()
SEED = 20_000
COUNT = 500


def heldout(seed: int = SEED) -> Iterator["Diagram"]:
    """Diagrams of the held-out split, without end; drawn one after the other, so that the first are always the same."""
    from virc.data.synth.families import polygons

    rng = random.Random(seed)
    while True:
        yield polygons.generate(rng, "heldout")


def rows(folder: Path, split: str | None) -> Iterator[ProblemRow]:
    from virc.data.synth.families import polygons
    from virc.reasoning.images import Shown

    for number, diagram in enumerate(islice(heldout(), COUNT), 1):
        angle = "computed" if diagram.corners[diagram.asked].printed == "?" else "printed"
        fields = {
            "id": f"diagram-{number:03d}",
            "image": Shown(polygons.draw(diagram)).data_url,
            "question": diagram.question,
            "answer": str(diagram.answer),
            "category": {"sides": f"{len(diagram.corners)} sides", "angle": angle},
        }
        yield as_row(number, fields)
