"""Solve one problem by a pipeline: what `virc solve --pipeline` runs."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from PIL import Image

from virc.core import plugins
from virc.core.errors import ConfigError, DataError, NoAnswerError, VircError
from virc.core.events import Reporter
from virc.core.files import expanded
from virc.core.limits import check_problem
from virc.core.timeouts import Deadline
from virc.models.load import Choice
from virc.reasoning.calls import Tool
from virc.reasoning.images import OpenedImage
from virc.solving.image_source import Picture, opened_picture
from virc.solving.outcome import Fields, settings
from virc.solving.pipelines import roles as opening
from virc.solving.pipelines import trace
from virc.solving.pipelines.calling import parameters
from virc.solving.pipelines.files import load
from virc.solving.pipelines.program import run_code
from virc.solving.pipelines.roles import OpenRole, described
from virc.solving.pipelines.run import Loop, OnStep, Ran, Solved, run
from virc.solving.pipelines.schema import IMAGES, Function, Pipeline
from virc.solving.pipelines.speaking import naming
from virc.solving.pipelines.values import Value
from virc.solving.setup import OnFacts, Setup
from virc.systems import registry as systems
from virc.tools import python, registry


class PipelineSetup(msgspec.Struct, frozen=True):
    """A pipeline, which model each role is, and how a problem is solved.

    Args:
        name: of its system, or of its file without the suffix.
        chosen: role -> its model.
        setup: gives the seed, the longest time, the folder of the trace and whether pictures may be fetched.
        tools: function of the pipeline -> its tool.
    """

    name: str
    pipeline: Pipeline
    chosen: Mapping[str, Choice]
    setup: Setup
    tools: Mapping[str, Tool] = {}

    @property
    def models(self) -> dict[str, str]:
        """Role -> its model in words, none of which is open."""
        return {name: described(choice) for name, choice in self.chosen.items()}


def facts(setup: PipelineSetup, roles: Mapping[str, OpenRole] | None = None) -> Fields:
    """Fields of the output that are known before anything is asked; of `roles`, the names of their models."""
    content = msgspec.to_builtins(setup.pipeline)
    models = _models(setup, roles)
    if roles is not None:
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


def _models(setup: PipelineSetup, roles: Mapping[str, OpenRole] | None) -> dict[str, str]:
    if roles is not None:
        return {name: role.opened.name for name, role in roles.items()}
    return setup.models


def set_up(name: str, given: Mapping[str, str], setup: Setup) -> PipelineSetup:
    """The pipeline of a file or system with the model of each role, of which nothing is loaded yet.

    Raises:
        VircError: as `schema.load` and `roles.choices`; or code cannot be isolated here, and a step runs some.
    """
    pipeline = load(name)
    if pipeline.running:
        python.ready()
    beside = expanded(name).parent if systems.is_path(name) else systems.get(name).file.parent
    title = Path(name).stem if systems.is_path(name) else name
    chosen = opening.choices(pipeline, given, setup.choice)
    return PipelineSetup(title, pipeline, chosen, setup, _tools(pipeline, beside))


def _tools(pipeline: Pipeline, beside: Path) -> dict[str, Tool]:
    """The tools of the functions that code calls; of those that are optional, the ones that are here.

    Raises:
        ConfigError: a tool is not here, or is none that code can call.
    """
    found = {}
    for name in dict.fromkeys(name for step in pipeline.running for name in step.functions):
        function = pipeline.functions[name]
        if function.tool is None or (function.optional and not _is_here(function.tool, beside)):
            continue
        with naming(f"function {name!r}"):
            (loaded,) = registry.load([_beside(function.tool, beside)], beside)
            if hasattr(registry.get(loaded), "apply_to_all"):
                raise ConfigError(f"the tool {loaded!r} is about a whole conversation, and code cannot call it")
        found[name] = registry.get(loaded)
    return found


@contextmanager
def ready(setup: PipelineSetup, report: Reporter) -> Iterator[Mapping[str, OpenRole]]:
    """The roles with their models open, until the block ends.

    Raises:
        VircError: as `open_roles`; or a tool's server cannot be reached, and the message names the function.
    """
    for name, tool in setup.tools.items():
        with naming(f"function {name!r}"):
            registry.check_ready([tool.NAME])
    with opening.open_roles(setup.pipeline, setup.chosen, report) as roles:
        yield roles


def _beside(tool: str, folder: Path) -> str:
    """A tool's file from the folder of the pipeline's."""
    return str(folder / tool) if plugins.is_path(tool) else tool


def _is_here(tool: str, folder: Path) -> bool:
    return tool in registry.known() or registry.file_of(_beside(tool, folder), folder) is not None


def planned(setup: PipelineSetup, question: str, images: int) -> Iterator[str]:
    """What each step would send, as text; the outputs of other steps stay names in braces."""
    for step in setup.pipeline.asking:
        name = step.ask or ""
        role = setup.pipeline.roles[name]
        how = ", by its own chat protocol" if role.own_protocol else ""
        yield f"step {step.name}: role {name}, {described(setup.chosen[name])}{how}"
        if role.system is not None:
            yield f"  system: {role.system}"
        if step.pictures:
            named = (f"{images} of the problem" if name == IMAGES else f"{{{name}}}" for name in step.pictures)
            yield f"  images: {', '.join(named)}"
        if step.samples > 1:
            yield f"  samples: {step.samples}"
        yield f"  prompt: {(step.prompt or '').replace('{question}', question)}"
    for step in setup.pipeline.running:
        if step.functions:
            yield f"step {step.name}: code that may call functions {step.calls} times"
    for name in dict.fromkeys(name for step in setup.pipeline.running for name in step.functions):
        yield from _function(setup, name, setup.pipeline.functions[name])


def _function(setup: PipelineSetup, name: str, function: Function) -> Iterator[str]:
    """What a function sends; its parameters stay names in braces."""
    if function.ask:
        yield f"function {name}({', '.join(function.placeholders)}): role {function.ask}, " + described(
            setup.chosen[function.ask]
        )
        yield f"  prompt: {function.prompt}"
    elif name in setup.tools:
        yield f"function {name}({', '.join(parameters(setup.tools[name]))}): tool {function.tool}"
    else:
        yield f"function {name}: an error of the code, as there is no tool {function.tool}"


def solve_images(
    setup: PipelineSetup,
    sources: Sequence[Picture],
    question: str,
    report: Reporter,
    *,
    on_facts: OnFacts = lambda _: None,
    on_step: OnStep = lambda *_: None,
) -> Fields:
    """Solve one problem; returns the fields of `virc.solve/1`.

    Raises:
        VircError: a picture cannot be opened, or a role failed; the message names it and its step.
    """
    check_problem(["" if isinstance(each, Image.Image) else str(each) for each in sources], question)
    on_facts(facts(setup))
    deadline = Deadline(setup.setup.config.timeout)
    given = [opened_picture(each, setup.setup.offline, deadline.left()) for each in sources]
    pictures = [each if isinstance(each, OpenedImage) else OpenedImage(each.convert("RGB")) for each in given]
    if setup.setup.trace:
        trace.check_folder(setup.setup.trace)
    with ExitStack() as stack:
        with deadline.paused():
            roles = stack.enter_context(ready(setup, report))
        known = facts(setup, roles)
        on_facts(known)
        problem = Problem(question, pictures, setup.setup.config.seed, setup.setup.trace)
        fields, untraced = solve_problem(setup, roles, problem, deadline, on_step, on_facts)
    for each in msgspec.convert(fields.get("loops", []), list[Loop]):
        if not each.met:
            report.warn(each.unmet)
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
    on_step: OnStep = lambda *_: None,
    on_facts: OnFacts = lambda _: None,
    check: Callable[[], None] = lambda: None,
    ends: bool = False,
) -> tuple[Fields, VircError | None]:
    """Solve a problem; returns the fields of its output, and why its trace could not be written, if so.

    Args:
        check: called before each reply; what it raises ends the problem.
        ends: call it for each piece of a reply, too.

    Raises:
        VircError: there is no picture; or as `run`, and the steps before it are in the trace.
    """
    if not problem.pictures:
        raise DataError("there is no image, and a pipeline answers questions about images")
    done: list[trace.Step] = []

    def on_ran(ran: Ran, value: Value) -> None:
        done.append(trace.Step(ran, value))
        on_facts({"steps": msgspec.to_builtins([each.ran for each in done])})
        on_step(ran, value)

    turns = setup.setup.config.max_turns
    speakers = {name: opening.speaker(role, deadline, turns, check, ends) for name, role in roles.items()}
    known = {"pipeline": setup.name, "question": problem.question, "roles": _models(setup, roles)}
    try:
        solved = run(
            setup.pipeline, problem.question, speakers, run_code, problem.seed, on_ran, problem.pictures, setup.tools
        )  # fmt: skip
        if not solved.answer.strip():
            raise NoAnswerError(f"step {setup.pipeline.answer!r}, whose output is the answer, gave no text")
    except VircError as error:
        if problem.trace:
            trace.write(problem.trace, known, problem.pictures, done, error=error)
        raise
    fields = _fields(solved)
    on_facts(fields)
    if problem.trace is None:
        return fields, None
    order = {id(ran): number for number, ran in enumerate(solved.steps)}
    done.sort(key=lambda step: order[id(step.ran)])
    untraced = trace.write(problem.trace, known | fields, problem.pictures, done)
    return fields | {"trace": None if untraced else str(problem.trace)}, untraced


def _fields(solved: Solved) -> Fields:
    def total(field: str) -> int | None:
        counts = [getattr(step, field) for step in solved.steps if step.role or step.replies]
        return None if None in counts else sum(counts)

    loops: Fields = {"loops": msgspec.to_builtins(solved.loops)} if solved.loops else {}
    return loops | {
        "answer": solved.answer,
        "turns": sum(_turns(step) for step in solved.steps),
        "replies": sum(step.replies for step in solved.steps),
        "tokens": {"prompt": total("prompt_tokens"), "completion": total("completion_tokens")},
        "steps": msgspec.to_builtins(solved.steps),
    }


def _turns(step: Ran) -> int:
    """How often a role was asked."""
    return len(step.grades or step.output) if step.role else sum(call.replies > 0 for call in step.calls)
