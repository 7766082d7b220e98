"""A tool whose calls are the actions of an environment with gymnasium's interface.

The user's file of the tool names the environment:

    tool = Stepped("act", Scene, "Look behind the blocks of the scene.", actions=("left", "right"))
    NAME, TEMPLATE, SCHEMA, check, apply, apply_to_all = tool.members

An episode is identified by its number, the seed of `reset`, which the first image of the problem carries (`marks`), and
by the actions since. Nothing else is kept: a reply that is drawn again, or a reward, plays the episode again.
`Stepped`, the tool, keeps a `_Past` for each conversation; its `_Player` brings the environment to that state and acts.
"""

import queue
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import msgspec
from PIL import Image

from virc.core import extras
from virc.core.errors import ConfigError
from virc.core.text import clause
from virc.core.timeouts import LateError
from virc.reasoning.calls import Call, Checked, Conversation, Result, ToolError, View, require_keys
from virc_extras.stepped import marks

_Made = TypeVar("_Made")
_Jobs = queue.SimpleQueue[tuple[Callable[[Any], Any], queue.SimpleQueue[tuple[Any, BaseException | None]]] | None]
"""Jobs, each with the queue for its result or error; None ends the thread."""


class ActionResult(msgspec.Struct, frozen=True):
    """Result of an action: what is seen then, the reward, and how the episode ended, if it has."""

    seen: Result
    reward: float
    terminated: bool
    truncated: bool


class Episode(msgspec.Struct, frozen=True):
    """Result of the actions of a conversation.

    Args:
        rewards: of each action that was carried out.
        terminated, truncated: whether the environment has ended the episode.
        fault: why the environment failed; None: it did not.
    """

    rewards: tuple[float, ...]
    terminated: bool
    truncated: bool
    fault: str | None = None

    @property
    def total(self) -> float:
        return sum(self.rewards)

    @property
    def steps(self) -> int:
        return len(self.rewards)


