"""Solve one problem by a pipeline: what `virc solve --pipeline` runs."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from virc.core.errors import DataError, NoAnswerError, UsageError, VircError, fields_of
from virc.core.events import Reporter
from virc.core.files import write_json
from virc.core.limits import check_problem
from virc.core.text import clause
from virc.core.timeouts import Deadline
from virc.models.load import Choice
from virc.reasoning.history import show_input
from virc.reasoning.images import OpenedImage, Shown
from virc.solving.image_source import open_source
from virc.solving.outcome import Fields, settings
from virc.solving.pipelines import roles as opening
from virc.solving.pipelines.program import runner
from virc.solving.pipelines.roles import OpenRole, described
from virc.solving.pipelines.run import Ran, Solved, run
from virc.solving.pipelines.schema import Pipeline, load
from virc.solving.setup import OnFacts, Setup
from virc.systems import registry as systems
from virc.tools import python

OnStep = Callable[[Ran], None]
TRACE = "steps.json"


class PipelineSetup(msgspec.Struct, frozen=True):
    """A pipeline, which model each role is, and how a problem is solved.

    Args:
        name: of its system, or of its file without the suffix.
        chosen: role -> its model.
        setup: gives the seed, the longest time, the folder of the trace and whether pictures may be fetched.
    """

    name: str
    pipeline: Pipeline
    chosen: Mapping[str, Choice]
    setup: Setup


def facts(setup: PipelineSetup, roles: Mapping[str, OpenRole] | None = None) -> Fields:
    """Fields of the output that are known before anything is asked; of `roles`, the names of their models."""
    content = msgspec.to_builtins(setup.pipeline)
    models = {name: described(choice) for name, choice in setup.chosen.items()}
    if roles is not None:
        models = {name: role.opened.name for name, role in roles.items()}
        for name, role in content["roles"].items():  # the same model at another address answers alike
            protocol = roles[name].opened.chat_protocol.protocol
            role |= {"endpoint": None, "model": None, "protocol": protocol if role["own_protocol"] else None}
    fields = settings(setup.setup.config, setup.setup.choice.max_pixels)
    digest = hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:16]
    return {
        "model": f"{setup.name} ({', '.join(f'{name}: {model}' for name, model in models.items())})",
        "protocol": None,
        "settings": fields | {"chat_protocol": None if roles is None else digest},
        "roles": models,
    }


def set_up(name: str, given: Mapping[str, str], setup: Setup) -> PipelineSetup:
    """The pipeline of a file or system with the model of each role, of which nothing is loaded yet.

    Raises:
        VircError: as `schema.load` and `roles.choices`; or code cannot be isolated here, and a step runs some.
    """
    pipeline = load(name)
    if pipeline.runs_code:
        python.ready()
    title = Path(name).stem if systems.is_path(name) else name
    return PipelineSetup(title, pipeline, opening.choices(pipeline, given, setup.choice), setup)


def planned(setup: PipelineSetup, question: str, images: int) -> Iterator[str]:
    """What each step would send, as text; the outputs of other steps stay names in braces."""
    for step in setup.pipeline.asking:
        name = step.ask or ""
        role = setup.pipeline.roles[name]
        how = ", by its own chat protocol" if role.own_protocol else ""
        yield f"step {step.name}: role {name}, {described(setup.chosen[name])}{how}"
        if role.system is not None:
            yield f"  system: {role.system}"
        if step.images:
            yield f"  images: {images}"
        if step.samples > 1:
            yield f"  samples: {step.samples}"
        yield f"  prompt: {(step.prompt or '').replace('{question}', question)}"


def solve_images(
    setup: PipelineSetup,
    sources: Sequence[str],
    question: str,
    report: Reporter,
    *,
    on_facts: OnFacts = lambda _: None,
    on_step: OnStep = lambda _: None,
) -> Fields:
    """Solve one problem; returns the fields of `virc.solve/1`.

    Raises:
        VircError: a picture cannot be opened, or a role failed; the message names it and its step.
    """
    check_problem(sources, question)
    on_facts(facts(setup))
    deadline = Deadline(setup.setup.config.timeout)
    pictures = [open_source(each, offline=setup.setup.offline, seconds=deadline.left()) for each in sources]
    if setup.setup.trace:
        _check_folder(setup.setup.trace)
    with ExitStack() as stack:
        with deadline.paused():
            roles = stack.enter_context(opening.open_roles(setup.pipeline, setup.chosen, report))
        known = facts(setup, roles)
        on_facts(known)
        problem = Problem(question, pictures, setup.setup.config.seed, setup.setup.trace)
        fields, untraced = solve_problem(setup, roles, problem, deadline, on_step, on_facts)
    if untraced:
        raise untraced
    return known | fields


class Problem(msgspec.Struct, frozen=True):
    """One problem, the seed that its replies' are derived from, and the folder of its trace."""

    question: str
    pictures: Sequence[OpenedImage]
    seed: int
    trace: Path | None = None


