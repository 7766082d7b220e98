"""Rows of `tiny`, VLM-R3 and Visual-RFT in one run of the real verl, on `tiny`: each rewarded as its system says."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rl_engine import TINY, child
from support import system_rows, workspaces

from virc.models.chat_protocol import of_system
from virc.reasoning.messages import FormatError, Turn, parse
from virc.systems import registry as systems

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

STEPS, BATCH, SAMPLES = 1, 6, 4
SETTINGS = {"sources": "[vlm-r3,visual-rft]", "steps": STEPS, "save_steps": STEPS, "train_batch_size": BATCH,
            "ppo_mini_batch_size": BATCH,
            "micro_batch_size_per_device": BATCH, "n": SAMPLES, "rollouts": 1, "response_length": 256,
            "temperature": 1.5, "frozen_modules": "[vision,projector]"}  # fmt: skip
"""So warm that replies to one problem differ, and not so warm that `tiny` seldom gets to a second turn."""
Trace = dict[str, Any]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def rows(workspace: Path) -> list[system_rows.Row]:
    return system_rows.problems(workspace / "data")


@pytest.fixture(scope="module")
def run(workspace: Path, rows: list[system_rows.Row]) -> Path:
    words = ("--from", "tiny", "--with", "multi-turn", "--data", "data/mixed.jsonl")
    return workspaces.trained(workspace, "tiny", "rl", *words, **SETTINGS)


@pytest.fixture(scope="module")
def traces(run: Path) -> list[Trace]:
    """The rollouts that the run left."""
    return [json.loads(file.read_bytes()) for file in sorted((run / "rollouts").glob("step_*/*/trace.json"))]


def system_of(trace: Trace) -> str:
    """Whose words a rollout is in."""
    named = {name: of_system(systems.get(name)).first for name in ("vlm-r3", "visual-rft")}
    first = trace["protocol"]["first"]
    return next((name for name, text in named.items() if text == first), "tiny")


def means(units: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean of each term over the units that it applies to."""
    values = {name: [unit[name] for unit in units] for name in units[0]}
    known = {name: [value for value in each if value is not None] for name, each in values.items()}
    return {name: sum(each) / len(each) for name, each in known.items() if each}


def texts_of(trace: Trace) -> list[str]:
    return [each["text"] for each in (*trace["units"], *trace["pending"])]


def turn_of(text: str, system: str) -> Turn | None:
    """A reply as its system reads it; None where it cannot, which VLM-R3 tells the model."""
    try:
        return parse(text, of_system(systems.get(system)).grammar)
    except FormatError:
        return None


def of_tiny(trace: Trace, right: bool) -> tuple[float, dict[str, float]]:
    """The total `outcome`: format, and whether the answer is right."""
    refused = len(trace["pending"])
    units: list[dict[str, float | None]] = [
        {"format": 1.0, "answer": None if unit["answer"] is None else float(right)} for unit in trace["units"]
    ] + [{"format": 0.0, "answer": None}] * refused
    return float(right and not refused), means(units)


def of_visual_rft(trace: Trace, right: bool) -> tuple[float, dict[str, float]]:
    """The total `visual_rft`, of answers without a box: the format alone."""
    (text,) = texts_of(trace)
    framed = float(bool(re.fullmatch(r"<think>.*</think>\s*<answer>.*</answer>", text, re.DOTALL)))
    return framed, {"framed": framed, "matching": 0.0, "confidence": 0.0}


RECOMPUTED = {"tiny": of_tiny, "visual-rft": of_visual_rft}
OF_VLM_R3 = {"answer", "closed", "looked", "shortest"}
"""The terms of the total `vlm_r3`, which recorded cases of its program show: tests/zoo/test_published_rewards.py."""


def test_every_reward_is_that_of_its_rows_system(traces: list[Trace], rows: list[system_rows.Row]) -> None:
    answers = {(row["question"], row.get("data_source", "tiny")): row["answer"] for row in rows}
    left = Counter(map(system_of, traces))  # of each system two prompts, where a step had two
    assert left.keys() == {*RECOMPUTED, "vlm-r3"}
    assert {count % SAMPLES for count in left.values()} == {0}
    assert sum(left.values()) >= (BATCH - 1) * SAMPLES
    for trace in traces:
        system = system_of(trace)
        if system == "vlm-r3":
            assert "closed" in trace["terms"].keys() <= OF_VLM_R3
            assert 0 <= trace["reward"] <= 2.1
            continue
        right = trace["answer"] == answers[trace["question"], system]
        reward, terms = RECOMPUTED[system](trace, right)
        if system == "visual-rft":
            assert not any("Position" in text for text in texts_of(trace))
        assert trace["terms"] == pytest.approx(terms), (system, texts_of(trace))
        assert trace["reward"] == pytest.approx(reward), (system, texts_of(trace))


def test_each_system_answers_in_its_own_grammar_and_turns(traces: list[Trace]) -> None:
    turns: Counter[str] = Counter()
    for trace in traces:
        system = system_of(trace)
        name = "virc" if system == "tiny" else system
        protocol = of_system(systems.get(name))
        for unit in trace["units"]:
            read = turn_of(unit["text"], name)
            if read is None:
                assert [each["call"] for each in unit["results"]] == [None]
                assert protocol.errors == "show"
                continue
            assert (read.think, read.answer) == (unit["think"], unit["answer"])
            assert {tool.name for tool in read.calls} <= {*protocol.tools}
        turns[system] = max(turns[system], len(texts_of(trace)))
    assert turns["visual-rft"] == 1
    assert turns["tiny"] > 1


def test_learning_is_finite_and_changes_the_weights_that_are_not_frozen(run: Path) -> None:
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [each["step"] for each in steps] == [*range(1, STEPS + 1)]
    for each in steps:
        assert all(math.isfinite(value) for value in each.values() if isinstance(value, float))
        assert each["correlation"] > 0.99
        assert each["grad_norm"] > 0
        assert {"answer", "format", "closed", "looked", "shortest", "framed", "matching", "confidence"} >= set(
            each["terms"]
        )
    parts = child("weights_child.py", TINY, run / "checkpoints" / f"global_step_{STEPS}")["parts"]
    assert parts["language"]["change"] > 0
    for frozen in ("vision", "projector"):
        assert parts[frozen]["equal"] == parts[frozen]["weights"] > 0


def test_the_run_keeps_the_chat_protocol_and_the_reward_of_each(run: Path) -> None:
    for name, total in (("vlm-r3", "vlm_r3"), ("visual-rft", "visual_rft")):
        folder = run / "sources" / name
        told = json.loads((folder / "reward.json").read_bytes())
        assert told["reward"]["total"] == total
        spoken = json.loads((folder / "virc_protocol.json").read_bytes())
        assert spoken["first"] == of_system(systems.get(name)).first
