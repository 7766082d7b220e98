"""A term that a judge gives: a question in a reward file, and how the reply to it is read.

    from virc.rewards.question import Question, grade, yes_no

    faithful = Question("{image} Does it show what this says? {thought}\\nReply yes or no.", yes_no)
    TERMS = ("answer", "faithful")

Questions go through `judging.Judge`: at most so many at once, kept on disk, and waiting where the judge is away. A
judge that answers and gives no value in any try is worth 0.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from virc.backends.interface import Sampling
from virc.config import yaml as plain_yaml
from virc.core.json_stream import one_line
from virc.core.limits import bounded
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Message
from virc.rewards import pictures
from virc.rewards.context import JUDGE, RewardContext, UnscoredError
from virc.rewards.judging import MAX_TEXT, Verdict
from virc.rewards.sample import Prompt, Sample
from virc.systems import texts as published_texts

Reading = Callable[[str], float | None]
"""What is read in a judge's reply; None where there is nothing to read, so that it is asked again."""

_F = TypeVar("_F", bound=Callable[..., Any])
_PLACE = re.compile(r"(?<!boxed)\{(\{[^{}]*\}|[A-Za-z_][\w.-]*)\}")
_ROW = "row."
_TEXTS: Mapping[str, Callable[[Sample], str]] = {
    "question": lambda sample: sample.prompt.question,
    "reference": lambda sample: _reference(sample.prompt),
    "answer": lambda sample: sample.answer or "",
    "reply": lambda sample: sample.text,
    "thought": lambda sample: sample.turn.think if sample.turn else "",
    "thoughts": lambda sample: " ".join(sample.prompt.thoughts),
}
_NUMBERED = re.compile(r"image_(\d{1,3})")
_IMAGES = ("image", "images", "crops", "result")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w.]*\d)")
_SCALE = re.compile(r"(?:/|\b(?:out )?of\b)\s{0,3}\d{1,9}(?:\.\d{1,9})?")
_RANGE = re.compile(r"\d{1,9}(?:\.\d{1,9})?\s{0,3}(?:-|–|to)\s{0,3}\d{1,9}(?:\.\d{1,9})?")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What may be raised by what a judge says."""


def _reference(prompt: Prompt) -> str:
    return prompt.key.reference if prompt.columns.get("answers") else prompt.record.answer or ""


class Question(msgspec.Struct, frozen=True):
    """One question to a judge, as a term of the reward file that has it.

    Args:
        text: the message. In braces: `question`, `reference` (the row's answer), `answer`, `reply`, `thought` (of this
            reply), `thoughts` (of those before), `row.COLUMN`, and pictures, in any order: `image` (the first of the
            question), `image_1` (by its number in the conversation, from 0), `images` (all of the question), `crops`
            (all that tools made before, if any), `result` (what the reply's call leads to). Braces that are meant as
            such are doubled, but behind `\\\\boxed` and around JSON.
        read: how the reply is read: `yes_no`, `grade`, `choice`, `field`, or a function of your own.
        about: what it is, one line.
        system: a message before it.
        judge: which judge is asked: `judge`, or a name of `reward.judges`.
        of: the replies that it is about; None: answers where `{answer}` is in it, calls where `{result}` is, else all.
        temperature, max_tokens: of the judge's reply.
        tries: how often it is asked until a value is read; at temperature 0 a judge says the same each time.
        file: the YAML file of a published system, in whose place `text` and `system` have our own words.

    Raises:
        ValueError: a name in braces is not known.
    """

    text: str
    read: Reading
    about: str = "what a judge says"
    system: str = ""
    judge: str = JUDGE
    of: Literal["answer", "tool", "any"] | None = None
    temperature: float = 0.0
    max_tokens: int = 1024
    tries: int = 1
    file: Path | None = None

    def __post_init__(self) -> None:
        for name in self.places:
            if not (name in _TEXTS or name in _IMAGES or _NUMBERED.fullmatch(name) or name.startswith(_ROW)):
                known = ", ".join((*_TEXTS, "row.COLUMN", *_IMAGES, "image_1"))
                raise ValueError(
                    f"{{{name}}} is no place in a question; places are {known}; braces are {{{{doubled}}}}"
                )

    @property
    def places(self) -> list[str]:
        return [name for name in _PLACE.findall(self.text) if not name.startswith("{")]

    def is_about(self, sample: Sample) -> bool:
        of = self.of or ("answer" if "answer" in self.places else "tool" if "result" in self.places else "any")
        return sample.turn is not None and of in ("any", sample.kind)

    async def score(self, sample: Sample, context: RewardContext, name: str) -> float | None:
        if not self.is_about(sample):
            return None
        found = await self.asked(sample, context, name)
        sample.why[name] = found.why
        return found.value

    @property
    def name(self) -> str:
        """The key under which a run saves the text of a published system's question; empty for other questions."""
        return f"{self.file.parent.name}/{self.file.name}" if self.file else ""

    def said(self, kept: Mapping[str, tuple[str, str]] = {}) -> tuple[str, str]:
        if self.file is None:
            return self.text, self.system
        if self.name in kept:
            return kept[self.name]
        content = _content(self.file)
        text, system = (str(content.get(key, "")) for key in ("text", "system"))
        return published_texts.filled(text, self.file.parent), published_texts.filled(system, self.file.parent)

    async def asked(self, sample: Sample, context: RewardContext, name: str, **texts: str) -> Verdict:
        """What the judge says, whatever kind of reply it is; for terms that are functions, marked by `asks`.

        Args:
            name: what it is asked for.
            texts: what stands in places of these names, in place of what usually does.

        Raises:
            UnscoredError: as `score` does; and as `Judge.verdict` does.
        """
        if self.file:
            context.asked(self.judge)  # a lacking judge is said before lacking texts
        text, system = self.said(context.said)
        message, images = _filled(text, sample, texts)
        said = (Message("system", system), message) if system else (message,)
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_tokens)
        return await context.asked(self.judge).verdict(name, Ask(said, images), sampling, self.tries, self.read)


