"""What is wrong with the steps of a pipeline, said before anything runs."""

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from virc.core.text import did_you_mean
from virc.solving.pipelines.schema import CANDIDATE, IMAGES, KINDS, QUESTION, Function, Pipeline, Step

Mistake = tuple[str, str | None]
"""What is wrong, and what to write instead."""

_KINDS: Mapping[str, tuple[str, ...]] = {
    "ask": ("texts",),
    "vote": ("texts",),
    "find": ("texts",),
    "text": ("texts",),
    "run": ("texts", "pictures"),
    "code": ("texts", "pictures"),
    "boxes": ("texts", "boxes"),
    "crop": ("pictures",),
}
"""What a step of each kind gives."""


def mistakes(pipeline: Pipeline) -> Iterator[Mistake]:
    """Everything that is wrong with it."""
    known: dict[str, tuple[str, ...]] = {QUESTION: ("texts",), IMAGES: ("pictures",)}
    for name, function in pipeline.functions.items():
        yield from _function_mistakes(f"function {name!r}", name, function, pipeline)
    if not pipeline.steps:
        yield "steps has no step", "virc systems show prism shows some"
    yield from _mistakes(pipeline.steps, pipeline, known, {})
    steps = [name for name, holds in known.items() if "texts" in holds and name != QUESTION]
    if pipeline.answer not in steps:
        why = "gives no text" if pipeline.answer in known else "names no step"
        yield f"answer {why}: {pipeline.answer!r}", did_you_mean(pipeline.answer, steps)


