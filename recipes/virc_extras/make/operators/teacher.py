r"""Have teachers add columns: captions, thoughts, rewritten texts, verdicts, JSON, one step after the other.

A step asks a model with a prompt that has columns in braces: {question}, {answer}, any other of the row, and those of
the steps before. Its reply is taken if it fits: JSON of a schema, a pattern, the row's answer, few changed words, or
a system's reward. Else it is drawn again, `tries` times; then the row is left out, and the rule names the step.

`preset` is a published system whose teachers are known, or a YAML file with

    steps:
      caption: {prompt: Describe the picture.}
      thought: {prompt: "Picture: {caption}\nQuestion: {question}", pictures: false, right: true}

where the names are those of the columns.
"""

import difflib
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from virc.backends.interface import Sampling
from virc.config import validation
from virc.config import yaml as plain_yaml
from virc.core import plugins
from virc.core.errors import ConfigError, UsageError
from virc.core.files import expanded
from virc.core.limits import bounded
from virc.core.seeds import derived
from virc.core.text import plain
from virc.data.sample.rollouts import problem_of
from virc.reasoning.marks.special_tokens import without_thoughts
from virc.reasoning.messages import printable
from virc.reasoning.session import Reply
from virc.reasoning.trace import Message
from virc.scoring.answers import extract
from virc.systems import texts
from virc_extras.make.asking import pictures, reply, rollout_of
from virc_extras.make.operator import Made, Means, Row, kept, left_out
from virc_extras.pipelines.speaking import Role
from virc_extras.pipelines.turns import fill

FILE = "teacher.yaml"
"""The steps of a published system, in its folder."""


class TeacherStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a teacher is asked, and which replies are taken.

    Args:
        prompt: with columns in braces.
        role: who is asked, as `--role` names it; None: as the column.
        system: the system message.
        pictures: send the pictures of the row before the prompt.
        temperature: of the first reply and all further ones; at 0 there is one try.
        tries: replies until one is taken.
        thought: keep the thought of the reply, in <think> tags, also if the server separated it; else it is left out.
        schema: of the JSON that the reply is, a fence around it aside; the column gets the value.
        pattern: that all of the reply fits; the column gets its first group, if it has one.
        right: the reply comes to the row's answer, by rule.
        like, words: most words that differ from those of the column `like`.
        reward, reward_from: the least reward of a system for the reply, read in the system's chat protocol.
    """

    prompt: str
    role: str | None = None
    system: str | None = None
    pictures: bool = True
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    max_tokens: Annotated[int, Meta(ge=1)] = 2048
    tries: Annotated[int, Meta(ge=1, le=100)] = 3
    thought: bool = False
    schema: dict[str, Any] | None = None
    pattern: str | None = None
    right: bool = False
    like: str | None = None
    words: Annotated[int, Meta(ge=0)] = 15
    reward: str | None = None
    reward_from: float = 1.0


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    steps: dict[str, TeacherStep]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked: `steps`, or those of `preset`.

    Args:
        steps: column -> step, in their order; a YAML list of operators has room for them.
        preset: a published system that has steps, or a YAML file with some.
    """

    steps: dict[str, TeacherStep] = {}
    preset: str | None = None

    def __post_init__(self) -> None:
        if bool(self.steps) == bool(self.preset):
            raise ValueError("it needs steps, or a preset: preset=vlaa-thinking, or preset=steps.yaml")
        for name, step in steps_of(self).items():
            if step.schema is not None and (fault := bounded.schema_fault(step.schema)):
                raise ValueError(f"the schema of {name} cannot be used: {fault}")
            try:
                re.compile(_whole(step.pattern or ""))
            except re.error as error:
                raise ValueError(f"the pattern of {name} cannot be used: {error}") from None


def roles(options: Options) -> Mapping[str, Role]:
    return {step.role or name: Role() for name, step in steps_of(options).items()}


def requests(options: Options) -> int:
    return sum(map(_tries, steps_of(options).values()))


def steps_of(options: Options) -> Mapping[str, TeacherStep]:
    return _read(options.preset, texts.own_words()) if options.preset else options.steps


