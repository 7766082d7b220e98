"""Solve one problem by a pipeline: what `virc solve --pipeline` runs."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from virc.solving.pipelines.roles import OpenRole, described
from virc.solving.pipelines.run import Ran, Solved, run
from virc.solving.pipelines.schema import Pipeline
from virc.solving.setup import OnFacts, Setup

OnStep = Callable[[Ran], None]
TRACE = "steps.json"


class PipelineSetup(msgspec.Struct, frozen=True):
    """A pipeline, which model each role is, and how a problem is solved.

    Args:
        chosen: role -> its model.
        setup: gives the seed, the longest time, the folder of the trace and whether pictures may be fetched.
    """

    pipeline: Pipeline
    chosen: Mapping[str, Choice]
    setup: Setup

    @property
    def facts(self) -> Fields:
        """Fields of the output that are known before anything is asked."""
        content = msgspec.json.encode(self.pipeline)
        fields = settings(self.setup.config, self.setup.choice.max_pixels)
        models = {name: described(choice) for name, choice in self.chosen.items()}
        return {
            "model": "; ".join(f"{name}: {model}" for name, model in models.items()),
            "settings": fields | {"chat_protocol": hashlib.sha256(content).hexdigest()[:16]},
            "roles": models,
        }


def set_up(pipeline: Pipeline, given: Mapping[str, str], setup: Setup) -> PipelineSetup:
    """A pipeline with the model of each role, of which nothing is loaded yet; as `roles.choices`."""
    return PipelineSetup(pipeline, opening.choices(pipeline, given, setup.choice), setup)


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
    on_facts(setup.facts)
    deadline = Deadline(setup.setup.config.timeout)
    pictures = [open_source(each, offline=setup.setup.offline, seconds=deadline.left()) for each in sources]
    if setup.setup.trace:
        _check_folder(setup.setup.trace)
    with deadline.paused():
        roles = opening.open_roles(setup.pipeline, setup.chosen, report)
    try:
        fields, untraced = _solve(
            setup, roles, pictures, question, deadline, setup.setup.config.seed, setup.setup.trace, on_step, on_facts
        )
    finally:
        opening.close(roles)
    if untraced:
        raise untraced
    return setup.facts | fields


def _solve(
    setup: PipelineSetup,
    roles: Mapping[str, OpenRole],
    pictures: Sequence[OpenedImage],
    question: str,
    deadline: Deadline,
    seed: int,
    trace: Path | None,
    on_step: OnStep = lambda _: None,
    on_facts: OnFacts = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Fields, VircError | None]:
    """One problem: the fields of its output, and why its trace could not be written; a failed one has its trace too."""
    done: list[Ran] = []

    def on_ran(ran: Ran) -> None:
        done.append(ran)
        on_facts({"steps": msgspec.to_builtins(done)})
        on_step(ran)

    speakers = {
        name: opening.speaker(
            role, _shown(name, role, setup.pipeline, pictures), deadline, setup.setup.config.max_turns, check
        )
        for name, role in roles.items()
    }
    try:
        solved = run(setup.pipeline, question, speakers, seed, on_ran)
    except VircError as error:
        if trace:
            _write(trace, {"question": question, "answer": None, "steps": done, "error": fields_of(error)})
        raise
    if not solved.answer.strip():
        raise NoAnswerError(f"step {setup.pipeline.answer!r}, whose output is the answer, gave no text")
    fields = _fields(solved)
    on_facts(fields)
    untraced = _write(trace, {"question": question, **fields, "error": None}) if trace else None
    return fields | {"trace": str(trace) if trace and not untraced else None}, untraced


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
