"""`virc.solve`: one problem of a Python caller."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypedDict, Unpack

from virc.config.declared import Option, with_options
from virc.config.options import BatchOptions, SolveOptions
from virc.core.errors import UsageError
from virc.core.events import OnEvent as OnReport
from virc.core.events import Reporter
from virc.models.load import Opened
from virc.solving.api import solve_images
from virc.solving.asking import NO_GRADERS, Graders
from virc.solving.image_source import Picture, as_list
from virc.solving.one import OnEvent
from virc.solving.setup import Setup, setup_of
from virc.solving.solution import Solution, replied
from virc.solving.solver import SolverSetup, choose, pipelines, unread


class CallerOptions(TypedDict, total=False):
    """Options that Python alone has."""

    graders: Annotated[Graders, Option(more="Grade for a strategy, such as `Graders(judge=URL)`.", default=NO_GRADERS)]
    on_progress: Annotated[OnReport | None, Option(more="Gets notes and warnings.")]


class OneOptions(SolveOptions, CallerOptions, total=False):
    """Options of `virc.solve`."""


class ManyOptions(BatchOptions, CallerOptions, total=False):
    """Options of `virc.batch`."""

    progress: Annotated[bool | None, Option(more="A line on stderr; None: on a terminal and in a notebook.")]


def prepared(model: str | Path | Opened | None, given: OneOptions | ManyOptions) -> Setup | SolverSetup:
    pipeline, system = choose(given["pipeline"], given["system"])
    setup = setup_of(model, {**given, "system": system}, given["graders"])
    if pipeline is None:
        if given["roles"]:
            raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.py"')
        return setup
    pipelines().refuse({**unread(given), "a loaded model": setup.opened})
    return pipelines().set_up(pipeline, {name: str(who) for name, who in given["roles"].items()}, setup)


@with_options
def solve(
    image: Picture | Sequence[Picture],
    question: str,
    model: str | Path | Opened | None = None,
    *,
    on_event: OnEvent = lambda _: None,
    **options: Unpack[OneOptions],
) -> Solution:
    """Answer a question about a picture, a clip or a document.

    Args:
        image: a path, URL, PIL image, or the bytes of a file; or a list of these. An empty list if the model has a
            tool that finds pictures.
        model: folder, short name, hub id or run, or None for `tiny`; with an endpoint, the name it serves, or None for
            its only one; or a model that `load` returned, with which no argument of `load` goes.
        on_event: gets every piece of text, accepted turn, tool result and rejected reply; nothing of a pipeline.
        {options}

    Returns:
        The answer; if the model gave none, `error` is a `NoAnswerError`.

    Raises:
        UsageError: there is no question, the trace folder holds something else, a loaded model is given with
            arguments that choose one, or an argument does not go with `pipeline`.
        DataError: an image cannot be opened.
        ConfigError, SetupError: the model cannot be opened.
        NetworkError, EngineError: the model failed.
    """
    asked, report = prepared(model, options), Reporter(options["on_progress"])
    pictures = as_list(image)
    if isinstance(asked, Setup):
        solution = solve_images(asked, pictures, question, report, on_event=on_event, with_view=True)
    else:
        solution = asked.solve_images(pictures, question, report)
    return replied(solution)
