"""What a task made of our problems (`virc.evaluation.harness.harness`) calls inside the harness's own environment."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from virc.reasoning.opening.pictures import open_image
from virc.solving.image_source import file_of


def images(doc: Mapping[str, Any]) -> list[Image.Image]:
    """The pictures of a problem as upright RGB, as `virc eval` opens them; lmms-eval sends them in their full size."""
    return [open_image(*file_of(source, offline=doc["offline"])) for source in doc["images"]]
