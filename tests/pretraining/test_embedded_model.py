"""The model in the package does what its card says: reads crops, refuses strangers, fits the package."""

import json
import random
from pathlib import Path

import pytest
from PIL import Image

from virc_recipes.backends.local import load
from virc_recipes.data import diagrams, unfamiliar
from virc_recipes.pretraining import measure

FOLDER = Path(measure.__file__).parents[1] / "models" / "tiny"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny():  # type: ignore[no-untyped-def]
    return load(FOLDER, device="cpu")


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = json.loads((FOLDER / "measured.json").read_text())
    return figures


def test_weights_fit_the_package() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 4_000_000


def test_accuracy_on_unseen_diagrams_is_within_what_the_card_says(tiny, measured) -> None:  # type: ignore[no-untyped-def]
    figures = measure.tools(tiny, measure.heldout(100, seed=7))
    low, _ = measured["tools"]["interval_95"]  # type: ignore[misc]
    assert figures["interval_95"][1] >= low, figures
    assert figures["refused"] <= 0.05


def test_answers_follow_the_crops_to_a_twin(tiny) -> None:  # type: ignore[no-untyped-def]
    assert measure.twin(tiny, measure.heldout(40, seed=8))["interval_95"][1] >= 0.8


def test_blank_crops_leave_guessing(tiny) -> None:  # type: ignore[no-untyped-def]
    figures = measure.blank(tiny, measure.heldout(40, seed=9))
    assert figures["share"] <= figures["commonest_answer"] + 0.05, figures


def test_strangers_are_refused(tiny) -> None:  # type: ignore[no-untyped-def]
    assert measure.refusals(tiny, 60)["interval_95"][1] >= 0.95


def test_the_published_sample_is_refused(tiny, sample) -> None:  # type: ignore[no-untyped-def]
    with Image.open(sample / "image.png") as picture:
        assert measure.answer(tiny, picture.convert("RGB"), "Find angle H. Choices: 97 102 107 122") is None


def test_a_corner_that_is_not_there_gets_no_number(tiny) -> None:  # type: ignore[no-untyped-def]
    rng, told = random.Random(10), []
    for diagram in measure.heldout(20, seed=10):
        missing = rng.choice(
            [c for c in diagrams.NAMES if c not in {corner.letter for corner in diagram.corners}]
        )
        told.append(measure.answer(tiny, diagrams.draw(diagram), f"Find angle {missing}."))
    assert sum(answer is not None for answer in told) <= 4, told


def test_figures_in_the_readmes_are_the_measured_ones(measured) -> None:  # type: ignore[no-untyped-def]
    for file in (ROOT / "README.md", FOLDER / "README.md"):
        text = file.read_text()
        low, high = measured["tools"]["interval_95"]  # type: ignore[misc]
        assert f"{measured['tools']['share']:.1%}" in text, file
        assert f"{low:.1%} to {high:.1%}" in text, file


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_figure_of_the_card_comes_out_again(measured) -> None:  # type: ignore[no-untyped-def]
    again = measure.measure(FOLDER, 500)
    for name in ("tools", "twin", "blank", "unfamiliar"):
        assert again[name]["share"] == pytest.approx(measured[name]["share"], abs=0.03), name


def test_unfamiliar_pictures_are_a_tenth_of_what_it_learns() -> None:
    from virc_recipes.pretraining.loop import PHASES

    for mix in PHASES["sft"]:
        assert mix["refusal"] / sum(mix.values()) >= 0.1
    assert unfamiliar.picture(random.Random(0)).mode == "RGB"
