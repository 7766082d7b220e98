"""Pipelines run in this process, with roles that reply as a script says."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from virc.backends.interface import OnText, Sampling
from virc.core.errors import NetworkError
from virc.core.timeouts import Deadline
from virc.models.load import Choice, Opened
from virc.reasoning.images import OpenedImage
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import Grid
from virc.reasoning.session import Ask
from virc.reasoning.session import Reply as Drawn
from virc.solving.one import SolveConfig
from virc.solving.setup import Setup
from virc_extras.pipelines import Role, solve
from virc_extras.pipelines.files import Pipeline
from virc_extras.pipelines.roles import OpenRole

ROLES = {"eyes": Role(system="You see.", temperature=1), "mind": Role()}
IMAGES = [OpenedImage(Image.new("RGB", (56, 28))), OpenedImage(Image.new("RGB", (28, 56)))]


class Scripted:
    """Gives its texts in turn, or what a function makes of the last message; replies of one step come in any order."""

    model = "scripted"

    def __init__(self, *texts: str, to: Callable[[str], str] | None = None) -> None:
        self.texts, self.asks, self.sampling = list(texts), list[Ask](), list[Sampling]()
        self.grid, self.to, self.lock = Grid(14, 2), to, threading.Lock()
        self.seconds = list[float | None]()

    def reply(self, ask: Ask, sampling: Sampling, on_text: OnText | None = None, seconds: float | None = None) -> Drawn:
        with self.lock:
            self.asks.append(ask)
            self.sampling.append(sampling)
            self.seconds.append(seconds)
            if self.to:
                return Drawn(self.to(ask.messages[-1].text))
            if not self.texts:
                raise NetworkError("connection refused", "start the server")
            return Drawn(self.texts.pop(0), prompt_tokens=5, completion_tokens=2)

    def close(self) -> None: ...


def run(
    function: Any,
    backends: Mapping[str, Scripted],
    seed: int = 7,
    roles: Mapping[str, Role] = ROLES,
    images: Sequence[OpenedImage] = IMAGES,
    deadline: Deadline | None = None,
    trace: Path | None = None,
) -> Any:
    """The fields of the output of a pipeline with this function."""
    pipeline = Pipeline("p", Path(function.__code__.co_filename), roles, {}, "mind", function, "digest")
    setup = solve.PipelineSetup(pipeline, {}, Setup(Choice(), SolveConfig()))
    opened = {name: OpenRole(roles[name], Opened(name, each, own_protocol(()))) for name, each in backends.items()}
    task = solve.Task("How many?", images, seed, trace)
    fields, _ = solve.solve_problem(setup, opened, task, deadline or Deadline(None))
    return fields
