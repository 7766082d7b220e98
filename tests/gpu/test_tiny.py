"""The model in the package on an accelerator: it answers as on the CPU, and learns as there."""

from itertools import islice
from pathlib import Path

import pytest

from virc.evaluation.benchmarks import diagrams
from virc.models.load import Choice, open_model
from virc.reasoning.images import open_file
from virc.solving.image_source import source_of
from virc.solving.one import SolveConfig, solve

COUNT = 40


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def test_answers_are_those_of_the_cpu(device: str, tmp_path: Path) -> None:
    rows = list(islice(diagrams.rows(tmp_path, None), COUNT))
    answers: dict[str, list[str | None]] = {}
    for number, where in enumerate((device, "cpu")):
        opened = open_model(Choice(model="tiny", device=where))
        pictures = [open_file(*source_of(row.images[0])) for row in rows]
        answers[f"{number}"] = [
            solve(SolveConfig(), opened.backend, opened.chat_protocol, [picture], row.question).answer
            for row, picture in zip(rows, pictures, strict=True)
        ]
    assert answers["0"] == answers["1"]
    right = sum(given == row.passed["answer"] for given, row in zip(answers["0"], rows, strict=True))
    assert right >= 0.8 * COUNT
