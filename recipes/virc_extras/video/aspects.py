"""What the readers of clips and documents do about each aspect of a file; what they do not answer yet is not listed."""

from collections.abc import Mapping

from virc.reasoning.pixels.aspects import Answer, Aspect

CLIPS: Mapping[Aspect, Answer] = {
    "turn": "shown",
    "pixel shape": "shown",
    "range": "shown",
    "primaries": "shown",
    "transfer": "said",
    "transparency": "said",
    "interlacing": "said",
    "further frames": "shown",
    "tracks": "said",
    "parts": "cannot be there",
    "clock": "shown",
    "layers": "cannot be there",
    "form": "cannot be there",
    "enclosed files": "cannot be there",
    "missing fonts": "cannot be there",
}
DOCUMENTS: Mapping[Aspect, Answer] = {
    "turn": "shown",
    "pixel shape": "cannot be there",
    "range": "shown",
    "primaries": "shown",
    "transfer": "shown",
    "transparency": "shown",
    "interlacing": "cannot be there",
    "further frames": "cannot be there",
    "tracks": "cannot be there",
    "parts": "said",
    "clock": "cannot be there",
    "layers": "shown",
    "form": "said",
    "enclosed files": "said",
    "missing fonts": "said",
}
