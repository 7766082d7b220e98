"""A system as an environment of OpenEnv: actions are replies, observations carry the conversation with its images."""

from itertools import count
from typing import Any, Literal

from openenv.core.env_server import create_fastapi_app  # type: ignore[import-not-found, unused-ignore]
from openenv.core.env_server.interfaces import Environment as Served  # type: ignore[import-not-found, unused-ignore]
from openenv.core.env_server.types import Action, ConcurrencyConfig, Observation, State  # type: ignore[import-not-found, unused-ignore]
from pydantic import Field

from virc.data.rows.record import Record
from virc.reasoning.session import Reply
from virc_extras.export.environment import MAX_REPLY, Conversation, Environment, terms_of, total_of

_SESSIONS = 64
_IDLE_SECONDS = 600.0  # as long as the agent endpoint gives a problem


class Said(Action):  # type: ignore[misc]
    """A reply of the model; `finish` is "length" where the token limit cut it."""

    text: str = Field(max_length=MAX_REPLY)
    finish: Literal["stop", "length"] = "stop"


class Seen(Observation):  # type: ignore[misc]
    """What the model is asked.

    Args:
        messages: the whole conversation, as the chat completions API has it, images as data URLs.
        continues: the reply goes on with the assistant's turn that `messages` end with.
        terms: at the end, the terms of the reward.
    """

    messages: list[dict[str, Any]]
    continues: bool = False
    terms: dict[str, float] = Field(default_factory=dict)


class Progress(State):  # type: ignore[misc]
    """How far an episode is: its row, from 0, the images shown, and whether it is over."""

    row: int | None = None
    images: int = 0
    over: bool = False


def app_of(environment: Environment, rows: str | None = None) -> Any:
    """The HTTP server of a system's environment: each session has a problem of its own, of `rows` or the package's."""
    turn = count()

    class Session(Served):  # type: ignore[misc]
        """The episodes of a client, one after the other."""

        SUPPORTS_CONCURRENT_SESSIONS = True

        def __init__(self) -> None:
            super().__init__()
            self._problem: Record | None = None
            self._talk: Conversation | None = None
            self._state = Progress()

        def reset(
            self, seed: int | None = None, episode_id: str | None = None, row: int | None = None, **_: Any
        ) -> Seen:
            """Begin a problem: that of `row`, from 0; else by `seed`; else the next."""
            problems = environment.problems(rows)
            if row is not None and row not in range(len(problems)):
                raise ValueError(f"there is no row {row}: they go from 0 to {len(problems) - 1}")
            chosen = row if row is not None else (next(turn) if seed is None else seed) % len(problems)
            self._problem = problems[chosen]
            self._talk = environment.begin(self._problem)
            self._state = Progress(episode_id=episode_id, row=chosen, images=len(self._talk.images))
            return _seen(self._talk)

        def step(self, action: Any, timeout_s: float | None = None, **_: Any) -> Seen:
            """Take a reply; the last observation has the reward."""
            if self._talk is None or self._problem is None or self._talk.over:
                raise ValueError("no reply is asked for: reset begins a problem")
            talk, state = self._talk, self._state
            talk.feed(Reply(action.text, finish=action.finish))
            state.step_count, state.images, state.over = state.step_count + 1, len(talk.images), talk.over
            if not talk.over:
                return _seen(talk)
            found = environment.score_now(self._problem, talk.replies)
            return _seen(talk, done=True, reward=total_of(found), terms=terms_of(found))

        @property
        def state(self) -> Progress:
            return self._state

    limits = ConcurrencyConfig(max_concurrent_envs=_SESSIONS, session_timeout=_IDLE_SECONDS)
    return create_fastapi_app(Session, Said, Seen, concurrency_config=limits)


def _seen(talk: Conversation, **end: Any) -> Seen:
    return Seen(messages=talk.messages, continues=talk.ask.continues and not talk.over, **end)
