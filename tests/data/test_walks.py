"""Stored conversations are read by one rule: check, page, reward and session agree on rows that a session made."""

import random
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.conversations import gradient
from support.solving import answer
from support.tool_replies import Reader, crop, said, schema

from virc.data import show
from virc.data.check.result import Rules
from virc.data.check.row import check_row
from virc.data.convert.recode import reworded
from virc.data.rows.numbered import ParsedRow
from virc.data.rows.record import FILE_SIZES, MARK, Message, Picture, Record, content_of, images_of
from virc.reasoning.calls import Result
from virc.reasoning.encoded import as_png
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Reply, Session
from virc.reasoning.trace import Trace
from virc.rewards import pictures
from virc.rewards.rollouts import samples_of
from virc.rewards.sample import prompt_of, sample
from virc.tools import registry as tools

OWN = own_protocol(tools.schemas(tools.DEFAULT))
SEVERAL = msgspec.structs.replace(OWN, grammar=msgspec.structs.replace(OWN.grammar, most_calls=3))
FILE: dict[str, Any] = {"crops": "file", "input_pixels": (3136, 60_000), "crop_pixels": (3136, 40_000)}
SHOWN: dict[str, Any] = {"errors": "show", "short_boxes": "refuse", "least_side": 20}
OF_CALLS = ("tool", "result_differs", "box_clamped", "factor_snapped", "index_negative")
PROTOCOLS = [OWN, *(msgspec.structs.replace(SEVERAL, **more) for more in ({}, FILE, SHOWN, FILE | SHOWN))]


class Made(msgspec.Struct, frozen=True):
    """A row of a session, and what the session says of it; `rules` may know no chat protocol."""

    record: Record
    trace: Trace
    rules: Rules
    spoilt: bool

    @property
    def faults(self) -> list[tuple[str, int]]:
        """The kinds of faults of its calls, each with its turn."""
        found = check_row(self.rules, ParsedRow(1, self.record)).faults
        return [(each.kind, int(re.split(r"turn (\d+)", each.message)[1])) for each in found if each.kind in OF_CALLS]

    @property
    def page(self) -> Trace:
        return show.trace_of(self.record, show.images_to_show(self.record, self.rules), self.rules)


def call(draw: random.Random, session: Session, made: int) -> tuple[str, dict[str, object]]:
    """A call about an image that is shown, one that its reply has made, or rarely none of these."""
    known = len(session.images)
    index = draw.randrange(known + made + (draw.random() < 0.1))
    width, height = session.images[min(index, known - 1)].size
    left, top = draw.randrange(width // 2), draw.randrange(height // 2)
    if (kind := draw.random()) < 0.7:
        return crop(left, top, left + width // draw.choice((2, 3)), top + height // draw.choice((2, 9)), index=index)
    if kind < 0.85:
        return "display_image", {"image_index": index}
    return "scale_image", {"image_index": index, "scale_factor": draw.choice((0.5, 1.5, 2.0))}


def drawn(seed: int) -> Made:
    draw = random.Random(seed)
    spoken = PROTOCOLS[seed % 5]
    files = [gradient(draw.randrange(100, 900), draw.randrange(100, 700)) for _ in range(draw.choice((1, 1, 2)))]
    session = Session(spoken, "Which?", files, tolerate=(), tools=tools.known())
    turns = draw.randrange(1, 4)
    while len(session.trace().units) < turns:  # replies that are refused are drawn again
        count = draw.randint(1, spoken.grammar.most_calls)
        session.feed(Reply(said(*[call(draw, session, made) for made in range(count)])))
    session.feed(Reply(answer("4")))
    record, spoilt = row_of(session, files if draw.random() < 0.5 else ()), draw.random() < 0.25
    record = spoil(record, draw.randrange(3), draw) if spoilt else record
    rules = Rules(spoken if seed % 5 else None, holds="solutions")  # of some rows no chat protocol is known
    return Made(record, session.trace(), rules, spoilt)


def row_of(session: Session, files: Sequence[Image.Image] = ()) -> Record:
    """The row of a conversation with these files of its question, or with what was shown of them."""
    images = [*files, *(each.pixels for each in session.images[len(files) :])]
    sizes = session.history.originals[: session.history.inputs]
    messages = tuple(Message(each.role, content_of(each)) for each in session.trace().messages)
    pictures = tuple(Picture("", data=as_png(each).data) for each in images)
    return Record(messages, pictures, 1, "Which?", "4", {} if files else {FILE_SIZES: [[*each] for each in sizes]})


def spoil(record: Record, change: int, draw: random.Random) -> Record:
    """The row with an image less, more, or of another size than its calls make."""
    places = [(at, index) for at, indices in enumerate(images_of(record)[3:], 3) for index in indices]
    messages, images = list(record.messages), list(record.images)
    if not places:
        return record
    at, index = draw.choice(places)
    text, other = messages[at].content, Picture("", data=as_png(gradient(252, 28)).data)
    if change == 0:
        messages[at], images[index : index + 1] = Message("user", text.replace(MARK, "", 1)), []
    elif change == 1:
        messages[at], images[index:index] = Message("user", MARK + text), [other]
    else:
        images[index] = other
    return msgspec.structs.replace(record, messages=tuple(messages), images=tuple(images))


@pytest.mark.parametrize("first", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in range(60, 600, 60))])
def test_check_page_reward_and_session_agree(first: int) -> None:
    for seed in range(first, first + 60):
        row = drawn(seed)
        faults, page = row.faults, row.page
        refused = {at for at, each in enumerate(page.units, 1) if each.rejected}
        assert refused == {turn for kind, turn in faults if kind == "tool"}, seed
        if row.spoilt:
            continue
        assert not faults, seed
        prompt = prompt_of(row.record, protocol=row.rules.protocol)
        results = [each for unit in row.trace.units for each in unit.results]
        assert [each.call for each in prompt.calls] == [each.call for each in results], seed
        made = {index: each.call for each in results for index in each.images}
        assert list(prompt.made_by) == [made.get(index) for index in range(len(row.trace.images))], seed
        assert [each.images for unit in page.units for each in unit.results] == [each.images for each in results], seed
        assert [(each.parent, each.box) for each in page.images] == [
            (each.parent, each.box) for each in row.trace.images
        ]


