"""Runs the steps of a pipeline on one problem."""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import msgspec

from virc.config.placeholders import filled
from virc.core.errors import NoAnswerError
from virc.core.seeds import derived
from virc.core.text import counted
from virc.reasoning.calls import Box, Size, Tool
from virc.reasoning.images import OpenedImage
from virc.reasoning.session import Reply
from virc.sandbox.pool import Past
from virc.sandbox.pool import Problem as Interpreter
from virc.solving.pipelines.calling import Called, Callers
from virc.solving.pipelines.program import Code
from virc.solving.pipelines.schema import CANDIDATE, IMAGES, QUESTION, SESSION, Pipeline, Step
from virc.solving.pipelines.speaking import Speaker, Spoken, naming, sampling_of
from virc.solving.pipelines.turns import answered, pictures_of, turn
from virc.solving.pipelines.values import NOTHING, Seen, Session, Turn, Value, Values, boxes_in, cropped
from virc.solving.sampling.grades import FORM, read_score
from virc.solving.votes import tally

Program = Callable[[Code], Value]
"""Runs code."""

_Result = TypeVar("_Result")


class Ran(msgspec.Struct, frozen=True):
    """A step that ran: its output, and what it cost where the backend counts.

    Args:
        prompt: what the role was sent, or the code that ran; None of others. Of the best of several, of that one.
        output: its texts.
        prompt_tokens, completion_tokens: of all its replies; None where the backend did not count them.
        grades: the replies about each candidate, where the output is the best of several.
        scores: the grades in them; None of one that cannot be read.
        boxes: (left, top, right, bottom) in pixels of the picture's file.
        pictures: (width, height) in pixels of each picture that it made.
        replies: how many its role's model gave, or the roles that its code asked.
        seconds: how long it took.
        calls: of functions by its code.
    """

    name: str
    role: str | None
    prompt: str | None
    output: tuple[str, ...]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    grades: tuple[str, ...] = ()
    scores: tuple[float | None, ...] = ()
    boxes: tuple[Box, ...] = ()
    pictures: tuple[Size, ...] = ()
    replies: int = 0
    seconds: float | None = None
    calls: tuple[Called, ...] = ()


class Loop(msgspec.Struct, frozen=True):
    """A loop that ran: the value that ends it, how many rounds it took, and whether its `until` matched in the last."""

    until: str
    rounds: int
    met: bool

    @property
    def unmet(self) -> str:
        """What is said of one that ended at its bound."""
        return f"{self.until!r} matched in none of {counted(self.rounds, 'round')}; its output is that of the last"


class Solved(msgspec.Struct, frozen=True):
    """The pipeline's reply, its steps in the order of the file, a loop's once for each round, and the loops."""

    answer: str
    steps: tuple[Ran, ...]
    loops: tuple[Loop, ...] = ()


OnStep = Callable[[Ran, Value], None]
"""Gets a step that ran, and its output."""


class _Run(msgspec.Struct, frozen=True):
    """What all steps of a run share; `speakers` are by role."""

    pipeline: Pipeline
    speakers: Mapping[str, Speaker]
    program: Program
    seed: int | None
    on_step: OnStep
    loops: list[Loop]
    tools: Mapping[str, Tool]


_Done = tuple[Values, tuple[Ran, ...]]


def run(
    pipeline: Pipeline,
    question: str,
    speakers: Mapping[str, Speaker],
    program: Program,
    seed: int | None = None,
    on_step: OnStep = lambda *_: None,
    images: Sequence[OpenedImage] = (),
    tools: Mapping[str, Tool] = {},
) -> Solved:
    """Run every step on one problem; steps that do not need each other's output run at the same time.

    Args:
        speakers: role -> what draws its replies; several threads may call one.
        program: what runs the code of a step.
        seed: of the problem; each reply has one of its own, derived from it.
        on_step: gets each step when it has run, in the thread that ran it.
        images: of the problem.
        tools: function of the pipeline -> its tool.

    Raises:
        VircError: of the kind that the role raised; the message names the role and the step.
    """
    shared = _Run(pipeline, speakers, program, seed, on_step, [], tools)
    given = {QUESTION: Value((question,)), IMAGES: Value(pictures=tuple(images))}
    values, steps = _together(pipeline.steps, given, shared, ())
    return Solved("\n".join(values[pipeline.answer].texts), steps, tuple(shared.loops))


