"""`virc.solve`: one problem of a Python caller."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from virc.config.validation import check_arguments, fields_given
from virc.core.errors import UsageError
from virc.core.events import OnEvent as OnReport
from virc.core.events import Reporter
from virc.models.costs import read_prices
from virc.models.load import Choice, Opened, choice_of
from virc.reasoning.media import Pages, Times, media_choice
from virc.solving.api import solve_images
from virc.solving.asking import NO_GRADERS, Graders
from virc.solving.image_source import Picture, as_list
from virc.solving.one import OnEvent, SolveConfig
from virc.solving.setup import Setup
from virc.solving.solution import Solution, replied
from virc.solving.solver import SolverSetup, choose, pipelines
from virc.solving.strategies import registry as strategies


class Options(TypedDict, total=False):
    """Arguments of `virc.solve`, which describes them, that are no problem's own."""

    endpoint: str | None
    api_key: str | None
    system: str | Path | None
    protocol: str | Path | None
    family: str | None
    tools: Iterable[str]
    ignore: Iterable[str]
    device: str | None
    max_pixels: int | None
    extra_body: Mapping[str, Any] | str | None
    thinking: Literal["on", "off"] | None
    max_tokens: int | None
    max_turns: int
    max_requests: int | None
    max_tokens_total: int | None
    timeout: float | None
    temperature: float | None
    prices: str | Path | None
    samples: int
    strategy: str | None
    graders: Graders
    seed: int
    trace: str | Path | None
    offline: bool
    page: Pages | None
    at: Times | None
    fps: float | None
    frames: int | None
    pipeline: str | Path | None
    roles: Mapping[str, str | Path]
    on_progress: OnReport | None


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


def solve(
    image: Picture | Sequence[Picture],
    question: str,
    model: str | Path | Opened | None = None,
    *,
    endpoint: str | None = None,
    api_key: str | None = None,
    system: str | Path | None = None,
    protocol: str | Path | None = None,
    family: str | None = None,
    tools: Iterable[str] = (),
    ignore: Iterable[str] = (),
    device: str | None = None,
    max_pixels: int | None = None,
    extra_body: Mapping[str, Any] | str | None = None,
    thinking: Literal["on", "off"] | None = None,
    max_tokens: int | None = None,
    max_turns: int = 16,
    max_requests: int | None = None,
    max_tokens_total: int | None = None,
    timeout: float | None = None,
    temperature: float | None = None,
    prices: str | Path | None = None,
    samples: int = 1,
    strategy: str | None = None,
    graders: Graders = NO_GRADERS,
    seed: int = 0,
    trace: str | Path | None = None,
    offline: bool = False,
    page: Pages | None = None,
    at: Times | None = None,
    fps: float | None = None,
    frames: int | None = None,
    pipeline: str | Path | None = None,
    roles: Mapping[str, str | Path] = {},
    on_event: OnEvent = lambda _: None,
    on_progress: OnReport | None = None,
) -> Solution:
    """Answer a question about a picture, a clip or a document.

    Args:
        image: a path, URL, PIL image, or the bytes of a file; or a list of these. An empty list if the model has a
            tool that finds pictures.
        model: folder, short name, hub id or run, or None for `tiny`; with an endpoint, the name it serves, or None for
            its only one; or a model that `load` returned, with which no argument up to `thinking` goes.
        endpoint: address of an OpenAI-compatible server; None: the model runs in this process.
        api_key: sent to that endpoint only.
        system: the system the model belongs to, if its name does not say so.
        protocol: chat protocol file, or `default`.
        family: the family of a stock model.
        tools: names or files of custom tools to offer as well.
        ignore: weights, settings or fields that nothing reads, which are left out.
        device: cpu, cuda, cuda:N or mps; None: the best found.
        max_pixels: largest area an image is shown with, in pixels.
        extra_body: further fields of requests to that endpoint.
        thinking: whether its model thinks; None: as the server has it.
        max_tokens: longest reply, in tokens.
        max_requests, max_tokens_total: replies, and tokens read and drawn, of one sample; near the end the model is
            asked to answer.
        timeout: seconds for the whole problem; None: no end.
        temperature: 0 is greedy; None: 0, or 1 with several samples.
        prices: a file with what a million tokens of each model cost, for `fields["cost"]`; None: as the server says.
        samples: independent answers, of which the commonest is given.
        strategy: how the answer is found, `NAME` or `NAME:key=value,key=value`, such as `majority:n=8`, in place of
            samples.
        graders: what grades solutions, if the strategy has them graded: `virc.solving.asking.Graders(judge=URL)`.
        trace: folder for the conversation, its images and a page.
        offline: fetch no picture.
        page: of the files that have several pages or frames, from 1; None: the first. Of a document several may be
            named, as `"2-5,9"` or a list; None: the first 32.
        at: the frames of a clip that are shown at these times, in seconds or as `"1:02"`.
        fps, frames: frames a second of a clip, or so many of it, evenly from end to end; None: one a second, 4 to 32.
        pipeline: solve by the pipeline of this Python file or system; `fields["steps"]` has what each gave. A `system`
            that is a pipeline is taken for it.
        roles: of the pipeline, role -> address of its endpoint, or its model; others are as `model` and `endpoint` say.
        on_event: gets every piece of text, accepted turn, tool result and rejected reply; nothing of a pipeline.
        on_progress: gets notes and warnings.

    Returns:
        The answer; if the model gave none, `error` is a `NoAnswerError`.

    Raises:
        UsageError: there is no question, the trace folder holds something else, a loaded model is given with
            arguments that choose one, or an argument does not go with `pipeline`.
        DataError: an image cannot be opened.
        ConfigError, SetupError: the model cannot be opened.
        NetworkError, EngineError: the model failed.
    """
    given = Options(
        endpoint=endpoint, api_key=api_key, system=system, protocol=protocol, family=family, tools=tools, ignore=ignore,
        device=device, max_pixels=max_pixels, extra_body=extra_body, thinking=thinking, max_tokens=max_tokens,
        max_turns=max_turns, max_requests=max_requests, max_tokens_total=max_tokens_total, timeout=timeout,
        temperature=temperature, prices=prices, samples=samples, strategy=strategy, graders=graders, seed=seed,
        trace=trace, offline=offline, page=page, at=at, fps=fps, frames=frames, pipeline=pipeline, roles=roles,
        on_progress=on_progress,
    )  # fmt: skip
    asked = prepared(model, given)
    pictures = as_list(image)
    if isinstance(asked, Setup):
        solution = solve_images(asked, pictures, question, Reporter(on_progress), on_event=on_event, with_view=True)
    else:
        solution = asked.solve_images(pictures, question, Reporter(on_progress))
    return replied(solution)
