"""What `pipeline:` holds: roles, and the steps that ask them."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from virc.config import validation
from virc.config import yaml as plain_yaml
from virc.config.user import Text, Url
from virc.core.errors import ConfigError
from virc.core.files import expanded, is_file
from virc.core.text import did_you_mean
from virc.systems import registry as systems

GIVEN = ("question",)
"""Values that every pipeline starts with."""
CANDIDATE = "candidate"
"""In the prompt of `best_of`: the text that is graded."""

MOST_ROUNDS = 100
PLACEHOLDER = re.compile(r"\{(\w*)\}")  # as `virc.config.placeholders.filled` reads them

Named = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$")]
Temperature = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1, le=MOST_ROUNDS)]


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that steps ask.

    Args:
        endpoint: OpenAI-compatible server; with neither this nor `model`, the command says which model it is.
        model: as `--model` takes it; with an endpoint, the name it serves.
        system: its system message; None: it gets none.
        temperature: 0 is greedy.
        max_tokens: most tokens of one reply; None: 1024, or as its chat protocol says.
        own_protocol: ask it by the chat protocol of its model, with that one's tools, until it answers; the output is
            the answer. Otherwise it gets plain messages, and the output is its reply.
    """

    endpoint: Url | None = None
    model: Text | None = None
    system: str | None = None
    temperature: Temperature = 0.0
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    own_protocol: bool = False


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a value holds a match of a regular expression.

    Args:
        value: name of an earlier step.
        matches: the regular expression, searched for anywhere in the value; case counts.
    """

    value: Named
    matches: str

    def holds(self, values: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether any text of the value matches; a step that was skipped has no text."""
        return any(re.search(self.matches, text) for text in values[self.value])


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step; it has exactly one of `ask`, `vote`, `find`, `text`, `run` and `repeat`.

    Args:
        name: name of its output; not with `repeat`.
        ask: the role that gets `prompt`.
        prompt: what the role is sent; `{NAME}` is replaced by the output of an earlier step, or by the question. In a
            loop, the name of a later step stands for its output in the round before; in the first it is empty.
        images: whether the role is shown the problem's images, or the code gets them, as `image_0`, `image_1` …
        samples: how many replies are drawn, with seeds that differ; the output is their list.
        best_of: an earlier step, each text of which the role grades, `{candidate}` in the prompt. The output is
            the text whose grade, the first number of the reply, is the highest; a reply without a number is the lowest.
        vote: an earlier step; the output is its most frequent text, the first of those where several are.
        find: an earlier step and a regular expression; the output is what the first match holds in its first group, or
            all of it where it has no group. It is empty where nothing matches.
        text: a text with `{NAME}` in it, as `prompt`; the output is that text. A step that names itself adds to its
            output of the round before.
        run: an earlier step, whose text is Python code, also in a Markdown block; it runs in a sandbox. The output is
            what it prints, and its error.
        repeat: steps that run again until `until` holds, at most `rounds` times.
        when: run the step only where this holds; the output is empty otherwise.
    """

    name: Named | None = None
    ask: Named | None = None
    prompt: str | None = None
    images: bool = False
    samples: Count = 1
    best_of: Named | None = None
    vote: Named | None = None
    find: Condition | None = None
    text: str | None = None
    run: Named | None = None
    repeat: tuple["Step", ...] = ()
    until: Condition | None = None
    rounds: Count | None = None
    when: Condition | None = None

    @property
    def outputs(self) -> list[str]:
        """Names of the values that it gives."""
        return [self.name] if self.name else [name for inner in self.repeat for name in inner.outputs]

    @property
    def inputs(self) -> set[str]:
        """Names of the values that it uses."""
        conditions = {condition.value for condition in (self.when, self.until, self.find) if condition}
        lists = {name for name in (self.vote, self.run, self.best_of) if name}
        return conditions | lists | set(self.placeholders) | {name for inner in self.repeat for name in inner.inputs}

    @property
    def placeholders(self) -> list[str]:
        """Names of the values in its prompt or text."""
        names = PLACEHOLDER.findall(self.prompt or self.text or "")
        return [name for name in names if not (self.best_of and name == CANDIDATE)]

    @property
    def parts(self) -> Iterator["Step"]:
        """Itself, or the steps in it."""
        if not self.repeat:
            yield self
        for inner in self.repeat:
            yield from inner.parts


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Roles and steps; `answer` names the step whose output is the reply."""

    roles: dict[Named, Role]
    steps: tuple[Step, ...]
    answer: Named

    @property
    def asking(self) -> list[Step]:
        """Every step that asks a role, in the order of the file."""
        return [part for step in self.steps for part in step.parts if part.ask]

    @property
    def runs_code(self) -> bool:
        """Whether a step runs code."""
        return any(part.run for step in self.steps for part in step.parts)


