"""Chats with images that a pipeline answers: its roles were chosen when the server started, no request chooses them."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import msgspec

from virc.backends.interface import Backend, OnText, Sampling
from virc.core.errors import DataError, NoAnswerError
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.models.load import Opened
from virc.reasoning.images import OpenedImage
from virc.reasoning.session import Ask, Reply, Unit
from virc.reasoning.turns import PLACE
from virc.serving.agent import wire
from virc.serving.agent.answer import Answer
from virc.serving.agent.other_solver import Event
from virc.serving.agent.request import AgentProblem
from virc.solving.one import SampleStart
from virc_extras.pipelines import solve
from virc_extras.pipelines.roles import OpenRole
from virc_extras.pipelines.solve import PipelineSetup
from virc_extras.pipelines.steps import Made, Ran

MAX_PIXELS = 2**24
"""Of an image: those of a chat are in memory at their full size until its last step, as steps may crop them."""
_OF_ROLES = ("temperature", "top_p", "top_k", "min_p", "turn_tokens", "strategy")
_NAMES = {"turn_tokens": "virc_max_turn_tokens", "strategy": "virc_strategy"}


class AgentPipeline:
    """A `virc.serving.agent.other_solver.AgentSolver`."""

    def __init__(self, setup: PipelineSetup, roles: Mapping[str, OpenRole]) -> None:
        self._setup, self._roles = setup, roles
        self._writer = roles[setup.pipeline.writer]
        self._silent: set[str] = set()
        self.max_tokens = self._writer.role.max_tokens

    def model(self, name: str, at_once: int | None) -> Opened:
        role = self._writer
        at_once = at_once or min(each.opened.at_once for each in self._roles.values())
        backend = InTurn(role.opened.backend, role.turn)
        return msgspec.structs.replace(
            role.opened, name=name, backend=backend, at_once=at_once, answers=self._answers_now
        )

    def _answers_now(self) -> bool:
        for name, role in self._roles.items():
            if role.opened.answers and not role.opened.answers():
                self._silent.add(name)
            else:
                self._silent.discard(name)
        return not self._silent

    def silent(self) -> list[str]:
        return [name for name in self._roles if name in self._silent]

    def without_effect(self, problem: AgentProblem) -> tuple[str, ...]:
        """Parameters of a chat with images that say how replies are drawn: the roles say it themselves."""
        if problem.messages:
            return ()
        return tuple(_NAMES.get(name, name) for name in _OF_ROLES if getattr(problem, name) is not None)

    def answers(
        self, problem: AgentProblem, pictures: Sequence[OpenedImage], deadline: Deadline, check: Callable[[], None],
        on_event: Callable[[Event], None],
    ) -> Iterator[Answer]:  # fmt: skip
        """Answer a problem as often as its request says; each step is a thought, and its pictures are tool calls."""
        _check_sizes(pictures)
        for sample in range(problem.samples):
            on_event(SampleStart(sample + 1, problem.samples))
            on_step = _Steps(pictures, on_event).add
            given = solve.Task(problem.question.replace(PLACE, ""), pictures, derived(problem.seed % 2**31, sample))
            try:
                fields, _ = solve.solve_problem(
                    self._setup, self._roles, given, deadline, on_step, check=check, ends=True
                )
            except NoAnswerError as error:
                yield Answer("", error.message)
            else:
                tokens = fields["tokens"]
                yield Answer(fields["answer"], None, "stop", None, tokens["prompt"] or 0, tokens["completion"] or 0)


class InTurn:
    """A role's model, which as many threads ask at a time as suit it."""

    def __init__(self, backend: Backend, turn: AbstractContextManager[object]) -> None:
        self._backend, self._turn = backend, turn
        self.model, self.grid = backend.model, backend.grid

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Reply:
        with self._turn:
            return self._backend.reply(ask, sampling, on_text, seconds)

    def close(self) -> None:
        self._backend.close()


def _check_sizes(pictures: Sequence[OpenedImage]) -> None:
    for number, picture in enumerate(pictures):
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise DataError(f"image {number} has {width} x {height} pixels; at most {MAX_PIXELS:,} are taken here")


class _Steps:
    """The steps of one sample as events; several threads run steps.

    Args:
        pictures: of the problem, which count as images 0, 1 ... before those that steps make.
    """

    def __init__(self, pictures: Sequence[OpenedImage], on_event: Callable[[Event], None]) -> None:
        self._known = [*pictures]
        self._on_event, self._units, self._lock = on_event, 0, threading.Lock()

    def add(self, ran: Ran, made: Made) -> None:
        with self._lock:
            self._on_event(Unit("", described(ran)))
            for call in self._calls(ran, made):
                self._on_event(call)
            self._units += 1

    def _calls(self, ran: Ran, made: Made) -> Iterator[wire.Looked]:
        for number, picture in enumerate(made.pictures):
            call = wire.Looked(
                self._units, ran.kind, image=len(self._known), size=picture.size, url=wire.jpeg_url(picture.pixels)
            )
            if number < len(made.boxes):
                whole, box = made.boxes[number].picture, made.boxes[number].box
                source = next((at for at, each in enumerate(self._known) if each is whole), None)
                call = msgspec.structs.replace(call, source=source, source_size=whole.size, box=box)
            self._known.append(picture)
            yield call


def described(ran: Ran) -> str:
    return f"{ran.name}{f' ({ran.role})' if ran.role else ''}: " + "\n".join(ran.texts)
