"""Training of the vision tower before the language model: dense labels of characters on every patch.

A language loss teaches characters slowly; with a label on every image token they are learned in minutes. So are the
position and the order of the crops, which the language model, reading the page once from top to bottom, learns slowly.
The head is dropped afterwards.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tiny.architecture import MERGE, PATCH
from tiny.encode import patches
from virc.data.synth import sketch
from virc.data.synth.families import polygons
from virc.data.synth.families.polygons import CROP, NAMES, Diagram, crop_of
from virc.data.synth.sketch import mask
from virc_extras.drawn import unfamiliar

CHARACTERS = f"0123456789?{NAMES}"
TURNS = ("1st", "2nd", "3rd", "4th")  # the middle of the crop that a solution makes in that turn
CLASSES = (*CHARACTERS, *TURNS)
_TALL, _WIDE = PATCH, PATCH // 2  # px of a label cell: two digits of a number stand in two cells
_TOKEN = PATCH * MERGE
CELLS = (_TOKEN // _TALL) * (_TOKEN // _WIDE)  # label cells in one image token
Mark = tuple[str, float, float]  # a character or turn, and its middle in px
Sample = tuple[Image.Image, NDArray[np.float32]]  # an image and its `labels`


def marks(diagram: Diagram) -> list[Mark]:
    """Every character of a diagram and its middle; those of one label share its width evenly."""
    found = []
    for corner in diagram.corners:
        for text, box in ((corner.letter, corner.letter_box), (corner.printed, corner.value_box)):
            shown = len(text) + (0.6 if diagram.style.degrees and text.isdigit() else 0)
            step = (box[2] - box[0]) / shown
            found += [(c, box[0] + (i + 0.5) * step, (box[1] + box[3]) / 2) for i, c in enumerate(text)]
    return found


def turns(diagram: Diagram) -> list[Mark]:
    """The middle of every corner's crop, by the turn of its call."""
    crops = (crop_of(corner, diagram.width, diagram.height) for corner in diagram.reading_order())
    return [(turn, left + CROP / 2, top + CROP / 2) for turn, (left, top, _, _) in zip(TURNS, crops, strict=False)]


def labels(found: Sequence[Mark], width: int, height: int) -> NDArray[np.float32]:
    """Labels of shape (image tokens, CELLS * CLASSES): 1.0 where the middle of a mark is in that cell."""
    page = np.zeros((height // _TALL, width // _WIDE, len(CLASSES)), np.float32)
    for seen, x, y in found:
        if 0 <= x < width and 0 <= y < height:
            page[int(y) // _TALL, int(x) // _WIDE, CLASSES.index(seen)] = 1
    down, across = _TOKEN // _TALL, _TOKEN // _WIDE
    tokens = page.reshape(height // _TOKEN, down, width // _TOKEN, across, -1).transpose(0, 2, 1, 3, 4)
    return tokens.reshape(-1, CELLS * len(CLASSES))


def sample(rng: random.Random) -> Sample:
    """A page or a crop of one with its labels; one in ten is a picture without any."""
    if rng.random() < 0.1:
        picture = unfamiliar.empty_picture(rng).resize((CROP * 2, CROP))
        return picture, labels([], *picture.size)
    diagram = polygons.generate(rng)
    page, found = polygons.draw(diagram), marks(diagram)
    if rng.random() < 0.6:
        return page, labels([*found, *turns(diagram)], *page.size)
    corner = rng.choice(diagram.corners)
    left, top, _, _ = polygons.crop_of(corner, diagram.width, diagram.height)
    x = max(0, min(page.width - CROP, left + rng.randint(-14, 14)))
    y = max(0, min(page.height - CROP, top + rng.randint(-14, 14)))
    return page.crop((x, y, x + CROP, y + CROP)), labels([(c, mx - x, my - y) for c, mx, my in found], CROP, CROP)


def slip(rng: random.Random) -> Sample:
    """One or two characters anywhere on a small image."""
    face = sketch.random_style(rng).face
    text = rng.choice((rng.choice(CHARACTERS), str(rng.randint(10, 99))))
    glyphs = mask(text, face)
    width = _TOKEN * rng.randint(1, 2)
    paper = Image.new("L", (width, _TOKEN), rng.choice((255, 255, 245)))
    left, top = rng.randint(0, width - glyphs.width), rng.randint(0, _TOKEN - glyphs.height)
    paper.paste(rng.choice((0, 0, 40, 80)), (left, top), glyphs)
    step, middle = glyphs.width / len(text), top + glyphs.height / 2
    found = [(c, left + (i + 0.5) * step, middle) for i, c in enumerate(text)]
    return paper.convert("RGB"), labels(found, *paper.size)


def head(width: int) -> Any:
    """The classifier on image tokens of `width` features; it starts from the prediction that nothing is there."""
    import torch

    layer = torch.nn.Linear(width, CELLS * len(CLASSES))
    torch.nn.init.constant_(layer.bias, -5.0)
    return layer


def loss(
    model: Any, classifier: Any, rng: random.Random, slips: float, pages: int = 24
) -> tuple[Any, dict[str, float]]:
    """Binary cross-entropy per mark on fresh samples, and the share of characters and turns found in their cells.

    Args:
        slips: how often slips are drawn instead of pages and crops.
        pages: how many pages and crops are drawn, or four times as many slips.
    """
    import torch

    drawn = [slip(rng) for _ in range(4 * pages)] if rng.random() < slips else [sample(rng) for _ in range(pages)]
    cut = [patches(image) for image, _ in drawn]
    device = classifier.weight.device
    pixels = torch.from_numpy(np.concatenate([array for array, _ in cut])).to(device)
    grid = torch.tensor([shape for _, shape in cut]).to(device)
    targets = torch.from_numpy(np.concatenate([truth for _, truth in drawn])).to(device)
    logits = classifier(model.model.visual(pixels, grid_thw=grid).pooler_output)
    total = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    hit = ((logits > 0) & (targets > 0)).reshape(-1, CELLS, len(CLASSES)).sum((0, 1))
    there = targets.reshape(-1, CELLS, len(CLASSES)).sum((0, 1)).clamp(min=1e-6)
    parts = {"found": slice(-len(TURNS)), "turns_found": slice(-len(TURNS), None)}
    shares = {name: round((hit[part].sum() / there[part].sum()).item(), 3) for name, part in parts.items()}
    return total / targets.sum().clamp(min=1), shares
