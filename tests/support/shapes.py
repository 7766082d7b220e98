"""Vision models that know the exact shapes of a drawn diagram, in the forms that transformers and RapidOCR return."""

import random
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from virc.data.synth.families import polygons

DIAGRAM = polygons.generate(random.Random(3), "train", sides=(3,))
PICTURE = polygons.draw(DIAGRAM)


def detector(image: Image.Image, candidate_labels: list[str], threshold: float) -> list[dict[str, Any]]:
    """The labels of the diagram that are among the words; none of another picture."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    named = [each for each in DIAGRAM.labels if each.text in candidate_labels and image.size == PICTURE.size]
    return [{"score": 1.0, "label": each.text, "box": dict(zip(sides, each.box, strict=True))} for each in named]


def depths(image: Image.Image) -> dict[str, Any]:
    """The polygon near, all else far."""
    depth = Image.new("L", image.size)
    ImageDraw.Draw(depth).polygon([corner.point for corner in DIAGRAM.corners], fill=255)
    return {"depth": depth}


class Reader:
    """As RapidOCR: four corners of each text, clockwise."""

    def __call__(self, pixels: Any) -> SimpleNamespace:
        """All labels of the diagram; none of a blank image."""
        if (pixels == pixels[0, 0]).all():
            return SimpleNamespace(boxes=None, txts=None)
        boxes = [[(x, y), (right, y), (right, bottom), (x, bottom)] for x, y, right, bottom in _boxes()]
        return SimpleNamespace(boxes=np.array(boxes, float), txts=tuple(each.text for each in DIAGRAM.labels))


def modules() -> dict[str, ModuleType]:
    """Stand-ins for the packages that hold models."""
    transformers, rapidocr = ModuleType("transformers"), ModuleType("rapidocr")
    models = {"zero-shot-object-detection": detector, "depth-estimation": depths}
    vars(transformers)["pipeline"] = lambda task, model: models[task]
    vars(rapidocr)["RapidOCR"] = Reader
    return {"transformers": transformers, "rapidocr": rapidocr}


def _boxes() -> list[tuple[int, int, int, int]]:
    return [each.box for each in DIAGRAM.labels]
