"""Replies of models to conversations, for operators that ask otherwise than by `means.ask`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from virc.backends.interface import Sampling
from virc.data.make.operator import Cost, Means, Row
from virc.data.sample.rollouts import Rollout
from virc.models.chat_protocol import of_system
from virc.reasoning.images import Shown
from virc.reasoning.session import Ask, Reply, Session
from virc.reasoning.trace import Message
from virc.solving.batch import BatchConfig, shown_images
from virc.solving.one import Attempt, SolveConfig
from virc.systems import registry as systems
from virc.tools.registry import known


def pictures(means: Means[Any], role: str, row: Row) -> list[Shown]:
    """Return a row's pictures as the model of a role sees them. Raises DataError: one cannot be opened or shown."""
    config = BatchConfig(SolveConfig(), row.base, offline=means.offline)
    return shown_images(config, means.opened[role].opened, row, means.deadline)


def rollout_of(means: Means[Any], role: str, row: Row, text: str, system: str) -> Rollout:
    """Return a reply to a row as a rollout in the chat protocol of a system. Raises ConfigError: there is none."""
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
    """Return a role's reply to a conversation; where its last message is `inline`, the reply goes on with that.

    Args:
        key: what tells it apart from others of this row: it is drawn once, also where the command was killed.
        stop: texts that end it, where the backend can stop there.
        schema: of the JSON that it is to be, where the backend can see to that.
    """
    asked = means.opened[role]

    def drawn() -> Any:
        with asked.turn:
            ask = Ask(messages, images, stop=stop, json_schema=schema)
            return msgspec.to_builtins(asked.opened.backend.reply(ask, sampling, None, means.deadline.left()))

    found = msgspec.convert(means.once(key, drawn), Reply)
    means.cost.add(Cost(1, found.prompt_tokens or 0, found.completion_tokens or 0))
    return found
