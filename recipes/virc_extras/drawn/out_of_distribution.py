"""Out-of-distribution pictures: Matplotlib's charts and pages, spectral textures, static; the answer is to refuse.

They are drawn by other means than those a model learns to refuse (`virc data synth --refusals`): used to measure,
never to train.
"""

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from virc.core.extras import require
from virc.scoring.score import UNREADABLE
from virc.solving.rows import ProblemRow, as_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

NAME = "out-of-distribution"
ABOUT = "200 pictures from Matplotlib and noise, to be refused"
HUB = None
SPLITS: tuple[str, ...] = ()
SEED = 20_002
COUNT = 200
QUESTIONS = (
    "How large is angle A?", "Find x.", "In triangle ABC, find m∠C.", "What is the largest value in the chart?",
    "How many dogs are there?", "Find m∠H. Choices: 97 102 107 122", "What does the title say?",
)  # fmt: skip
_WORDS = "It was late when the train came in and nobody spoke of the weather or of what had been lost".split()


def rows(folder: Path, split: str | None) -> Iterator[ProblemRow]:
    require("matplotlib", f"drawing the pictures of {NAME}", "plot")
    return _drawn(random.Random(SEED))


def _drawn(rng: random.Random) -> Iterator[ProblemRow]:
    from virc.reasoning.images import Shown

    for number in range(1, COUNT + 1):
        kind = rng.choice(list(_KINDS))
        fields = {
            "id": f"out-of-distribution-{number:03d}",
            "image": Shown(_KINDS[kind](rng)).data_url,
            "question": rng.choice(QUESTIONS),
            "answer": UNREADABLE,
            "category": {"kind": kind},
        }
        yield as_row(number, fields)


def _chart(rng: random.Random) -> "Image.Image":
    figure, axes = _figure(rng)
    numbers = [rng.uniform(0, 100) for _ in range(rng.randint(3, 12))]
    kind = rng.choice(("plot", "bar", "scatter", "pie", "imshow"))
    if kind == "imshow":
        axes.imshow([[rng.random() for _ in range(6)] for _ in range(5)])
    elif kind == "pie":
        axes.pie(numbers, labels=[str(round(number)) for number in numbers])
    elif kind == "plot":
        axes.plot(numbers, label="measured")
        axes.legend()
    else:
        getattr(axes, kind)(range(len(numbers)), numbers)
    axes.set_title(rng.choice(("Rainfall", "Units sold in 2024", "Error over epochs", "")))
    return _rendered(figure)


def _page(rng: random.Random) -> "Image.Image":
    figure, axes = _figure(rng)
    axes.axis("off")
    lines = (" ".join(rng.choices(_WORDS, k=8)) for _ in range(rng.randint(3, 14)))
    family = rng.choice(("serif", "sans-serif", "monospace"))
    axes.text(0, 1, "\n".join(lines), va="top", family=family, size=rng.randint(6, 14))
    return _rendered(figure)


def _texture(rng: random.Random) -> "Image.Image":
    import numpy as np
    from PIL import Image

    width, height = rng.randint(80, 600), rng.randint(80, 600)
    noise = np.random.default_rng(rng.randrange(2**32))
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    spectrum = 1 / np.maximum(np.hypot(down, across), 1 / max(width, height)) ** rng.uniform(0.8, 1.8)
    bands = [np.fft.ifft2(np.fft.fft2(noise.standard_normal((height, width))) * spectrum).real for _ in range(3)]
    pixels = np.stack([np.interp(band, (band.min(), band.max()), (0, 255)) for band in bands], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def _static(rng: random.Random) -> "Image.Image":
    from PIL import Image

    width, height = rng.randint(30, 500), rng.randint(30, 500)
    mode = rng.choice(("L", "RGB"))
    return Image.frombytes(mode, (width, height), rng.randbytes(width * height * len(mode))).convert("RGB")


_KINDS: "dict[str, Callable[[random.Random], Image.Image]]" = {
    "chart": _chart, "page": _page, "texture": _texture, "static": _static,
}  # fmt: skip


def _figure(rng: random.Random) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(rng.uniform(2, 6), rng.uniform(2, 5)), dpi=rng.choice((60, 100)))
    return figure, figure.subplots()


def _rendered(figure: "Figure") -> "Image.Image":
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(buffer) as image:
        return image.convert("RGB")
