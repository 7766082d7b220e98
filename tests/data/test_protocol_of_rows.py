"""The chat protocol of a dataset, found in its conversations."""

from pathlib import Path

import pytest
from chat_protocols import NAMES
from data.chat_protocols import extract
from support import crux

from virc.data.formats import registry as formats
from virc.data.rows.record import Record
from virc.reasoning.protocol import Protocol


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> crux.Crux:
    return crux.build(tmp_path_factory.mktemp("crux") / "set")


def records(file: Path) -> list[Record]:
    [source] = formats.sources(file)
    return [row.record for row in formats.get(source.format).read(source)]


@pytest.mark.parametrize("part", ["dynamic", "fixed"])
def test_published_files_tell_their_chat_protocol(published: crux.Crux, part: str) -> None:
    found = extract(records(getattr(published, part)))
    fixed = part == "fixed"
    line = "Image {index}: {width} x {height}."
    assert found == Protocol(
        system=crux._system(fixed),
        first=f"{{images}}\nQuestion: {{question}}\n\n{crux._INSTRUCTION}",
        image_line=line,
        after_image=f"{line} {crux._NEXT}",
        after_scale=f"{line} Remember: {{question}} {crux._NEXT}",
        tools=NAMES,
        coordinates="permille" if fixed else "pixel",
        images="square_1000" if fixed else "smart",
    )
