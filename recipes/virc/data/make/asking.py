"""The models that operators ask: opened once, asked for each row, and counted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import msgspec

from virc.backends.interface import Sampling
from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.timeouts import check_stop
from virc.data.make.operator import Cost, Means, Row
from virc.data.sample.rollouts import Rollout
from virc.models.chat_protocol import of_system
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Reply, Session
from virc.reasoning.session import Reply as Drawn
from virc.reasoning.trace import Message
from virc.solving.batch import BatchConfig, Outage, shown_images
from virc.solving.one import Attempt, SolveConfig
from virc.solving.pipelines import roles as opening
from virc.solving.pipelines.asking import Asker, Roles
from virc.solving.pipelines.roles import OpenRole
from virc.solving.pipelines.speaking import Role, Speaker, Spoken, Turn
from virc.solving.pipelines.steps import Branch, Ran, Run, running
from virc.solving.setup import Setup
from virc.systems import registry as systems
from virc.tools.registry import known

_MAX_STEPS = 100_000


class Models(msgspec.Struct, frozen=True):
    opened: Mapping[str, OpenRole] = {}
    max_turns: int = 16

    @property
    def names(self) -> dict[str, str]:
        return {name: role.opened.name for name, role in self.opened.items()}

    def workers(self, at_once: int | None) -> int:
        return at_once or min((role.opened.at_once for role in self.opened.values()), default=1)

    def outage(self, note: Callable[[str], None]) -> Outage | None:
        asks = [role.opened.answers for role in self.opened.values() if role.opened.answers]
        return Outage(lambda: all(each() for each in asks), note) if asks else None

    def roles(self, means: Means[Any]) -> Roles:
        """The roles as an operator asks them for a row; what they reply is kept until the row is done."""
        found = {}
        for name, role in self.opened.items():
            speaker = opening.speaker(role, means.deadline, self.max_turns, check_stop)
            found[name] = Asker(name, role.role, _kept(name, speaker, means))
        return Roles(found)

    @contextmanager
    def running(self, means: Means[Any]) -> Iterator[None]:
        """Let an operator ask; its replies' seeds are derived from the row's, and its cost is counted."""
        if not self.opened:
            yield
            return

        def count(ran: Ran, _: object) -> None:
            means.cost.add(Cost(ran.replies, ran.prompt_tokens or 0, ran.completion_tokens or 0))

        steps = Run(means.seed, count, max_steps=_MAX_STEPS)
        try:
            with running(Branch(steps)):
                yield
        finally:
            steps.close()


@contextmanager
def opened_models(
    roles: Mapping[str, Role], given: Mapping[str, str], setup: Setup | None, report: Reporter
) -> Iterator[Models]:
    if not roles:
        if given:
            raise UsageError(f"--role {next(iter(given))}: this operator asks no model", "leave --role out")
        yield Models()
        return
    if setup is None:
        raise UsageError(f"role {next(iter(roles))!r} has no model", "--endpoint URL, or --role NAME=URL")
    chosen = opening.choices(roles, given, setup.choice)
    with opening.open_roles(roles, chosen, report) as opened:
        yield Models(opened, setup.config.max_turns)


def _kept(name: str, speaker: Speaker, means: Means[Any]) -> Speaker:
    """A speaker that is asked the same but once for a row, also where the command was killed meanwhile."""

    def speak(turns: Sequence[Turn], sampling: Sampling) -> Spoken:
        sizes: list[tuple[int, int]] = []

        def drawn() -> dict[str, Any]:
            spoken = speaker(turns, sampling)
            sizes.extend(spoken.sizes)
            return {"reply": msgspec.to_builtins(spoken.reply), "replies": spoken.replies, "sizes": spoken.sizes}

        if sampling.likeliest:  # its reply has more than a text
            return speaker(turns, sampling)
        found = means.once(f"{name} {_key(turns, sampling)}", drawn)
        shown = tuple((width, height) for width, height in found["sizes"])
        return Spoken(msgspec.convert(found["reply"], Drawn), found["replies"], shown)

    return speak


def _key(turns: Sequence[Turn], sampling: Sampling) -> str:
    """What tells a request of a row apart; its pictures are those of the row, or made of it by the same steps."""
    said = [(each.prompt, each.at, [picture.size for picture in each.pictures]) for each in turns]
    content = msgspec.json.encode([said, sampling.seed, sampling.temperature, sampling.max_tokens])
    return blake2b(content, digest_size=12).hexdigest()


def pictures(means: Means[Any], role: str, row: Row) -> list[Shown]:
    config = BatchConfig(SolveConfig(), row.base, offline=means.offline)
    return shown_images(config, means.opened[role].opened, row, means.deadline)


def rollout_of(means: Means[Any], role: str, row: Row, text: str, system: str) -> Rollout:
    protocol, grid = of_system(systems.get(system)).protocol, means.opened[role].opened.backend.grid
    session = Session(protocol, row.question, pictures(means, role, row), grid, tolerate=(), tools=known())
    session.feed(Reply(text))
    return Rollout(1, Attempt(session.trace(), session.images), "")


def reply(
    means: Means[Any],
    role: str,
    key: str,
    messages: Sequence[Message],
    images: Sequence[Shown],
    sampling: Sampling,
    stop: Sequence[str] = (),
    schema: Mapping[str, Any] | None = None,
) -> Reply:
    """Return a role's reply; it is drawn once for a `key`, and goes on with a last message that is `inline`."""
    asked = means.opened[role]

    def drawn() -> Any:
        with asked.turn:
            ask = Ask(messages, images, stop=stop, json_schema=schema)
            return msgspec.to_builtins(asked.opened.backend.reply(ask, sampling, None, means.deadline.left()))

    found = msgspec.convert(means.once(key, drawn), Reply)
    means.cost.add(Cost(1, found.prompt_tokens or 0, found.completion_tokens or 0))
    return found
