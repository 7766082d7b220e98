"""Rows with several calls, texts, error turns and results of the assistant: written, checked, shown, changed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from PIL import Image
from support.solving import answer

from virc.data import show
from virc.data.check.result import Rules
from virc.data.check.row import check_row
from virc.data.convert.change import Change, changed
from virc.data.formats.registry import Row
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.rows.results import joined, split_results
from virc.reasoning.calls import Call, Result
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


class Reader:
    """A tool that returns a text."""

    NAME, TEMPLATE = "read_text", "after_image"
    SCHEMA: ClassVar[dict[str, Any]] = {
        "type": "function",
        "function": {"name": "read_text", "parameters": {"type": "object", "properties": {}}},
    }

    def apply(self, call: Call, source: object) -> str:
        return "It says 4."


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tools._CUSTOM, "read_text", Reader())


def said(*calls: tuple[str, dict[str, object]]) -> str:
    listed = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in calls]
    return "<think>I look.</think>" + "".join(f"\n<tool_call>\n{each}\n</tool_call>" for each in listed)


def crop(*box: int, index: int = 0) -> tuple[str, dict[str, object]]:
    return "crop_image", {"bbox_2d": list(box), "image_index": index}


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
    rules = Rules("solutions", protocol.coordinates, protocol)
    return [f"{fault.kind}: {fault.message}" for fault in check_row(rules, Row(1, record)).faults]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_rows_pass_and_are_read_as_they_were_said(name: str, tmp_path: Path) -> None:
    protocol = PROTOCOLS[name]
    record = row_of(protocol, tmp_path)
    assert faults(record, protocol) == []
    roles = [message.role for message in record.messages]
    assert roles == (["system"] + ["user", "assistant"] * (1 if name in ("inline", "assistant") else 5))
    known = [each.content for each in split_results(record, protocol).messages if each.role == "assistant"]
    assert known == list(REPLIES)
    rules = Rules("solutions", protocol.coordinates, protocol)
    trace = show.trace_of(record, show.images_to_show(record, rules), rules)
    assert [len(unit.calls) for unit in trace.units] == [2, 0, 1, 1, 0]
    assert [unit.shown for unit in trace.units] == [[1, 2], [], [], [3], []]
    assert trace.units[1].results[0].error
    assert trace.answer == "4"


def test_an_error_without_words_ends_a_reply_within_a_turn() -> None:
    grammar = msgspec.structs.replace(OWN.grammar, stop=("</tool_call>",))
    protocol = msgspec.structs.replace(
        OWN, results="inline", errors="show", after_error="{error}", error_texts={"image": "\n\n"}, grammar=grammar
    )
    replies = [said(crop(0, 0, 40, 40, index=9)), said(crop(0, 0, 100, 60)).replace(" look", "\n\nlook"), answer("4")]
    session = Session(protocol, "How many?", [Image.new("RGB", (280, 196))], tools=tools.known())
    for reply in replies:
        session.feed(Reply(reply))
    record = split_results(Record(tuple(joined(session.trace().messages))), protocol)
    assert [each.content for each in record.messages if each.role == "assistant"] == replies


@pytest.mark.parametrize("results", ["inline", "assistant"])
def test_results_of_any_tool_and_of_a_broken_call_part_the_replies(results: Any, tmp_path: Path) -> None:
    protocol = msgspec.structs.replace(PROTOCOLS[results], after_scale="\n{image}Scaled.")
    scaled = said(("scale_image", {"scale_factor": 0.5, "image_index": 0}))
    replies = [scaled, f"<think>I look.</think>\n<tool_call>\n{{{crop}\n</tool_call>", scaled, answer("4")]
    record = split_results(row_of(protocol, tmp_path, replies), protocol)
    assert [each.content for each in record.messages if each.role == "assistant"] == replies


def test_a_reply_that_looks_like_a_result_stays_whole_where_results_are_the_users() -> None:
    record = Record((Message("user", "?"), Message("assistant", "It says\n[4]\nthere.\nERROR: none.\n")))
    assert split_results(record, FROM_FILE) == split_results(record, None) == record


def in_reply(record: Record, old: str, new: str) -> Record:
    messages = tuple(Message(each.role, each.content.replace(old, new)) for each in record.messages)
    assert messages != record.messages
    return msgspec.structs.replace(record, messages=messages)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_damaged_rows_fail(name: str, tmp_path: Path) -> None:
    protocol = PROTOCOLS[name]
    record = row_of(protocol, tmp_path)
    for old, new in (("100, 60, 200", "0, 0, 60"), ("28, 28, 84, 50", "0, 0, 300, 9")):
        assert any("result_differs" in each for each in faults(in_reply(record, old, new), protocol))
    cut = msgspec.structs.replace(record, images=record.images[:-1])
    assert any("marks" in each for each in faults(cut, protocol))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_call_about_the_image_of_one_at_fault_is_checked(name: str, tmp_path: Path) -> None:
    protocol = msgspec.structs.replace(PROTOCOLS[name], errors="redraw")
    replies = (said(crop(0, 0, 100, 60)), said(crop(0, 0, 60, 30, index=1)), answer("4"))
    record = in_reply(row_of(protocol, tmp_path, replies), "[0, 0, 100, 60]", "[0, 0, 0, 60]")
    found = faults(record, protocol)
    assert len(found) == 1
    assert "turn 1: bbox_2d [0, 0, 0, 60] holds no pixel" in found[0]


STRICT = msgspec.structs.replace(FROM_FILE, errors="redraw")


@pytest.mark.parametrize(
    ("protocol", "index", "box"),
    [
        (msgspec.structs.replace(STRICT, index_counts="inputs"), 1, (0, 0, 100, 60)),
        (msgspec.structs.replace(STRICT, coordinates="original"), 1, (600, 400, 800, 600)),
    ],
    ids=["numbers of inputs", "pixels of the file"],
)
def test_calls_are_held_against_the_inputs_and_their_files(
    protocol: Protocol, index: int, box: tuple[int, ...], tmp_path: Path
) -> None:
    called = said(*(crop(*box, index=at) for at in (0, index)))
    record = row_of(protocol, tmp_path, (called, answer("4")), inputs=2)
    assert faults(record, protocol) == []
    rules = Rules("solutions", protocol.coordinates, protocol)
    trace = show.trace_of(record, show.images_to_show(record, rules), rules)
    assert [call.index for unit in trace.units for call in unit.calls] == [0, 1]
    as_given = Rules("solutions", "permille", protocol).view([(56, 84)], [(56, 84)])
    assert (as_given.coordinates, as_given.sizes) == ("permille", [(56, 84)])


class Halves(Reader):
    """A tool that returns two images."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "type": "function",
        "function": {**tools.schemas(("crop_image",))[0]["function"], "name": "read_text"},
    }

    def apply(self, call: Call, source: Any) -> Any:
        left, top, right, bottom = call.box or (0, 0, 0, 0)
        return Result(images=[source.crop((left, top, at, bottom)) for at in (right, (left + right) // 2)])


def test_what_a_call_makes_is_held_against_the_images_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All images of one call; none of a reply that is no JSON; with lines that a chat protocol has in its own words."""
    line = "Picture {index}: {width} by {height}."
    broken = f"<think>I look.</think>\n<tool_call>\n{{{crop}\n</tool_call>"
    shown = msgspec.structs.replace(FROM_FILE, image_line=line)
    record = row_of(shown, tmp_path, (said(crop(0, 0, 100, 60)), broken, answer("4")))
    assert faults(record, shown) == []
    (wrong,) = faults(in_reply(record, "Picture 0: ", "Picture 0: 1"), shown)
    assert wrong.startswith("size_differs: image 0 is announced with 1")
    monkeypatch.setitem(tools._CUSTOM, "read_text", Halves())
    plain = msgspec.structs.replace(OWN, tools=(*OWN.tools, "read_text"))
    halves = said(("read_text", {"bbox_2d": [0, 0, 300, 100], "image_index": 0}))
    (tmp_path / "other").mkdir()
    record = row_of(plain, tmp_path / "other", (halves, answer("4")))
    assert (len(record.images), faults(record, plain)) == (3, [])


def test_a_crop_of_another_place_is_found_by_its_pixels(tmp_path: Path) -> None:
    record = row_of(FROM_FILE, tmp_path)
    shifted = in_reply(record, "[100, 60, 200, 150]", "[40, 20, 140, 110]")
    assert any("levels of 255" in each for each in faults(shifted, FROM_FILE))


def test_an_image_of_the_assistant_is_a_fault_where_results_are_the_users(tmp_path: Path) -> None:
    record = row_of(PROTOCOLS["inline"], tmp_path)
    assert any("mark_misplaced" in each for each in faults(record, FROM_FILE))


@pytest.mark.parametrize("source", PROTOCOLS)
@pytest.mark.parametrize("target", ["user", "inline", "assistant"])
def test_rows_are_written_in_another_chat_protocol(source: str, target: str, tmp_path: Path) -> None:
    """As a system is named: calls, texts and errors are made anew; the row that comes out passes."""
    record = row_of(PROTOCOLS[source], tmp_path)
    there = PROTOCOLS[target]
    found, _ = changed(Change("solutions", PROTOCOLS[source], there, "other"), Row(1, record))
    assert found.record, found.fault
    assert faults(found.record, there) == []
    assert sum(each.content.count(MARK) for each in found.record.messages) == 4
