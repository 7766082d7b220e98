"""What becomes of a record on the way into each kind of format, what keeps it from it, and options that do not fit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from data.converted import records, write
from data.test_every_format import OPEN, PAIR, PICTURES, PROBLEM, REPLY, SHORT, USER, WHOLE

from virc.core.errors import VircError
from virc.data.convert.change import Change, Target, changed
from virc.data.convert.convert import ConvertConfig, convert
from virc.data.formats.registry import Holds, Row
from virc.data.rows.record import MARK, Message, Picture, Record
from virc.data.synth.worked import PROTOCOL
from virc.models.chat_protocol import written as protocol_bytes
from virc.reasoning.grammar import CallForm, Grammar
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.resize import QWEN2
from virc.scoring.boxes import Box


def into(holds: Holds, record: Record, **change: Any) -> Record:
    row, _ = changed(Change(holds, **change), Row(4, record))
    assert row.number == 4
    if row.fault:
        raise row.fault
    assert row.record
    return row.record


def of(record: Record, **fields: Any) -> Record:
    return msgspec.structs.replace(record, **fields)


def test_a_faulty_row_stays_as_it_is() -> None:
    fault = Row(4, fault=VircError("no"))  # type: ignore[arg-type]
    assert changed(Change("problems"), fault)[0] is fault


@pytest.mark.parametrize(
    ("holds", "record"), [("solutions", WHOLE), ("solutions", SHORT), ("pairs", PAIR), ("problems", PROBLEM)]
)
def test_without_a_goal_a_record_stays(holds: Holds, record: Record) -> None:
    assert into(holds, record) == record


def test_a_pair_becomes_the_solution_of_its_better_reply() -> None:
    assert into("solutions", PAIR) == of(PAIR, rejected=None)


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        (WHOLE, "5"), (of(WHOLE, answer=None), "5"), (of(WHOLE, answer="7"), "7"), (of(PAIR, answer=None), None),
        (of(WHOLE, answer=None, messages=(*WHOLE.messages[:-1], Message("assistant", "5"))), None), (PROBLEM, "red"),
    ],
)  # fmt: skip
def test_the_answer_of_a_problem_is_its_own_else_that_of_its_only_reply(record: Record, answer: str | None) -> None:
    assert into("problems", record).answer == answer


@pytest.mark.parametrize(("boxes", "answer"), [([[0, 0, 5, 5]], "[[0,0,5,5]]"), ([], None)])
def test_boxes_are_the_answer_of_a_prompt_that_has_no_other(boxes: list[Box], answer: str | None) -> None:
    record = of(OPEN, answer=None, extra={"boxes": boxes})
    if answer is None:
        with pytest.raises(VircError, match="row 4: record 7 has no answer"):
            into("prompts", record)
    else:
        assert into("prompts", record).answer == answer
        assert into("prompts", of(record, answer="7")).answer == "7"


@pytest.mark.parametrize(
    ("extra", "columns"),
    [
        ({}, {"data_source": "deepeyes"}), ({"data_source": 5}, {"data_source": "deepeyes"}),
        ({"data_source": "theirs"}, {"data_source": "deepeyes", "published_data_source": "theirs"}),
        ({"data_source": "thyme"}, {"data_source": "deepeyes"}),
    ],
)  # fmt: skip
def test_rows_of_a_system_name_it_and_keep_what_stood_there(extra: dict[str, Any], columns: dict[str, str]) -> None:
    found = into("solutions", of(WHOLE, extra={"level": 2, **extra}), system="deepeyes")
    assert found.extra == {"level": 2, **columns}


GONE, FAR = Picture("gone.png", Path("/nowhere")), Picture("https://example.com/a.png")


@pytest.mark.parametrize(
    ("holds", "record", "says"),
    [
        ("pairs", WHOLE, "it has no rejected reply"), ("solutions", PROBLEM, "it has no conversation"),
        ("solutions", OPEN, "the reply to its last message is not known"),
        ("problems", of(PROBLEM, question=None), "it has neither a question nor a conversation"),
        ("problems", of(PROBLEM, answer="green"), "its answer 'green' is none of its choices"),
        ("problems", of(SHORT, question=None), "its question is not known, only the chat protocol around it"),
        *((holds, of(record, images=(*record.images[:-1], GONE)), "image gone.png cannot be read: ")
          for holds, record in (("solutions", WHOLE), ("pairs", PAIR), ("problems", PROBLEM), ("prompts", OPEN))),
        *((holds, of(record, images=(*record.images[:-1], FAR)), "image https://example.com/a.png cannot be read: ")
          for holds, record in (("solutions", WHOLE), ("pairs", PAIR), ("prompts", OPEN))),
        ("solutions", of(WHOLE, images=PICTURES[:2]), f"its messages have 3 {MARK} marks, and it has 2 images"),
        ("solutions", of(WHOLE, messages=(USER, REPLY), images=PICTURES[:1]),
         f"its messages have 2 {MARK} marks, and it has 1 image"),
        ("pairs", of(PAIR, images=PICTURES[:1]), f"its messages have 3 {MARK} marks, and it has 1 image"),
        *(("prompts", of(OPEN, **{name: "\ud800"}), "it is no UTF-8") for name in ("id", "question", "answer")),
        ("prompts", of(OPEN, extra={"ability": "\ud800"}), "it is no UTF-8"),
    ],
)  # fmt: skip
def test_what_keeps_a_record_from_a_format_is_said_with_its_row(holds: Holds, record: Record, says: str) -> None:
    with pytest.raises(VircError) as refused:
        into(holds, record)
    assert refused.value.message.startswith(f"row 4: {says}")
    assert ("--protocol virc_protocol.json" in str(refused.value.hint)) == ("question is not known" in says)


def test_problems_need_their_own_pictures_alone_and_may_have_them_on_the_network() -> None:
    assert into("problems", of(WHOLE, images=(*PICTURES[:2], GONE))).images[:2] == PICTURES[:2]
    assert into("problems", of(PROBLEM, images=(FAR,))).images == (FAR,)
    assert into("solutions", of(WHOLE, images=PICTURES[:3])).images == PICTURES


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Path]:
    """A dataset of each kind: answers in words, trajectories of our own, pairs, and problems."""
    talk = Record((Message("user", f"{MARK}How long?"), Message("assistant", "It is 5.")), PICTURES[:1], 1)
    records: dict[str, tuple[str, Record]] = {
        "words": ("sft", talk), "pairs": ("pairs", PAIR), "problems": ("batch", PROBLEM), "solutions": ("sft", WHOLE),
    }  # fmt: skip
    return {name: write(tmp_path / name, format, [record]) for name, (format, record) in records.items()}


@pytest.mark.parametrize(
    ("source", "format", "target", "says", "hint"),
    [
        ("words", "sft", Target(answers=True), "rows.json has replies", "without --answers"),
        ("problems", "batch", Target(answers=True), "--answers makes trajectories", "--format sft"),
        ("words", "sft", Target(model="tiny"), "--model is for --answers", "--answers makes trajectories of problems"),
        *(("pairs", "pairs", target, "pairs stay in the chat protocol that they are written in",
           "without --coordinates, --images and --system")
          for target in (Target(coordinates="permille"), Target(images="square_1000"), Target(system="virc"))),
        *(("solutions", "sft", target, "a system decides coordinates, images and chat protocol", "--system alone")
          for target in (Target(system="virc", coordinates="pixel"), Target(system="virc", images="smart"),
                         Target(system="virc", protocol="default"))),
        ("words", "sft", Target(coordinates="permille"), "call no tools: there are no boxes to conv", "without --co"),
        ("problems", "prompts", Target(), "the chat protocol to write them in is not known", "--protocol default"),
        ("words", "sft", Target(images="square_1000", max_pixels=9000), "the chat protocol shows every image at 1000 x",
         "--images smart"),
        ("solutions", "sft", Target(protocol="none.json"), "none.json", None),
        ("solutions", "sft", Target(max_pixels=9000), "rows.json cannot be found: ", "put the chat protocol they are"),
        ("pairs", "pairs", Target(protocol="default", max_pixels=9000), "images of pairs in a chat protocol with tools",
         "virc data sample --pairs RULE --max-pixels N"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(
    source: str, format: str, target: Target, says: str, hint: str | None, sets: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(VircError) as refused:
        convert(ConvertConfig([sets[source]], tmp_path / "to", format, target=target))
    assert says in refused.value.message
    assert hint is None or hint in (refused.value.hint or "")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("sources", "format", "lost"),
    [
        (["problems"], "batch", ""), (["pairs"], "pairs", ""), (["pairs"], "sft", "the rejected replies"),
        (["pairs"], "batch",
         "the trajectory and the images it made, and the counterfactual of a problem; a record without an id gets one; "
         "the rejected replies"),
        (["words"], "trajectories", ""), (["problems"], "rl", None),
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


def test_what_cannot_be_written_is_named_with_its_file_and_row(tmp_path: Path) -> None:
    folder = write(tmp_path / "from", "sft", [WHOLE, of(WHOLE, id=8, extra={"choices": 3})])
    with pytest.raises(VircError) as refused:
        convert(ConvertConfig([folder], tmp_path / "to", "batch"))
    assert refused.value.message.startswith(f"{folder / 'rows.json'}, row 2: row 8 is no row of a batch: ")
    own = msgspec.structs.replace(PROTOCOL, tools=(*PROTOCOL.tools, "tool_of_mine"))
    (folder / FILE_NAME).write_bytes(protocol_bytes(own))
    with pytest.raises(VircError, match="is not this project's own, so its text for other boxes is not known"):
        convert(ConvertConfig([folder], tmp_path / "to", "sft", target=Target(coordinates="permille")))


BARE = Grammar(think=None, calls=(CallForm(body="arguments", tool="crop_image", given={"image_index": 0}),))
FOREIGN, INSIDE = (msgspec.structs.replace(PROTOCOL, **part) for part in ({"grammar": BARE}, {"results": "inline"}))
SQUARE = msgspec.structs.replace(PROTOCOL, images="square_1000")


@pytest.mark.parametrize(
    ("change", "replays", "rewords"),
    [
        ({"chat_protocol": PROTOCOL}, False, False), ({"goal": SQUARE}, False, False),
        ({"chat_protocol": PROTOCOL, "goal": PROTOCOL}, False, False),
        ({"chat_protocol": PROTOCOL, "goal": SQUARE}, True, False),
        ({"chat_protocol": PROTOCOL, "goal": PROTOCOL, "grid": QWEN2}, True, False),
        *(({"chat_protocol": PROTOCOL, "goal": msgspec.structs.replace(PROTOCOL, **{name: "{question} {images} x"})},
           True, False) for name in ("first", "image_line", "after_image", "after_scale")),
        ({"chat_protocol": FOREIGN, "goal": FOREIGN}, False, False),
        ({"chat_protocol": FOREIGN, "goal": FOREIGN, "grid": QWEN2}, True, True),
        ({"chat_protocol": INSIDE, "goal": PROTOCOL}, False, True),
        ({"chat_protocol": PROTOCOL, "goal": INSIDE}, False, True),
        ({"chat_protocol": PROTOCOL, "goal": PROTOCOL, "system": "virc"}, False, True),
    ],
)  # fmt: skip
def test_as_little_as_can_be_is_written_again(change: dict[str, Any], replays: bool, rewords: bool) -> None:
    found = Change("solutions", **change)
    assert (found.replays, found.rewords) == (replays, rewords)
    assert found.result == change.get("goal", change.get("chat_protocol"))


def test_units_of_another_grammar_name_the_tool_that_they_call(tmp_path: Path) -> None:
    reply = Message("assistant", '{"bbox_2d": [0, 0, 28, 28]}')
    protocol = msgspec.structs.replace(FOREIGN, first="{images}{question}", image_line="", after_image="{image}")
    row = of(WHOLE, messages=(WHOLE.messages[0], USER, reply, *WHOLE.messages[3:4], Message("assistant", "5")))
    folder = write(tmp_path / "from", "sft", [row])
    (folder / FILE_NAME).write_bytes(protocol_bytes(protocol))
    convert(ConvertConfig([folder], tmp_path / "to", "rl"))
    units = [each.extra["tool_info_gt"] for each in records(tmp_path / "to", joined=False)["rows"]]
    assert units == [{"name": "crop_image"}, None]
