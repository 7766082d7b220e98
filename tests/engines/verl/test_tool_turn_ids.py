"""Rollouts with error turns, several calls, texts and results of the assistant have the ids, masks, images of solve.

What the loop does with a reply is run without verl.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from PIL import Image
from scripted_backend import Scripted, scripted, spelt
from support.solving import answer
from support.tool_replies import Reader, crop, said, schema

import virc
from virc.data.rows.record import Picture, Record
from virc.engines.verl.agent_ids import Ids, ended, following, shown_once, speech, up_to_stop
from virc.reasoning.calls import Call, Result
from virc.reasoning.protocol import Protocol, own_protocol
from virc.reasoning.session import Ask, Session
from virc.reasoning.trace import Trace
from virc.rewards import rollouts
from virc.solving.one import SolveConfig, solve
from virc.tools import registry as tools

TINY = Path(virc.__file__).parent / "models" / "tiny"
OWN = own_protocol(tools.schemas(tools.DEFAULT))
QUESTION = "Which?"


def named(box: Sequence[int], image: str) -> tuple[str, dict[str, object]]:
    return "crop_observation", {"bbox_2d": box, "image_index": image}


class Halves:
    """A tool that returns a text and two images."""

    NAME, TEMPLATE = "both_halves", "after_image"
    SCHEMA = schema("both_halves", image_index={"type": "integer"})

    def apply(self, call: Call, source: Image.Image) -> Result:
        middle = source.width // 2
        parts = [source.crop((0, 0, middle, source.height)), source.crop((middle, 0, source.width, source.height))]
        return Result("Left, then right.", parts)


OF_OTHERS = {"read_text": Reader("It says <|image_pad|>."), "both_halves": Halves()}


GRAMMAR = msgspec.structs.replace(OWN.grammar, most_calls=2)
FROM_FILE = msgspec.structs.replace(
    OWN, crops="file", input_pixels=(3136, 20_000), crop_pixels=(3136, 40_000), least_side=8
)
TWO = (said(crop(0, 0, 60, 60), crop(10, 10, 40, 40, index=1)), said(crop(5, 5, 50, 52, index=2)), answer("4"))
ONE = (said(crop(0, 0, 60, 60)), said(crop(30, 30, 90, 80)), answer("4"))
STOPS = msgspec.structs.replace(OWN.grammar, stop=("</tool_call>", "</answer>"))
CASES: dict[str, tuple[Protocol, Sequence[str]]] = {
    "error turns": (
        msgspec.structs.replace(OWN, errors="show", after_error="ERROR: {error}", grammar=GRAMMAR),
        (said(crop(0, 0, 60, 60, index=9)), "<think>x</think><tool_call>{oops}</tool_call>",
         said(crop(0, 0, 60, 60, index=5), crop(10, 10, 90, 90)), answer("4")),
    ),
    "two calls": (msgspec.structs.replace(OWN, grammar=GRAMMAR), TWO),
    "text": (
        msgspec.structs.replace(OWN, tools=("crop_image", "read_text"), after_text="Tool: {text}", grammar=GRAMMAR),
        (said(("read_text", {})), said(("read_text", {}), crop(0, 0, 60, 60)), answer("4")),
    ),
    "two images": (
        msgspec.structs.replace(OWN, tools=("crop_image", "both_halves"), after_text="Tool: {text}", grammar=GRAMMAR),
        (said(("both_halves", {"image_index": 0})), said(crop(0, 0, 60, 60, index=2)), answer("4")),
    ),
    "names": (
        msgspec.structs.replace(OWN, tools=(*OWN.tools, *tools.load(["crop_observation"]))),
        (said(named([0, 0, 60, 60], "original_image")), said(named([0, 0, 40, 40], "observation_1")), answer("4")),
    ),
    "inline": (msgspec.structs.replace(OWN, results="inline", after_image="\n{image}\nGo on."), ONE),
    "inline, stopped": (
        msgspec.structs.replace(FROM_FILE, results="inline", after_image="\n{image}\n", grammar=STOPS), ONE,
    ),
    "assistant": (msgspec.structs.replace(FROM_FILE, results="assistant", grammar=GRAMMAR), TWO),
    "from the file": (msgspec.structs.replace(FROM_FILE, grammar=GRAMMAR), TWO),
}  # fmt: skip


@pytest.fixture(scope="module")
def backend() -> Scripted:
    return scripted(TINY)


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**tools.known(), **OF_OTHERS}
    for module in ("virc.solving.one", "virc.data.live"):
        monkeypatch.setattr(f"{module}.known", lambda: known)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    file = tmp_path_factory.mktemp("pictures") / "page.png"
    Image.effect_noise((400, 300), 60).convert("RGB").save(file)
    return Picture(file.name, file.parent)


class Rolled(NamedTuple):
    """A rollout, and what `virc solve` fed for the same replies."""

    ids: Ids
    asked: list[list[int]]
    images: list[list[Image.Image]]
    trace: Trace
    ended: str


def rolled(protocol: Protocol, replies: Sequence[Sequence[int]], picture: Picture, room: int = 4096) -> Rolled:
    """What `VircLoop.run` does, with scripted replies."""
    speaks = speech(str(TINY))
    known = {**tools.known(), **OF_OTHERS}
    shown = shown_once(picture, protocol, speaks.grid)
    talk = Session(protocol, QUESTION, [shown], speaks.grid, tolerate=(), tools=known)
    ask = talk.next()
    assert isinstance(ask, Ask)
    ids, asked, images = Ids(speaks.encode(ask), speaks, room), list[list[int]](), list[list[Image.Image]]()
    for reply in replies:
        if not isinstance(ask, Ask):
            break
        asked.append(ids.all)
        images.append([each.pixels for each in ask.images])
        drawn = up_to_stop(ids.reply(reply, [-0.5] * len(reply)), protocol.grammar)
        ask = following(talk, ids, drawn, speaks)
    return Rolled(ids, asked, images, talk.trace(), ended(talk.trace(), ids.room))


@pytest.mark.parametrize("name", CASES)
def test_ids_masks_images_and_rewards_are_those_of_solve(name: str, backend: Scripted, picture: Picture) -> None:
    protocol, replies = CASES[name]
    ids = [spelt(backend, reply) for reply in replies]
    backend.script(ids)
    with Image.open(picture.path()) as image:
        solve(SolveConfig(tries=1, tolerate=frozenset()), backend, protocol, [image.convert("RGB")], QUESTION)
    end = speech(str(TINY)).end
    stops = bool(protocol.grammar.stop)
    done = rolled(protocol, [reply if stops else [*reply, end] for reply in ids], picture)
    assert done.ended == "answer"
    assert done.asked == backend.fed
    assert len(done.asked) == len(replies)
    assert [[each.tobytes() for each in shown] for shown in done.images] == [
        [each.tobytes() for each in shown] for shown in backend.shown
    ]
    dropped = protocol.results == "inline" or stops
    learnt = [reply if dropped and at < len(ids) - 1 else [*reply, end] for at, reply in enumerate(ids)]
    learnt[-1] = learnt[-1][: len(ids[-1]) + (not stops)]
    sampled = [token for token, one in zip(done.ids.response, done.ids.mask, strict=True) if one]
    assert sampled == [token for reply in learnt for token in reply]
    assert [chance == -0.5 for chance in done.ids.chances] == [bool(one) for one in done.ids.mask]
    pad = backend._tokenizer.convert_tokens_to_ids("<|image_pad|>")
    pads = [one for token, one in zip(done.ids.response, done.ids.mask, strict=True) if token == pad]
    assert set(pads) == {0}
    # the reward sees the same
    record = Record((), (picture,), question=QUESTION, answer="4")
    samples, how = rollouts.samples_of(record, done.trace, protocol, speech(str(TINY)).grid, 16)
    assert how == "answer"
    assert [each.text for each in samples] == list(replies)
    for each, shown in zip(samples, done.images, strict=True):
        assert [image.pixels().pixels.tobytes() for image in each.prompt.images] == [one.tobytes() for one in shown]
    taken = [len(unit.calls) for unit in done.trace.units]
    assert [len(each.checked) for each in samples] == taken
    made = {index: result.call for unit in done.trace.units for result in unit.results for index in result.images}
    assert list(samples[-1].prompt.made_by) == [made.get(index) for index in range(len(done.images[-1]))]


def test_a_call_that_ends_the_problem_is_no_answer(backend: Scripted, picture: Picture) -> None:
    protocol = msgspec.structs.replace(OWN, errors="end")
    done = rolled(protocol, [spelt(backend, said(crop(0, 0, 60, 60, index=9)))], picture)
    record = Record((), (picture,), question=QUESTION, answer="4")
    _, how = rollouts.samples_of(record, done.trace, protocol, speech(str(TINY)).grid, 16)
    assert how == done.ended == "format"


def test_a_thought_that_only_ends_stays_as_it_was_sampled(backend: Scripted, picture: Picture) -> None:
    """Of a chat protocol without marks of a thought, it is left out of what is read, not of what is fed."""
    protocol = msgspec.structs.replace(OWN, grammar=msgspec.structs.replace(OWN.grammar, think=None))
    replies = ["Hm.</think> " + said(crop(0, 0, 60, 60)).partition("</think>")[2], "<answer>4</answer>"]
    done = rolled(protocol, [spelt(backend, reply) for reply in replies], picture)
    assert done.ended == "answer"
    assert sum(done.ids.mask) == sum(len(spelt(backend, reply)) for reply in replies)
