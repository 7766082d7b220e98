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

from tiny import corpus, curriculum, sight
from virc.data.synth import worked
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


def seen(to: Path) -> Iterator[bytes]:
    rng = random.Random("golden sight")
    for _ in range(10):
        for image, labels in (sight.sample(rng), sight.slip(rng)):
            yield image.tobytes()
            yield labels.tobytes()


def worded(to: Path) -> Iterator[bytes]:
    yield json.dumps(list(corpus.constants(worked.PROTOCOL))).encode()
    yield "\n".join(corpus.words(count=100)).encode()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("made", "digest"),
    [
        (drawn, "b874b28f06a4295a11f063eae6744f78e15e449fb0a8f2815dadd672102a3c99"),
        (heldout, "18180f3d1ebebce502d3dec202303b4df170cd680f3bdaf2982e718a7b5f87ca"),
        (benchmarked, "b174e4de4c594327c6fd3f854672440720cf0339614c525935754b6c31b714c3"),
        (learnt, "e77263d18738f68c01b73e1c2d485feaead79fd2d95ab9d443af171dd4edebd1"),
        (seen, "5347b7488e38df4ddf34e6fc44034079ea1d4ce997ad5204af89e9829d0f060c"),
        (worded, "c0d22a04e4cc683df527ce47f21e0fd3e87d67b15c5cfaa71e1507f4c714fd5c"),
    ],
)
def test_polygons_are_what_they_were(tmp_path: Path, made: Callable[[Path], Iterator[bytes]], digest: str) -> None:
    whole = hashlib.sha256()
    for part in made(tmp_path):
        whole.update(part)
    assert whole.hexdigest() == digest
