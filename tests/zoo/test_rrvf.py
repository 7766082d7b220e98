"""The reward and the tool of RRVF by hand: its program is not published, so nothing else can be held against them."""

import asyncio
import io
import sys
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from PIL import Image
from rewards.prompts import answer, prompt
from support.scripted_judge import judged
from support.servers import image_bytes, images_of, serve
from support.solving import call

from virc.core.errors import SetupError
from virc.models.chat_protocol import of_system
from virc.reasoning.calls import Call, Conversation, ToolError
from virc.reasoning.messages import ToolText
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.sample import CallResult, sample
from virc.systems import registry as systems
from virc.tools import registry as tools
from virc_extras.sandbox import pool
from virc_zoo.rrvf.tools import redraw

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="code is isolated on Linux alone")

GREY = "from PIL import Image\nImage.new('L', (56, 56)).show()"


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    yield
    pool.shared().close()


def reward_of(code: str, grade: str, faults: Sequence[str | None], reply: str | None = None) -> float | None:
    """Of an answer, behind calls that failed so, or that drew."""
    tools.load(systems.get("rrvf").offered)
    protocol = of_system(systems.get("rrvf"))
    carried = [CallResult(ToolText("redraw", {"code": GREY}), fault=each) for each in faults]
    known = msgspec.structs.replace(prompt(strict="own"), protocol=protocol, carried=carried)
    read = sample(answer(code) if reply is None else reply, known)
    return asyncio.run(rollouts.score([read], rollouts.ends(read), rewards.find("rrvf"), judged(grade))).total


@pytest.mark.parametrize(
    ("code", "grade", "faults", "reward"),
    [
        (GREY, "10", [None], 0.2 + 1),
        (GREY, "5", [], 0.1),
        (GREY, "5", ["it failed"], 0.1),
        (GREY, "0", ["it failed", None], 1),
        ("1/0", "10", [None], -0.8 + 1),
        ("print(1)", "10", [], -0.8),
    ],
)
def test_likeness_form_and_calls_are_weighed(code: str, grade: str, faults: list[str | None], reward: float) -> None:
    assert reward_of(code, grade, faults) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("code", "said"), [("1/0", "ZeroDivisionError"), ("print(7)", "draws nothing"), (3, "not a text")]
)
def test_code_that_draws_nothing_is_no_drawing(code: object, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        redraw.drawing(code, of_system(systems.get("rrvf")))


def test_the_teacher_sees_the_picture_and_then_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = of_system(systems.get("rrvf"))
    picture = Image.new("RGB", (112, 84), "red")
    with serve(("It is grey.",)) as teacher:
        monkeypatch.setenv(redraw.ENDPOINT, teacher.url)
        monkeypatch.setenv("TEACHER_KEY", "a-key")
        call_ = Call("redraw", arguments={"code": GREY})
        talk = Conversation(protocol, [lambda: picture], 1, {})
        result = redraw.apply_to_all(call_, talk)
        (asked,) = teacher.chats()
        assert {request.headers["authorization"] for request in teacher.requests} == {"Bearer a-key"}
    with pytest.raises(ToolError, match="the teacher does not answer: "):  # its server is gone
        redraw.apply_to_all(call_, talk)
    assert (result.text, [*result.images]) == ("It is grey.", [])
    assert [Image.open(io.BytesIO(image_bytes(part))).size for part in images_of(asked)] == [(112, 84), (56, 56)]


def test_a_rollout_that_ends_in_a_call_is_worth_least() -> None:
    assert reward_of("", "10", [None], call("redraw", code=GREY)) == pytest.approx(-0.8)


def test_a_teacher_without_an_address_is_missed_before_a_model_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("virc_extras.sandbox.python.ready", lambda: None)
    monkeypatch.delenv(redraw.ENDPOINT, raising=False)
    with pytest.raises(SetupError, match=redraw.ENDPOINT):
        redraw.ready()
