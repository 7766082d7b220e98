"""The published sample, replayed: its answer, its sizes and its pixels."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from support.tables import each_case

from virc.reasoning.images import open_image
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Done, Reply, Session, Unit
from virc.tools.registry import known


@pytest.fixture(scope="module")
def replayed(sample: Path, own: Protocol) -> tuple[Session, list[dict[str, str]]]:
    recorded = json.loads((sample / "conversation.json").read_text(encoding="utf-8"))
    session = Session(own, r"Find $m\angle H$", [open_image(sample / "image.png", "image.png")], tools=known())
    for message in recorded:
        if message["role"] == "assistant":
            assert isinstance(session.feed(Reply(message["content"])), Unit)
    return session, recorded


def test_the_answer_is_the_recorded_one(replayed: tuple[Session, list[dict[str, str]]]) -> None:
    done = replayed[0].next()
    assert isinstance(done, Done)
    assert done.trace.answer == "97"
    assert [unit.call.name if unit.call else None for unit in done.trace.units] == ["crop_image", "crop_image", None]
    assert all(unit.deviations == () for unit in done.trace.units)


def test_every_turn_announces_the_recorded_size(replayed: tuple[Session, list[dict[str, str]]]) -> None:
    session, recorded = replayed
    line = re.compile(r"Image (\d+): (\d+) x (\d+)\.")
    theirs = [line.match(message["content"]) for message in recorded if message["role"] == "user"]
    ours = [line.match(message.text) for message in session.trace().messages if message.role == "user"]
    assert [match and match.groups() for match in ours] == [match and match.groups() for match in theirs]
    assert len(ours) == 3


@each_case(("index", "most", "mean"), [(0, 0, 0.0), (1, 0, 0.0), (2, 8, 0.2)])
def test_every_image_shown_is_the_recorded_one(
    sample: Path, replayed: tuple[Session, list[dict[str, str]]], index: int, most: int, mean: float
) -> None:
    """Image 2 was made by another program's Lanczos filter, so it differs a little."""
    recorded = Image.open(sample / f"image-{index}.png").convert("RGB")
    difference = ImageStat.Stat(ImageChops.difference(recorded, replayed[0].images[index].pixels))
    assert max(high for _, high in difference.extrema) <= most
    assert sum(difference.mean) / 3 <= mean
