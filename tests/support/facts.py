"""What the authors of a system published, as `facts.json` beside its YAML has it, against what this package does.

`tests/facts/make.py` makes the file from their repository: of a text its length and a digest, of a script and of the
defaults of its trainer the values, of a rule for boxes what it made of some. Where ours differs, the file has the
reason and what stands here in its place, so that no further change hides behind a reason.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from PIL import Image

from virc.core.files import DATA
from virc.core.plan import Change
from virc.engines import registry as engines
from virc.models.chat_protocol import of_system
from virc.reasoning.session import Ask, Reply, Session
from virc.stages import resolve as stages
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.catalog.facts import file_of
from virc.systems.layouts.layout import Part
from virc.systems.registry import System
from virc.tools.registry import known

QUESTION = "QUESTION"
"""What is asked where a text has the question in it."""
_DIGITS = 16
_SIZE = (560, 420)
SIDES = 2
_OF_COLUMNS = ("question", "answer", "images", "id", "boxes", "choices", "answers", "messages", "chosen", "rejected")
_NO_REASON = "as by default"


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A text that a model is sent.

    Args:
        source: the file that it stands in.
        length: in characters.
        digest: of its UTF-8.
        replies: of the model, written for this file, behind which it is sent.
        why, ours: where ours differs, the reason, and its digest.
    """

    source: str
    length: int
    digest: str
    replies: tuple[str, ...] = ()
    why: str | None = None
    ours: str | None = None


class Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Digests of the texts that end a reply, or the columns of rows; `why` and `ours` as of a text."""

    source: str
    values: tuple[str, ...]
    why: str | None = None
    ours: tuple[str, ...] | None = None


class Box(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a call makes of a picture.

    Args:
        size: of the picture's file.
        reply: that calls for a crop, in the grammar of the system.
        cut: the pixels of the file that are cut out or drawn on, or the two sides that the crop is shown with; None: it
            is refused.
        ours: where it differs.
    """

    size: tuple[int, int]
    reply: str
    cut: tuple[int, ...] | None
    ours: tuple[int, ...] | msgspec.UnsetType | None = msgspec.UNSET


class Boxes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the published function made of boxes; `why`: why some are cut or refused in another way here."""

    source: str
    cases: tuple[Box, ...]
    why: str | None = None


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value of a script, or what its trainer does by default.

    Args:
        source: the file.
        value: as it stands there.
        key: what it is called by our engine, or `config.NAME` for a setting; None: nothing here does that.
        means: the value as our engine would have it, where that is written in another way.
        alike: what is learnt is the same, for the reason that stands there.
        why, ours: as of a text.
    """

    source: str
    value: Any
    key: str | None = None
    means: Any = None
    alike: bool = False
    why: str | None = None
    ours: Any = None


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What was published of a system.

    Args:
        source: OWNER/NAME@COMMIT.
        texts: by name, as of `Spoken.text`.
        stop: the texts that end a reply.
        boxes: of its rule for boxes.
        rows: layout -> the columns that its program reads.
        stages: stage -> key of the script or of the trainer -> its value. `frozen`: parts of the model.
        notes: what was measured beside, such as how many rewards differ.
    """

    source: str
    texts: Mapping[str, Text] = {}
    stop: Values | None = None
    boxes: Boxes | None = None
    rows: Mapping[str, Values] = {}
    stages: Mapping[str, Mapping[str, Value]] = {}
    notes: tuple[str, ...] = ()


FILES = {name: found for name, file in systems.discover().files.items() if (found := file_of(file)).is_file()}


@cache
def read(name: str) -> Facts:
    """The facts of a system."""
    return msgspec.json.decode(FILES[name].read_bytes(), type=Facts)


def digest(text: str) -> str:
    """Of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


class Trained:
    """A stage of a system, as its engine gets it."""

    def __init__(self, system: System, stage: str) -> None:
        resolved = stages.resolve(system, stage)
        self.config = resolved.config
        self._kind = resolved.kind
        self._changes = self._against(engines.of_kind(self._kind).keys.accepted)

    def _against(self, keys: Iterable[str]) -> dict[str, Change]:
        """How the engine's values differ from such as are equal to none."""
        changes = engines.changes(self._kind, self.config, dict.fromkeys(keys, object()), {}, DATA)
        return {each.key: each for each in changes}

    def value(self, key: str | None) -> Any:
        """The value that a key has in the engine, which is its default where the stage does not set it."""
        if key == "frozen":
            return sorted(self.config.frozen if hasattr(self.config, "frozen") else self.config.frozen_modules)
        if key and key.startswith("config."):
            return msgspec.to_builtins(getattr(self.config, key.removeprefix("config.")))
        found = self._changes.get(key or "")
        return found.ours if found else None

    def reason(self, key: str) -> str | None:
        """Why the engine gets another value than any published one, as its table of keys says it."""
        why = self._against([key])[key].why
        return None if why == _NO_REASON else why


