"""Problems as an agent endpoint solves them: with the model and its tools, by another solver, or as plain text.

`SolvingJob.prepare` reads the files, clips and documents as the pictures in them. `SolvingJob.run` is run in a thread
when it is the problem's turn: it opens the pictures, chooses one of the ways to solve the problem, and sends what
happens as `Report`s, every answer as the `Finisher` leaves it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec

from virc.backends.interface import Backend
from virc.core.errors import DataError, NoAnswerError, at_place, errors_as
from virc.core.http.fetch import Rules
from virc.core.limits.image_memory import of_client
from virc.core.timeouts import Deadline
from virc.core.work.threads import started
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.opening import pictures as opening
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Unit
from virc.serving.agent import fetch, wire
from virc.serving.agent.answer import Answer, answer_of, is_too_long, text_answers
from virc.serving.agent.finish import Finisher
from virc.serving.agent.other_solver import AgentSolver
from virc.serving.agent.request import AgentProblem
from virc.serving.agent.request_queue import Job, Ping, Reservation
from virc.solving.asking import Asking
from virc.solving.image_source import Unfolded, data_url_bytes, unfolded, warnings_of
from virc.solving.one import Event, SampleStart, SolveConfig, ToolResult, attempts
from virc.solving.outcome import chosen
from virc.solving.strategies import registry as strategies

_LONGER = 1.0  # seconds in which a role that is too late can still be named
_READS_BASE64 = threading.Lock()  # held by one thread at a time: on the way a picture takes four times its bytes

Report = SampleStart | Unit | wire.Looked | Answer
"""What happens to a problem: a sample begins; a thought; a tool call; the answer of a sample."""


class Solving(msgspec.Struct, frozen=True):
    """How problems are solved.

    Args:
        config: turns and time of one problem; the rest is in the requests.
        at_once: problems that are solved at a time.
        rules: which images are fetched.
        ready: whether the engine runs.
        solver: answers chats with images; the model is then the one of it that writes.
    """

    backend: Backend
    protocol: Protocol
    config: SolveConfig
    at_once: int = 1
    rules: Rules = fetch.RULES
    ready: Callable[[], bool] = lambda: True
    solver: AgentSolver | None = None


class SolvingJob(Job[Report]):
    """A problem to solve.

    Attributes:
        pictures: data URLs, and the bytes of fetched files; empty once they have been read. The caller's list is
            emptied too, so that nothing keeps the data alive.
    """

    def __init__(self, solving: Solving, problem: AgentProblem, pictures: list[str], deadline: Deadline) -> None:
        super().__init__(deadline)
        self._solving, self._problem = solving, problem
        self.longer = _LONGER if solving.solver else 0.0
        self._warnings: list[str] = []
        self._parts: list[Unfolded] = []
        self.pictures: list[str | bytes] = [*pictures]
        pictures.clear()

    def weight(self, report: Report) -> int:
        return weight(report)

    async def prepare(self, hold: Reservation) -> None:
        for number, picture in enumerate(self.pictures):
            if isinstance(picture, str) and picture[:5].lower() != "data:":
                self.pictures[number] = await fetch.fetch(picture, f"image {number}", self._solving.rules, hold.add)
        if not self._solving.solver or self._problem.messages:
            self._parts = await asyncio.wrap_future(started(self._unfolded))
            hold.add(sum(len(part.file[0]) for part in self._parts if part.place))

    def _unfolded(self) -> list[Unfolded]:
        names = [f"image {number}" for number in range(len(self.pictures))]
        files = (self._file(number) for number in range(len(names)))
        row = {"videos": [names[number] for number in self._problem.clips]}
        return [*unfolded(files, names, self._solving.config.media, check=self.check, row=row)]

    def run(self, send: Callable[[Report], None], release: Callable[[], None]) -> None:
        thoughts: list[str] = []

        def on_event(event: Event | wire.Looked) -> None:
            self.check()
            match event:
                case wire.Looked():
                    send(event)
                case SampleStart():
                    thoughts.clear()
                    send(event)
                case Unit():
                    thoughts.append(event.think)
                    send(event)
                case ToolResult():
                    for look in wire.looked(event, len(thoughts) - 1):
                        send(look)

        def answered(answer: Answer) -> None:
            send(msgspec.structs.replace(finisher.finished(answer, thoughts), warnings=self._warnings))

        solving, problem = self._solving, self._problem
        longest = solving.config.longest(solving.protocol.sampling)
        config = msgspec.structs.replace(
            solving.config, samples=problem.samples, temperature=problem.temperature, top_p=problem.top_p,
            top_k=problem.top_k, min_p=problem.min_p, seed=problem.seed % 2**31,
            max_tokens=min(problem.turn_tokens or longest, longest), keep_images=False,
        )  # fmt: skip
        samplings = config.samplings(solving.protocol.sampling)
        finisher = Finisher(problem, solving.backend, samplings, self.deadline, self.check)
        if solving.solver and not problem.messages:
            files = [self._file(number) for number in range(len(self.pictures))]
            with opening.opened_all(files, of_client(self.check), whole=True) as pictures:
                for file, picture in zip(files, pictures, strict=True):
                    self._warn(Unfolded(file, file[1]), picture)
                files.clear()  # the data is not needed any more
                self._have_read(release)
                for answer in solving.solver.answers(problem, pictures, self.deadline, self.check, on_event):
                    answered(answer)
            return
        shown = [*self._shown()]
        self._have_read(release)
        if problem.messages:
            if problem.max_tokens and not (problem.forced or problem.schema):  # the turn is the answer
                config = msgspec.structs.replace(config, max_tokens=min(problem.max_tokens, config.longest()))
            model = (solving.backend, solving.protocol)
            for answer in text_answers(problem.messages, config, *model, self.deadline, on_event):
                answered(answer)
            return
        if problem.strategy:
            answered(_by_strategy(problem, solving, config, shown, self.deadline, on_event))
            return
        asked = (config, solving.backend, solving.protocol, shown, problem.question)
        for attempt in attempts(*asked, on_event=on_event, deadline=self.deadline):
            if attempt.broken and not (attempt.trace.units and is_too_long(attempt.broken)):
                raise attempt.broken
            answered(answer_of(attempt))

    def _file(self, number: int) -> tuple[bytes, str]:
        """The file of a picture and its name; the text that it came as is dropped."""
        name, picture = f"image {number}", self.pictures[number]
        self.pictures[number] = b""
        if isinstance(picture, bytes):
            return picture, name
        with at_place(name), _READS_BASE64:
            return data_url_bytes(picture), name

    def _have_read(self, release: Callable[[], None]) -> None:
        self.pictures.clear()
        self._parts.clear()
        release()

    def _shown(self) -> Iterator[Shown]:
        protocol, grid = self._solving.protocol, self._solving.backend.grid
        for part in self._parts:
            with errors_as(DataError, part.file[1], caught=ValueError):
                image = opening.shown(*part.file, protocol, grid, of_client(self.check))
            image.place, image.medium = part.place, part.medium
            self._warn(part, image)
            yield image

    def _warn(self, part: Unfolded, picture: OpenedImage | Shown) -> None:
        self._warnings += warnings_of([part], [picture])


def _by_strategy(
    problem: AgentProblem, solving: Solving, config: SolveConfig, shown: Sequence[Shown], deadline: Deadline,
    on_event: Callable[[Event], None],
) -> Answer:  # fmt: skip
    """The one answer of a strategy, with the tokens of all its replies; to the client all its samples are one."""
    has_begun = False

    def on_event_of_samples(event: Event) -> None:
        nonlocal has_begun
        if not isinstance(event, SampleStart):
            on_event(event)
        elif not has_begun:
            has_begun = True
            on_event(SampleStart(1, 1))

    config = strategies.resolved(msgspec.structs.replace(config, strategy=problem.strategy))
    asked = (config, solving.backend, solving.protocol, shown, problem.question, deadline)
    solved = strategies.solve(Asking(*asked, on_event=on_event_of_samples))
    if solved.error and not isinstance(solved.error, NoAnswerError):
        raise solved.error
    prompt, completion = solved.prompt_tokens or 0, solved.completion_tokens or 0
    answer = answer_of(chosen(solved))
    return msgspec.structs.replace(answer, prompt_tokens=prompt, completion_tokens=completion)


def weight(thing: Report | Ping) -> int:
    match thing:
        case Unit():
            return len(thing.think)
        case wire.Looked():
            return sum(len(each) for each in (thing.url, thing.text, thing.error) if each)
        case Answer():
            return len(thing.content)
    return 0
