"""The family `polygons` is what `tiny` last learnt from and was measured on: to the pixel and the letter.

Should a new Pillow draw its letters differently, these hashes change, and with them the published figures are void.
"""

import base64
import hashlib
import io
import json
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from tiny import curriculum
from virc.data.synth.draw import SynthConfig, write
from virc.evaluation.benchmarks import diagrams as benchmark

TASKS = {
    "compare": curriculum.compare,
    "direct": curriculum.direct,
    "glyphs": curriculum.read_glyphs,
    "labels": curriculum.list_labels,
    "list": curriculum.list_corners,
    "missing": curriculum.missing_corner,
    "quadrilateral": lambda rng: curriculum.trajectory(rng, sides=(4,)),
    "read": curriculum.read_crop,
    "refusal": curriculum.refusal,
    "stops": curriculum.stops,
    "sums": curriculum.sums,
    "triangle": lambda rng: curriculum.trajectory(rng, sides=(3,)),
}


def folder(config: SynthConfig) -> Iterator[bytes]:
    to = write(config)
    for path in sorted(path for path in to.rglob("*") if path.is_file()):
        yield path.relative_to(to).as_posix().encode()
        yield Image.open(path).tobytes() if path.suffix == ".png" else path.read_bytes()


def drawn(to: Path) -> Iterator[bytes]:
    formats = ("batch", "sft", "trajectories")
    yield from folder(SynthConfig(to / "a", count=40, seed=3, formats=formats, workers=1, drawing=1))


def heldout(to: Path) -> Iterator[bytes]:
    formats = ("batch", "sft", "trajectories")
    yield from folder(SynthConfig(to / "a", 20, 1, "heldout", (4,), formats, workers=1, drawing=1))


def benchmarked(to: Path) -> Iterator[bytes]:
    for row in islice(benchmark.rows(to, None), 40):
        yield json.dumps([row.passed[key] for key in ("question", "answer", "category")]).encode()
        yield Image.open(io.BytesIO(base64.b64decode(row.images[0].split(",")[1]))).tobytes()


def learnt(to: Path) -> Iterator[bytes]:
    for name, task in TASKS.items():
        rng = random.Random(f"golden {name}")
        for _ in range(4):
            example = task(rng)
            yield repr([(said.role, said.text, said.images) for said in example.messages]).encode()
            yield from (image.tobytes() for image in example.images)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("made", "digest"),
    [
        (drawn, "b874b28f06a4295a11f063eae6744f78e15e449fb0a8f2815dadd672102a3c99"),
        (benchmarked, "b174e4de4c594327c6fd3f854672440720cf0339614c525935754b6c31b714c3"),
        (learnt, "e77263d18738f68c01b73e1c2d485feaead79fd2d95ab9d443af171dd4edebd1"),
    ],
)
def test_polygons_are_what_they_were(tmp_path: Path, made: Callable[[Path], Iterator[bytes]], digest: str) -> None:
    whole = hashlib.sha256()
    for part in made(tmp_path):
        whole.update(part)
    assert whole.hexdigest() == digest
