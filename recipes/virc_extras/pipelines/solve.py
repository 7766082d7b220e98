"""Solve one problem by a pipeline: what `virc solve --pipeline` runs.

`solve_images` opens pictures and roles and calls `solve_problem`, which runs the pipeline's function (`_answer`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import msgspec
from PIL import Image

from virc.core import plugins
from virc.core.errors import DataError, NoAnswerError, VircError
from virc.core.events import Reporter
from virc.core.limits import guarded
from virc.core.limits.image_memory import Terms
from virc.core.limits.problem import check_problem
from virc.core.text import clause
from virc.core.timeouts import Deadline, check_stop
from virc.models.load import Choice
from virc.reasoning.calls import Tool
from virc.reasoning.images import OpenedImage
from virc.reasoning.messages import printable
from virc.reasoning.opening.pictures import opened_all
from virc.solving.image_source import Picture, Unfolded, files_of, page_file, report_losses
from virc.solving.one import deadline_error
from virc.solving.outcome import Fields, settings
from virc.solving.setup import OnFacts, Setup
from virc.solving.solution import Solution
from virc.solving.traces.files import check_writable
from virc.tools import registry
from virc_extras.pipelines import files, trace
from virc_extras.pipelines import roles as opening
from virc_extras.pipelines.asking import Asker, Roles
from virc_extras.pipelines.files import Pipeline
from virc_extras.pipelines.roles import OpenRole, described
from virc_extras.pipelines.speaking import Speaker, naming
from virc_extras.pipelines.steps import Branch, Made, MisuseError, OnStep, Ran, Run, running, total
from virc_extras.pipelines.tools import ToolCaller, Tools, loaded

_MAX_DRY_STEPS = 40
_DRY_SIDE = 1000  # px of the pictures of a dry run, which are not opened


class PipelineSetup(msgspec.Struct, frozen=True):
    """A pipeline, which model each role is, and how a problem is solved.

    Args:
        chosen: role -> its model.
        setup: gives the seed, the longest time, the folder of the trace and whether pictures may be fetched.
        tools: its tools by name; None for an optional tool that is not installed.
    """

    pipeline: Pipeline
    chosen: Mapping[str, Choice]
    setup: Setup
    tools: Mapping[str, Tool | None] = {}

    @property
    def name(self) -> str:
        return self.pipeline.name

    @property
    def models(self) -> dict[str, str]:
        return {name: described(choice) for name, choice in self.chosen.items()}


def facts(setup: PipelineSetup, roles: Mapping[str, OpenRole] | None = None) -> Fields:
    models = setup.models if roles is None else {name: role.opened.name for name, role in roles.items()}
    fields = settings(setup.setup.config, setup.setup.choice.max_pixels)
    return {
        "model": f"{setup.name} ({', '.join(f'{name}: {model}' for name, model in models.items())})",
        "protocol": None,
        "settings": fields | {"chat_protocol": None if roles is None else setup.pipeline.digest},
        "roles": models,
    }


def set_up(name: str, given: Mapping[str, str], setup: Setup) -> PipelineSetup:
    pipeline = files.load(name)
    chosen = opening.choices(pipeline.roles, given, setup.choice)
    return PipelineSetup(pipeline, chosen, setup, loaded(pipeline.tools, pipeline.file.parent))


@contextmanager
def ready(setup: PipelineSetup, report: Reporter) -> Iterator[Mapping[str, OpenRole]]:
    for name, tool in setup.tools.items():
        with naming(f"tool {name!r}"):
            registry.check_ready([tool.NAME] if tool else [])
    with opening.open_roles(setup.pipeline.roles, setup.chosen, report) as roles:
        yield roles


def planned(setup: PipelineSetup, question: str, images: int) -> Iterator[str]:
    """Lines of a dry run: what each step would be sent, with `{NAME}` as the output of the step NAME.

    The plan ends where the function depends on the replies.
    """
    blank = [OpenedImage(Image.new("RGB", (_DRY_SIDE, _DRY_SIDE))) for _ in range(images)]
    steps, failed = Run(None, is_dry=True, max_steps=_MAX_DRY_STEPS), list[VircError]()
    try:
        _answer(setup, question, blank, {}, steps)
    except VircError as error:
        failed.append(error)
    for ran in steps.steps:
        yield from _planned_step(setup, ran)
    for each in failed:
        if _is_fault(each.__cause__):
            raise each
        yield f"# what follows depends on the replies ({each.message})"


def _is_fault(raised: BaseException | None) -> bool:
    """Whether a function of a pipeline fails with this error whatever the replies are."""
    kinds = (NameError, AttributeError, TypeError, ImportError, MisuseError)
    # a pattern that the reply of a dry run does not match gives None, or leaves a name unset
    depends_on_reply = isinstance(raised, UnboundLocalError) or "NoneType" in str(raised)
    return isinstance(raised, kinds) and not depends_on_reply


def _planned_step(setup: PipelineSetup, ran: Ran) -> Iterator[str]:
    if ran.role is None:
        yield f"step {ran.name}: {ran.kind}"
        return
    role = setup.pipeline.roles[ran.role]
    how = ", by its own chat protocol" if role.own_protocol else ""
    yield f"step {ran.name}: role {ran.role}, {described(setup.chosen[ran.role])}{how}"
    if role.system is not None:
        yield f"  system: {role.system}"
    if ran.shown:
        yield f"  images: {len(ran.shown)}"
    if len(ran.output) > 1:
        yield f"  samples: {len(ran.output)}"
    yield f"  prompt: {ran.prompt}"


def _answer(
    setup: PipelineSetup, question: str, pictures: Sequence[OpenedImage], speakers: Mapping[str, Speaker], steps: Run
) -> str:
    """What the pipeline's function returns. Raises VircError: a role failed, or the function did, with its line."""
    pipeline = setup.pipeline
    askers = {name: Asker(name, role, speakers.get(name, _unopened)) for name, role in pipeline.roles.items()}
    tools = Tools({name: ToolCaller(name, tool) for name, tool in setup.tools.items()})
    try:
        with running(Branch(steps)):
            answer = pipeline.solve(files.Problem(question, tuple(pictures), tools), Roles(askers))
    except VircError:
        raise
    except (Exception, SystemExit) as raised:  # a pipeline's code may fail in any way
        if isinstance(raised, SystemExit) and guarded.is_of_a_signal(raised):
            raise
        line = plugins.line_in(pipeline.file, raised)
        error = guarded.ExitError(raised) if isinstance(raised, SystemExit) else raised
        where = f"{pipeline.file}:{line}" if line else str(pipeline.file)
        raise VircError(f"{where}: {type(error).__name__}: {clause(error)}") from raised
    finally:
        steps.close()
    if not isinstance(answer, str):
        raise VircError(f"{pipeline.file}: `solve` returns {type(answer).__name__} in place of a text")
    return printable(answer)