def _filled(template: str, sample: Sample, given: Mapping[str, str]) -> tuple[Message, list[Shown]]:
    text, at, images = "", list[int](), list[Shown]()
    for number, part in enumerate(_PLACE.split(template)):
        if number % 2 == 0 or part.startswith("{"):
            text += part
        elif part in given or part.startswith(_ROW) or part in _TEXTS:
            text += (given[part] if part in given else _text(sample, part))[:MAX_TEXT]
        else:
            found = _images(sample, part)
            at += [len(text)] * len(found)
            images += found
    return Message("user", text, tuple(range(len(images))), at=tuple(at)), images


@cache
def _content(file: Path) -> dict[str, Any]:
    """A file of a published system, which is read for each question that is asked."""
    return plain_yaml.read_mapping(file)


def published(file: Path, read: Reading, tries: int = 1) -> Question:
    own = published_texts.filled(plain_yaml.read_mapping(file), file.parent, own=True)
    return Question(**own, read=read, tries=tries, file=file)  # type: ignore[arg-type]


class Asks(msgspec.Struct, frozen=True):
    """Which judge a term asks, and what.

    Args:
        needed: False: without a judge the term decides in another way.
        others: questions that it asks for other rows.
    """

    judge: str = JUDGE
    question: Question | None = None
    needed: bool = True
    others: tuple[Question, ...] = ()


def asks(of: Question | str = JUDGE, *others: Question, needed: bool = True) -> Callable[[_F], _F]:
    """Mark a term that is a function and asks a judge: one or more questions, or the judge of that name.

    A run can then check before it starts that the judge is named and answers and that the texts of its questions are
    here; it saves the texts of marked questions.
    """
    asked = Asks(of.judge, of, needed, others) if isinstance(of, Question) else Asks(of, None, needed)

    def marked(function: _F) -> _F:
        function.asks = asked  # type: ignore[attr-defined]
        return function

    return marked