@pytest.mark.parametrize("spoken", PROTOCOLS[3:])
def test_calls_beside_a_wrong_one_that_is_shown_are_compared(spoken: Protocol) -> None:
    picture = gradient(280, 196)
    session = Session(spoken, "Which?", [picture], tolerate=(), tools=tools.known())
    for reply in (said(crop(0, 0, 56, 56, index=9), crop(0, 0, 84, 56)), said(crop(0, 0, 9, 9)), answer("4")):
        session.feed(Reply(reply))
    row = Made(row_of(session, [picture]), session.trace(), Rules(spoken, holds="solutions"), False)
    assert row.faults == []
    for change in range(3):  # one fault brings no second
        changed = spoil(row.record, change, random.Random(0))
        assert set(msgspec.structs.replace(row, record=changed).faults) == {("result_differs", 1)}, change


def test_calls_that_make_too_many_pixels_are_faults() -> None:
    spoken = msgspec.structs.replace(OWN, grammar=msgspec.structs.replace(OWN.grammar, most_calls=9))
    session = Session(spoken, "Which?", [Image.new("RGB", (3500, 3500))], tolerate=(), tools=tools.known())
    record = row_of(session)
    calls: list[tuple[str, dict[str, object]]] = [("display_image", {"image_index": 0})] * 9
    reply = Message("assistant", said(*calls))
    record = msgspec.structs.replace(record, messages=(*record.messages, reply, *record.messages[1:2]))
    row = Made(record, session.trace(), Rules(spoken, holds="solutions"), True)
    assert row.faults == [("tool", 1)]


def test_rollouts_of_a_row_with_smaller_images_count_boxes_in_its_files() -> None:
    spoken = msgspec.structs.replace(PROTOCOLS[2], coordinates="original")
    session = Session(spoken, "Which?", [gradient(1400, 980)], tolerate=(), tools=tools.known())
    session.feed(Reply(said(crop(700, 490, 1400, 980))))
    record = row_of(session)
    problem = msgspec.structs.replace(record, messages=(), images=record.images[:1])
    [read], _ = samples_of(problem, session.trace(), spoken, QWEN2, 16)
    assert (read.fault, [*read.checked]) == (None, session.trace().units[0].calls)
    assert [image.size for image in read.prompt.images] == [session.images[0].size]


@pytest.mark.parametrize("before", [[], [crop(30, 20, 90, 80)]])
def test_a_judge_of_calls_is_shown_what_the_model_sees(before: list[tuple[str, dict[str, object]]]) -> None:
    picture, last = gradient(2800, 1960), said(crop(20, 10, 60, 50, index=len(before)))
    session = Session(PROTOCOLS[2], "Which?", [picture], tolerate=(), tools=tools.known())
    for each in before:
        session.feed(Reply(said(each)))
    record = row_of(session, [picture])
    session.feed(Reply(last))
    alone = sample(last, prompt_of(record, protocol=PROTOCOLS[2]))
    problem = msgspec.structs.replace(record, messages=(), images=record.images[:1])
    *_, whole = samples_of(problem, session.trace(), PROTOCOLS[2], QWEN2, 16)[0]
    for read in (alone, whole):
        assert read.call
        assert pictures.result(read.call, read.prompt).pixels.tobytes() == session.images[-1].pixels.tobytes()


def test_rows_are_checked_and_shown_without_code_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Reader):
        SCHEMA = schema("read_text", image_index={"type": "integer"}, bbox_2d={"type": "array"})

        def apply(self, call: object, source: object) -> str:
            raise AssertionError(self._text)

    session = Session(OWN, "Which?", [gradient(280, 196)], tools=tools.known())
    reply = Message("assistant", said(("read_text", {"bbox_2d": [0, 0, 56, 56], "image_index": 0})))
    record = row_of(session)
    record = msgspec.structs.replace(record, messages=(*record.messages, reply, Message("user", "It says 4.")))
    monkeypatch.setitem(tools._CUSTOM, "read_text", Own("it ran"))
    rules = Rules(msgspec.structs.replace(OWN, tools=("read_text",)), holds="solutions")
    row = Made(record, session.trace(), rules, False)
    assert (row.faults, [unit.call and unit.call.name for unit in row.page.units]) == ([], ["read_text"])


@pytest.mark.parametrize(("at", "short"), [(1, ()), (3, (crop(0, 0, 9, 9),))])
def test_calls_that_make_no_image_or_several_are_reworded(at: int, short: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "apply", lambda *_: Result(images=[gradient(140, 196), gradient(112, 196)]))
    monkeypatch.setitem(tools._CUSTOM, "read_text", Reader(""))
    target, spoken = (msgspec.structs.replace(PROTOCOLS[each], tools=(*OWN.tools, "read_text")) for each in (1, at))
    session = Session(spoken, "Which?", [gradient(280, 196)], tolerate=(), tools=tools.known())
    session.feed(Reply(said(*short, ("read_text", {}), crop(0, 0, 84, 56, index=2))))
    session.feed(Reply(said(crop(0, 0, 28, 28, index=3))))
    record = row_of(session)
    assert Made(record, session.trace(), Rules(spoken, holds="solutions"), False).faults == []
    assert reworded(record, "Which?", spoken, target).images == record.images
