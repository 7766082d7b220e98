"""Runs the steps of a pipeline on one problem."""

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

import msgspec

from virc.backends.interface import Sampling
from virc.config.placeholders import filled
from virc.core.errors import VircError
from virc.core.seeds import derived
from virc.reasoning.session import Reply
from virc.solving.pipelines.schema import CANDIDATE, Pipeline, Role, Step

Values = Mapping[str, tuple[str, ...]]
"""Name -> the texts of that value; a step that was skipped has none."""

Speaker = Callable[[str, bool, Sampling], Reply]
"""Draws a role's reply to a prompt; the flag says whether it is shown the problem's images."""

Program = Callable[[str, bool], str]
"""Runs code and returns what it prints; the flag says whether it is given the problem's images."""

_Result = TypeVar("_Result")


class Ran(msgspec.Struct, frozen=True):
    """A step that ran: its output, and what it cost where the backend counts.

    Args:
        prompt: what the role was sent, or the code that ran; None of a vote. Of the best of several, of that one.
        grades: the replies about each candidate, where the output is the best of several.
        prompt_tokens, completion_tokens: of all its replies; None where the backend did not count them.
    """

    name: str
    role: str | None
    prompt: str | None
    output: tuple[str, ...]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    grades: tuple[str, ...] = ()


class Solved(msgspec.Struct, frozen=True):
    """The pipeline's reply, and its steps in the order of the file; a loop's once for each round."""

    answer: str
    steps: tuple[Ran, ...]


class _Run(msgspec.Struct, frozen=True):
    """What all steps of a run share; `speakers` are by role."""

    pipeline: Pipeline
    speakers: Mapping[str, Speaker]
    program: Program
    seed: int | None
    on_step: Callable[[Ran], None]


_Done = tuple[Values, tuple[Ran, ...]]


def run(
    pipeline: Pipeline,
    question: str,
    speakers: Mapping[str, Speaker],
    program: Program,
    seed: int | None = None,
    on_step: Callable[[Ran], None] = lambda _: None,
) -> Solved:
    """Run every step on one problem; steps that do not need each other's output run at the same time.

    Args:
        speakers: role -> what draws its replies; several threads may call one.
        program: what runs the code of a step.
        seed: of the problem; each reply has one of its own, derived from it.
        on_step: gets each step when it has run, in the thread that ran it.

    Raises:
        VircError: of the kind that the role raised; the message names the role and the step.
    """
    shared = _Run(pipeline, speakers, program, seed, on_step)
    values, steps = _together(pipeline.steps, {"question": (question,)}, shared, ())
    return Solved("\n".join(values[pipeline.answer]), steps)


def _together(steps: Sequence[Step], values: Values, run: _Run, rounds: tuple[int, ...]) -> _Done:
    """Run steps, each as soon as it has its inputs; `rounds` are those of the loops around them, from 0."""
    started: dict[str, Future[_Done]] = {}
    for step in steps:
        # the output of a later step is that of the round before, which `values` holds
        inputs = {name: started[name] for name in step.inputs & started.keys()}
        future = _started(lambda step=step, inputs=inputs: _after(inputs, step, values, run, rounds))  # type: ignore[misc]
        started |= dict.fromkeys(step.outputs, future)
    done = [future.result() for future in dict.fromkeys(started.values())]
    outputs = {name: texts for own, _ in done for name, texts in own.items()}
    return {**values, **outputs}, tuple(ran for _, steps_of in done for ran in steps_of)


def _started(work: Callable[[], _Result]) -> "Future[_Result]":
    """The result to come of `work`, in a thread that an interrupted command does not wait for."""
    future: Future[_Result] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return future


def _after(
    inputs: Mapping[str, "Future[_Done]"], step: Step, values: Values, run: _Run, rounds: tuple[int, ...]
) -> _Done:
    return _one({**values, **{name: future.result()[0][name] for name, future in inputs.items()}}, step, run, rounds)