def place(message: str, content: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that lead to what a mistake is about: a step, a role, or the answer; none where it is not found."""
    kind, _, name = message.partition(" ")
    named = re.match(r"'?(\w+)", name)
    if kind in ("role", "function") and named:
        return (f"{kind}s", named[1])
    steps = _places(content.get("steps", ()), ("steps",)) if kind == "step" and named else ()
    return next((path for path, key in steps if named and key == named[1]), (kind,))


def _places(steps: Iterable[Mapping[str, Any]], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys that lead to the first line of each step, and the step's name, or its number."""
    for number, step in enumerate(steps):
        path = (*above, str(number))
        yield (*path, next(iter(step), "")), str(step.get("name", number + 1))
        yield from _places(step.get("repeat", ()), (*path, "repeat"))


_Known = dict[str, tuple[str, ...]]
"""Name of a value -> what it holds."""


def _given(step: Step) -> _Known:
    """The values of a step, or of those in it."""
    return {part.name: _KINDS.get(part.kind, ()) for part in step.parts if part.name}


def _mistakes(steps: tuple[Step, ...], pipeline: Pipeline, known: _Known, later: _Known) -> Iterator[Mistake]:
    """Mistakes of steps that may use values `known`, which theirs are added to, and `later` ones of a loop."""
    for number, step in enumerate(steps, 1):
        title = f"step {step.name or number!r}"
        if len(step.kinds) != 1:
            yield f"{title} needs exactly one of {', '.join(KINDS[:-1])} and {KINDS[-1]}", None
        yield from _unknown(title, [step.when.value] if step.when else [], {**known, **later})
        yield from _pattern_mistakes(title, step)
        if step.repeat:
            yield from _loop_mistakes(title, step, pipeline, known, {**later, **_given(step)})
        else:
            yield from _output_mistakes(title, step, pipeline, known, later)


def _loop_mistakes(title: str, step: Step, pipeline: Pipeline, known: _Known, later: _Known) -> Iterator[Mistake]:
    if step.name or step.ask or step.prompt is not None:
        yield f"{title} repeats steps, and has no name and no prompt of its own", None
    examples = {"until": "until: {value: NAME, matches: REGEX}", "rounds": "rounds: 3"}
    if missing := [key for key in examples if getattr(step, key) is None]:
        yield f"{title} repeats steps and needs {' and '.join(missing)}", ", ".join(examples[key] for key in missing)
        return
    yield from _mistakes(step.repeat, pipeline, known, later)
    yield from _unknown(title, [step.until.value] if step.until else [], known)


def _output_mistakes(title: str, step: Step, pipeline: Pipeline, known: _Known, later: _Known) -> Iterator[Mistake]:
    if step.until or step.rounds:
        yield f"{title}: until and rounds belong to repeat", None
    if step.name is None:
        yield f"{title} needs a name", None
        return
    if step.name in (*known, CANDIDATE):
        yield f"{title}: another value has this name", None
    yield from _asking_mistakes(title, step, pipeline)
    yield from _box_mistakes(title, step)
    yield from _code_mistakes(title, step, pipeline)
    given = {**known, **later}
    found = step.find.value if step.find else None
    placed = [name for name in step.placeholders if name in step.pictures]
    filled = [name for name in step.placeholders if name not in placed]
    texts = filter(None, (*filled, *step.given, step.vote, step.run, step.best_of, step.boxes, step.after, found))
    yield from _unknown(title, texts, given, "texts")
    yield from _unknown(title, step.pictures, given, "pictures")
    yield from _unknown(title, [step.crop] if step.crop else [], given, "boxes")
    known |= _given(step)


def _asking_mistakes(title: str, step: Step, pipeline: Pipeline) -> Iterator[Mistake]:
    if bool(step.ask) != (step.prompt is not None):
        yield f"{title}: ask and prompt belong together", None
    if step.best_of and (not step.ask or step.samples != 1 or f"{{{CANDIDATE}}}" not in (step.prompt or "")):
        yield f"{title}: best_of needs ask and a prompt with {{{CANDIDATE}}}, and no samples", None
    if step.score is not None and not step.best_of:
        yield f"{title}: score belongs to best_of", None
    same = [part.name or "" for part in pipeline.asking if part.ask == step.ask and not part.best_of]
    if step.after and step.after not in same:
        others = [name for name in same if name != step.name]
        hint = did_you_mean(step.after, others) if others else f"no other step asks {step.ask!r}"
        yield f"{title} goes on after {step.after!r}, which asks no role or another", hint
    if step.after and step.best_of:
        yield f"{title}: after and best_of do not go together", None
    if step.ask is None:
        return
    role = pipeline.roles.get(step.ask)
    if role is None:
        yield f"{title} asks an unknown role: {step.ask!r}", did_you_mean(step.ask, list(pipeline.roles))
    elif role.own_protocol and not step.images:
        yield f"{title} asks {step.ask!r} by its own chat protocol, which needs images", "images: true"
    elif role.own_protocol and step.after:
        yield f"{title} asks {step.ask!r} by its own chat protocol, which begins anew each time", "leave out after"
    elif role.own_protocol and role.system is not None:
        yield f"role {step.ask!r} has a system message and a chat protocol of its own", "leave one out"


def _function_mistakes(title: str, name: str, function: Function, pipeline: Pipeline) -> Iterator[Mistake]:
    if bool(function.ask) == bool(function.tool) or bool(function.ask) != (function.prompt is not None):
        yield f"{title} needs ask and prompt, or tool", "ask: ROLE, prompt: '{picture}{question}'"
    if function.ask and function.ask not in pipeline.roles:
        yield f"{title} asks an unknown role: {function.ask!r}", did_you_mean(function.ask, list(pipeline.roles))
    if function.ask and (function.gives == "images" or function.optional):
        yield f"{title}: a role gives text or json, and is not optional", None
    wrong = [each for each in (name, *function.placeholders) if not _is_variable(each)]
    if wrong:
        yield f"{title}: {wrong[0]!r} is no name of a function or variable of Python", None


def _is_variable(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _code_mistakes(title: str, step: Step, pipeline: Pipeline) -> Iterator[Mistake]:
    runs = bool(step.run or step.code)
    usual = Step()
    for field in ("given", "functions", "calls", "session", "seconds"):
        if getattr(step, field) != getattr(usual, field) and not runs:
            yield f"{title}: {field} belongs to run and code", None
    if twice := [name for name in step.functions if name in step.given]:
        yield f"{title}: {twice[0]!r} is a function and a variable of its code", "give the function another name"
    for name in step.functions:
        if name not in pipeline.functions:
            yield f"{title} calls an unknown function: {name!r}", did_you_mean(name, list(pipeline.functions))
    for name in step.given:
        if not _is_variable(name):
            yield f"{title}: {name!r} is no name of a variable of Python", None


def _box_mistakes(title: str, step: Step) -> Iterator[Mistake]:
    if bool(step.boxes) != (step.unit is not None):
        yield f"{title}: boxes and unit belong together", "unit: pixel, permille, thousand, unit or original"
    if step.image and not step.boxes:
        yield f"{title}: image belongs to boxes", None
    if step.margin and not step.crop:
        yield f"{title}: margin belongs to crop", None


def _unknown(title: str, names: Iterable[str], known: _Known, holds: str | None = None) -> Iterator[Mistake]:
    """Names of no value, and of values that hold something else than what is needed."""
    for name in names:
        if name not in known:
            yield f"{title} uses {name!r}, which no earlier step gives", did_you_mean(name, list(known))
        elif holds and holds not in known[name]:
            yield f"{title} uses {name!r} for {holds}, and it gives {' and '.join(known[name])}", None


def _pattern_mistakes(title: str, step: Step) -> Iterator[Mistake]:
    patterns = [condition.matches for condition in (step.when, step.until, step.find) if condition]
    for pattern in [*patterns, *([step.score] if step.score is not None else [])]:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            yield f"{title}: {pattern!r} is no regular expression: {error}", None
            continue
        if pattern == step.score and compiled.groups != 1:
            yield f"{title}: score {pattern!r} needs one group, the number", "score: 'grade: (\\d+)'"
