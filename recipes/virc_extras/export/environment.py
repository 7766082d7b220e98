"""A system as an exported package runs it: problems, conversations and rewards, in the process of the caller.

A package gets its `Environment` from `of_package`. `begin` makes the `Conversation` of a problem from its replies alone
(the same replies lead to the same images), `score` the reward of replies. Neither torch nor an engine is needed.
"""

import asyncio
import sys
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec

from virc.backends.chat.images import Part
from virc.backends.chat.request import completion, messages
from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, DataError
from virc.core.events import Reporter
from virc.core.text import plain
from virc.core.work.threads import scheduled
from virc.data.convert.change import problems_of
from virc.data.formats.registry import only_source
from virc.data.rows.record import Record
from virc.models.chat_protocol import read_protocol
from virc.reasoning.images import Shown, open_file
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import SOLVE, Ask, Rejected, Reply, Session
from virc.reasoning.trace import Ended
from virc.rewards import registry as rewards
from virc.rewards import rollouts
from virc.rewards.context import RewardContext
from virc.rewards.of_system import means_here
from virc.rewards.registry import Total
from virc.rewards.rollouts import Rollout
from virc.rewards.sample import Sample, StoredImage
from virc.stages.resolve import resolve
from virc.systems import registry as systems
from virc.systems import texts
from virc.systems.registry import Reward, System
from virc.tools.registry import check_ready, known
from virc_extras.export.digest import digest_of

_OF_SAMPLING = ("stream", "stream_options", "temperature", "max_tokens")
_TURNS = 16  # of a system without a stage of RL
SETTINGS = "settings.json"
MAX_REPLY = 200_000
"""Characters of a reply that are read; a Session takes no more."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a package holds of its system, in addition to the chat protocol.

    Args:
        system: its name, or the file of its YAML in the package.
        digest: of the system as it was when the package was written.
        stage: the stage of RL whose reward and turns count; None: the system has none.
        overlays, assignments: of the stage, as `virc train` has them.
        rows: file of problems in the package; None: the user names one.
        grid: patch grid that images are shown on, as the trained model's.
    """

    system: str
    digest: str
    stage: str | None = None
    overlays: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    rows: str | None = None
    grid: Grid = QWEN2

    def rewarding(self, system: System) -> tuple[Reward | None, int]:
        if self.stage is None:
            return system.reward, _TURNS
        config = resolve(system, self.stage, self.overlays, assignments=self.assignments).config
        return config.reward, config.max_turns


class Conversation:
    """A problem and the replies to it so far.

    Args:
        session: the replies were fed to it.

    Attributes:
        over: whether no further reply is wanted: there is an answer, no turn is left, or a reply was rejected.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.over = session, not isinstance(session.next(), Ask)

    @property
    def ask(self) -> Ask:
        """What the model is asked next; after the end, the whole conversation."""
        ask = self.session.next()
        return ask if isinstance(ask, Ask) else Ask(tuple(ask.trace.messages), tuple(self.session.images))

    @property
    def images(self) -> Sequence[Shown]:
        return self.session.images

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as the chat completions API has it, each image as a data URL."""
        return list(messages(self.ask, _part))

    def request(self, model: str) -> dict[str, Any]:
        """The body of a request for a chat completion, without parameters of sampling."""
        body = completion(self.ask, Sampling(), model, _part)
        return {key: value for key, value in body.items() if key not in _OF_SAMPLING}

    @property
    def replies(self) -> list[str]:
        """The replies so far, as the grammar writes them; of rejected ones at the end only the first.

        Fed to another conversation of the problem, they lead to the same state.
        """
        trace = self.session.trace()
        return [*trace.replies.texts[: len(trace.units) + 1]]

    @property
    def answer(self) -> str | None:
        return self.session.trace().answer

    def feed(self, reply: Reply) -> bool:
        """Feed a reply; returns whether it was taken. A rejected one ends the rollout, unless another is fed."""
        taken = not isinstance(self.session.feed(reply), Rejected)
        self.over = not taken or not isinstance(self.session.next(), Ask)
        return taken


