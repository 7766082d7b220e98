"""What a package runs is what `virc solve` asks and `virc rewards try` rewards, for recorded rollouts of systems."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from exported import Recorded, each_system, recorded, solved, teacher
from PIL import Image
from rewards.prompts import answer, crop, tool

from virc.data.rows.record import Picture, Record
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.session import Reply
from virc.rewards.context import RewardContext
from virc.systems import registry as systems
from virc_extras.export.environment import Environment, Settings

LOOK = tool(crop(0, 0, 56, 56))
OUTSIDE = tool(crop(-9, 0, 56, 56))
RIGHT, WRONG = answer("5"), answer("6")


@pytest.fixture
def rollout(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    with teacher(request.param, monkeypatch):
        yield recorded(request.param, tmp_path, monkeypatch)


@pytest.fixture
def problem(tmp_path: Path) -> Record:
    Image.effect_noise((280, 196), 60).convert("RGB").save(tmp_path / "noise.png")
    return Record((), (Picture("noise.png", tmp_path),), question="How long is AB?", answer="5")


def tiny(*assignments: str, tolerate: frozenset[str] = frozenset()) -> Environment:
    protocol = read_protocol(EMBEDDED_FOLDER / FILE_NAME)
    settings = Settings("tiny", "", "rl", ("multi-turn",), assignments)
    return Environment(systems.get("tiny"), protocol, settings, tolerate=tolerate)


@pytest.mark.parametrize("rollout", each_system(), indirect=True)
def test_conversations_are_those_of_solve_byte_for_byte(rollout: Recorded) -> None:
    chats, attempt = solved(rollout)
    conversation = rollout.environment().begin(rollout.problem)
    for chat, reply in zip(chats, rollout.replies, strict=True):
        assert conversation.messages == chat
        conversation.feed(Reply(reply))
    assert conversation.over
    assert conversation.answer == attempt.trace.answer
    assert [each.png for each in conversation.images] == [each.png for each in attempt.images]


@pytest.mark.parametrize(
    ("replies", "ended", "units"),
    [
        ([LOOK, RIGHT], "answer", 2),
        ([LOOK, RIGHT, LOOK], "answer", 2),
        ([LOOK, "no tags", RIGHT], "format", 2),
        ([OUTSIDE, RIGHT], "format", 1),
        ([LOOK] * 20, "length", 8),
    ],
)
def test_a_rollout_ends_as_in_rl(replies: list[str], ended: str, units: int, problem: Record) -> None:
    environment = tiny()
    conversation = environment.begin(problem, replies)
    found = environment.score_now(problem, replies)
    assert (found.ended, found.last.turns) == (ended, units)
    assert conversation.over
    assert len(conversation.replies) == units
    assert environment.score_now(problem, conversation.replies).total == found.total


def test_rewards_of_a_group_are_compared_by_its_rule(problem: Record) -> None:
    environment = tiny("reward.group={distinct: 1}")
    found = [environment.score_now(problem, [each]) for each in (RIGHT, RIGHT, WRONG)]
    assert environment.compared(found) == [0.5, 0.5, 1.0]


def test_a_reward_sees_all_pictures_of_a_problem_and_tells_of_its_judges(
    problem: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second picture is of a file of 84 x 56 px."""
    (tmp_path / "wide.py").write_text(
        "TERMS = ('wide',)\ndef wide(sample, means):\n"
        "    return sum(size[0] for size in sample.prompt.files) + 1000 * sample.prompt.original[1]\n"
        "def total(t): return t.wide\ndef whole(units, t): return units[-1]\n"
    )
    Image.new("RGB", (84, 56)).save(tmp_path / "small.png")
    two = msgspec.structs.replace(problem, images=(*problem.images, Picture("small.png", tmp_path)))
    monkeypatch.setattr(
        "virc_extras.export.environment.means_here",
        lambda reward, report: report.warn("the judge waits") or RewardContext(),
    )
    assert tiny(f"reward.total={tmp_path / 'wide.py'}").score_now(two, [RIGHT]).total == 280 + 84 + 196_000
    assert capsys.readouterr().err == "virc: the judge waits\n"
