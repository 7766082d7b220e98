"""Runs the steps of a pipeline on one problem."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from virc.backends.interface import Backend, Sampling
from virc.config.placeholders import filled
from virc.core.errors import VircError
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Reply
from virc.reasoning.trace import Message
from virc.solving.pipelines.schema import Pipeline, Role, Step

Values = dict[str, tuple[str, ...]]


class Ran(msgspec.Struct, frozen=True):
    """A step that ran: its output, and what it cost where the backend counts.

    Args:
        prompt: what the role was sent, filled; None of a vote.
        prompt_tokens, completion_tokens: of all its replies; None where the backend did not count them.
    """

    name: str
    role: str | None
    prompt: str | None
    output: tuple[str, ...]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Solved(msgspec.Struct, frozen=True):
    """The pipeline's reply, and its steps in the order in which they ran; a loop's once for each round."""

    answer: str
    steps: tuple[Ran, ...]


def run(
    pipeline: Pipeline, question: str, images: Sequence[Shown], backends: Mapping[str, Backend], seed: int | None = None
) -> Solved:
    """Run every step on one problem.

    Args:
        backends: role -> what draws its replies.
        seed: of the first reply of each step; the next replies count up from it.

    Raises:
        VircError: of the kind that the backend raised; the message names the role and the step.
    """
    values: Values = {"question": (question,)}
    steps = tuple(_run(pipeline.steps, pipeline, images, backends, values, seed))
    return Solved("\n".join(values[pipeline.answer]), steps)


def _run(
    steps: Sequence[Step],
    pipeline: Pipeline,
    images: Sequence[Shown],
    backends: Mapping[str, Backend],
    values: Values,
    seed: int | None,
) -> Iterator[Ran]:
    for step in steps:
        if step.when and not step.when.holds(values):
            values.update(dict.fromkeys(_outputs(step), ()))
        elif step.repeat:
            for _ in range(step.rounds or 1):
                yield from _run(step.repeat, pipeline, images, backends, values, seed)
                if step.until and step.until.holds(values):
                    break
        else:
            ran = _vote(step, values) if step.vote else _ask(step, pipeline, images, backends, values, seed)
            values[ran.name] = ran.output
            yield ran


def _outputs(step: Step) -> Iterator[str]:
    if step.name:
        yield step.name
    for inner in step.repeat:
        yield from _outputs(inner)


def _vote(step: Step, values: Values) -> Ran:
    counts = Counter(text.strip() for text in values[step.vote or ""])
    return Ran(step.name or "", None, None, tuple(text for text, _ in counts.most_common(1)))


def _ask(
    step: Step,
    pipeline: Pipeline,
    images: Sequence[Shown],
    backends: Mapping[str, Backend],
    values: Values,
    seed: int | None,
) -> Ran:
    name, role = step.name or "", step.ask or ""
    prompt = filled(step.prompt or "", {key: "\n".join(texts) for key, texts in values.items()}, f"prompt of {name}")
    ask = request(pipeline.roles[role], prompt, images if step.images else ())
    try:
        replies = [
            backends[role].reply(ask, _sampling(pipeline.roles[role], seed, number)) for number in range(step.samples)
        ]
    except VircError as error:
        error.message = f"role {role!r}, step {name!r}: {error.message}"
        raise
    output = tuple(reply.text for reply in replies)
    return Ran(name, role, prompt, output, _total(replies, "prompt_tokens"), _total(replies, "completion_tokens"))


def request(role: Role, prompt: str, images: Sequence[Shown]) -> Ask:
    """What a role is sent: its system message, then the images and the prompt in one turn of the user."""
    system = [Message("system", role.system)] if role.system is not None else []
    return Ask([*system, Message("user", prompt, tuple(range(len(images))))], images)


def _sampling(role: Role, seed: int | None, number: int) -> Sampling:
    drawn = None if seed is None else seed + number
    return Sampling(temperature=role.temperature, max_tokens=role.max_tokens, seed=drawn)


def _total(replies: Sequence[Reply], field: str) -> int | None:
    counts = [getattr(reply, field) for reply in replies]
    return None if None in counts else sum(counts)
