"""A problem as it is asked of a model: what every strategy is given."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol as Kind

import msgspec
from PIL import Image

from virc.backends.interface import Backend
from virc.core.events import Reporter
from virc.core.timeouts import Deadline, TimeUp
from virc.models.load import Opened
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.protocol import Protocol
from virc.reasoning.trace import Trace
from virc.solving import one
from virc.solving.one import (
    Attempt,
    GradeGiven,
    OnEvent,
    SampleStart,
    SolveConfig,
    Solved,
    Spent,
    TextDelta,
    deadline_error,
)
from virc.solving.votes import Tally


class Graded(msgspec.Struct, frozen=True):
    """How good a solution is: the higher, the better. None: that cannot be said, for the reason `why`.

    `spent` is what it took to find out, `words` what a judge says of it.
    """

    value: float | None
    spent: Spent = Spent()
    why: str | None = None
    words: str = ""

    @property
    def remark(self) -> str | None:
        return self.why or self.words or None


class Grader(Kind):
    """Grades solutions; threads may share one."""

    def __call__(self, asking: "Asking", attempt: Attempt) -> Graded:
        """How good the solution of a problem is. Raises VircError: it cannot be asked."""

    def close(self) -> None:
        """End what was opened."""


MakeGrader = Callable[[Opened, Reporter], Grader]
"""Makes a grader once the model is open whose solutions it grades."""


class Graders(msgspec.Struct, frozen=True):
    """Who may grade solutions for a strategy that has them graded.

    Args:
        judge, judge_model, judge_key: endpoint, model (None: the only one) and key of a judge, which is also that of a
            reward; there it gets the key of the environment.
        judges: endpoints of further judges of a reward, by the names that it has for them.
        system: whose reward grades, where the strategy names none; None: the system of the model.
    """

    judge: str | None = None
    judge_model: str | None = None
    judge_key: str | None = None
    judges: Mapping[str, str] = {}
    system: str | None = None


NO_GRADERS = Graders()


class Asking(msgspec.Struct, frozen=True):
    """A problem, the model that is asked, and how; fields as of `one.solve`."""

    config: SolveConfig
    backend: Backend
    protocol: Protocol
    images: Sequence[Image.Image | OpenedImage | Shown]
    question: str
    deadline: Deadline
    choices: Sequence[str] = ()
    on_event: OnEvent = lambda _: None
    grader: Grader | None = None
    former: Trace | None = None

    def by_vote(self, enough: Callable[[Tally, int], bool] = lambda votes, left: False) -> Solved:
        return one.solve(
            self.config, self.backend, self.protocol, self.images, self.question,
            on_event=self.on_event, deadline=self.deadline, choices=self.choices, enough=enough,
            former=self.former,
        )  # fmt: skip

    def draw(self, sample: int) -> Attempt:
        session = one.session_of(self.config, self.backend, self.protocol, self.images, self.question, self.former)
        self.on_event(SampleStart(sample + 1, self.config.samples))
        return one.draw_attempt(session, one.Sampler(self.backend, self.config, sample, self.deadline, self.on_event))

    def grade(self, attempt: Attempt) -> Graded:
        """How good a solution is.

        Raises:
            VircError: the grader cannot be asked, or the time is over.
            KeyboardInterrupt: nobody waits for the answer any more.
        """
        assert self.grader
        self.on_event(TextDelta(""))
        try:
            with self.deadline.armed():
                self.deadline.check()
                graded = self.grader(self, attempt)
            self.on_event(GradeGiven(graded.value, graded.remark))
            return graded
        except TimeUp:
            raise deadline_error(self.deadline) from None
