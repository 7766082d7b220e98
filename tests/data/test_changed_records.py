"""What becomes of a record on the way into each kind of format, what keeps it from it, and options that do not fit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from data.converted import write
from data.test_every_format import OPEN, PAIR, PICTURES, PROBLEM, WHOLE

from virc.core.errors import VircError
from virc.data.convert.change import Change, Target, changed
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.formats.registry import Holds, Row
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.synth.worked import PROTOCOL
from virc.reasoning.grammar import CallForm, Grammar


def into(holds: Holds, record: Record, **change: Any) -> Record:
    row, _ = changed(Change(holds, **change), Row(4, record))
    assert row.number == 4
    if row.fault:
        raise row.fault
    assert row.record
    return row.record


def of(record: Record, **fields: Any) -> Record:
    return msgspec.structs.replace(record, **fields)


GONE, FAR = Picture("gone.png", Path("/nowhere")), Picture("https://example.com/a.png")


@pytest.mark.parametrize(
    ("holds", "record", "says"),
    [
("pairs", WHOLE, "it has no rejected reply"),
("solutions", OPEN, "the reply to its last message is not known"),
("problems", of(PROBLEM, answer="green"), "its answer 'green' is none of its choices"),
*((holds, of(record, images=(*record.images[:-1], GONE)), "image gone.png cannot be read: ")
          for holds, record in (("solutions", WHOLE), ("pairs", PAIR), ("problems", PROBLEM), ("prompts", OPEN))),
("solutions", of(WHOLE, images=PICTURES[:2]), f"its messages have 3 {MARK} marks, and it has 2 images"),
],
)  # fmt: skip
def test_what_keeps_a_record_from_a_format_is_said_with_its_row(holds: Holds, record: Record, says: str) -> None:
    with pytest.raises(VircError) as refused:
        into(holds, record)
    assert refused.value.message.startswith(f"row 4: {says}")
    assert ("--protocol virc_protocol.json" in str(refused.value.hint)) == ("question is not known" in says)


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Path]:
    """A dataset of each kind: answers in words, trajectories of our own, pairs, and problems."""
    talk = Record((Message("user", f"{MARK}How long?"), Message("assistant", "It is 5.")), PICTURES[:1], 1)
    records: dict[str, tuple[str, Record]] = {
        "words": ("sft", talk), "pairs": ("pairs", PAIR), "problems": ("batch", PROBLEM), "solutions": ("sft", WHOLE),
    }  # fmt: skip
    return {name: write(tmp_path / name, format, [record]) for name, (format, record) in records.items()}


@pytest.mark.parametrize(
    ("sources", "format", "lost"),
    [
(["problems"], "batch", ""),
(["pairs"], "sft", "the rejected replies"),
(["words"], "trajectories", ""),
],
)  # fmt: skip
def test_what_a_format_loses_is_said_of_what_has_it(
    sources: Sequence[str], format: str, lost: str | None, sets: dict[str, Path], tmp_path: Path
) -> None:
    target = Target(protocol="default") if lost is None else Target()
    report = convert(ConvertConfig([sets[name] for name in sources], tmp_path / "to", format, target=target))
    assert report.lost == (lost or "")
    assert report.chat_protocols == int(lost is None)
    assert (tmp_path / "to" / "virc_protocol.json").exists() == (lost is None)
    if lost is None:
        assert json.loads((tmp_path / "to" / "virc_protocol.json").read_text())["coordinates"] == "pixel"
        target = Target(protocol="default", coordinates="permille")
        convert(ConvertConfig([sets["problems"]], tmp_path / "other", format, target=target))
        other = json.loads((tmp_path / "other" / "virc_protocol.json").read_text())
        assert (other["coordinates"], "thousandths" in other["system"]) == ("permille", True)


BARE = Grammar(think=None, calls=(CallForm(body="arguments", tool="crop_image", given={"image_index": 0}),))
FOREIGN, INSIDE = (msgspec.structs.replace(PROTOCOL, **part) for part in ({"grammar": BARE}, {"results": "inline"}))
