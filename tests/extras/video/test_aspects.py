"""Readers of pictures, clips and documents answer every aspect of a file."""

from collections.abc import Mapping
from typing import get_args

import pytest

from virc.reasoning.pixels import appearance
from virc.reasoning.pixels.aspects import NOTES, Aspect
from virc_extras.video import aspects

READERS: Mapping[str, Mapping[Aspect, str]] = {
    "pictures": appearance.ANSWERS, "clips": aspects.CLIPS, "documents": aspects.DOCUMENTS,
}  # fmt: skip


@pytest.mark.parametrize("aspect", get_args(Aspect))
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_answers_every_aspect(reader: str, aspect: Aspect) -> None:
    assert aspect in READERS[reader]


def test_notes_of_pictures_are_of_aspects_that_are_said() -> None:
    assert {appearance.ANSWERS[aspect] for aspect, _ in NOTES.values()} == {"said"}
