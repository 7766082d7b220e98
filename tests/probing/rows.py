"""The servers that the probe is held against: those that people run; and what is true of each."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from vision_server import Eyes, Vision, VisionServer

from virc.backends.chat.backend import OpenAIBackend
from virc.probing.pictures import LARGE
from virc.probing.probe import probe
from virc.probing.result import Probed

QWEN3 = Eyes(factor=32, least=65_536, most=16_777_216)
GEMMA4 = Eyes(factor=48, budget=280)
SEEDS = (1, 2)
NOISE = 0.015
"""Of a side of the picture."""
_LEAST_OF_TRUE, _MOST_OF_TRUE, _SAME = 0.96, 1.025, 0.97


class Truth(NamedTuple):
    """What a probe should find; None: nothing can tell."""

    coordinates: str | None
    box: str | None
    scaling: str | None
    longest: int | None


@dataclass(frozen=True)
class Row:
    """A server, and what is known of it beside its pictures: fields of `Probed` by their names."""

    name: str
    vision: Vision
    also: dict[str, Any]
    blind: bool = False
    """Nothing that it sends tells how pictures are scaled."""


def row(name: str, model: str, owner: str, also: dict[str, Any], *, blind: bool = False, **server: Any) -> Row:
    """A row with the noise of all rows."""
    vision = Vision(model=model, owned_by=owner, noise=NOISE, **server)
    return Row(name, vision, {"images": 17, "ordered": True, "thoughts": "none", **also}, blind)


ROWS = (
    row(
        "LM Studio, Qwen2.5-VL, 500", "qwen2.5-vl-7b-instruct", "organization_owner", {"calls": "text"},
        eyes=Eyes(longest=500),
    ),
    row(
        "llama.cpp, Qwen3-VL", "Qwen3VL-8B-Thinking-Q8_0.gguf", "llamacpp",
        {"calls": "text", "thoughts": "apart", "context": 24_576, "family": "qwen3-vl"},
        eyes=Eyes(factor=32, least=8192, most=4_194_304), unit="thousand", thoughts="reasoning_content",
        context=24_576, context_in="props",
    ),
    row(
        "vLLM with parsers, Qwen3-VL", "Qwen/Qwen3-VL-30B-A3B-Thinking", "vllm",
        {"calls": "text", "thoughts": "apart", "context": 65_536}, eyes=QWEN3, unit="thousand", calls="parsed",
        thoughts="reasoning", context=65_536, context_in="models",
    ),
    row(
        "SGLang, Qwen2.5-VL, 8 images", "qwen2.5-vl-72b", "sglang", {"calls": "text", "images": 8, "asked_images": 17},
        pictures=8, says="Image count {sent} exceeds limit {most} per request.",
    ),
    row(
        "MLX-VLM, Qwen3-VL", "mlx-community/Qwen3-VL-4B-Instruct-4bit", "", {"calls": "text", "server": ""},
        eyes=QWEN3, unit="thousand", order="last",
    ),
    row(
        "LM Studio, Gemma 4", "google/gemma-4-12b", "organization_owner", {"calls": "text", "family": "gemma4"},
        eyes=GEMMA4, unit="thousand", yx=True, wordy=1.1,
    ),
    row(
        "an alias, pixels", "default", "vllm", {"calls": "text", "thoughts": "tags", "family": None},
        eyes=Eyes(most=1_003_520), thoughts="tags",
    ),
    row(
        "hosted, refuses parameters", "qwen3-vl-plus", "system",
        {"calls": "text", "left_out": ("max_tokens", "temperature")}, eyes=replace(QWEN3, most=2_621_440),
        unit="thousand", refuses=("max_tokens", "temperature"), hidden=60,
    ),
    row(
        "fractions, Kimi-VL", "moonshotai/Kimi-VL-A3B-Thinking-2506", "vllm", {"calls": "text", "family": "kimi-vl"},
        eyes=Eyes(most=3_211_264), unit="unit",
    ),
    row(
        "no usage", "qwen/qwen3-vl-4b", "organization_owner", {"calls": "text"},
        eyes=replace(QWEN3, longest=1024), unit="thousand", usage=False, blind=True,
    ),
    row(
        "calls of told tools alone", "our-vlm", "openai", {"calls": "native", "family": None},
        eyes=Eyes(longest=1024), calls="native",
    ),
    row(
        "boxes as JSON alone", "Qwen2.5-VL-3B-Instruct", "lmdeploy", {"calls": None, "family": "qwen2.5-vl"},
        calls="json",
    ),
)  # fmt: skip


def truth(vision: Vision, blind: bool = False) -> Truth:
    """What is true of the pictures and boxes of a server."""
    box = "corners_yx" if vision.yx else "corners"
    eyes = vision.eyes
    if blind:
        return Truth(vision.unit, box, None, None)
    if eyes.fixed or eyes.budget:
        return Truth(vision.unit, box, "fixed", None)
    seen = min(eyes.longest or LARGE[0], LARGE[0]) if eyes.longest else eyes.shown(LARGE)[0][0]
    if seen >= LARGE[0]:
        return Truth(vision.unit, box, "none", None)
    return Truth(vision.unit, box, "down", seen)


def right(found: Probed, true: Truth) -> bool:
    """Whether a probe found the unit, and the scaling as near as a noisy box tells it."""
    if (found.coordinates, found.box) != true[:2]:
        return False
    if true.longest and true.longest >= _SAME * LARGE[0] and found.scaling == "none":
        return True
    if found.scaling != true.scaling:
        return False
    if true.longest is None:
        return found.longest is None
    return _LEAST_OF_TRUE * true.longest <= (found.longest or 0) <= _MOST_OF_TRUE * true.longest


def probed(server: VisionServer) -> Probed:
    """What the probe finds of a server."""
    backend = OpenAIBackend(server.url, None, None, timeout=30, max_retries=0, counts_image_tokens=False)
    try:
        return probe(backend, server.url)
    finally:
        backend.close()
