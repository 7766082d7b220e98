"""`virc.solve`: one problem of a Python caller."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Unpack

from virc.config.validation import check_arguments, fields_given
from virc.core.declared import Option, with_options
from virc.core.errors import UsageError
from virc.core.events import OnEvent as OnReport
from virc.core.events import Reporter
from virc.models.costs import read_prices
from virc.models.load import Choice, Opened, choice_of
from virc.reasoning.media import media_choice
from virc.solving.api import solve_images
from virc.solving.asking import NO_GRADERS, Graders
from virc.solving.image_source import Picture, as_list
from virc.solving.one import OnEvent, SolveConfig
from virc.solving.options import SolveOptions
from virc.solving.setup import Setup
from virc.solving.solution import Solution, replied
from virc.solving.solver import SolverSetup, choose, pipelines
from virc.solving.strategies import registry as strategies


class Options(SolveOptions, total=False):
    """Arguments of `virc.solve` that are no problem's own."""

    graders: Annotated[
        Graders,
        Option(
            more="What grades solutions, if the strategy has them graded: `virc.solving.asking.Graders(judge=URL)`.",
            default=NO_GRADERS,
        ),
    ]
    on_progress: Annotated[OnReport | None, Option(more="Gets notes and warnings.")]


def prepared(model: str | Path | Opened | None, given: Options) -> Setup | SolverSetup:
    pipeline, system = choose(given["pipeline"], given["system"])
    opened = model if isinstance(model, Opened) else None
    values: dict[str, Any] = {**given, "system": system}
    chosen = fields_given(Choice, values)
    if opened:
        chosen["timeout"] = None  # it has one of its own
    choice = choice_of(None if isinstance(model, Opened) else model, **chosen)
    if opened and choice != Choice():
        raise UsageError("a loaded model is chosen already", "give endpoint=, protocol= and the like to load()")
    media = media_choice(given["page"], given["at"], given["fps"], given["frames"])
    config = SolveConfig(**fields_given(SolveConfig, values), media=media)
    check_arguments(config, without=("tolerate", "media"))
    trace = Path(given["trace"]) if given["trace"] else None
    config = strategies.resolved(config, given["graders"])
    prices = read_prices(str(given["prices"])) if given["prices"] else None
    setup = Setup(choice, config, trace, given["offline"], opened, graders=given["graders"], prices=prices)
    if pipeline is not None:
        pipelines().refuse(
            {
                "samples": given["samples"] != 1,
                "strategy": given["strategy"],
                "temperature": given["temperature"] is not None,
                "max_tokens": given["max_tokens"] is not None,
                "prices": prices,
                "a loaded model": opened,
            }
        )
        return pipelines().set_up(pipeline, {name: str(who) for name, who in given["roles"].items()}, setup)
    if given["roles"]:
        raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.py"')
    return setup


@with_options
def solve(
    image: Picture | Sequence[Picture],
    question: str,
    model: str | Path | Opened | None = None,
    *,
    on_event: OnEvent = lambda _: None,
    **options: Unpack[Options],
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
