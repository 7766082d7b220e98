"""How well `tiny` does on diagrams it never saw, and whether it really reads what it cuts out.

    python -m virc_recipes.pretraining.measure FOLDER --count 500 [--control FOLDER] [--to measured.json]

* `tools`: answers right on held-out diagrams, by the driver that `virc solve` uses.
* `twin`: crops come from a twin with other values; how many answers become the twin's (D16).
* `blank`: crops are white; how many answers are right by guessing, beside the commonest answer's share.
* `control`: a model of equal training that answers from the overview alone.
* `unfamiliar`: pictures drawn as those it learnt to refuse; how many are refused.
* `strangers`: pictures made by other means (Matplotlib, spectral noise); how many are refused.
"""

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from virc_recipes.backends import Backend, OnText, Sampling
from virc_recipes.benchmarks import diagrams as benchmark
from virc_recipes.benchmarks.diagrams import SEED
from virc_recipes.data import unfamiliar
from virc_recipes.data.families import polygons
from virc_recipes.data.families.polygons import Diagram
from virc_recipes.opened import Choice, Opened, open_model
from virc_recipes.pretraining.strangers import stranger
from virc_recipes.reasoning.images import Shown
from virc_recipes.reasoning.session import Ask, Reply
from virc_recipes.solve import SolveConfig, solve

Recut = Callable[[Shown], Image.Image]


class Swapped:
    """A backend that sees other pixels where its crops should be; sizes and wording stay."""

    def __init__(self, backend: Backend, recut: Recut) -> None:
        self.backend, self.recut = backend, recut
        self.model, self.grid = backend.model, backend.grid
        self._cut: dict[int, Shown] = {}

    def reply(
        self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None
    ) -> Reply:
        """Draw a turn over the swapped images."""
        images = [
            shown if shown.box is None else self._other(index, shown)
            for index, shown in enumerate(ask.images)
        ]
        return self.backend.reply(Ask(ask.messages, images), sampling, on_text, seconds)

    def close(self) -> None:
        """Nothing of its own to release."""

    def _other(self, index: int, shown: Shown) -> Shown:
        if index not in self._cut:
            pixels = self.recut(shown).resize(shown.size)
            self._cut[index] = Shown(pixels, parent=shown.parent, box=shown.box)
        return self._cut[index]


def heldout(count: int, seed: int = SEED) -> list[Diagram]:
    """Diagrams of the held-out split; those of the benchmark `diagrams` are the first."""
    return list(islice(benchmark.heldout(seed), count))


def answer(model: Opened, picture: Image.Image, question: str) -> str | None:
    """What `virc solve` would print, or None."""
    return solve(SolveConfig(), model.backend, model.wording.protocol, [picture], question).answer


def opened(folder: Path) -> Opened:
    """The model as `virc solve --model FOLDER --device cpu` opens it."""
    return open_model(Choice(model=str(folder), device="cpu"))


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return round(middle - half, 3), round(middle + half, 3)


def tools(model: Opened, problems: Sequence[Diagram]) -> dict[str, Any]:
    """Accuracy on diagrams, with the share refused and the accuracy for each number of sides."""
    answers = [answer(model, polygons.draw(diagram), diagram.question) for diagram in problems]
    right = [told == str(diagram.answer) for told, diagram in zip(answers, problems, strict=True)]
    by_sides = {
        f"{sides} sides": _share(
            [ok for ok, d in zip(right, problems, strict=True) if len(d.corners) == sides]
        )
        for sides in sorted({len(diagram.corners) for diagram in problems})
    }
    return {**_share(right), "refused": _share([told is None for told in answers]), **by_sides}


def twin(model: Opened, problems: Sequence[Diagram]) -> dict[str, Any]:
    """Of the answers given when crops come from a twin with other values, the share that is the twin's."""
    rng = random.Random(SEED)
    followed = []
    for diagram in problems:
        other = polygons.twin(diagram, rng)
        told = answer(_swapped(model, _from(polygons.draw(other))), polygons.draw(diagram), diagram.question)
        followed += [] if told is None else [told == str(other.answer)]
    return _share(followed)


def blank(model: Opened, problems: Sequence[Diagram]) -> dict[str, Any]:
    """Accuracy when every crop is white, beside the share of the commonest answer."""
    right = [
        answer(_swapped(model, _white), polygons.draw(diagram), diagram.question) == str(diagram.answer)
        for diagram in problems
    ]
    commonest = Counter(diagram.answer for diagram in problems).most_common(1)[0][1] / len(problems)
    return {**_share(right), "commonest_answer": round(commonest, 3)}


def unfamiliar_refused(model: Opened, count: int) -> dict[str, Any]:
    """The share refused of pictures drawn as those it learnt to refuse; half of them with a family question."""
    rng = random.Random(SEED + 1)
    refused = []
    for number in range(count):
        family = polygons.generate(rng, "heldout").question
        question = family if number % 2 else unfamiliar.question(rng)
        refused.append(answer(model, unfamiliar.picture(rng), question) is None)
    return _share(refused)


def strangers_refused(model: Opened, count: int) -> dict[str, Any]:
    """The share refused of pictures made by other means than those it learnt to refuse."""
    rng = random.Random(SEED + 2)
    return _share([answer(model, *stranger(rng)) is None for _ in range(count)])


def measure(folder: Path, count: int, control: Path | None = None) -> dict[str, Any]:
    """Every figure of the card, on `count` problems each (a fifth of them for the swaps, two for the refusals)."""
    begin = time.monotonic()
    model, problems = opened(folder), heldout(count)
    few, some = problems[: max(1, count // 5)], max(1, count * 2 // 5)
    figures = {
        "seed": SEED,
        "tools": tools(model, problems),
        "twin": twin(model, few),
        "blank": blank(model, few),
        "unfamiliar": unfamiliar_refused(model, some),
        "strangers": strangers_refused(model, some),
    }
    if control:
        figures["control"] = tools(opened(control), problems)
    return {**figures, "seconds": round(time.monotonic() - begin)}


def _swapped(model: Opened, recut: Recut) -> Opened:
    return msgspec.structs.replace(model, backend=Swapped(model.backend, recut))


def _from(page: Image.Image) -> Recut:
    return lambda shown: page.crop(shown.box)


def _white(shown: Shown) -> Image.Image:
    return Image.new("RGB", shown.size, "white")


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    right = sum(hits)
    return {"share": round(right / len(hits), 3), "of": len(hits), "interval_95": interval(right, len(hits))}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--control", type=Path)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args(arguments)
    figures = json.dumps(measure(options.folder, options.count, options.control), indent=1)
    print(figures)
    if options.to:
        options.to.write_text(figures + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
