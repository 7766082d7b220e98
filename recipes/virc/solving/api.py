"""Solve one problem, or the rows of a file: what `virc solve` and a Python caller run."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from PIL import Image

from virc.config.validation import check_arguments
from virc.core.errors import DataError, NoAnswerError, UsageError
from virc.core.events import OnEvent as OnReport
from virc.core.events import Reporter
from virc.core.files import contents
from virc.core.limits import MOST_QUESTION, check_problem
from virc.core.result_log import Claims
from virc.core.text import clause, duration
from virc.core.timeouts import Deadline
from virc.models.load import Choice, Opened, choice_of
from virc.reasoning.images import OpenedImage
from virc.reasoning.resize import smart_resize
from virc.solving.answer_file import check_files, open_rows, write_answers
from virc.solving.batch import BatchConfig, RowDone, solve_batch
from virc.solving.image_source import STREAM, Picture, opened_picture, standard_input
from virc.solving.one import OnEvent, SolveConfig
from virc.solving.outcome import Fields, failure_of, outcome, trace_folders, write_traces
from virc.solving.pipelines import solve as pipelines
from virc.solving.pipelines.files import of_system
from virc.solving.pipelines.schema import INSTEAD
from virc.solving.rows import read_rows
from virc.solving.sampling.asking import Asking
from virc.solving.sampling.grading import NO_GRADERS, Graders
from virc.solving.setup import OnFacts, Setup, open_setup
from virc.solving.strategies import registry as strategies

_SLOW = 60.0  # seconds
_TOKENS_OF_A_TURN = 200


class Solution(msgspec.Struct, frozen=True):
    """What came of a problem.

    Args:
        answer: None where the model gave none.
        fields: of `virc.solve/1`: model, protocol, turns, tool calls, tokens, settings …
        error: why there is no answer, or why the trace could not be written.
        trace: the folder of the trace, where one was written.
    """

    answer: str | None
    fields: Fields
    error: BaseException | None = None
    trace: Path | None = None


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
    device: str | None = None,
    max_pixels: int | None = None,
    max_tokens: int | None = None,
    max_turns: int = 16,
    timeout: float | None = None,
    temperature: float | None = None,
    samples: int = 1,
    strategy: str | None = None,
    graders: Graders = NO_GRADERS,
    seed: int = 0,
    trace: str | Path | None = None,
    offline: bool = False,
    pipeline: str | Path | None = None,
    roles: Mapping[str, str | Path] = {},
    on_event: OnEvent = lambda _: None,
    on_progress: OnReport | None = None,
) -> Solution:
    """Answer a question about a picture.

    Args:
        image: a path, URL or image; or several. An empty list where the model has a tool that finds pictures.
        model: folder, short name, hub id or run, or None for `tiny`; with an endpoint, the name it serves, or None for
            its only one; or a model that `load` returned, with which no argument up to `max_pixels` goes.
        endpoint: address of an OpenAI-compatible server; None: the model runs in this process.
        api_key: sent to that endpoint only.
        system: the system the model belongs to, where its name does not say so.
        protocol: chat protocol file, or `default`.
        family: the family of a stock model.
        tools: names or files of custom tools to offer as well.
        device: cpu, cuda, cuda:N or mps; None: the best found.
        max_pixels: largest area an image is shown with, in pixels.
        max_tokens: longest reply, in tokens.
        timeout: seconds for the whole problem; None: no end.
        temperature: 0 is greedy; None: 0, or 1 with several samples.
        samples: independent answers, of which the commonest is given.
        strategy: how the answer is found, `NAME` or `NAME:key=value,key=value`, such as `majority:n=8`, in place of
            samples.
        graders: what grades solutions, where the strategy has them graded: `Graders(judge=URL)`, or
            `virc.rewards.graders.choosing.graders()`.
        trace: folder for the conversation, its images and a page.
        offline: fetch no picture.
        pipeline: solve by the roles and steps of this file or system; `fields["steps"]` has what each gave. A `system`
            that is a pipeline is taken for it.
        roles: of the pipeline, role -> address of its endpoint, or its model; others are as `model` and `endpoint` say.
        on_event: gets every piece of text, accepted turn, tool result and rejected reply; nothing of a pipeline.
        on_progress: gets notes and warnings.

    Returns:
        The answer; where the model gave none, `error` is a `NoAnswerError`.

    Raises:
        UsageError: there is no question, the trace folder holds something else, a loaded model is given with
            arguments that choose one, or an argument does not go with `pipeline`.
        DataError: an image cannot be opened.
        ConfigError, SetupError: the model cannot be opened.
        NetworkError, EngineError: the model failed.
    """
    if pipeline is None and (pipeline := of_system(None if system is None else str(system))):
        system = None
    opened = model if isinstance(model, Opened) else None
    name = None if isinstance(model, Opened) else model
    of_replies = None if opened else timeout  # a loaded model has one of its own
    choice = choice_of(name, endpoint, api_key, system, protocol, family, tools, device, max_pixels, of_replies)
    if opened and choice != Choice():
        raise UsageError("a loaded model is chosen already", "give endpoint=, protocol= and the like to load()")
    config = SolveConfig(
        temperature=temperature,
        seed=seed,
        samples=samples,
        timeout=timeout,
        max_turns=max_turns,
        max_tokens=max_tokens,
        keep_images=trace is not None,
        strategy=strategy,
    )
    check_arguments(config, without=("tolerate",))
    config = strategies.settled(config, graders)
    setup = Setup(choice, config, Path(trace) if trace else None, offline, opened, graders=graders)
    pictures = [image] if isinstance(image, Picture) or not isinstance(image, Sequence) else list(image)
    odd = next((type(each).__name__ for each in pictures if not isinstance(each, Picture)), None)
    if odd or isinstance(image, bytes):
        raise UsageError(f"an image is a path, a URL or a PIL.Image, not {odd or 'bytes'}", "PIL.Image.open(FILE)")
    if pipeline is not None:
        given = {
            "samples": samples != 1,
            "strategy": strategy,
            "temperature": temperature is not None,
            "max_tokens": max_tokens is not None,
        }
        refused = next((name for name, is_given in (given | {"a loaded model": opened}).items() if is_given), None)
        if refused:
            instead = INSTEAD.get(refused)
            hint = f"write {instead} of the pipeline's file" if instead else "leave one out"
            raise UsageError(f"{refused} does not go with pipeline=", hint)
        named = {name: str(who) for name, who in roles.items()}
        return _by_pipeline(pipelines.set_up(str(pipeline), named, setup), pictures, question, on_progress)
    if roles:
        raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.yaml"')
    solution = solve_images(setup, pictures, question, Reporter(on_progress), on_event=on_event)
    if solution.answer is None and not isinstance(solution.error, NoAnswerError):
        assert solution.error
        raise solution.error
    return solution


def _by_pipeline(
    setup: pipelines.PipelineSetup, pictures: Sequence[Picture], question: str, on_progress: OnReport | None
) -> Solution:
    """What a pipeline makes of a problem; a step that gave nothing is a `NoAnswerError` of the solution."""
    known: Fields = {}
    try:
        fields = pipelines.solve_images(setup, pictures, question, Reporter(on_progress), on_facts=known.update)
    except NoAnswerError as error:
        return Solution(None, known, error)
    trace = fields.get("trace")
    return Solution(fields["answer"], fields, None, Path(trace) if trace else None)


def solve_images(
    setup: Setup,
    images: Sequence[Picture],
    question: str,
    report: Reporter,
    *,
    on_facts: OnFacts = lambda _: None,
    on_open: Callable[[Opened], None] = lambda _: None,
    on_event: OnEvent = lambda _: None,
) -> Solution:
    """As `solve`, but what broke it off is in `error`; `on_open` gets the model when it is loaded."""
    check_problem(["" if isinstance(each, Image.Image) else str(each) for each in images], question)
    deadline = Deadline(setup.config.timeout)
    pictures = [opened_picture(each, setup.offline, deadline.left()) for each in images]
    folders = trace_folders(setup.trace, setup.config) if setup.trace else []
    with deadline.paused():
        opened, known = open_setup(setup, report, on_facts)
    try:
        on_open(opened)
        _estimate(opened, pictures, report)
        asked = (setup.config, opened.backend, opened.chat_protocol.protocol, pictures, question, deadline)
        with strategies.grader_of(setup.config, setup.graders, opened, report) as grader:
            solved = strategies.solve(Asking(*asked, on_event=on_event, grader=grader))
    finally:
        if opened is not setup.opened:
            opened.close()
    fields = known | outcome(solved)
    on_facts(fields)
    untraced = write_traces(folders, solved, setup.config, known)
    trace = None if untraced else setup.trace
    if trace:
        fields["trace"] = str(trace)
        on_facts(fields)
    return Solution(solved.answer, fields, failure_of(solved, opened) or untraced, trace)


def read_question(file: str) -> str:
    """The question in a file, `-` for standard input; a DataError where it cannot be read or is empty."""
    try:
        content = standard_input().read(MOST_QUESTION + 1) if file == STREAM else contents(Path(file), MOST_QUESTION)
        question = content.decode("utf-8-sig").strip()
    except OSError as error:
        raise DataError(f"cannot read the question {file}: {clause(error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the question {file} is no UTF-8 text") from error
    if not question or len(content) > MOST_QUESTION:
        raise DataError(f"the question {file} is {'empty' if not question else 'over 1 MiB'}")
    return question


def _estimate(opened: Opened, images: Sequence[Image.Image | OpenedImage], report: Reporter) -> None:
    """On a CPU: how much there is to read, how long the first turn takes, and what would shorten it."""
    if opened.estimate is None:
        report.progress(f"waiting for the first turn of {opened.name}")
        return
    grid = opened.backend.grid
    areas = [math.prod(smart_resize(*image.size, grid)) for image in images]
    tokens = sum(areas) // grid.factor**2
    if not areas:
        return
    reading, a_token = opened.estimate(tokens)
    drawing = _TOKENS_OF_A_TURN * a_token
    text = f"on the CPU: {tokens:,} image tokens, about {duration(reading + drawing)} for the first turn"
    if reading > _SLOW:
        pixels = max(int(max(areas) * _SLOW / reading), grid.min_pixels)
        text += f"; --max-pixels {pixels} would make it about {duration(_SLOW + drawing)}"
    report.note(text)


def solve_file(
    setup: Setup,
    source: str,
    to: str | None,
    at_once: int | None,
    blank: Mapping[str, object],
    report: Reporter,
    *,
    on_line: Callable[[str], None],
    on_facts: OnFacts = lambda _: None,
) -> None:
    """Solve every row of a file.

    Args:
        source: JSONL file, or `-` for standard input.
        to: file the lines go to; None or `-`: to `on_line`.
        at_once: rows in work at a time; None: as many as suit the model.
        blank: the fields of a line before anything is known.

    Raises:
        VircError: a row failed, or all of it cannot be done.
    """
    check_files(source, to)
    file, base = open_rows(source)
    config = BatchConfig(setup.config, base, setup.trace, setup.offline, at_once)
    with file as rows:
        opened, known = open_setup(setup, report, on_facts)

        def solve_rows(claims: Claims, on_row: Callable[[RowDone], None]) -> None:
            solve_batch(config, opened, read_rows(rows), claims, on_row, report.note)

        with closing(opened), strategies.grader_of(setup.config, setup.graders, opened, report) as grader:
            config = msgspec.structs.replace(config, grader=grader)
            write_answers(solve_rows, source, to, known, blank, report, on_line)