def solve_problem(
    setup: PipelineSetup,
    roles: Mapping[str, OpenRole],
    problem: Problem,
    deadline: Deadline,
    on_step: OnStep = lambda _: None,
    on_facts: OnFacts = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Fields, VircError | None]:
    """Solve a problem; returns the fields of its output, and why its trace could not be written, if so.

    Args:
        check: called before each reply; what it raises ends the problem.

    Raises:
        VircError: as `run`; the steps before it are in the trace.
    """
    done: list[Ran] = []

    def on_ran(ran: Ran) -> None:
        done.append(ran)
        on_facts({"steps": msgspec.to_builtins(done)})
        on_step(ran)

    speakers = {
        name: opening.speaker(
            role, _shown(name, role, setup.pipeline, problem.pictures), deadline, setup.setup.config.max_turns, check
        )
        for name, role in roles.items()
    }
    try:
        solved = run(setup.pipeline, problem.question, speakers, runner(problem.pictures), problem.seed, on_ran)
    except VircError as error:
        if problem.trace:
            _write(
                problem.trace, {"question": problem.question, "answer": None, "steps": done, "error": fields_of(error)}
            )
        raise
    if not solved.answer.strip():
        raise NoAnswerError(f"step {setup.pipeline.answer!r}, whose output is the answer, gave no text")
    fields = _fields(solved)
    on_facts(fields)
    if problem.trace is None:
        return fields, None
    untraced = _write(problem.trace, {"question": problem.question, **fields, "error": None})
    return fields | {"trace": None if untraced else str(problem.trace)}, untraced


def _shown(name: str, role: OpenRole, pipeline: Pipeline, pictures: Sequence[OpenedImage]) -> list[Shown]:
    """The pictures as the model of a role sees them; none of a role that is never shown them."""
    if not any(step.images for step in pipeline.asking if step.ask == name):
        return []
    try:
        return [show_input(each, role.opened.chat_protocol.protocol, role.opened.backend.grid) for each in pictures]
    except ValueError as error:
        raise DataError(f"role {name!r}: {error}") from error


def _fields(solved: Solved) -> Fields:
    def total(field: str) -> int | None:
        counts = [getattr(step, field) for step in solved.steps if step.role]
        return None if None in counts else sum(counts)

    return {
        "answer": solved.answer,
        "turns": sum(len(step.output) for step in solved.steps if step.role),
        "tokens": {"prompt": total("prompt_tokens"), "completion": total("completion_tokens")},
        "steps": msgspec.to_builtins(solved.steps),
    }


def _check_folder(folder: Path) -> None:
    """Refuse a folder of something else than a former trace."""
    try:
        if folder.exists() and any(each.name != TRACE for each in folder.iterdir()):
            raise UsageError(f"{folder} holds other files", "name a new folder: --trace NEW_FOLDER")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} cannot be used: {clause(error)}", "name a new folder: --trace NEW_FOLDER"
        ) from error


def _write(folder: Path, content: Mapping[str, object]) -> VircError | None:
    """Write the trace; returns the error of the disk, as an answer is worth more than its trace."""
    try:
        write_json(folder / TRACE, content)
    except OSError as error:
        return VircError(f"cannot write the trace to {folder}: {clause(error)}")
    return None
