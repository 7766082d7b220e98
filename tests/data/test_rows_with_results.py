"""Rows with several calls, texts, error turns and results of the assistant: written, checked, shown, changed."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.solving import answer
from support.tool_replies import Reader, crop, said

from virc.data import show
from virc.data.check.result import Rules
from virc.data.check.row import check_row
from virc.data.convert.change import Change, changed
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.rows.results import joined, split_results
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Reply, Session, Unit
from virc.tools import registry as tools

OWN = own_protocol(tools.schemas(tools.DEFAULT))
TWO_CALLS = msgspec.structs.replace(OWN.grammar, most_calls=2)
FROM_FILE = msgspec.structs.replace(
    OWN, crops="file", input_pixels=(3136, 60_000), crop_pixels=(3136, 40_000), grammar=TWO_CALLS, errors="show",
    after_text="\n[{text}]\n", after_error="\nERROR: {error}.\n", tools=(*OWN.tools, "read_text"),
)  # fmt: skip
PROTOCOLS = {
    "user": FROM_FILE,
    "shown": msgspec.structs.replace(FROM_FILE, crops="shown"),
    "inline": msgspec.structs.replace(FROM_FILE, results="inline", after_image="\n{image}\nGo on."),
    "assistant": msgspec.structs.replace(FROM_FILE, results="assistant", after_image="{image}Go on."),
}


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tools._CUSTOM, "read_text", Reader("It says 4."))


REPLIES = (
    said(crop(0, 0, 100, 60), crop(28, 28, 84, 50, index=1)),
    said(crop(0, 0, 40, 40, index=9)),
    said(("read_text", {})),
    said(crop(100, 60, 200, 150)),
    answer("4"),
)


def row_of(protocol: Protocol, folder: Path, replies: Sequence[str] = REPLIES, inputs: int = 1) -> Record:
    """The row of a solution, its images in the folder."""
    pictures = [Image.effect_noise((800, 600), 60).convert("RGB") for _ in range(inputs)]
    session = Session(protocol, "How many?", pictures, tools=tools.known())
    for reply in replies:
        assert isinstance(session.feed(Reply(reply)), Unit)
    assert session.trace().answer == "4"
    names = []
    for index, shown in enumerate(session.images):
        names.append(f"{index}.png")
        (shown.full if index < inputs else shown.pixels).save(folder / names[-1], compress_level=1)
    images = tuple(Picture(name, folder) for name in names)
    return Record(tuple(joined(session.trace().messages)), images, 1, "How many?", "4")


def faults(record: Record, protocol: Protocol) -> list[str]:
    rules = Rules(protocol, protocol.coordinates, holds="solutions")
    return [f"{fault.kind}: {fault.message}" for fault in check_row(rules, ParsedRow(1, record)).faults]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_rows_pass_and_are_read_as_they_were_said(name: str, tmp_path: Path) -> None:
    protocol = PROTOCOLS[name]
    record = row_of(protocol, tmp_path)
    assert faults(record, protocol) == []
    roles = [message.role for message in record.messages]
    assert roles == (["system"] + ["user", "assistant"] * (1 if name in ("inline", "assistant") else 5))
    known = [each.content for each in split_results(record, protocol).messages if each.role == "assistant"]
    assert known == list(REPLIES)
    rules = Rules(protocol, protocol.coordinates, holds="solutions")
    trace = show.trace_of(record, show.images_to_show(record, rules), rules)
    assert [len(unit.calls) for unit in trace.units] == [2, 0, 1, 1, 0]
    assert [unit.shown for unit in trace.units] == [[1, 2], [], [], [3], []]
    assert trace.units[1].results[0].error
    assert trace.answer == "4"


def in_reply(record: Record, old: str, new: str) -> Record:
    messages = tuple(Message(each.role, each.content.replace(old, new)) for each in record.messages)
    assert messages != record.messages
    return msgspec.structs.replace(record, messages=messages)


def test_a_crop_of_another_place_is_found_by_its_pixels(tmp_path: Path) -> None:
    record = row_of(FROM_FILE, tmp_path)
    shifted = in_reply(record, "[100, 60, 200, 150]", "[40, 20, 140, 110]")
    assert any("levels of 255" in each for each in faults(shifted, FROM_FILE))


@pytest.mark.parametrize("source", PROTOCOLS)
@pytest.mark.parametrize("target", ["user", "inline", "assistant"])
def test_rows_are_written_in_another_chat_protocol(source: str, target: str, tmp_path: Path) -> None:
    """As a system is named: calls, texts and errors are made anew; the row that comes out passes."""
    record = row_of(PROTOCOLS[source], tmp_path)
    there = PROTOCOLS[target]
    found, _ = changed(Change("solutions", PROTOCOLS[source], there, "other"), ParsedRow(1, record))
    assert found.record, found.fault
    assert faults(found.record, there) == []
    assert sum(each.content.count(MARK) for each in found.record.messages) == 4
