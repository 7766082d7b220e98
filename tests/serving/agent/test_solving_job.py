"""How the problem of a request is drawn: by what the request says, within what the server was started with."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from agent_server import OWN
from PIL import Image

from virc.backends.interface import Sampling
from virc.core.errors import DataError
from virc.core.timeouts import Deadline
from virc.reasoning.images import Shown
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Message, Reply
from virc.serving.agent import problems
from virc.serving.agent.answer import Answer
from virc.serving.agent.problems import Solving, SolvingJob
from virc.serving.agent.request import Problem
from virc.serving.agent.request_queue import LeftError
from virc.solving.one import SolveConfig

PICTURE = "data:image/png;base64,AAAA"
WORDS = (Message("user", "What is 2 + 2?"),)


class Engine:
    """A model that writes the same always, and keeps how it was asked."""

    model, grid, resample = "engine", QWEN2, Image.Resampling.BICUBIC

    def __init__(self) -> None:
        self.asked: list[tuple[Ask, Sampling]] = []

    def reply(self, ask: Ask, sampling: Sampling, *_: Any) -> Reply:
        self.asked.append((ask, sampling))
        return Reply("<think>so</think><answer>4</answer>", prompt_tokens=5, completion_tokens=2)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are opened in no process of their own."""
    monkeypatch.setattr(problems.opening, "shown", lambda *_: Shown(Image.new("RGB", (56, 56))))


def solved(problem: Problem, config: SolveConfig, pictures: Sequence[str] = ()) -> Any:
    """What a problem was asked with, and what was sent of it."""
    engine, sent, released = Engine(), list[Any](), list[bool]()
    given = [*pictures]
    job = SolvingJob(Solving(engine, OWN, config), problem, given, Deadline(None))  # type: ignore[arg-type]
    assert given == []  # nobody else keeps them
    job.run(sent.append, lambda: released.append(True))
    assert (released, job.pictures) == ([True], [])
    return [sampling for _, sampling in engine.asked], [each for each in sent if isinstance(each, Answer)]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(("asked", "most"), [(None, 500), (77, 77), (500, 500), (9999, 500)])
def test_a_turn_is_no_longer_than_the_server_allows(asked: int | None, most: int) -> None:
    problem = Problem("m", "What?", turn_tokens=asked)
    [sampling], [answer] = solved(problem, SolveConfig(max_tokens=500), [PICTURE])
    assert (sampling.max_tokens, answer.content) == (most, "4")


@pytest.mark.parametrize(("asked", "most"), [(None, 500), (20, 20), (9999, 500)])
def test_a_chat_without_images_is_no_longer_than_its_answer(asked: int | None, most: int) -> None:
    [sampling], _ = solved(Problem("m", "", WORDS, max_tokens=asked), SolveConfig(max_tokens=500))
    assert sampling.max_tokens == most


@pytest.mark.usefixtures("opened")
def test_a_request_is_drawn_as_it_says() -> None:
    problem = Problem("m", "What?", samples=3, temperature=0.5, top_p=0.25, top_k=7, seed=2**31 + 5)
    samplings, answers = solved(problem, SolveConfig(temperature=1.5, seed=9, samples=1), [PICTURE])
    assert len(answers) == len(samplings) == 3
    assert {(each.temperature, each.top_p, each.top_k) for each in samplings} == {(0.5, 0.25, 7)}
    assert len({each.seed for each in samplings}) == 3
    again, _ = solved(msgspec.structs.replace(problem, seed=5), SolveConfig(), [PICTURE])
    assert [each.seed for each in again] == [each.seed for each in samplings]
    other, _ = solved(msgspec.structs.replace(problem, seed=6), SolveConfig(), [PICTURE])
    assert [each.seed for each in other] != [each.seed for each in samplings]


@pytest.mark.usefixtures("opened")
def test_a_picture_that_cannot_be_read_is_named() -> None:
    with pytest.raises(DataError, match=r"^image 1: "):
        solved(Problem("m", "What?"), SolveConfig(), [PICTURE, "data:image/png;base64,****"])


def test_a_picture_that_cannot_be_shown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(_: bytes, name: str, *__: Any) -> Shown:
        if name == "image 1":
            raise ValueError("too thin")
        return Shown(Image.new("RGB", (56, 56)))

    monkeypatch.setattr(problems.opening, "shown", shown)
    with pytest.raises(DataError, match=r"^image 1: too thin$"):
        solved(Problem("m", "What?"), SolveConfig(), [PICTURE, PICTURE])


@pytest.mark.usefixtures("opened")
def test_a_problem_ends_where_its_client_has_left() -> None:
    class Left(Engine):
        def reply(self, *words: Any) -> Reply:
            job.left.set()
            return super().reply(*words)

    engine: Any = Left()
    job = SolvingJob(Solving(engine, OWN, SolveConfig()), Problem("m", "?", samples=3), [PICTURE], Deadline(None))
    with pytest.raises(LeftError):
        job.run(print, lambda: None)
    assert len(engine.asked) == 1