def load(name: str) -> Pipeline:
    """The pipeline of a system, or of a YAML file: that of a system, or one with a pipeline alone.

    Raises:
        ConfigError: it is not there, no YAML, or as `read`.
    """
    content = plain_yaml.read(expanded(name)) if systems.is_path(name) and is_file(name) else {}
    if content and "pipeline" not in content:
        return read(content, name)
    system = systems.get(name)
    if not system.pipeline:
        raise ConfigError(f"{name} has no pipeline", "--pipeline FILE.yaml")
    return read(system.pipeline, f"pipeline of {name}")


def read(content: Mapping[str, Any], where: str) -> Pipeline:
    """Read and check the content of `pipeline:`.

    Args:
        where: what errors call it.

    Raises:
        ConfigError: it does not fit, or a step names a role or a value that it cannot have.
    """
    for fault in validation.faults(content, Pipeline):
        raise ConfigError(f"{where}: {fault.message}", fault.hint)
    try:
        pipeline = msgspec.convert(content, Pipeline, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    known = list(GIVEN)
    for message, hint in _mistakes(pipeline.steps, pipeline, known):
        raise ConfigError(f"{where}: {message}", hint)
    if pipeline.answer not in known:
        raise ConfigError(f"{where}: answer names no step: {pipeline.answer!r}", did_you_mean(pipeline.answer, known))
    return pipeline


Mistake = tuple[str, str | None]


def _mistakes(
    steps: tuple[Step, ...], pipeline: Pipeline, known: list[str], later: tuple[str, ...] = ()
) -> Iterator[Mistake]:
    """Mistakes of steps that may use values `known`, which theirs are added to, and `later` ones of a loop."""
    for number, step in enumerate(steps, 1):
        title = f"step {step.name or number!r}"
        if sum(map(bool, (step.ask, step.vote, step.find, step.text, step.run, step.repeat))) != 1:
            yield f"{title} needs exactly one of ask, vote, find, text, run and repeat", None
        yield from _unknown(title, [step.when.value] if step.when else [], [*known, *later])
        yield from _condition_mistakes(title, step)
        if step.repeat:
            yield from _loop_mistakes(title, step, pipeline, known, (*later, *step.outputs))
        else:
            yield from _output_mistakes(title, step, pipeline, known, later)


def _loop_mistakes(
    title: str, step: Step, pipeline: Pipeline, known: list[str], later: tuple[str, ...]
) -> Iterator[Mistake]:
    if step.name or step.ask or step.prompt is not None:
        yield f"{title} repeats steps, and has no name and no prompt of its own", None
    if step.until is None or step.rounds is None:
        yield f"{title} needs until and rounds", "rounds: 3"
        return
    yield from _mistakes(step.repeat, pipeline, known, later)
    yield from _unknown(title, [step.until.value], known)


def _output_mistakes(
    title: str, step: Step, pipeline: Pipeline, known: list[str], later: tuple[str, ...]
) -> Iterator[Mistake]:
    if step.until or step.rounds:
        yield f"{title}: until and rounds belong to repeat", None
    if step.name is None:
        yield f"{title} needs a name", None
        return
    if step.name in (*known, CANDIDATE):
        yield f"{title}: another value has this name", None
    yield from _asking_mistakes(title, step, pipeline)
    lists = [name for name in (step.vote, step.run, step.best_of, step.find and step.find.value) if name]
    yield from _unknown(title, [*step.placeholders, *lists], [*known, *later])
    known.append(step.name)


def _asking_mistakes(title: str, step: Step, pipeline: Pipeline) -> Iterator[Mistake]:
    if bool(step.ask) != (step.prompt is not None):
        yield f"{title}: ask and prompt belong together", None
    if step.best_of and (not step.ask or step.samples != 1 or f"{{{CANDIDATE}}}" not in (step.prompt or "")):
        yield f"{title}: best_of needs ask and a prompt with {{{CANDIDATE}}}, and no samples", None
    if step.ask is None:
        return
    role = pipeline.roles.get(step.ask)
    if role is None:
        yield f"{title} asks an unknown role: {step.ask!r}", did_you_mean(step.ask, list(pipeline.roles))
    elif role.own_protocol and not step.images:
        yield f"{title} asks {step.ask!r} by its own chat protocol, which needs images", "images: true"
    elif role.own_protocol and role.system is not None:
        yield f"role {step.ask!r} has a system message and a chat protocol of its own", "leave one out"


def _unknown(title: str, names: list[str], known: list[str]) -> Iterator[Mistake]:
    for name in names:
        if name not in known:
            yield f"{title} uses {name!r}, which no earlier step gives", did_you_mean(name, known)


def _condition_mistakes(title: str, step: Step) -> Iterator[Mistake]:
    for condition in filter(None, (step.when, step.until, step.find)):
        try:
            re.compile(condition.matches)
        except re.error as error:
            yield f"{title}: {condition.matches!r} is no regular expression: {error}", None
