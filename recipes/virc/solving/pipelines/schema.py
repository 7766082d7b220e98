"""What `pipeline:` holds: roles, functions of code, and the steps that ask and run them."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from virc.config.user import Text, Url
from virc.reasoning.protocol import Coordinates

QUESTION, IMAGES = "question", "images"
"""Values that every pipeline starts with: the text, and the problem's images."""
CANDIDATE = "candidate"
"""In the prompt of `best_of`: the text that is graded."""

INSTEAD: Mapping[str, str] = {
    "samples": "`samples: N` to a step, and a step `vote: NAME` behind it",
    "strategy": "steps that do the same: `samples: N` with `vote: NAME` or `best_of: NAME`, or `repeat`",
    "temperature": "`temperature` to a role",
    "max_tokens": "`max_tokens` to a role",
}
"""Setting of one model -> what a pipeline has in its place."""

MOST_ROUNDS = 100
MOST_CALLS = 1000
SESSION = "session "
"""Before the name of a session, as a value that its steps hand to each other."""
PLACEHOLDER = re.compile(r"\{(\w*)\}")  # as `virc.config.placeholders.filled` reads them

if TYPE_CHECKING:
    from virc.solving.pipelines.values import Value

KINDS = ("ask", "vote", "find", "text", "run", "code", "boxes", "crop", "repeat")
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


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What code of a step may call by its name; it has either `ask` and `prompt`, or `tool`.

    Args:
        ask: the role that gets `prompt`.
        prompt: what the role is sent. Each `{NAME}` is a parameter, in the order in which they stand there first: a
            picture, or several, is shown at its place, everything else is filled in as text.
        tool: a tool of this package, or one's own, by its name or file. Its parameters are `image` where it is about
            one, and those of its schema.
        gives: what the code gets: the reply as a text, or as the JSON in it, or the list of a tool's images.
        optional: a tool that is not here is an error of the code that calls it, not of the pipeline.
    """

    ask: Named | None = None
    prompt: str | None = None
    tool: Text | None = None
    gives: Literal["text", "json", "images"] = "text"
    optional: bool = False

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The parameters of one that asks a role, in their order."""
        return tuple(dict.fromkeys(PLACEHOLDER.findall(self.prompt or "")))


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a value holds a match of a regular expression.

    Args:
        value: name of an earlier step.
        matches: the regular expression, searched for anywhere in the value; case counts.
    """

    value: Named
    matches: str

    def holds(self, values: Mapping[str, "Value"]) -> bool:
        """Whether any text of the value matches; a step that was skipped has no text."""
        return any(re.search(self.matches, text) for text in values[self.value].texts)


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step; it has exactly one of `ask`, `vote`, `find`, `text`, `run`, `code`, `boxes`, `crop` and `repeat`.

    Args:
        name: name of its output; not with `repeat`.
        ask: the role that gets `prompt`.
        prompt: what the role is sent; `{NAME}` is replaced by the output of an earlier step, or by the question. In a
            loop, the name of a later step stands for its output in the round before; in the first it is empty.
        images: the pictures that the role is shown, or that the code gets as `image_0`, `image_1` …: true for those of
            the problem, or the name of a value, or several in the order in which they are shown. They stand before the
            prompt, or where it names a value that holds pictures alone.
        after: an earlier step that asked the same role, in whose conversation the role is asked, behind its reply. A
            step that names itself goes on with its conversation of the round before.
        samples: how many replies are drawn at the same time, with seeds that differ; the output is their list.
        best_of: an earlier step, each text of which the role grades, `{candidate}` in the prompt. The output is the
            text with the highest grade; one whose grade cannot be read is never taken before one that has a grade.
        score: regular expression for the grade in a reply, whose one group is the number; None: as `grades.read_score`.
        vote: an earlier step; the output is its most frequent text, the first of those where several are. Texts that
            scoring finds equal are one.
        find: an earlier step and a regular expression; the output is what the first match holds in its first group, or
            all of it where it has no group. It is empty where nothing matches.
        text: a text with `{NAME}` in it, as `prompt`; the output is that text. A step that names itself adds to its
            output of the round before.
        run: an earlier step, whose text is Python code, also in a Markdown block; it runs in a sandbox. The output is
            what it prints, and its error; and the images that it saves or shows.
        code: Python code of the file, run in the same way; the output is what it prints, exactly, and its error ends
            the problem.
        given: values that the code has as texts, in variables of their names.
        functions: those of the pipeline that the code may call.
        calls: how often, all of them together.
        session: steps that name the same session run in one interpreter, in the order of the file, also over the rounds
            of a loop: what one defines, the next ones have.
        seconds: after which the code is ended, without the time that roles and tools take.
        boxes: an earlier step that asked a role; the output are the boxes in its texts.
        unit: what those boxes are counted in: pixels of the picture as that role was shown it (`pixel`) or of its file
            (`original`), thousandths (`permille`, to 999; `thousand`, to 1000), or fractions (`unit`).
        image: which of the pictures that the role was shown the boxes are about, from 0.
        crop: a step with boxes; the output are the parts of the picture in them, in pixels of its file.
        margin: what is added to each side of a box before it is cut, in parts of the box's side.
        repeat: steps that run again until `until` holds, at most `rounds` times.
        when: run the step only where this holds; the output is empty otherwise.
    """

    name: Named | None = None
    ask: Named | None = None
    prompt: str | None = None
    images: bool | str | tuple[str, ...] = False  # a pattern inside such a union is freed twice by msgspec 0.22
    after: Named | None = None
    samples: Count = 1
    best_of: Named | None = None
    score: str | None = None
    vote: Named | None = None
    find: Condition | None = None
    text: str | None = None
    run: Named | None = None
    code: str | None = None
    given: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    calls: Annotated[int, Meta(ge=1, le=MOST_CALLS)] = 32
    session: Named | None = None
    seconds: Annotated[float, Meta(gt=0, le=3600)] = 20
    boxes: Named | None = None
    unit: Coordinates | None = None
    image: Annotated[int, Meta(ge=0)] = 0
    crop: Named | None = None
    margin: Annotated[float, Meta(ge=0, le=10)] = 0.0
    repeat: tuple["Step", ...] = ()
    until: Condition | None = None
    rounds: Count | None = None
    when: Condition | None = None

    @property
    def kinds(self) -> list[str]:
        """Of what kinds it is; one where it is as it should be."""
        return [kind for kind in KINDS if getattr(self, kind)]

    @property
    def kind(self) -> str:
        """What it does: the name of the field."""
        return next(iter(self.kinds), "")

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the values whose pictures it uses."""
        if isinstance(self.images, bool):
            return (IMAGES,) if self.images else ()
        return (self.images,) if isinstance(self.images, str) else self.images

    @property
    def outputs(self) -> list[str]:
        """Names of the values that it gives."""
        own = [self.name] if self.name else []
        session = [SESSION + self.session] if self.session else []
        return [*own, *session, *dict.fromkeys(name for inner in self.repeat for name in inner.outputs)]

    @property
    def inputs(self) -> set[str]:
        """Names of the values that it uses."""
        conditions = {condition.value for condition in (self.when, self.until, self.find) if condition}
        lists = {name for name in (self.after, self.vote, self.run, self.best_of, self.boxes, self.crop) if name}
        return (
            conditions
            | lists
            | {*self.placeholders, *self.pictures, *self.given}
            | ({SESSION + self.session} if self.session else set())
            | {name for inner in self.repeat for name in inner.inputs}
        )

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
    """Roles and steps; `answer` names the step whose output is the reply, and `functions` are what code may call."""

    roles: dict[Named, Role]
    steps: tuple[Step, ...]
    answer: Named
    functions: dict[Named, Function] = {}

    @property
    def asking(self) -> list[Step]:
        """Every step that asks a role, in the order of the file."""
        return [part for step in self.steps for part in step.parts if part.ask]

    @property
    def running(self) -> list[Step]:
        """Every step that runs code, in the order of the file."""
        return [part for step in self.steps for part in step.parts if part.run or part.code]