class Live:
    """One environment. It is made, used and closed in one thread of its own, as drawing libraries require.

    A thread that hangs cannot be ended: it is left behind, and ends with the process.

    Args:
        make: makes the environment.
        seconds: how long one job may take.
    """

    def __init__(self, make: Callable[[], Any], seconds: float) -> None:
        self.seconds = seconds
        self._jobs: _Jobs = queue.SimpleQueue()
        threading.Thread(target=_work, args=(make, self._jobs), daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

    def run(self, job: Callable[[Any], _Made]) -> _Made:
        """Run a job on the environment. Raises LateError: it takes too long; or whatever the environment raises."""
        done: queue.SimpleQueue[tuple[_Made, BaseException | None]] = queue.SimpleQueue()
        self._jobs.put((job, done))
        try:
            made, error = done.get(timeout=self.seconds)
        except queue.Empty:
            raise LateError from None
        if error is not None:
            raise error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
        return made


def _work(make: Callable[[], Any], jobs: _Jobs) -> None:
    environment: Any = None
    while job := jobs.get():
        function, done = job
        try:
            environment = make() if environment is None else environment
            done.put((function(environment), None))
        except BaseException as error:  # an environment may even raise SystemExit
            done.put((None, error))
    with suppress(Exception):
        if environment is not None:
            environment.close()


class _Player:
    """An environment, and the episode and actions that it has played last."""

    def __init__(self, make: Callable[[], Any], seconds: float) -> None:
        self._live = Live(make, seconds)
        self._lock = threading.Lock()
        self._at: tuple[int, tuple[Any, ...]] | None = None

    def play(self, number: int, before: tuple[Any, ...], action: Any) -> ActionResult:
        """Carry out an action after those `before`, which are played again if the environment is in another state."""
        with self._lock:
            is_there, self._at = self._at == (number, before), None  # unknown until the action has succeeded
            if not is_there:
                self._live.run(lambda environment: environment.reset(seed=number))
                for each in before:
                    self._live.run(partial(_step, action=each))
            made = self._live.run(partial(_step, action=action))
            self._at = number, (*before, action)
            return made


class _Past(msgspec.Struct, frozen=True):
    """An episode so far: its number, its actions, and the sentence that ends it (None: it goes on)."""

    number: int
    player: _Player
    actions: tuple[Any, ...] = ()
    over: str | None = None


class Stepped:
    """A tool that acts in an environment.

    Args:
        name: of the tool.
        environment: a class or function that makes the environment, or an id of gymnasium's.
        about: what the tool does, as the model is told.
        arguments: of the environment, such as `render_mode`.
        actions: names of the actions of a Discrete space, in order.
        seconds: how long making the environment, `reset` or `step` may take.

    Raises:
        SetupError: gymnasium is not installed.
        ConfigError: the environment cannot be made, or its actions cannot be written as JSON.
    """

    TEMPLATE = "after_image"

    def __init__(
        self,
        name: str,
        environment: Callable[..., Any] | str,
        about: str,
        arguments: Mapping[str, Any] | None = None,
        actions: Sequence[str] = (),
        seconds: float = 10.0,
    ) -> None:
        extras.require("gymnasium", f"the tool {name}", "gym")
        from virc_extras.stepped import spaces

        self.name, self.seconds, self._names = name, seconds, tuple(actions)
        self._environment, self._arguments = environment, {**(arguments or {})}
        try:
            made = self._make()
            self._space = made.action_space
            made.close()
        except Exception as error:  # it is the user's own code, and may fail in any way
            raise ConfigError(f"the environment of {name} cannot be made: {_reason(error)}") from error
        parameters = {"action": spaces.schema(self._space, self._names)}
        self.schema = {
            "type": "function",
            "function": {
                "name": name,
                "description": about,
                "parameters": {"type": "object", "properties": parameters, "required": ["action"]},
            },
        }

    @property
    def members(self) -> tuple[Any, ...]:
        """NAME, TEMPLATE, SCHEMA, check, apply and apply_to_all of the tool's module."""
        return self.name, self.TEMPLATE, self.schema, self.check, self.apply, self.apply_to_all

    def check(self, arguments: Mapping[str, object], view: View) -> Checked:
        """Read a call. Raises ToolError: it is not an action of the environment."""
        from virc_extras.stepped import spaces

        require_keys(arguments, "action")
        spaces.action(self._space, arguments["action"], self._names)
        return Checked(Call(self.name, arguments={"action": arguments["action"]}))

    def apply(self, call: Call, source: Image.Image | None) -> Result:
        """Never called: the tool's actions are of the whole conversation, see `apply_to_all`."""
        raise NotImplementedError

    def apply_to_all(self, call: Call, conversation: Conversation) -> Result:
        """What is seen after the action; the end of the episode, or a failure of the environment, is told in its text.

        Raises:
            ToolError: the first image has no number of an episode.
        """
        past = conversation.kept.get(self.name)
        if past is None:
            first = conversation.images[0]() if conversation.images else None
            past = _Past(self._number(first), _Player(self._make, self.seconds))
        if past.over:
            return Result(past.over)
        conversation.kept[self.name], step = self._next(past, call.arguments["action"])
        over = conversation.kept[self.name].over
        if step is None:
            return Result(over or "")
        return Result("\n".join(text for text in (step.seen.text, over) if text), step.seen.images)

    def first(self, number: int) -> Image.Image:
        """The image of the start of an episode, for a row: it carries the episode's number, the seed of `reset`."""
        from virc_extras.stepped.seen import as_image, seen

        if not 0 <= number <= marks.MOST:
            raise ConfigError(f"the number of an episode is 0 to {marks.MOST}, not {number}")
        environment = self._make()
        try:
            observation, _ = environment.reset(seed=number)
            return marks.marked(as_image(seen(environment, observation)), number)
        finally:
            environment.close()

    def episode(self, sample: Any) -> Episode:
        """The episode of a rollout (`virc.rewards.sample.Sample`), for a reward: its actions are carried out again."""
        done = [*sample.prompt.calls, *sample.done]
        actions = [each.call.arguments["action"] for each in done if each.call and each.call.name == self.name]
        return self.played(sample.prompt.images[0].pixels().pixels, actions) if actions else Episode((), False, False)

    def played(self, first: Image.Image, actions: Sequence[Any]) -> Episode:
        """The episode of actions, as JSON values, after the first image. Raises ToolError: that has no number."""
        past, steps = _Past(self._number(first), _Player(self._make, self.seconds)), list[ActionResult]()
        for action in actions:
            if past.over:
                break
            past, step = self._next(past, action)
            steps += [step] if step else []
        last = steps[-1] if steps else None
        ended = (last.terminated, last.truncated) if last else (False, False)
        return Episode(tuple(each.reward for each in steps), *ended, None if any(ended) else past.over)

    def _make(self) -> Any:
        import gymnasium

        if isinstance(self._environment, str):
            return gymnasium.make(self._environment, **self._arguments)
        return self._environment(**self._arguments)

    def _number(self, image: Image.Image | None) -> int:
        number = None if image is None else marks.number_in(image)
        if number is None:
            raise ToolError("the first image is not the start of an episode")
        return number

    def _next(self, past: _Past, value: Any) -> tuple[_Past, ActionResult | None]:
        """The episode after an action; no step where the environment fails."""
        from virc_extras.stepped import spaces

        try:
            action = spaces.action(self._space, value, self._names)
            step = past.player.play(past.number, past.actions, action)
        except ToolError:
            raise
        except LateError:
            return _over(past, f"The environment did not answer in {self.seconds:g} s; the episode is over."), None
        except Exception as error:  # of the environment, which is code of the user
            return _over(past, f"The environment failed: {_reason(error)}; the episode is over."), None
        done = msgspec.structs.replace(past, actions=(*past.actions, action))
        if step.terminated or step.truncated:
            why = "The episode is over." if step.terminated else "The episode is over: it may take no more steps."
            return _over(done, why), step
        return done, step


def _step(environment: Any, action: Any) -> ActionResult:
    from virc_extras.stepped.seen import seen

    observation, reward, terminated, truncated, _ = environment.step(action)
    return ActionResult(seen(environment, observation), float(reward), bool(terminated), bool(truncated))


def _over(past: _Past, why: str) -> _Past:
    return msgspec.structs.replace(past, over=why)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {clause(error)}"
