"""An environment as a tool: the same episode whoever plays it, and a fault costs a sentence."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from virc.core import extras
from virc.core.errors import ConfigError, SetupError
from virc.reasoning.calls import Call, Conversation, Result, ToolError, View
from virc.reasoning.protocol import own_protocol
from virc.tools import registry

gymnasium = pytest.importorskip("gymnasium")

from virc_extras.stepped import seen, spaces  # noqa: E402
from virc_extras.stepped.tool import Episode, Stepped  # noqa: E402

PROTOCOL = own_protocol(registry.schemas(registry.DEFAULT))


class Counter(gymnasium.Env):  # type: ignore[misc]
    """Adds; its image is as bright as the sum. `fault` says how it fails at 2."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    render_mode = "rgb_array"
    action_space = gymnasium.spaces.Discrete(3)
    observation_space = gymnasium.spaces.Discrete(256)

    def __init__(self, fault: Callable[[], Any] | None = None) -> None:
        self.fault, self.sum = fault, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.sum = int(self.np_random.integers(10, 200))
        self.start = self.sum
        return self.sum, {}

    def step(self, action: int) -> Any:
        self.sum += action
        if self.fault and action == 2:
            return self.fault()
        return self.sum, float(action), self.sum >= self.start + 4, False, {}

    def render(self) -> Any:
        return np.full((60, 80, 3), self.sum, np.uint8)


def tool(fault: Callable[[], Any] | None = None, seconds: float = 5.0) -> Stepped:
    return Stepped("add", Counter, "Add.", {"fault": fault}, ("none", "one", "two"), seconds)


def conversation(first: Image.Image) -> Conversation:
    return Conversation(PROTOCOL, [lambda: first], 1, {})


def act(made: Stepped, talk: Conversation, action: object) -> Result:
    return made.apply_to_all(made.check({"action": action}, View([(80, 60)])).call, talk)


def shade(result: Result) -> int:
    (image,) = result.images
    assert isinstance(image, Image.Image)
    level = image.convert("L").getpixel((0, 0))
    assert isinstance(level, int)
    return level


def test_call_acts_and_ends() -> None:
    made = tool()
    talk = conversation(made.first(5))
    start = shade(act(made, talk, "none"))
    assert shade(act(made, talk, "two")) == start + 2
    last = act(made, talk, 2)
    assert (last.text, shade(last)) == ("The episode is over.", start + 4)
    assert act(made, talk, "one") == Result("The episode is over.")


@pytest.mark.parametrize("fault", [None, lambda: 1 / 0])
def test_reply_drawn_again_takes_its_actions_back(fault: Callable[[], Any] | None) -> None:
    made = tool(fault)
    talk = conversation(made.first(5))
    start = shade(act(made, talk, "one")) - 1
    act(made, talk, "one")
    before = {**talk.kept}
    act(made, talk, "two")
    talk.kept.update(before)
    assert shade(act(made, talk, "one")) == start + 3


def test_rewards_are_those_of_the_episode() -> None:
    made = tool()
    played = made.played(made.first(5), ["one", "two", "two", "one"])
    assert (played.total, played.steps, played.terminated, played.fault) == (5.0, 3, True, None)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda: 1 / 0, "failed: ZeroDivisionError"),
        (lambda: exec("raise SystemExit"), "failed: RuntimeError"),
        (lambda: (0, "much", False, False, {}), "failed: ValueError"),
    ],
)
def test_fault_costs_a_sentence(fault: Callable[[], Any], says: str) -> None:
    made = tool(fault)
    talk = conversation(made.first(5))
    result = act(made, talk, "two")
    assert says in result.text
    assert act(made, talk, "one") == result


def test_an_environment_that_hangs_ends_the_episode() -> None:
    over = threading.Event()
    made = tool(lambda: over.wait(60), seconds=0.2)  # a result that would be no step
    talk = conversation(made.first(5))
    before = set(threading.enumerate())
    result = act(made, talk, "two")
    begun = [each for each in set(threading.enumerate()) - before if "_work" in each.name]
    over.set()
    assert [each.daemon for each in begun] == [True]  # it keeps no process from ending
    assert "did not answer in 0.2 s" in result.text
    assert act(made, talk, "one") == result


def test_environment_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ConfigError, match="the environment of go cannot be made: NameNotFound: "):
        Stepped("go", "NoSuch-v0", "Go.")
    with pytest.raises(ConfigError, match="2 actions are named, and the action space is Discrete"):
        Stepped("go", "FrozenLake-v1", "Go.", actions=("left", "right"))


def test_the_first_image_of_a_conversation_is_the_start_and_a_step_shows_its_text_and_image() -> None:
    made = tool(lambda: ("seen", 1.0, False, True, {}))
    first, other = made.first(5), Image.new("RGB", (300, 200))
    result = act(made, Conversation(PROTOCOL, [lambda: first, lambda: other], 1, {}), "two")
    assert result.text == "seen\nThe episode is over: it may take no more steps."
    assert shade(result) == shade(Result("", [first])) + 2
    with pytest.raises(ToolError, match="not the start of an episode"):
        act(made, Conversation(PROTOCOL, [], 1, {}), "one")


def test_without_gymnasium_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="the tool go needs gymnasium, of the extra gym"):
        Stepped("go", "FrozenLake-v1", "Go.")


