"""What a task made of our problems (`virc.evaluation.harness.harness`) calls inside the harness's own environment."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from virc.solving.image_source import open_source


def images(doc: Mapping[str, Any]) -> list[Image.Image]:
    """The pictures of a problem as upright RGB, as `virc eval` opens them; lmms-eval sends them in their full size."""
    return [open_source(source, offline=doc["offline"]).pixels for source in doc["images"]]
