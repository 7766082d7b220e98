"""`virc runs diagnose` gives one verdict, at most three causes with what was seen, and what to set."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.called import virc
from support.made import add, make, write_log
from test_signs import HEALTHY, SICK

from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.metrics import Metric
from virc.runs.run import Run
from virc.stages import dpo, rl, sft
from virc.training import health
from virc.training.diagnosis import _CAUSES, _answer, diagnose
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


@pytest.mark.parametrize("name", SICK)
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


def test_of_two_signs_the_likeliest_cause_of_each_comes_first(workspace: Path) -> None:
    run = make(workspace, "a", kind="rl", settings=msgspec.to_builtins(CONFIGS["rl"]), origins={})
    add(
        run,
        *(Metric(step=step, reward=0.5, grad_norm=1.0, response_length=9.0, same=0.9, cut=0.5) for step in range(1, 9)),
    )
    found = diagnose(run)
    assert found.verdict.endswith("so nothing is learned from them; also length")
    settings = [cause.answer.removeprefix("--set ").partition("=")[0] for cause in found.causes]
    assert settings == ["dynamic_sampling", "response_length", "n"]


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


def test_a_setting_that_was_given_is_the_likeliest_cause(workspace: Path) -> None:
    run = trained(workspace, "the reward collapses", clip_high="--set")
    assert [cause.answer for cause in diagnose(run).causes] == [
        "--set clip_high=0.2", "--set learning_rate=3e-7", "--set kl_loss_coef=0.001",
    ]  # fmt: skip


def test_a_setting_that_is_right_already_is_no_answer(workspace: Path) -> None:
    run = trained(workspace, "all replies alike")
    assert [cause.answer for cause in diagnose(run).causes] == ["--set dynamic_sampling=true", "--set n=16"]
    assert _answer("epochs", 1, "*0.5") is None, "there is no training of 0 epochs"
    assert _answer("lora.rank", 3, "*0.5") == "--set lora.rank=2"
    assert _answer("kl_loss_coef", 0.0, "*10") is None, "ten times nothing is nothing"


@pytest.mark.parametrize(
    ("state", "steps", "verdict", "cause"),
    [
        ({"progress": "failed", "error": "verl failed: the disk is full"}, 3, "a failed at step 3", "disk is full"),
        ({"progress": "died"}, 3, "a died at step 3", "its process is gone"),
        ({"progress": "failed", "error": "LLaMA-Factory failed: training diverged: the loss of step 4 is nan"}, 3,
         "the loss of step 4 is nan", "the steps are too large"),
        ({"progress": "running"}, 0, "a has logged no step", None),
        ({"progress": "running"}, 3, "nothing is wrong with a in 3 logged steps", None),
        ({"progress": "stopped"}, 3, "nothing is wrong with a", None),
    ],
)  # fmt: skip
def test_how_a_run_ended_is_in_the_verdict(
    workspace: Path, state: dict[str, Any], steps: int, verdict: str, cause: str | None
) -> None:
    run = make(workspace, "a", settings=msgspec.to_builtins(CONFIGS["sft"]))
    add(run, *(Metric(step=step, loss=1 / step, learning_rate=1e-5) for step in range(1, steps + 1)))
    write_log(run, 1, "the end")
    alive = runs.this_process() if state["progress"] == "running" else {}
    runs.write_state(run, attempt=1, step=steps, **state, **alive)
    done = virc("runs", "diagnose", "a")
    assert verdict in done.out
    assert (done.code, "1. " in done.out) == ((7, True) if cause else (0, False)), done.err
    assert not cause or f"1. {cause}" in done.out or cause in done.out


@pytest.mark.parametrize(("rate", "answer"), [(5e-6, "5e-7"), (2e-2, "0.001"), (1e30, "0.001")])
def test_a_loss_that_is_no_number_is_divergence(rate: float, answer: str, workspace: Path) -> None:
    config = msgspec.structs.replace(CONFIGS["sft"], learning_rate=rate)
    run = make(workspace, "a", settings=msgspec.to_builtins(config), origins={})
    add(run, Metric(step=10, loss=1.0, learning_rate=1e-5), Metric(step=20, learning_rate=1e-5))
    add(run, Metric(step=20, eval_loss=1.0))
    found = diagnose(run)
    assert list(found.signs) == ["diverged"]
    assert found.signs["diverged"].endswith(" of step 20 is no number")
    assert found.causes[0].answer == f"--set learning_rate={answer}"


@pytest.mark.parametrize("progress", ["finished", "stopped"])
def test_rows_known_by_heart_are_a_sign_of_a_run_at_its_end(progress: str, workspace: Path) -> None:
    run = make(workspace, "a", settings=msgspec.to_builtins(CONFIGS["sft"]), origins={})
    add(run, *(Metric(step=step, loss=0.1, learning_rate=1e-5) for step in (1, 2)), Metric(step=2, eval_loss=0.9))
    runs.write_state(run, progress=progress)
    found = diagnose(run)
    assert list(found.signs) == ["by heart"] * (progress == "finished")
    assert not found.signs or "have a loss of 0.1 at the end, held-out ones 0.9" in found.signs["by heart"]


def test_each_sign_has_causes_and_each_setting_exists() -> None:
    named = {name for row in _CAUSES for name in row[0].split(", ")}
    signs = {sign for of_kind in sft.SIGNS.values() for sign in of_kind} - {"entropy"}
    assert named == signs | {"diverged", "by heart", "entropy fell", "entropy rose"}
    known = {field for config in CONFIGS.values() for field in config.__struct_fields__}
    assert {row[1].split(".")[0] for row in _CAUSES} - known == {""}
