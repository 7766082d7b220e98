"""A problem as it is asked of a model: what every strategy is given."""

from collections.abc import Callable, Sequence

import msgspec
from PIL import Image

from virc.backends.interface import Backend
from virc.core.timeouts import Deadline
from virc.reasoning.images import OpenedImage, Shown
from virc.reasoning.protocol import Protocol
from virc.solving import one
from virc.solving.one import OnEvent, SolveConfig, Solved
from virc.solving.votes import Tally


def _never(votes: Tally, left: int) -> bool:
    return False


class Asking(msgspec.Struct, frozen=True):
    """A problem, the model that is asked, and how.

    Args:
        images: as of `one.solve`; so are `on_event` and `deadline`.
        choices: contents of the choices of the question, where there are some.
    """

    config: SolveConfig
    backend: Backend
    protocol: Protocol
    images: Sequence[Image.Image | OpenedImage | Shown]
    question: str
    deadline: Deadline
    choices: Sequence[str] = ()
    on_event: OnEvent = lambda _: None

    def by_vote(self, enough: Callable[[Tally, int], bool] = _never) -> Solved:
        """The commonest answer of its samples; arguments and errors as of `one.solve`."""
        return one.solve(
            self.config, self.backend, self.protocol, self.images, self.question,
            on_event=self.on_event, deadline=self.deadline, choices=self.choices, enough=enough,
        )  # fmt: skip
