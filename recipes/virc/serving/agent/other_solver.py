"""What an agent endpoint asks of a solver that is more than one model, which then answers chats with images."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from virc.core.timeouts import Deadline
from virc.models.load import Opened
from virc.reasoning.images import OpenedImage
from virc.reasoning.session import Unit
from virc.serving.agent import wire
from virc.serving.agent.answer import Answer
from virc.serving.agent.request import AgentProblem
from virc.solving.one import SampleStart

Event = SampleStart | Unit | wire.Looked


class AgentSolver(Protocol):
    @property
    def max_tokens(self) -> int | None:
        """The longest reply of the model that writes, in tokens, if it has one of its own."""

    def model(self, name: str, at_once: int | None) -> Opened:
        """The model that writes: it answers chats without images, and answers that have to be JSON."""

    def silent(self) -> Sequence[str]:
        """Roles whose server did not answer when it was asked last."""

    def without_effect(self, problem: AgentProblem) -> tuple[str, ...]:
        """Parameters of a request that it does not follow."""

    def answers(
        self, problem: AgentProblem, pictures: Sequence[OpenedImage], deadline: Deadline, check: Callable[[], None],
        on_event: Callable[[Event], None],
    ) -> Iterator[Answer]:  # fmt: skip
        """Answer a problem as often as its request says; `check` raises what ends it."""
