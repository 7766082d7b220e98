"""The rewards of published programs on recorded cases, held against ours.

`tests/zoo/cases/SYSTEM.json`, or `SYSTEM-STAGE.json`, says what the reward function of a system gave when it was run:
of each case the question, what the model and its tools wrote (`turns`, replies and results by turns), what the judge
said, and the reward of each rollout. Cases on which ours differ are listed there by their numbers, with the reason.
"""

import asyncio
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from PIL import Image
from support import sandboxed, zoo

from virc.backends.tokenizer import tokenizer
from virc.core.limits import bounded
from virc.data.rows.record import MARK, Message, Picture, Record, content_of
from virc.models import chat_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning import history
from virc.reasoning.encoded import as_jpeg
from virc.reasoning.history import show_input
from virc.reasoning.media import give_media
from virc.reasoning.protocol import Coordinates, Protocol
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Ask, Done, Rejected, Reply, Session
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.judging import Judge
from virc.rewards.registry import Scored, Total
from virc.rewards.rollouts import Rollout
from virc.rewards.sample import Prompt, sample
from virc.scoring.symbolic import Symbolic
from virc.stages.resolve import resolve
from virc.stages.rl import Config
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.registry import System
from virc.tools.registry import known
from virc_extras.video import parts, worker
from virc_extras.video.sampling import times_within
from virc_extras.video.worker import Facts, Wish
from virc_extras.video.worker import Picture as Frame

FILES = {file.stem: file for file in sorted(zoo.CASES.glob("*.json"))}
"""The files of recorded cases, by the names of their systems and what they are of."""
_GREY = 90
_QUESTION: ContextVar[str] = ContextVar("_QUESTION")


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rollout as the published program saw it.

    Args:
        turns: the first reply, what was shown for it, the next reply, and so on; MARK stands for an image.
        said: question to a judge -> its replies, one a try.
        asked: the digest of what the judge was asked, where that is the published question.
        reward: what it was worth, within its group; the name of the exception where the program raised, which counts
            as 0; None where it took the rollout out.
    """

    turns: Sequence[str]
    reward: float | str | None
    said: Mapping[str, Sequence[str]] = {}
    asked: str | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rollouts to one prompt.

    Args:
        question, answer: of the row.
        rollouts: of one group.
        sizes: width and height in px of the files of the images.
        turned: the EXIF value of each, 0 for none.
        coordinates: what boxes mean, where the protocol does not say.
        columns: the other fields of the row.
    """

    rollouts: Sequence[Published]
    question: str = "How long is AB?"
    answer: str = "5"
    sizes: Sequence[tuple[int, int]] = ((280, 196),)
    turned: Sequence[int] = (0,)
    coordinates: Coordinates = "pixel"
    columns: Mapping[str, Any] = {}


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of recorded cases.

    Args:
        system, stage: whose reward it is; a system without stages has one all the same.
        source: the repository, its commit and the file with the function.
        terms: the terms of our total, each with the least and the most that it can be.
        differences: why ours differs -> the numbers of the cases.
        columns: fields that the rows of all cases have.
        pages: name -> text of the pages that the tool `search` finds.
    """

    system: str
    source: str
    terms: Mapping[str, tuple[float, float]]
    differences: Mapping[str, Sequence[int]]
    cases: Sequence[Case]
    stage: str | None = None
    columns: Mapping[str, Any] = {}
    pages: Mapping[str, str] = {}

    @property
    def listed(self) -> set[int]:
        """The numbers of the cases on which ours are known to differ."""
        return {number for numbers in self.differences.values() for number in numbers}


class Compared(msgspec.Struct, frozen=True):
    """What came of the cases of a file.

    Args:
        file: it.
        differing: number of a case on which ours differ -> our rewards and theirs, or what else differs.
        values: term -> its values.
    """

    file: File
    differing: Mapping[int, str]
    values: Mapping[str, Sequence[float]]


class _Scripted(Judge):
    """A judge that says what was recorded; its questions and how its replies are read are those of every judge."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9/v1")
        self.said: Mapping[str, Sequence[str]] = {}
        self.asked = set[str]()

    async def verdict(self, name: str, *arguments: Any, **further: Any) -> Any:
        _QUESTION.set(name)
        return await super().verdict(name, *arguments, **further)

    async def similarity(self, name: str, *arguments: Any) -> Any:
        _QUESTION.set(name)
        return await super().similarity(name, *arguments)

    async def _reply(self, ask: Ask, sampling: Any, number: int) -> str:
        self.asked.add(digest([message.text for message in ask.messages]))
        return self.said[_QUESTION.get()][number]


