"""Curves of healthy runs raise no sign at any step, and those of sick runs exactly theirs."""

import math
import random
from collections.abc import Callable
from typing import Any

from support.tables import each_case

from virc.runs.metrics import Metric
from virc.training.health import signs

Curve = Callable[[int], dict[str, Any]]
RL = {"rollout": "multi_turn", "max_turns": 8, "max_grad_norm": 1.0}
DPO = {"loss": "sigmoid", "max_grad_norm": 1.0}


def noise(step: int, size: float, of: str = "") -> float:
    """A number around 0, the same for the same step."""
    return random.Random(f"{of}{step}").gauss(0, size)


def rollouts(**fields: Curve) -> Curve:
    """Steps of RL that are healthy but for these fields."""

    def at(step: int) -> dict[str, Any]:
        healthy = {
            "reward": 0.3 + 0.4 * (1 - math.exp(-step / 60)) + noise(step, 0.05), "reward_max": 1.0,
            "response_length": 300.0, "tool_calls": 1.5 + noise(step, 0.3, "t"), "same": 0.4, "cut": 0.03,
            "malformed": abs(noise(step, 0.05, "m")), "correlation": 0.998, "entropy": 0.5 + 0.3 * math.exp(-step / 40),
            "grad_norm": 0.4 * math.exp(noise(step, 0.5, "g")), "turns": 2.5, "judge_failures": 0.0,
        }  # fmt: skip
        return {**healthy, **{name: field(step)[name] for name, field in fields.items()}}

    return at


def field(name: str, value: Callable[[int], float | None]) -> Curve:
    return rollouts(**{name: lambda step: {name: value(step)}})


def rows(loss: Callable[[int], float], grad_norm: Callable[[int], float] = lambda step: 1.0) -> Curve:
    return lambda step: {"loss": loss(step), "grad_norm": grad_norm(step), "learning_rate": 1e-5}


def pairs(
    accuracy: Callable[[int], float], margin: Callable[[int], float], chosen: Callable[[int], float] = lambda step: -0.1
) -> Curve:
    def at(step: int) -> dict[str, Any]:
        sides = {"accuracy": accuracy(step), "margin": margin(step), "chosen_reward": chosen(step)}
        return {**rows(lambda step: max(0.1, 0.69 - margin(step) / 4 + noise(step, 0.05)))(step), **sides}

    return at


def learnt(step: int) -> float:
    return 0.4 + 2 * math.exp(-step / 30)


def some(step: int, count: int, chance: float) -> float:
    """The share of so many that have a chance, drawn by the step."""
    draw = random.Random(step)
    return sum(draw.random() < chance for _ in range(count)) / count


def right(step: int) -> float:
    """The share of 8 pairs a step that are told apart, of more and more."""
    return some(step, 8, 0.5 + 0.3 * (1 - math.exp(-step / 40)))


def told(curve: Curve, count: int, settings: dict[str, Any], each: bool = False) -> list[dict[str, str]]:
    """The signs at the end of a run, or at each of its steps."""
    steps = [Metric(step=step, **curve(step)) for step in range(1, count + 1)]
    ends = range(1, count + 1) if each else [count]
    return [{**signs(steps[:end], settings, with_tools=True)} for end in ends]


HEALTHY: dict[str, tuple[Curve, dict[str, Any]]] = {
    "rl that learns": (rollouts(), RL),
    "rl that has learnt all": (
        rollouts(reward=lambda step: {"reward": min(1.0, 0.5 + step / 100)},
                 entropy=lambda step: {"entropy": 0.4 * math.exp(-step / 20)}), RL),
    "rl with rewards below 0": (field("reward", lambda step: -0.5 + step / 500 + noise(step, 0.1)), RL),
    "rl whose rows get harder": (field("reward", lambda step: 0.8 if step < 60 else 0.1), {
        **RL, "curriculum": {"column": "level"}}),
    "rl with a KL that grows": (field("kl", lambda step: 0.002 * step**0.7), RL),
    "rl with long gradients now and then": (field("grad_norm", lambda step: 30.0 if step % 17 == 0 else 0.5), RL),
    "rl validated on 50 rows": (field("validation", lambda step: some(step, 50, 0.4) if step % 5 == 0 else None), RL),
    "sft": (rows(lambda step: learnt(step) * math.exp(noise(step, 0.1))), {}),
    "sft of one row a step": (rows(lambda step: learnt(step) * math.exp(noise(step, 0.6))), {}),
    "sft with a spike of one step": (rows(lambda step: 9.0 if step == 80 else learnt(step) + noise(step, 0.05)), {}),
    "sft that knows its rows": (rows(lambda step: 3 * math.exp(-step / 10) + abs(noise(step, 0.01)),
                                     lambda step: 5 * math.exp(-step / 30)), {}),
    "sft whose rows get harder": (rows(lambda step: 0.2 if step < 60 else 2.0), {"curriculum": {"column": "level"}}),
    "dpo": (pairs(right, lambda step: step / 60, lambda step: -step / 60), DPO),
    "orpo": (pairs(lambda step: 1.0, lambda step: 0.2, lambda step: -9.0), {"loss": "orpo"}),
}  # fmt: skip


SICK: dict[str, tuple[Curve, dict[str, Any], str]] = {
    "never a call": (field("tool_calls", lambda step: 0.0), RL, "tools"),
    "all replies alike": (field("same", lambda step: min(0.99, step / 100)), RL, "variance"),
    "replies at the limit of tokens": (field("cut", lambda step: min(0.9, step / 200)), RL, "length"),
    "entropy at 0": (field("entropy", lambda step: 0.6 * math.exp(-step / 20)), RL, "entropy"),
    "entropy grows into noise": (field("entropy", lambda step: 0.3 * math.exp(step / 40)), RL, "entropy"),
    "KL jumps to billions": (field("kl", lambda step: 1e9 if step > 100 else 0.01), RL, "kl"),
    "the reward collapses": (field("reward", lambda step: 0.6 if step < 100 else 0.05), RL, "reward"),
    "the reward is tricked": (
        rollouts(reward=lambda step: {"reward": step / 150},
                 validation=lambda step: {"validation": 0.6 - step / 400 if step % 10 == 0 else None}), RL, "reward"),
    "sampler far from trainer": (field("correlation", lambda step: 0.95), RL, "correlation"),
    "a judge that says one thing": (field("judge_same", lambda step: 1.0), RL, "judge"),
    "the loss rises": (rows(lambda step: learnt(step) if step < 90 else 0.5 + (step - 90) / 20), {}, "loss"),
    "gradients of SFT grow": (rows(learnt, lambda step: math.exp(step / 20)), {}, "gradient"),
    "sides that are the same": (pairs(lambda step: 0.0, lambda step: 0.0), DPO, "pairs"),
    "both sides fall": (pairs(right, lambda step: 0.3, lambda step: -step / 15), DPO, "chosen"),
    "pairs of KTO fall": (pairs(right, lambda step: 0.1, lambda step: -8.0), {"loss": "kto"}, "chosen"),
}  # fmt: skip


@each_case("name", HEALTHY)
def test_a_healthy_curve_raises_no_sign_at_any_step(name: str) -> None:
    curve, settings = HEALTHY[name]
    assert told(curve, 150, settings, each=True) == [{}] * 150


@each_case("name", SICK)
def test_a_sick_curve_raises_its_sign_and_no_other(name: str) -> None:
    curve, settings, sign = SICK[name]
    (found,) = told(curve, 150, settings)
    assert list(found) == [sign], found
    assert any(each.isdigit() for each in found[sign])