def _unopened(*_: object) -> NoReturn:
    raise AssertionError("a role without a model was asked")


def solve_images(
    setup: PipelineSetup,
    sources: Sequence[Picture],
    question: str,
    report: Reporter,
    *,
    on_facts: OnFacts = lambda _: None,
    on_step: OnStep = lambda *_: None,
) -> Solution:
    """Solve one problem; what broke it off is in `error`, and the message names the role and its step."""
    check_problem(sources, question)
    fields: Fields = {}

    def learn(known: Fields) -> None:
        fields.update(known)
        on_facts(known)

    learn(facts(setup))
    deadline, began = Deadline(setup.setup.config.timeout), time.monotonic()
    picture_files = files_of(sources, setup.setup.offline, deadline, pipes=True)
    shown_files, page = picture_files, next(iter(setup.setup.config.media.pages), None)
    if page is not None:
        shown_files = [page_file(file, page, source) for file, source in zip(picture_files, sources, strict=True)]
    with ExitStack() as stack:
        pictures = stack.enter_context(opened_all(shown_files, Terms(seconds=deadline.left()), whole=True))
        given = [Unfolded(*each) for each in zip(picture_files, sources, strict=True)]
        learn(report_losses(given, pictures, page, report))
        if setup.setup.trace:
            trace.check_folder(setup.setup.trace)
            check_writable(setup.setup.trace)
        before = time.monotonic()
        with deadline.paused():
            roles = stack.enter_context(ready(setup, report))
        began += time.monotonic() - before
        learn(facts(setup, roles))
        problem = Task(question, pictures, setup.setup.config.seed, setup.setup.trace)
        error: VircError | None
        try:
            solved, error = solve_problem(setup, roles, problem, deadline, on_step, learn)
        except VircError as failed:
            solved, error = {}, failed
    fields |= solved
    folder = Path(fields["trace"]) if fields.get("trace") else None
    return Solution(fields.get("answer"), fields, error, folder, round(time.monotonic() - began, 3))


class Task(msgspec.Struct, frozen=True):
    question: str
    pictures: Sequence[OpenedImage]
    seed: int
    trace: Path | None = None


def solve_problem(
    setup: PipelineSetup,
    roles: Mapping[str, OpenRole],
    problem: Task,
    deadline: Deadline,
    on_step: OnStep = lambda *_: None,
    on_facts: OnFacts = lambda _: None,
    check: Callable[[], None] = check_stop,
    ends: bool = False,
) -> tuple[Fields, VircError | None]:
    """Solve a problem; returns the fields of its output, and why its trace could not be written, if so."""
    if not problem.pictures:
        raise DataError("there is no image, and a pipeline answers questions about images")

    def on_ran(ran: Ran, made: Made) -> None:
        on_facts({"steps": msgspec.to_builtins(steps.steps)})
        if ran.error is None:
            on_step(ran, made)

    def check_time() -> None:
        check()
        if deadline.left() == 0:
            raise deadline_error(deadline)

    steps = Run(problem.seed, on_ran, check=check_time)
    turns = setup.setup.config.max_turns
    speakers = {name: opening.speaker(role, deadline, turns, check, ends) for name, role in roles.items()}
    models = {name: role.opened.name for name, role in roles.items()}
    known = {"pipeline": setup.name, "question": printable(problem.question), "roles": models}
    try:
        answer = _answer(setup, problem.question, problem.pictures, speakers, steps)
        if not answer.strip():
            raise NoAnswerError("the pipeline gave no answer: what its function returns is empty")
    except VircError as error:
        if problem.trace:
            trace.write(problem.trace, known, problem.pictures, steps.done, error=error)
        raise
    fields = _fields(answer, steps.steps)
    on_facts(fields)
    if problem.trace is None:
        return fields, None
    untraced = trace.write(problem.trace, known | fields, problem.pictures, steps.done)
    return fields | {"trace": None if untraced else str(problem.trace)}, untraced


def _fields(answer: str, steps: Sequence[Ran]) -> Fields:
    asked = [step for step in steps if step.role and step.error is None]
    prompt = total(step.prompt_tokens for step in asked)
    return {
        "answer": answer,
        "turns": sum(len(step.output) for step in asked),
        "replies": sum(step.replies for step in asked),
        "tokens": {"prompt": prompt, "completion": total(step.completion_tokens for step in asked)},
        "steps": msgspec.to_builtins(steps),
    }
