"""What trackers get of a step's rollouts, before any of them is called."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tracked import BOXES, REPLIES, SHEET, make_rollout

from virc_extras.trackers import rollouts
from virc_extras.trackers.rollouts import TrackedRollout


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str, int, Sequence[TrackedRollout]]]:
    """What the tracker `mlflow` is given; `wandb` fails."""
    found: list[tuple[Any, str, int, Sequence[TrackedRollout]]] = []

    def fails(*given: object) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(rollouts, "TRACKERS", {"wandb": fails, "mlflow": lambda *given: found.append(given)})
    return found


def test_a_rollout_is_one_picture_with_boxes_replies_and_reward(logged: list[Any], tmp_path: Path) -> None:
    rollouts.log({"console": None, "mlflow": "adapter"}, "val/rollouts", 5, [make_rollout(tmp_path)], tmp_path)
    [(adapter, name, step, [tracked])] = logged
    assert (adapter, name, step) == ("adapter", "val/rollouts", 5)
    assert (tracked.sheet.size, tracked.boxes) == (SHEET, BOXES)
    assert tracked.text == "\n\n".join(("reward 0.5 (format 1, answer 0)", "How many?", *REPLIES))
    red = (255, 0, 0)
    assert [tracked.drawn.getpixel(at) == red for at in ((150, 100), (335, 100), (330, 100))] == [True, True, False]
    assert tracked.sheet.getpixel((150, 100)) != red


def test_what_cannot_be_logged_is_printed_and_ends_no_run(
    logged: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost, there = make_rollout(tmp_path, "gone.png"), make_rollout(tmp_path)
    rollouts.log({"wandb": None, "mlflow": None}, "train/rollouts", 2, [lost, *[there] * 9], tmp_path)
    assert [len(tracked) for *_, tracked in logged] == [rollouts.MAX_ROLLOUTS - 1]
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("virc: a rollout cannot be shown in the trackers: ")
    assert second == "virc: wandb does not take the rollouts of step 2: no answer"


def test_nothing_is_opened_where_no_tracker_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rollouts.log({"console": None, "file": None}, "val/rollouts", 1, [make_rollout(tmp_path, "gone.png")], tmp_path)
    assert capsys.readouterr().out == ""