class _Ours(msgspec.Struct, frozen=True):
    """Our reward of a system, and what it needs."""

    config: Config
    total: Total
    protocol: Protocol
    judge: _Scripted
    algebra: Symbolic
    folder: Path

    @property
    def context(self) -> RewardContext:
        judges = dict.fromkeys(self.config.reward.judges, self.judge)
        return RewardContext(self.judge, self.algebra, _ids, judges)


def _ids(text: str) -> list[int]:
    """The ids of the tokens of a text in the tokenizer of `tiny`, as recorded cases have them."""
    found: list[int] = tokenizer(EMBEDDED_FOLDER).encode(text, add_special_tokens=False).ids
    return found


def digest(messages: Sequence[str]) -> str:
    """Of the messages to a judge."""
    return sha256("\0".join(messages).encode()).hexdigest()[:12]


@cache
def read(name: str) -> File:
    """A file of recorded cases."""
    file = FILES[name]
    system = json.loads(file.read_bytes())["system"]
    return msgspec.convert(zoo.json_of(file, system), File)


@cache
def _algebra() -> Symbolic:
    """One for all files: its process takes a second to start, and ends with this one."""
    return Symbolic()


@cache
def compare(name: str) -> Compared:
    """Count the rewards of the cases of a file again, with ours."""
    file = read(name)
    with ExitStack() as stack:
        if file.pages:
            stack.enter_context(_searched(file.pages))
        stack.enter_context(_quick())
        return _counted(file)


def differs(name: str, case: Case) -> str | None:
    """How our reward of a further case differs; None where it does not."""
    with _quick():
        return _counted(msgspec.structs.replace(read(name), cases=[case], differences={})).differing.get(0)


@contextmanager
def _searched(pages: Mapping[str, str]) -> Iterator[None]:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        for page, text in pages.items():
            Image.new("RGB", (56, 56)).save(Path(folder, f"{page}.jpg"))
            Path(folder, f"{page}.txt").write_text(text)
        environment.setenv("VIRC_PAGES", folder)
        yield


