"""Readers of pictures, clips and documents answer every aspect of a file."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest

from virc.reasoning.pixels import appearance
from virc.reasoning.pixels.aspects import NOTES, Aspect
from virc_extras.video import aspects

READERS: Mapping[str, Mapping[Aspect, str]] = {
    "pictures": appearance.ANSWERS, "clips": aspects.CLIPS, "documents": aspects.DOCUMENTS,
}  # fmt: skip
NOT_YET = {
    ("documents", "parts"), ("documents", "form"), ("documents", "enclosed files"), ("documents", "missing fonts"),
}  # fmt: skip
"""May only shrink."""


def _cases() -> Iterator[Any]:
    for reader in READERS:
        for aspect in get_args(Aspect):
            marks = [pytest.mark.xfail(strict=True)] if (reader, aspect) in NOT_YET else []
            yield pytest.param(reader, aspect, marks=marks, id=f"{reader}-{aspect}")


@pytest.mark.parametrize(("reader", "aspect"), [*_cases()])
def test_every_reader_answers_every_aspect(reader: str, aspect: Aspect) -> None:
    assert aspect in READERS[reader]


def test_notes_of_pictures_are_of_aspects_that_are_said() -> None:
    assert {appearance.ANSWERS[aspect] for aspect, _ in NOTES.values()} == {"said"}
