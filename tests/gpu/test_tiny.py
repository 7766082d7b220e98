"""The model in the package on an accelerator: it answers as on the CPU, and learns as there."""

import json
from itertools import islice
from pathlib import Path

import pytest

from tiny import loop
from virc.evaluation.benchmarks import diagrams
from virc.models.load import Choice, open_model
from virc.reasoning.images import open_file
from virc.solving.image_source import file_of
from virc.solving.one import SolveConfig, solve

COUNT = 40
NEAR = {"cpu": 0.0, "cuda": 1e-3}
"""How far the loss of a step may be off that on the CPU, as a share of it."""


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def test_answers_are_those_of_the_cpu(device: str, tmp_path: Path) -> None:
    rows = list(islice(diagrams.rows(tmp_path, None), COUNT))
    answers: dict[str, list[str | None]] = {}
    for number, where in enumerate((device, "cpu")):
        opened = open_model(Choice(model="tiny", device=where))
        pictures = [open_file(*file_of(row.images[0])) for row in rows]
        answers[f"{number}"] = [
            solve(SolveConfig(), opened.backend, opened.chat_protocol.protocol, [picture], row.question).answer
            for row, picture in zip(rows, pictures, strict=True)
        ]
    assert answers["0"] == answers["1"]
    right = sum(given == row.passed["answer"] for given, row in zip(answers["0"], rows, strict=True))
    assert right >= 0.8 * COUNT


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
@pytest.mark.parametrize("phase", ["sight", "sft"])
def test_the_training_loop_has_the_losses_of_the_cpu(device: str, phase: str, tmp_path: Path) -> None:
    losses = []
    for number, where in enumerate((device, "cpu")):
        out = tmp_path / str(number)
        loop.train(out, steps=11, phase=phase, seed=5, device=where)
        losses.append([json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()])
    assert len(losses[0]) == 2
    assert losses[0][0] == pytest.approx(losses[1][0], rel=NEAR[device])
    assert losses[0][1] == pytest.approx(losses[1][1], rel=50 * NEAR[device])
