"""Recorded rollouts of systems, and what `virc solve` and `virc rewards try` make of them."""

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import published_rewards
from support.conversations import FILES, gradient, searched_in
from support.scripted_judge import judged
from support.servers import serve

from virc.backends.chat.images import Pieces, whole
from virc.backends.chat.request import messages
from virc.backends.interface import OnText, Sampling
from virc.config import yaml
from virc.data.convert.recode import sized
from virc.data.formats import sft
from virc.data.formats.registry import only_source
from virc.data.rows.record import Picture, Record
from virc.data.sample.rollouts import messages_of
from virc.models import chat_protocol
from virc.reasoning.images import open_file
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Ask, Reply
from virc.solving.one import Attempt, SolveConfig, solve
from virc.systems import registry as systems
from virc.systems.registry import System
from virc_extras.authoring import reward_trial as trial
from virc_extras.export.environment import Environment, Settings
from virc_extras.export.package import refusals

Chat = list[dict[str, Any]]
_OTHERS = ("critic-v", "honeybee", "virgo")
"""Systems whose recorded conversation is another than that of their chat protocol: of a critic, or a pipeline."""
EXPORTED = sorted(name for name in FILES if name not in _OTHERS and None in refusals(systems.get(name)).values())
_CASES = published_rewards.FILES
_CONFIG = SolveConfig()
NOTHING = "Nothing further."
_QUICK = ("chain-of-focus", "grit", "vlm-r3", "visual-rft")


def each_system() -> list[Any]:
    """The exported systems as parameters, those of the fast suite without a mark."""
    return [pytest.param(name, marks=[] if name in _QUICK else pytest.mark.integration) for name in EXPORTED]


@contextmanager
def teacher(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server that tools of a recorded conversation ask, which gives the recorded reply each time."""
    reply = yaml.read_mapping(FILES[name]).get("teacher", "")
    with serve(lambda _: reply) as server:
        monkeypatch.setenv("TEACHER_ENDPOINT", server.url)
        yield


class Recorded(msgspec.Struct):
    """A problem with replies to it, as a file of conversations has them."""

    system: System
    problem: Record
    replies: Sequence[str]

    def environment(self) -> Environment:
        """The system as a package runs it, with a judge that says yes to all."""
        protocol = chat_protocol.of_system(self.system)
        stage = next((name for name, each in self.system.stages.items() if each.kind == "rl"), None)
        found = Environment(self.system, protocol, Settings(self.system.name, "", stage))
        found.__dict__["_means"] = judged("Judgement: 1")
        return found


def recorded(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The recorded conversation of a system."""
    told: Mapping[str, Any] = yaml.read_mapping(FILES[name])
    picture = gradient(*told["size"])
    found = told.get("found", False)
    searched_in(told.get("pages", {}), folder / "pages", monkeypatch, picture if found else None)
    picture.save(folder / "page.png")
    images = () if found else (Picture("page.png", folder),)
    answer = {} if found is None else {"answer": told["answer"]}
    return Recorded(systems.get(name), Record((), images, name, told["question"], **answer), told["replies"])


def rollouts_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> list[Recorded]:
    """The recorded conversation of a system, and further replies: recorded cases of its reward, or drawn."""
    first = recorded(name, folder, monkeypatch)
    further: list[tuple[Mapping[str, Any], Sequence[str]]] = []
    if name in _CASES:
        cases = json.loads(_CASES[name].read_bytes())
        for case in cases["cases"][:: max(1, len(cases["cases"]) // (count - 1))]:
            columns = {**cases.get("columns", {}), **case.get("columns", {})}
            further.append(({"answer": case.get("answer", "5"), "extra": columns}, case["rollouts"][0]["turns"][::2]))
    else:
        said = [*first.replies, "Nothing of it."]
        further = [({}, said[-2:-1]), ({}, said[-1:]), ({}, [*said[:-2], said[-1]])]
    rng = random.Random(name)
    while len(further) < count - 1:  # its turns in other orders and with other numbers, with an end or without one
        changes, replies = rng.choice(further)
        turns = [*rng.choices([*first.replies[:-1], *replies], k=rng.randrange(3)), *replies[-rng.randrange(1, 4) :]]
        further.append((changes, [re.sub(r"\d+", lambda digits: _near(int(digits[0]), rng), turn) for turn in turns]))
    problems = [msgspec.structs.replace(first.problem, **changes) for changes, _ in further[: count - 1]]
    pairs = zip(problems, further, strict=False)
    return [first, *(Recorded(first.system, problem, replies) for problem, (_, replies) in pairs)]


def _near(number: int, rng: random.Random) -> str:
    return str(max(0, number + rng.randrange(-9, 10)))


class Scripted:
    """A backend that says replies in turn and keeps what it was asked, as a server would get it."""

    model = "scripted"

    def __init__(self, replies: Sequence[str], grid: Grid = QWEN2) -> None:
        self.grid = grid
        self.chats: list[Chat] = []
        self._replies = iter(replies)

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        self.chats.append(json.loads(b"".join(Pieces({"messages": list(messages(ask, whole))})))["messages"])
        return Reply(next(self._replies))

    def close(self) -> None: ...


def solved(rollout: Recorded, config: SolveConfig = _CONFIG) -> tuple[list[Chat], Attempt]:
    """What `virc solve` asks a model that says these replies, and nothing further behind them, and the solution."""
    backend = Scripted([*rollout.replies, *[NOTHING] * 20])
    protocol = chat_protocol.of_system(rollout.system)
    images = [open_file(each.read(), each.name) for each in rollout.problem.images]
    (attempt,) = solve(config, backend, protocol, images, rollout.problem.question or "").attempts
    return backend.chats, attempt


def tried(rollout: Recorded, attempt: Attempt, folder: Path, environment: Environment) -> trial.Tried:
    """What `virc rewards try` makes of the solution as a row of trajectories, by the reward of the environment."""
    names = [f"{at}.png" for at, _ in enumerate(attempt.images)]
    for name, shown in zip(names, attempt.images, strict=True):
        (folder / name).write_bytes(shown.png)
    conversation = messages_of(attempt.trace.messages, attempt.trace.protocol)
    record = sized(
        msgspec.structs.replace(rollout.problem, messages=conversation), attempt.images, attempt.trace.protocol
    )
    (folder / "solved.jsonl").write_text(json.dumps(sft.row_of(record, names)) + "\n")
    assert environment.reward
    rows = trial.replies(only_source(folder / "solved.jsonl"), rollout.system, environment.reward, 1)
    (found,) = trial.tried(rows, environment.total, environment._means)
    return found