@cache
def _read(name: str, own: bool) -> Mapping[str, TeacherStep]:
    of_systems = {file.parent.name.replace("_", "-"): file for file in plugins.in_system_folders(FILE)}
    file = of_systems.get(name, expanded(name))
    if not file.is_file():
        raise UsageError(f"no system and no file has the steps {name!r}", f"systems: {', '.join(of_systems)}")
    content = plain_yaml.read_mapping(file)
    for fault in validation.faults(content, _File):
        raise ConfigError(f"{file}: {fault.message}", fault.hint)
    return msgspec.convert(texts.filled(content, file.parent, own), _File).steps


def run(row: Row, means: Means[Options]) -> Made:
    fields = dict(row.fields)
    for name, step in steps_of(means.options).items():
        role, fault = step.role or name, ""
        images = pictures(means, role, row) if step.pictures else []
        asked = _messages(name, step, {**fields, "question": row.question}, len(images))
        for number in range(_tries(step)):
            seed = derived(means.seed, name, number)
            sampling = Sampling(step.temperature, max_tokens=step.max_tokens, seed=seed)
            drawn = reply(means, role, f"{name} {number}", asked, images, sampling, schema=step.schema)
            fields[name], fault = _taken(step, role, drawn, row, fields, means)
            if not fault:
                break
        else:
            said = f"no reply of {_tries(step)} was taken; the last: {plain(drawn.text, 200)}"
            return left_out(f"{name}: {fault}", said)
    return kept(fields)


def _tries(step: TeacherStep) -> int:
    return step.tries if step.temperature else 1


def _messages(name: str, step: TeacherStep, fields: Mapping[str, Any], images: int) -> list[Message]:
    names = re.findall(r"\{(\w+)\}", step.prompt)
    if lacking := [each for each in names if each not in fields]:
        sentence = f"the prompt of {name} names {{{lacking[0]}}}, and the row has no such column"
        raise ConfigError(sentence, f"it has: {', '.join(fields)}")
    values = {each: _text(fields[each]) for each in names}
    user = Message("user", printable(fill(step.prompt, **values)), tuple(range(images)))
    return [Message("system", step.system), user] if step.system else [user]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _taken(
    step: TeacherStep, role: str, reply: Reply, row: Row, fields: Mapping[str, Any], means: Means[Options]
) -> tuple[Any, str]:
    """Return the value of a reply, and why it is not taken, which is empty if it is."""
    text = without_thoughts(reply.text).strip()
    if step.thought:
        text = f"<think>{reply.thought}</think>\n{text}" if reply.thought else reply.text.strip()
    value, fault = _formed(step, text)
    if reply.finish == "length":
        fault = "cut"
    elif not text:  # what a server sends that refuses
        fault = "empty"
    elif not fault and step.right and not _is_right(row, text):
        fault = "another answer"
    elif not fault and step.like is not None and _changed(_text(fields.get(step.like)), _text(value)) > step.words:
        fault = "too many words changed"
    elif not fault and step.reward is not None:
        problem, rollout = problem_of(row), rollout_of(means, role, row, text, step.reward)
        if means.reward(step.reward, role, problem, rollout) < step.reward_from:
            fault = f"a small reward of {step.reward}"
    return value, fault


def _formed(step: TeacherStep, text: str) -> tuple[Any, str]:
    value: Any = text
    if step.schema is not None:
        try:
            value = json.loads(text.removeprefix("```json").removeprefix("```").removesuffix("```"))
        except (ValueError, RecursionError):
            return None, "no JSON"
        if bounded.misfit(step.schema, value):
            return None, "JSON that does not fit"
    if step.pattern is not None:
        found = bounded.SCHEMAS.ask("find", bounded.SECONDS, _whole(step.pattern), text)
        if not found:
            return None, "another form"
        value = found[1] if len(found) > 1 else value
    return value, ""


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\Z"


def _is_right(row: Row, text: str) -> bool:
    problem = problem_of(row)
    answer = extract(text, problem.key.choices)
    return answer is not None and problem.accepts(answer)


def _changed(before: str, after: str) -> int:
    one, other = before.split(), after.split()
    changes = difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in changes if kind != "equal")