def _together(steps: Sequence[Step], values: Values, run: _Run, rounds: tuple[int, ...]) -> _Done:
    """Run steps, each as soon as it has its inputs; `rounds` are those of the loops around them, from 0."""
    started: dict[str, Future[_Done]] = {}
    futures = list[Future[_Done]]()
    for step in steps:
        # the output of a later step is that of the round before, which `values` holds
        inputs = {name: started[name] for name in step.inputs & started.keys()}
        future = _started(lambda step=step, inputs=inputs: _after(inputs, step, values, run, rounds))  # type: ignore[misc]
        started |= dict.fromkeys(step.outputs, future)
        futures.append(future)
    done = [future.result() for future in futures]  # of a session, the last one's counts
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
        return _blank(step, values), ()
    if step.repeat:
        return _loop(values, step, run, rounds)
    began = time.monotonic()
    ran, value = _done(values, step, run, rounds)
    ran = msgspec.structs.replace(
        ran,
        boxes=tuple(each.box for each in value.boxes),
        pictures=tuple(each.size for each in value.pictures),
        seconds=round(time.monotonic() - began, 3),
    )
    run.on_step(ran, value)
    return dict.fromkeys(step.outputs, value), (ran,)


def _blank(step: Step, values: Values) -> dict[str, Value]:
    """The outputs of a step that has not run; an interpreter stays as it is."""
    return {name: values.get(name, NOTHING) if name.startswith(SESSION) else NOTHING for name in step.outputs}


def _done(values: Values, step: Step, run: _Run, rounds: tuple[int, ...]) -> tuple[Ran, Value]:
    """What a step that asks, votes, runs, reads or cuts came to."""
    if step.ask:
        return _ask(step, values, run, rounds)
    with naming(f"step {step.name!r}"):
        if step.run or step.code:
            return _program(step, values, run, rounds)
        value = _made(step, values)
    return Ran(step.name or "", None, None, value.texts), value


def _made(step: Step, values: Values) -> Value:
    """The output of a step that neither a role nor code gives."""
    if step.boxes:
        return boxes_in(values[step.boxes], step.unit or "pixel", step.image)
    if step.crop:
        return cropped(values[step.crop], step.margin)
    if step.find:
        found = [re.search(step.find.matches, text) for text in values[step.find.value].texts]
        return Value(tuple([match[1] or "" if match.re.groups else match[0] for match in found if match][:1]))
    if step.text:
        return Value((filled(step.text, _texts(values), f"text of {step.name}"),))
    votes = tally(text.strip() for text in values[step.vote or ""].texts).votes
    return Value(tuple(text for text, _ in votes[:1] if text is not None))


def _texts(values: Values) -> dict[str, str]:
    return {key: "\n".join(value.texts) for key, value in values.items()}


def _loop(values: Values, step: Step, run: _Run, rounds: tuple[int, ...]) -> _Done:
    values, steps, met, number = {**values, **_blank(step, values)}, list[Ran](), False, 0
    while not met and number < (step.rounds or 1):
        values, ran = _together(step.repeat, values, run, (*rounds, number))
        steps += ran
        met, number = bool(step.until and step.until.holds(values)), number + 1
    if step.until:
        run.loops.append(Loop(step.until.value, number, met))
    return {name: values[name] for name in step.outputs}, tuple(steps)


def _program(step: Step, values: Values, run: _Run, rounds: tuple[int, ...]) -> tuple[Ran, Value]:
    codes = (step.code,) if step.code else values[step.run or ""].texts
    session = _session(step, values)
    made, calls = list[Value](), list[Called]()
    for number, code in enumerate(codes):
        place = (step.name, *rounds, number)
        callers = Callers(run.pipeline, run.speakers, run.tools, step, run.seed, place, calls.append)
        made.append(run.program(_code(code, step, values, callers, session)))
        session = made[-1].session if session else None
    texts = tuple(text for each in made for text in each.texts)
    value = Value(texts, tuple(picture for each in made for picture in each.pictures), session=session)
    asked = [call for call in calls if call.replies]
    tokens = (_total(asked, "prompt_tokens"), _total(asked, "completion_tokens")) if asked else (None, None)
    replies = sum(call.replies for call in asked)
    return Ran(step.name or "", None, "\n".join(codes), texts, *tokens, replies=replies, calls=tuple(calls)), value


