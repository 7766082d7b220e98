"""Pictures made by other means than those `tiny` learnt to refuse: Matplotlib's charts and fonts, spectral textures.

Needs Matplotlib and numpy; used to measure, never to train.
"""

import io
import random

import numpy as np
from PIL import Image

QUESTIONS = (
    "How large is angle A?", "Find x.", "In triangle ABC, find m∠C.", "What is the largest value in the chart?",
    "How many dogs are there?", "Find m∠H. Choices: 97 102 107 122", "What does the title say?",
)  # fmt: skip


def chart(rng: random.Random) -> Image.Image:
    """A chart as Matplotlib draws it by default: lines, bars, points, a pie or a heat map."""
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


def page(rng: random.Random) -> Image.Image:
    """A page of prose in a serif, sans or monospaced face."""
    figure, axes = _figure(rng)
    axes.axis("off")
    words = (
        "It was late when the train came in and nobody spoke of the weather or of what had been lost".split()
    )
    lines = (" ".join(rng.choices(words, k=8)) for _ in range(rng.randint(3, 14)))
    axes.text(0, 1, "\n".join(lines), va="top", family=rng.choice(("serif", "sans-serif", "monospace")),
              size=rng.randint(6, 14))  # fmt: skip
    return _rendered(figure)


def texture(rng: random.Random) -> Image.Image:
    """Colour noise whose spectrum falls with frequency, as that of photographs does."""
    width, height = rng.randint(80, 600), rng.randint(80, 600)
    noise = np.random.default_rng(rng.randrange(2**32))
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    spectrum = 1 / np.maximum(np.hypot(down, across), 1 / max(width, height)) ** rng.uniform(0.8, 1.8)
    bands = [
        np.fft.ifft2(np.fft.fft2(noise.standard_normal((height, width))) * spectrum).real for _ in range(3)
    ]
    pixels = np.stack([np.interp(band, (band.min(), band.max()), (0, 255)) for band in bands], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def static(rng: random.Random) -> Image.Image:
    """Independent pixels, grey or coloured."""
    width, height = rng.randint(30, 500), rng.randint(30, 500)
    mode = rng.choice(("L", "RGB"))
    return Image.frombytes(mode, (width, height), rng.randbytes(width * height * len(mode))).convert("RGB")


def stranger(rng: random.Random) -> tuple[Image.Image, str]:
    """A picture of one of the kinds above and a question, half of them about angles."""
    return rng.choice((chart, page, texture, static))(rng), rng.choice(QUESTIONS)


def _figure(rng: random.Random):  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(rng.uniform(2, 6), rng.uniform(2, 5)), dpi=rng.choice((60, 100)))
    return figure, figure.subplots()


def _rendered(figure) -> Image.Image:  # type: ignore[no-untyped-def]
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(buffer) as image:
        return image.convert("RGB")