def yes_no(reply: str) -> float | None:
    r"""1 for yes and 0 for no: the word in the last \boxed{}, else the first word of the reply, or the last.

    Where the first and the last word are both, and say different things, nothing is read.
    """
    return choice({"yes": 1.0, "no": 0.0})(reply)


def choice(values: Mapping[str, float]) -> Reading:
    r"""The value of the label that a reply gives: in the last \boxed{}, else as its first word, or its last one.

    Letter case, and marks around the label, do not count. Where both words are labels, and not the same, nothing is
    read.
    """
    known = {label.casefold(): value for label, value in values.items()}

    def read(reply: str) -> float | None:
        text = _TEXT.sub(r"\1", reply)
        words = _BOXED.findall(text)[-1:] or [*text.split()[:1], *text.split()[-1:]]
        labels = [word.strip().strip("*_`.,:;!\"'()[]").casefold() for word in words]
        found = {known[label] for label in labels if label in known}
        return found.pop() if len(found) == 1 else None

    return read


def grade(least: float, most: float) -> Reading:
    r"""A number from `least` to `most` as a share of that range, 0 to 1.

    The number in the last \boxed{}, else the only one of the reply, else the only one of its last line. `4/5`, `4 of 5`
    and `4 out of 5` are 4, and a range such as `1-5` is no number.
    """
    if not least < most:
        raise ValueError(f"a grade from {least} to {most} has no range")

    def read(reply: str) -> float | None:
        boxed = _BOXED.findall(reply)
        for text in boxed[-1:] or (reply, *reply.strip().splitlines()[-1:]):
            found = _NUMBER.findall(_SCALE.sub("", _RANGE.sub("", text)))
            if len(found) == 1:
                value = float(found[0])
                return (value - least) / (most - least) if least <= value <= most else None
        return None

    return read


def field(schema: Mapping[str, Any], value: Callable[[Any], float] | str) -> Reading:
    """A value of the JSON object in a reply that fits a JSON schema.

    Args:
        schema: of the object, as JSON Schema 2020-12.
        value: the name of its number or truth value, or a function of the object.

    Raises:
        ValueError: it is no JSON schema, or one that takes too long.
    """
    if fault := bounded.schema_fault(schema):
        raise ValueError(f"this is no JSON schema: {fault}")

    def read(reply: str) -> float | None:
        found = _OBJECT.search(reply)
        try:
            content = json.loads(found[0]) if found else None
            if content is None or bounded.misfit(schema, content):
                return None
            number = float(content[value] if isinstance(value, str) else value(content))
        except (*_UNREADABLE, bounded.CostlyError):
            return None
        return number if math.isfinite(number) else None

    return read


def _text(sample: Sample, place: str) -> str:
    return _column(sample, place) if place.startswith(_ROW) else _TEXTS[place](sample)


def _column(sample: Sample, place: str) -> str:
    name = place.removeprefix(_ROW)
    if name not in sample.prompt.columns:
        raise UnscoredError(f"needs the column {name}")
    value = sample.prompt.columns[name]
    return value if isinstance(value, str) else one_line(value)


def _images(sample: Sample, place: str) -> list[Shown]:
    prompt = sample.prompt
    if place == "result":
        try:
            return [pictures.result(sample.call, prompt)] if sample.call else []
        except ValueError as error:
            raise UnscoredError(f"needs an image that its call leads to: {error}") from None
    count, given = len(prompt.images), prompt.view.given
    numbers = {"image": range(min(1, given)), "images": range(given), "crops": range(given, count)}
    chosen = numbers[place] if place in numbers else [int(place.removeprefix("image_"))]
    if chosen and chosen[-1] >= count:
        raise UnscoredError(f"needs image {chosen[-1]}, and the conversation has {count}")
    if not chosen and place != "crops":
        raise UnscoredError("needs an image, and the question has none")
    return [pictures.as_shown(prompt, number) for number in chosen]