def _one(values: Values, step: Step, run: _Run, rounds: tuple[int, ...]) -> _Done:
    if step.when and not step.when.holds(values):
        return dict.fromkeys(step.outputs, ()), ()
    if step.repeat:
        return _loop(values, step, run, rounds)
    if step.run:
        ran = _program(step, values, run)
    elif step.ask:
        ran = _ask(step, values, run, rounds)
    else:
        ran = _made(step, values)
    run.on_step(ran)
    return {ran.name: ran.output}, (ran,)


def _loop(values: Values, step: Step, run: _Run, rounds: tuple[int, ...]) -> _Done:
    values, steps = {**values, **dict.fromkeys(step.outputs, ())}, list[Ran]()
    for number in range(step.rounds or 1):
        values, ran = _together(step.repeat, values, run, (*rounds, number))
        steps += ran
        if step.until and step.until.holds(values):
            break
    return {name: values[name] for name in step.outputs}, tuple(steps)


def _made(step: Step, values: Values) -> Ran:
    """A step that neither a role nor code answers."""
    name = step.name or ""
    if step.find:
        found = [re.search(step.find.matches, text) for text in values[step.find.value]]
        output = [match[1] or "" if match.re.groups else match[0] for match in found if match][:1]
    elif step.text:
        output = [filled(step.text, _texts(values), f"text of {name}")]
    else:
        counts = Counter(text.strip() for text in values[step.vote or ""])
        output = [text for text, _ in counts.most_common(1)]
    return Ran(name, None, None, tuple(output))


def _texts(values: Values) -> dict[str, str]:
    return {key: "\n".join(texts) for key, texts in values.items()}


def _program(step: Step, values: Values, run: _Run) -> Ran:
    codes = values[step.run or ""]
    try:
        output = tuple(run.program(code, step.images) for code in codes)
    except VircError as error:
        error.message = f"step {step.name!r}: {error.message}"
        raise
    return Ran(step.name or "", None, "\n".join(codes), output)


def _ask(step: Step, values: Values, run: _Run, rounds: tuple[int, ...]) -> Ran:
    name, role = step.name or "", step.ask or ""
    texts = _texts(values)
    candidates = values[step.best_of] if step.best_of else ()
    asked = [{**texts, CANDIDATE: each} for each in candidates] if step.best_of else [texts] * step.samples
    prompts = [filled(step.prompt or "", each, f"prompt of {name}") for each in asked]
    replies = [_reply(prompt, step, run, (name, *rounds, number)) for number, prompt in enumerate(prompts)]
    output = tuple(reply.text for reply in replies)
    tokens = _total(replies, "prompt_tokens"), _total(replies, "completion_tokens")
    if not step.best_of:
        return Ran(name, role, prompts[0], output, *tokens)
    best = max(range(len(output)), key=lambda number: _grade(output[number]), default=None)
    if best is None:
        return Ran(name, role, None, (), *tokens)
    return Ran(name, role, prompts[best], (candidates[best],), *tokens, output)


def _reply(prompt: str, step: Step, run: _Run, place: tuple[object, ...]) -> Reply:
    """One reply of the step's role; its seed is derived from its place in the run."""
    role = step.ask or ""
    seed = None if run.seed is None else derived(run.seed, *place)
    try:
        return run.speakers[role](prompt, step.images, _sampling(run.pipeline.roles[role], seed))
    except VircError as error:
        error.message = f"role {role!r}, step {step.name!r}: {error.message}"
        raise


def _grade(reply: str) -> float:
    """The first number of a reply; one without a number is the lowest."""
    found = re.search(r"-?\d+(\.\d+)?", reply)
    return float(found[0]) if found else -math.inf


def _sampling(role: Role, seed: int | None) -> Sampling:
    return Sampling(temperature=role.temperature, max_tokens=role.max_tokens or Sampling().max_tokens, seed=seed)


def _total(replies: Sequence[Reply], field: str) -> int | None:
    counts = [getattr(reply, field) for reply in replies]
    return None if None in counts else sum(counts)
