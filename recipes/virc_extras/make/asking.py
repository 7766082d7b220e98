"""The models that an operator of `virc data make` asks.

`opened_models` opens a model per role for the whole command. `Models.roles` gives an operator its roles for one row,
`Models.running` adds up the cost of their requests, and `reply` sends messages that an operator wrote itself. Replies
are saved until their row is written, so that a command that was killed does not request them again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import msgspec

from virc.backends.interface import Sampling
from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.timeouts import check_stop
from virc.data.sample.rollouts import Rollout
from virc.models.chat_protocol import of_system
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Reply, Session
from virc.reasoning.trace import Message
from virc.solving.batch import BatchConfig, Outage, shown_images
from virc.solving.one import Attempt, SolveConfig
from virc.solving.setup import Setup
from virc.systems import registry as systems
from virc.tools.registry import known
from virc_extras.make.operator import Cost, Means, Row
from virc_extras.pipelines import roles as opening
from virc_extras.pipelines.asking import Asker, Roles
from virc_extras.pipelines.roles import OpenRole
from virc_extras.pipelines.speaking import Role, Speaker, Spoken, Turn
from virc_extras.pipelines.steps import Branch, Ran, Run, running

_MAX_STEPS = 100_000  # of one row: an operator that asks in an endless loop ends


class Models(msgspec.Struct, frozen=True):
    """The open models of a command, by role."""

    opened: Mapping[str, OpenRole] = {}
    max_turns: int = 16

    @property
    def names(self) -> dict[str, str]:
        return {name: role.opened.name for name, role in self.opened.items()}

    def workers(self, at_once: int | None) -> int:
        return at_once or min((role.opened.at_once for role in self.opened.values()), default=1)

    def outage(self, note: Callable[[str], None]) -> Outage | None:
        availability_checks = [role.opened.answers for role in self.opened.values() if role.opened.answers]
        return Outage(lambda: all(is_up() for is_up in availability_checks), note) if availability_checks else None

    def roles(self, means: Means[Any]) -> Roles:
        """The roles that an operator asks about one row."""
        askers = {}
        for name, role in self.opened.items():
            speaker = opening.speaker(role, means.deadline, self.max_turns, check_stop)
            askers[name] = Asker(name, role.role, _with_saved_replies(name, speaker, means))
        return Roles(askers)

    @contextmanager
    def running(self, means: Means[Any]) -> Iterator[None]:
        """Within this context, requests of the operator take seeds from the row's seed, and count towards its cost."""
        if not self.opened:
            yield
            return

        def add_cost(ran: Ran, _: object) -> None:
            means.cost.add(Cost(ran.replies, ran.prompt_tokens or 0, ran.completion_tokens or 0))

        run = Run(means.seed, add_cost, max_steps=_MAX_STEPS)
        try:
            with running(Branch(run)):
                yield
        finally:
            run.close()


@contextmanager
def opened_models(
    roles: Mapping[str, Role], given: Mapping[str, str], setup: Setup | None, report: Reporter
) -> Iterator[Models]:
    if not roles:
        if given:
            raise UsageError(f"«--role {next(iter(given))}»: this operator asks no model", "leave «--role» out")
        yield Models()
        return
    if setup is None:
        raise UsageError(f"role {next(iter(roles))!r} has no model", "«--endpoint URL», or «--role NAME=URL»")
    chosen = opening.choices(roles, given, setup.choice)
    with opening.open_roles(roles, chosen, report) as opened:
        yield Models(opened, setup.config.max_turns)


def _with_saved_replies(name: str, speaker: Speaker, means: Means[Any]) -> Speaker:
    """A speaker that sends each request of a row to its model once, also if the command was killed in between."""

    def speak(turns: Sequence[Turn], sampling: Sampling) -> Spoken:
        if sampling.likeliest:  # probabilities of tokens are not saved
            return speaker(turns, sampling)

        def request() -> dict[str, Any]:
            spoken = speaker(turns, sampling)
            return {"reply": msgspec.to_builtins(spoken.reply), "replies": spoken.replies, "sizes": spoken.sizes}

        saved = means.once(f"{name} {_key(turns, sampling)}", request)
        sizes = tuple((width, height) for width, height in saved["sizes"])
        return Spoken(msgspec.convert(saved["reply"], Reply), saved["replies"], sizes)

    return speak


def _key(turns: Sequence[Turn], sampling: Sampling) -> str:
    """Identifies a request of a row. Sizes are enough for pictures: the same steps derive them from the row."""
    messages = [(turn.prompt, turn.at, [picture.size for picture in turn.pictures], turn.reply) for turn in turns]
    request = msgspec.json.encode([messages, sampling.seed, sampling.temperature, sampling.max_tokens])
    return blake2b(request, digest_size=12).hexdigest()


def pictures(means: Means[Any], role: str, row: Row) -> list[Shown]:
    config = BatchConfig(SolveConfig(), row.base, offline=means.offline)
    return shown_images(config, means.opened[role].opened, row, means.deadline)


def rollout_of(means: Means[Any], role: str, row: Row, text: str, system: str) -> Rollout:
    protocol, grid = of_system(systems.get(system)), means.opened[role].opened.backend.grid
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
    """Ask a role's model once per row and `key`, and return its reply.

    If the last message is inserted `inline` (see `Message`), the reply continues it.
    """
    open_role = means.opened[role]

    def request() -> Any:
        with open_role.turn:
            ask = Ask(messages, images, stop=stop, json_schema=schema)
            return msgspec.to_builtins(open_role.opened.backend.reply(ask, sampling, None, means.deadline.left()))

    answer = msgspec.convert(means.once(key, request), Reply)
    means.cost.add(Cost(1, answer.prompt_tokens or 0, answer.completion_tokens or 0))
    return answer
