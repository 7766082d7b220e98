"""The measure of how fast the plain loop reaches the published figure, with few steps and problems."""

from pathlib import Path

import pytest

from tiny import figure, loop


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_seed_is_trained_asked_and_not_trained_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [figure.Phase("sight", 2, 2e-3), figure.Phase("read", 2, 2e-3)]
    a_round, control = figure.Phase("sft", 1, 6e-4), figure.Phase("direct", 1, 6e-4)

    def found() -> dict[str, object]:
        return dict(figure.figures(tmp_path, 1, "cpu", True, few, a_round, control, 2, (3, 3)))

    first = found()
    assert first["minutes_to_figure"] is None, "five steps teach nothing"
    assert first["right"] == 0
    assert isinstance(first["control"], dict)
    assert (tmp_path / "seed-1" / "round-1" / "0-sft" / "model.safetensors").is_file()
    monkeypatch.setattr(loop, "train", None)
    assert found() == first


def test_the_control_has_as_many_rows_as_the_model_had() -> None:
    task, rows = loop.TASKS["direct"][0], loop.TASKS["direct"][1]
    start, end = (shares["direct"] for shares in loop.PHASES["direct"])
    assert task is not None
    assert figure.CONTROL.steps * rows * (start + end) / 2 == pytest.approx(figure.CONTROL_ROWS, rel=0.001)


@pytest.mark.integration
def test_seeds_at_once_are_those_of_one_at_a_time() -> None:
    assert list(figure.each(_squared, 3, 2)) == list(figure.each(_squared, 3, 1))


def _squared(seed: int) -> dict[str, int]:
    return {"seed": seed, "squared": seed**2}
