"""Images that a tool scales: resampled once, by area where they shrink."""

import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageStat
from support.tables import each_case

from virc.reasoning.calls import Call
from virc.reasoning.images import open_image, show
from virc.reasoning.resize import QWEN2, Grid, smart_resize
from virc.tools import registry as tools

Weights = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def shares(length: int, cells: int) -> Weights:
    """Of each of so many equal cells of a line of pixels, what part of it each pixel covers."""
    edges = np.linspace(0, length, cells + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * cells / length


def averaged(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Every pixel the exact mean of what it covers; within 1 of what OpenCV's INTER_AREA makes of the sample."""
    down, across = shares(image.height, size[1]), shares(image.width, size[0])
    means = np.einsum("yi,ijc,xj->yxc", down, np.asarray(image, float), across, optimize=True)
    return Image.fromarray(np.rint(means).astype(np.uint8))


@each_case("factor", [0.25, 0.5])
@each_case("index", [0, 1, 2])
def test_a_smaller_image_is_the_one_of_the_published_script(sample: Path, index: int, factor: float) -> None:
    """It averages areas, from the image as it is straight to the size shown; the bound is that of its crops."""
    image = open_image(sample / f"image-{index}.png", "it")
    shown = show(tools.get("scale_image").apply(Call("scale_image", 0, factor=factor), image), QWEN2)
    assert shown.size == smart_resize(int(image.width * factor), int(image.height * factor))
    difference = ImageStat.Stat(ImageChops.difference(averaged(image, shown.size), shown.pixels))
    assert max(high for _, high in difference.extrema) <= 8
    assert sum(difference.mean) / 3 <= 0.2


def test_a_picture_that_is_shown_smaller_is_resampled_by_lanczos() -> None:
    draw = random.Random(5)
    page = Image.frombytes("RGB", (600, 400), draw.randbytes(600 * 400 * 3))
    shown = show(page, Grid(max_pixels=336 * 224))
    assert shown.size == (336, 224)
    assert shown.pixels.tobytes() == page.resize((336, 224), Image.Resampling.LANCZOS).tobytes()