class Spoken:
    """How a system speaks to a model."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.protocol = of_system(system).protocol

    def session(self, size: tuple[int, int] = _SIZE, replies: Sequence[str] = ()) -> Session:
        """A conversation about a picture of that size, after these replies."""
        talk = Session(self.protocol, QUESTION, [Image.new("L", size)], tools=known(), max_turns=12)
        for reply in replies:
            talk.next()
            talk.feed(Reply(reply))
        return talk

    def text(self, name: str, replies: Sequence[str] = ()) -> str:
        """The system message, the first one, or what the model is told after these replies; `<image>` for pictures."""
        ask = self.session(replies=replies).next()
        messages = ask.messages if isinstance(ask, Ask) else ask.trace.messages
        if not replies:
            messages = [each for each in messages if (each.role == "system") == (name == "system")]
        return "".join(part if isinstance(part, str) else "<image>" for each in messages[-1:] for part in each.parts())

    def stops(self) -> tuple[str, ...]:
        """Digests of the texts that end a reply."""
        ask = self.session().next()
        assert isinstance(ask, Ask)
        return tuple(sorted(map(digest, ask.stop)))

    def columns(self, layout: str) -> tuple[str, ...]:
        """The columns that rows of a layout are read from."""
        written = self.system.rows[layout]
        named = (text for name in _OF_COLUMNS for text in _columns(getattr(written, name)))
        return tuple(sorted({text.partition(".")[0] for text in named}))

    def cut(self, case: Box) -> tuple[int, ...] | None:
        """What the reply of a case cuts out, as the case says it; None where it is refused."""
        talk = self.session(case.size, [case.reply])
        if len(talk.images) == 1:
            return None
        made, record = talk.images[1], talk.trace().images[1]
        region = made.pixels.getbbox() or record.region or record.box
        return tuple(map(round, region)) if region and len(case.cut or region) > SIDES else made.size


def _columns(value: Any) -> Iterator[str]:
    """The names of columns in a part of a layout."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Part):
        yield from _columns(value.column)
        yield from value.columns
        yield from re.findall(r"\{([^{}:]+)", value.text or "")
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _columns(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _columns(each)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in JSON; 1 is 1.0, and no list is `none`."""
    one, other = (msgspec.json.decode(msgspec.json.encode(each)) for each in (one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other or ({str(one).lower(), str(other).lower()} <= {"none", "[]", "null"})


def differing(system: System, facts: Facts) -> Iterator[str]:
    """What of a system is not as published, nor as the reason beside a fact says."""
    spoken = Spoken(system)
    for name, text in () if texts.is_own_wording(system.file.parent) else facts.texts.items():
        yield from _fault(f"text {name}", text.digest, digest(spoken.text(name, text.replies)), text)
    stop = facts.stop or Values(facts.source, ())
    yield from _fault("stop", stop.values, spoken.stops(), stop)
    for name, columns in facts.rows.items():
        yield from _fault(f"rows {name}", columns.values, spoken.columns(name), columns)
    for stage, values in facts.stages.items():
        trained = Trained(system, stage)
        for key, value in values.items():
            meant = value.value if value.means is None else value.means
            yield from _fault(f"{stage} {key}", meant, trained.value(value.key), value)
    for at, case in enumerate(facts.boxes.cases if facts.boxes else ()):
        meant = case.cut if case.ours is msgspec.UNSET else case.ours
        if (here := spoken.cut(case)) != meant:
            yield f"box {at}: {meant} of {case.size}, and here {here}"
    if facts.boxes and not facts.boxes.why and any(case.ours is not msgspec.UNSET for case in facts.boxes.cases):
        yield "boxes: some are cut in another way, without a reason"


def _fault(name: str, published: Any, here: Any, fact: Text | Values | Value) -> Iterator[str]:
    if same(published, here):
        if fact.why:
            yield f"{name}: it differs no longer"
    elif fact.why is None:
        yield f"{name}: {published} in {fact.source}, and here {here}, without a reason"
    elif not same(fact.ours, here):
        yield f"{name}: {fact.ours} by the reason that it has, and here {here}"