class Environment:
    """A system with what its rollouts are rewarded for.

    Args:
        system, settings: of the package.
        protocol: that conversations are held in.
        rows: file of problems, where the settings name none.
        tolerate: deviations of tool calls that are forgiven: none in RL, those of `virc solve` in an evaluation.
    """

    def __init__(
        self, system: System, protocol: Protocol, settings: Settings, rows: Path | None = None,
        tolerate: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.system, self.protocol, self.settings = system, protocol, settings
        self.reward, self.max_turns = settings.rewarding(system)
        self.rows, self.tolerate = rows, tolerate
        self._problems: dict[Path, list[Record]] = {}
        check_ready(protocol.tools)

    @cached_property
    def total(self) -> Total:
        """What a rollout is rewarded for. Raises ConfigError: there is no reward, or it is not public."""
        if self.reward is None:
            raise ConfigError(f"the system {self.system.name} has no reward", "reward: {total: NAME}; virc rewards ls")
        return rewards.of(self.reward, self.system.file.parent)

    @cached_property
    def _means(self) -> RewardContext:
        assert self.reward
        return means_here(self.reward, Reporter(lambda event: print(f"virc: {event.text}", file=sys.stderr)))

    def problems(self, rows: str | Path | None = None) -> list[Record]:
        """The problems of a file of rows, in any format that virc reads; by default those of the package.

        Raises:
            DataError: there is no such file, a row cannot be read, or there is none.
        """
        file = Path(rows) if rows else self.rows
        if file is None:
            raise DataError(f"this package of {self.system.name} holds no rows", "name a file of rows")
        if file not in self._problems:
            self._problems[file] = records(file, self.system)
        return self._problems[file]

    def begin(self, problem: Record, replies: Sequence[str] = ()) -> Conversation:
        """The conversation of a problem after these replies.

        Raises:
            DataError: an image cannot be read or shown.
        """
        conversation = Conversation(self._session(problem))
        for text in replies:
            if conversation.over:
                break
            conversation.feed(Reply(text))
        return conversation

    async def score(self, problem: Record, replies: Sequence[str]) -> Rollout:
        """The reward of a rollout, from the `replies` of its conversation; no total where a term could not be had.

        Raises:
            ConfigError: the reward fails.
            DataError: there is no reply, an image cannot be read, or the row lacks what the reward needs of every row.
            NetworkError: the judge does not answer.
        """
        return await asyncio.wrap_future(scheduled(self._scored(problem, replies)))

    def score_now(self, problem: Record, replies: Sequence[str]) -> Rollout:
        """`score`, for callers without an event loop."""
        return scheduled(self._scored(problem, replies)).result()

    def compared(self, group: Sequence[Rollout]) -> list[float]:
        return rollouts.grouped(self.total, [total_of(each) for each in group], [each.last for each in group])

    async def _scored(self, problem: Record, replies: Sequence[str]) -> Rollout:
        """On the thread of rewards: the connections of a judge belong to one event loop."""
        samples, ended = await asyncio.to_thread(self._samples, problem, replies)
        return await rollouts.score(samples, ended, self.total, self._means)

    def _samples(self, problem: Record, replies: Sequence[str]) -> tuple[list[Sample], Ended]:
        session = self._session(problem)
        taken = takewhile(lambda _: not session.trace().pending, replies)
        return rollouts.samples_from_replies(problem, taken, session), session.trace().replies.ended

    def _session(self, problem: Record) -> Session:
        images = [open_file(StoredImage(picture).read(), picture.name or "an image") for picture in problem.images]
        try:
            return Session(
                self.protocol, problem.question or "", images, self.settings.grid, tolerate=self.tolerate,
                max_turns=self.max_turns, tools=known(),
            )  # fmt: skip
        except ValueError as error:
            raise DataError(f"{problem.called}: {error}") from error


def total_of(found: Rollout) -> float:
    """The total of a rollout. Raises ConfigError: a term could not be had."""
    if found.total is None:
        lacking = dict.fromkeys(f"{name} {why}" for unit in found.units for name, why in unit.unscored.items())
        hint = "virc export SYSTEM --set reward.judge.endpoint=URL names a judge"
        raise ConfigError(f"a rollout cannot be scored: {'; '.join(lacking)}", hint)
    return found.total


def terms_of(found: Rollout) -> dict[str, float]:
    """The terms of a rollout that apply to it, and how it ended: `answered` and `taken`, its `units`, `tool_calls`."""
    last = found.last.known
    facts = {"answered": last.ended == "answer", "taken": last.ended != "format"}
    counts = {"units": last.turns, "tool_calls": last.tool_calls}
    terms = {name: value for name, value in found.terms.items() if value is not None}
    return terms | {name: float(value) for name, value in (facts | counts).items()}


def records(rows: Path, system: System) -> list[Record]:
    found = [record for _, record in problems_of(only_source(rows, system))]
    if not found:
        raise DataError(f"{rows} holds no problem", "name a file of rows")
    return found


def of_package(module: str, evaluates: bool = False) -> Environment:
    """The environment of a package.

    Args:
        module: the file of its module.
        evaluates: whether deviations of tool calls are forgiven, as in `virc solve`.

    Raises:
        ConfigError: the installed virc has no such system, or it differs from when the package was written.
    """
    folder = Path(module).parent
    settings = msgspec.json.decode((folder / SETTINGS).read_bytes(), type=Settings)
    file = folder / settings.system
    system = systems.get(str(file) if file.is_file() else settings.system)
    if (now := digest_of(system)) != settings.digest:
        # Perhaps only the wording differs: the authors' texts, or our own words in their place.
        other = not texts.is_own_wording(system.file.parent)
        if settings.digest == digest_of(system, other):
            wording = "our own words" if other else "the words of its authors"
            raise ConfigError(f"this package asks {plain(system.name)} in {wording}", f"{texts.OWN_WORDS}={int(other)}")
        sentence = f"{plain(system.name)} is not the system that this package was written from ({settings.digest})"
        raise ConfigError(f"{sentence}, but {now}", "write it again: virc export, or install the virc that wrote it")
    protocol = read_protocol(folder / FILE_NAME, system.file.parent)
    rows = folder / settings.rows if settings.rows else None
    return Environment(system, protocol, settings, rows, SOLVE if evaluates else frozenset())


def _part(shown: Shown) -> Part:
    return {"type": "image_url", "image_url": {"url": shown.data_url}}