@contextmanager
def _quick() -> Iterator[None]:
    """Resample no picture, and hold the same arguments against the same schema once."""
    known: dict[str, str | None] = {}
    misfit = bounded.misfit

    def remembered(schema: Mapping[str, Any], value: object) -> str | None:
        key = repr((schema, value))
        if key not in known:
            known[key] = misfit(schema, value)
        return known[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(history, "resampled", lambda image, size: Image.new("RGB", size))
        patched.setattr(bounded, "misfit", remembered)
        patched.setattr(worker.Reader, "pictures", _grey)
        patched.setattr(parts, "digest_of_beginning", lambda path: "")
        yield


def _grey(reader: object, kind: str, source: object, name: str, wish: Wish, check: object) -> tuple[Facts, list[Frame]]:
    """Frames of any clip, all of them grey; it has one each 1/30 s for a minute."""
    if wish.times:
        return Facts(60.0, times=tuple(number / 30 for number in range(1800))), []
    data = as_jpeg(Image.new("RGB", (64, 36), (_GREY,) * 3)).data
    times = wish.at or (times_within(wish.span, 60, wish.frames or 1) if wish.span else ())
    return Facts(), [Frame(len(data), seconds, data=data) for seconds in times]


def _counted(file: File) -> Compared:
    system = systems.get(file.system)
    config = resolve(system, file.stage).config if file.stage else _of_benchmark(system)
    total = rewards.of(config.reward, system.file.parent)
    ours = _Ours(config, total, chat_protocol.of_system(system), _Scripted(), _algebra(), system.file.parent)
    differing, values = dict[int, str](), dict[str, list[float]]()
    with asyncio.Runner() as runner, sandboxed.each_program_once():
        for number, case in enumerate(file.cases):
            whole = msgspec.structs.replace(case, columns={**file.columns, **case.columns})
            faults, scored = runner.run(_compared(whole, ours))
            if faults:
                differing[number] = "; ".join(faults)
            for term, value in (each for unit in scored for each in unit.terms.items() if each[1] is not None):
                values.setdefault(term, []).append(value)
    ours.judge.close()
    return Compared(file, differing, values)


def _of_benchmark(system: System) -> Config:
    """The settings by which a system without stages is rewarded: for a single reply."""
    assert system.reward
    return Config(base=None, data="", rollout="per_cru", reward=system.reward)


async def _compared(case: Case, ours: _Ours) -> tuple[list[str], list[Scored]]:
    """How our rewards of a case differ, and all that was scored."""
    faults, found = list[str](), list[Rollout]()
    for published in case.rollouts:
        ours.judge.said, ours.judge.asked = published.said, set()
        rolled, turns = await (_unit if ours.config.rollout == "per_cru" else _rolled)(case, published, ours)
        found.append(rolled)
        if turns != list(published.turns):
            faults.append(f"the turns are others: {turns}")
        worded = texts.is_own_wording(ours.folder)
        if published.asked and ours.judge.asked and not worded and published.asked not in ours.judge.asked:
            faults.append("the judge is asked something else")
    values = [each.total for each in found if each.total is not None]
    compared = rollouts.grouped(ours.total, values, [each.last for each in found])
    theirs = [0.0 if isinstance(each.reward, str) else each.reward for each in case.rollouts]
    if any(their is None or abs(our - their) > 1e-6 for our, their in zip(compared, theirs, strict=True)):
        faults.append(f"{compared} here, {theirs} there")
    return faults, [unit for each in found for unit in each.units]


async def _unit(case: Case, published: Published, ours: _Ours) -> tuple[Rollout, list[str]]:
    """The reward of a single reply."""
    (reply,) = published.turns
    read = sample(reply, _prompt(case))
    scored = await rewards.score(read, ours.total, ours.context)
    return Rollout(scored.total, [scored], rollouts.last_of([read], scored, rollouts.ends(read))), [reply]


async def _rolled(case: Case, published: Published, ours: _Ours) -> tuple[Rollout, list[str]]:
    """The reward of a rollout with these replies, and its turns."""
    most = ours.config.max_turns
    session = played(ours.protocol, case, published.turns[::2], most)
    pictures = tuple(map(picture, case.sizes))
    record = Record((), pictures, question=case.question, answer=case.answer, extra=dict(case.columns))
    samples, ended = rollouts.samples_of(record, session.trace(), ours.protocol, QWEN2, most)
    return await rollouts.score(samples, ended, ours.total, ours.context), turns_of(session)


def played(protocol: Protocol, case: Case, replies: Sequence[str], max_turns: int) -> Session:
    """The session in which a model replies so; it may end before the replies do."""
    grey = (Image.new("RGB", size, (_GREY,) * 3) for size in case.sizes)  # as in `picture`, or programs run twice
    images = [show_input(image, protocol) for image in grey]
    give_media(images, case.columns)
    session = Session(protocol, case.question, images, tolerate=(), max_turns=max_turns, tools=known())
    for reply in replies:
        if isinstance(session.next(), Done) or isinstance(session.feed(Reply(reply)), Rejected):
            break
    return session


def turns_of(session: Session) -> list[str]:
    """Replies and results of a session by turns."""
    trace, turns = session.trace(), list[str]()
    first = next((at for at, each in enumerate(trace.messages) if each.role == "assistant"), len(trace.messages))
    for message in trace.messages[first:]:
        shown = message.inserted or message.role == "user"
        if shown and len(turns) % 2 == 0:
            turns[-1] += content_of(message)
        else:
            turns.append(content_of(message))
    turns += [each.text for each in trace.pending]
    return turns if len(turns) % 2 else turns[:-1]  # a rollout ends with a reply


@cache
def picture(size: tuple[int, int], turn: int = 0) -> Picture:
    """A grey picture, as a JPEG where its EXIF data turn it."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x112] = turn
    image = Image.new("L", size, _GREY)
    if turn:
        image.save(file, "JPEG", exif=exif)
    else:
        image.save(file, "PNG", compress_level=1)
    return Picture("", data=file.getvalue())


def _prompt(case: Case) -> Prompt:
    """A prompt of single units, as rows of `rl` hold it, under the published checks."""
    text = f"{MARK * len(case.sizes)}{case.question}"
    pictures = tuple(picture(size, turn) for size, turn in zip(case.sizes, case.turned, strict=True))
    record = Record(
        (Message("system", "Look closely."), Message("user", text)),
        pictures,
        question=case.question,
        answer=case.answer,
        extra=dict(case.columns),
    )
    return Prompt(record, case.coordinates, "published")