@pytest.mark.parametrize(
    ("space", "value", "wrong"),
    [
        (gymnasium.spaces.Box(-1, 1, (2,), np.float32), [0.3, -1], [0.5, 2]),
        (gymnasium.spaces.Text(5), "abc", "a" * 6),
        (gymnasium.spaces.Dict({"go": gymnasium.spaces.Discrete(2)}), {"go": 0}, {"go": 1, "on": 1}),
        (gymnasium.spaces.Dict({"go": gymnasium.spaces.Discrete(2)}), {"go": 1.0}, {"go": 0.5}),
        (gymnasium.spaces.Tuple((gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(3))), [1, 2], [1]),
        (gymnasium.spaces.Box(0, 255, (1,), np.uint8), [255.0], [1.5]),  # JSON schemas take 255.0 for an integer
        (gymnasium.spaces.Box(np.float32(0.1), np.float32(0.7), (2,)), [0.1, 0.7], [0.1, 0.75]),  # 0.7 is not 32 bits
        (gymnasium.spaces.MultiDiscrete([2, 3]), [1.0, 2], [1.5, 2]),
        (gymnasium.spaces.MultiDiscrete([2, 3]), [0, 0], [10**30, 0]),
        (gymnasium.spaces.MultiDiscrete([2, 3], start=[5, 1]), [6, 3], [0, 0]),
        (gymnasium.spaces.MultiDiscrete([2, 3]), [1, 2], [2, 0]),
        (gymnasium.spaces.MultiBinary([2, 2]), [[0, 1], [1, 1]], [[0, 1], [1, 2]]),
        (gymnasium.spaces.Text(5, charset="a-]^"), "]a^-", "b"),
        (gymnasium.spaces.Text(3), "Az9", "a.b"),
        (gymnasium.spaces.Box(np.array([0, -1.0]), np.array([1, np.inf])), [0.5, 90], [0.5, -2]),
    ],
)
def test_actions_of_each_space(space: Any, value: object, wrong: object) -> None:
    """Of gymnasium 1.4.0: the schema allows what the space takes, and no more."""
    assert space.contains(spaces.action(space, value))
    schema = spaces.schema(space)
    assert (schema["type"], schema.get("required")) in (("array", None), ("string", None), ("object", ["go"]))
    validator = jsonschema.Draft202012Validator(schema)
    assert (validator.is_valid(value), validator.is_valid(wrong), taken(space, wrong)) == (True, False, False)


def taken(space: Any, value: object) -> bool:
    try:
        return bool(space.contains(spaces.action(space, value)))
    except ToolError:
        return False


@pytest.mark.parametrize(
    ("observation", "mode", "rendered", "text", "sizes"),
    [
        ("go left", "rgb_array", np.zeros((6, 8, 3), np.uint8), "go left", [(8, 6)]),
        ({"map": np.zeros((6, 8), np.uint8), "say": "go"}, None, None, "go", [(8, 6)]),
        (3, "ansi", "\n  S\x1b[41mF\x1b[0mH\n", "  S[F]H", []),
        (np.zeros((1, 1, 3)), None, None, "[[[0.0, 0.0, 0.0]]]", []),  # numbers, no bytes
    ],
)
def test_images_and_texts_of_an_observation_are_shown(
    observation: object, mode: str | None, rendered: object, text: str, sizes: list[tuple[int, int]]
) -> None:
    shown = seen.seen(SimpleNamespace(render_mode=mode, render=lambda: rendered), observation)
    assert (shown.text, [image.size for image in shown.images]) == (text, sizes)
    assert {image.mode for image in shown.images} <= {"RGB"}


def sample_of(made: Stepped, before: list[str], done: list[tuple[str, str]]) -> Any:
    """A rollout whose prompt has these actions, and the calls of tools by name that followed."""
    calls = [Call("add", arguments={"action": action}) for action in before]
    later = [Call(name, arguments={"action": action}) for name, action in done]
    image = SimpleNamespace(pixels=lambda: SimpleNamespace(pixels=made.first(5)))
    prompt = SimpleNamespace(calls=[SimpleNamespace(call=call) for call in calls], images=[image, None])
    return SimpleNamespace(prompt=prompt, done=[SimpleNamespace(call=call) for call in (*later, None)])


def test_a_reward_counts_actions_of_the_prompt_and_of_no_other_tool() -> None:
    made = tool()
    played = made.episode(sample_of(made, ["one"], [("search", "two"), ("add", "one")]))
    assert played.rewards == (1.0, 1.0)
    assert made.episode(sample_of(made, [], [("search", "two")])) == Episode((), False, False)


def test_an_action_that_fails_has_no_reward() -> None:
    made = tool(lambda: 1 / 0)
    played = made.played(made.first(5), ["one", "two", "one"])
    assert (played.rewards, played.terminated) == ((1.0,), False)
    assert "ZeroDivisionError" in str(played.fault)


def test_gymnasiums_own_environment() -> None:
    made = Stepped("go", "FrozenLake-v1", "Move.", {"render_mode": "ansi"})
    first, kept = made.first(3), dict[str, Any]()
    talk = Conversation(PROTOCOL, [lambda: first], 1, kept)
    beside = gymnasium.make("FrozenLake-v1", render_mode="ansi")
    beside.reset(seed=3)
    for action in (1, 2):
        beside.step(action)
        text = made.apply_to_all(Call("go", arguments={"action": action}), talk).text
        assert "".join(text.split()).replace("[", "").replace("]", "") in _bare(beside.render())


def _bare(text: str) -> str:
    import re

    return "".join(re.sub(r"\x1b\[[0-9;]*m", "", text).replace("[", "").replace("]", "").split())
