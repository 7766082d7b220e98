"""`virc runs diagnose` gives one verdict, at most three causes with what was seen, and what to set."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.called import virc
from support.made import add, make
from test_signs import HEALTHY, SICK

from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.metrics import Metric
from virc.runs.run import Run
from virc.stages import dpo, rl, sft
from virc.training import health
from virc.training.diagnosis import diagnose
from virc.training.health import Note

CONFIGS: dict[str, Any] = {
    "rl": rl.Config(data="rows", rollout="multi_turn", max_turns=8),
    "dpo": dpo.Config(data="rows", learning_rate=5e-6),
    "sft": sft.Config(data="rows", learning_rate=5e-6),
}


def trained(workspace: Path, name: str, **origins: str) -> Run:
    """A run that has finished with a curve."""
    curve, given = ({**HEALTHY, **SICK}[name])[:2]
    kind = "rl" if "rollout" in given else "dpo" if "loss" in given else "sft"
    settings = msgspec.to_builtins(CONFIGS[kind]) | ({"loss": given["loss"]} if kind == "dpo" else {})
    run = make(workspace, "a", kind=kind, settings=settings, origins=origins)
    (run.folder / FILE_NAME).write_text('{"tools": ["crop_image"]}')
    add(run, *(Metric(step=step, **curve(step)) for step in range(1, 151)))
    runs.write_state(run, progress="finished", step=150, total=150)
    return run


@pytest.mark.parametrize("name", [*SICK][::4])
def test_a_sick_run_has_causes_with_what_was_seen_and_what_to_set(workspace: Path, name: str) -> None:
    found = diagnose(trained(workspace, name))
    assert (found.healthy, list(found.signs)) == (False, [SICK[name][2]])
    assert found.verdict == "{}: {}".format(*next(iter(found.signs.items())))
    assert 2 <= len(found.causes) <= 3
    for cause in found.causes:
        assert found.signs[SICK[name][2]] in cause.seen
        if cause.answer.startswith("--set reward.total"):
            continue
        setting = cause.answer.removeprefix("--set ").split("=")[0]
        assert not cause.answer.startswith("--set ") or f"{setting} is " in cause.seen
    assert len({cause.answer.partition("=")[0] for cause in found.causes}) == len(found.causes)


def test_a_run_that_failed_has_its_error_before_the_causes_of_its_signs(workspace: Path) -> None:
    run = make(workspace, "a", kind="rl", settings=msgspec.to_builtins(CONFIGS["rl"]), origins={})
    add(run, *(Metric(step=step, reward=0.5, grad_norm=1.0, response_length=9.0, same=0.9) for step in range(1, 5)))
    runs.write_state(run, progress="failed", step=3, attempt=2, error="verl failed: training diverged: the gradient")
    found = diagnose(run)
    assert list(found.signs) == ["diverged", "variance"]
    runs.write_state(run, error="the disk is full")
    told, plain = virc("runs", "diagnose", "a", "--json"), virc("runs", "diagnose", "a")
    assert (told.code, plain.code, told.json["healthy"]) == (7, 7, False)
    first, second, _ = diagnose(run).causes
    assert (first.says, first.seen) == ("the disk is full", "it ended after step 3")
    assert first.answer == f"see {run.log(2)}"
    assert second.answer == "--set dynamic_sampling=true"


@pytest.mark.parametrize("name", ["rl that learns", "sft", "dpo"])
def test_a_healthy_run_says_what_was_looked_at(workspace: Path, name: str) -> None:
    run = trained(workspace, name)
    ended: tuple[sft.Health, ...] = ("loss", "gradient")
    for sign in ended:
        health.write(run, [Note(7, sign, True, "it rose"), Note(9, sign, False, "")])
    done = virc("runs", "diagnose", "a", "--json")
    assert (done.code, done.json["healthy"], done.json["causes"], done.json["error"]) == (0, True, [], None)
    assert done.json["verdict"].startswith("nothing is wrong with a in 150 logged steps; it was looked at for ")
    kind = "rl" if name.startswith("rl") else name
    assert done.json["verdict"].endswith(f"for {', '.join(sft.SIGNS[kind])}; gradient, loss began and ended")
    norms = [HEALTHY[name][0](step)["grad_norm"] for step in (1, 2, 3, 148, 149, 150)]
    assert done.json["looked_at"]["grad_norm"] == pytest.approx([sum(norms[:3]) / 3, sum(norms[3:]) / 3])