def _session(step: Step, values: Values) -> Session | None:
    """The step's interpreter; None where it has none that is kept."""
    if step.session is None:
        return None
    return values.get(SESSION + step.session, NOTHING).session or Session(Past(Interpreter()))


def _code(code: str, step: Step, values: Values, callers: Callers, session: Session | None) -> Code:
    return Code(
        code,
        [picture for name in step.pictures for picture in values[name].pictures],
        {name: "\n".join(values[name].texts) for name in step.given},
        callers.functions(),
        step.calls,
        step.seconds,
        session,
        exact=step.code is not None,
    )


def _ask(step: Step, values: Values, run: _Run, rounds: tuple[int, ...]) -> tuple[Ran, Value]:
    name, role, texts = step.name or "", step.ask or "", _texts(values)
    before = values[step.after].turns if step.after else ()
    candidates = values[step.best_of].texts if step.best_of else ()
    asked = [{**texts, CANDIDATE: each} for each in candidates] if step.best_of else [texts] * step.samples
    turns = [(*before, turn(step, each, values)) for each in asked]
    places = [(name, *rounds, number) for number in range(len(turns))]
    drawn = _drawn([partial(_spoken, *each, step, run) for each in zip(turns, places, strict=True)])
    replies = [each.reply for each in drawn]
    output = tuple(reply.text for reply in replies)
    tokens = _total(replies, "prompt_tokens"), _total(replies, "completion_tokens")
    count = sum(each.replies for each in drawn)
    if not step.best_of:
        seen = tuple(Seen(*each) for each in zip(pictures_of(turns[0]), drawn[0].sizes, strict=False))
        value = Value(output, seen=seen, turns=answered(turns[0], output[0]))
        return Ran(name, role, turns[0][-1].prompt, output, *tokens, replies=count), value
    best, scores = _best(output, step)
    chosen = (candidates[best],) if best is not None else ()
    prompt = turns[best][-1].prompt if best is not None else None
    return Ran(name, role, prompt, chosen, *tokens, output, scores, replies=count), Value(chosen)


def _best(grades: Sequence[str], step: Step) -> tuple[int | None, tuple[float | None, ...]]:
    """Which candidate has the highest grade, the first of those where several have, and all grades.

    Raises:
        NoAnswerError: there are several candidates, and not one grade can be read.
    """
    scores = tuple(read_score(grade, step.score) for grade in grades)
    if len(scores) <= 1:
        return (0 if scores else None), scores
    known = [(score, -number) for number, score in enumerate(scores) if score is not None]
    if not known:
        form = f"the pattern {step.score!r} found" if step.score else f"a line such as `{FORM}` gives"
        raise NoAnswerError(
            f"step {step.name!r}: no grade can be read in any of {len(grades)} replies of role {step.ask!r}; "
            f"the first begins {grades[0].strip()[:60]!r}",
            f"have the prompt ask for it: {form} the grade",
        )
    return -max(known)[1], scores


def _drawn(work: Sequence[Callable[[], Spoken]]) -> list[Spoken]:
    """Replies that are drawn at the same time, in their order."""
    if len(work) == 1:
        return [work[0]()]
    return [future.result() for future in [_started(each) for each in work]]


def _spoken(turns: Sequence[Turn], place: tuple[object, ...], step: Step, run: _Run) -> Spoken:
    """One reply of the step's role; its seed is derived from its place in the run."""
    role = step.ask or ""
    seed = None if run.seed is None else derived(run.seed, *place)
    with naming(f"role {role!r}, step {step.name!r}"):
        return run.speakers[role](turns, sampling_of(run.pipeline.roles[role], seed))


def _total(replies: Sequence[Reply | Called], field: str) -> int | None:
    counts = [getattr(reply, field) for reply in replies]
    return None if None in counts else sum(counts)
