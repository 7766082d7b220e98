"""The model in the package does what its card says: reads crops, refuses pictures of other kinds, fits the package.

The card's own figures are held against what was promised; small samples here say whether they still come out.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.called import virc

from tiny import measure
from virc.data.synth import worked
from virc.evaluation.benchmarks import diagrams
from virc.models import registry as models
from virc.models.chat_protocol import read_protocol
from virc.models.load import Choice, Opened, open_model
from virc.models.registry import EMBEDDED_FOLDER as FOLDER
from virc.reasoning.protocol import FILE_NAME
from virc.solving.one import SolveConfig, solve

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny() -> Opened:
    return open_model(Choice(model="tiny", device="cpu"))


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((FOLDER / "measured.json").read_text())
    return figures


@pytest.mark.parametrize("name", models.embedded())
def test_every_model_of_the_package_is_small_licensed_and_speaks_as_drawn_rows_do(name: str) -> None:
    folder = models.PACKAGE / name
    weights, card = (folder / "model.safetensors").read_bytes(), (folder / "README.md").read_text()
    assert len(weights) <= 4_000_000
    assert "Apache-2.0" in card
    assert hashlib.sha256(weights).hexdigest() in card
    spoken = read_protocol(folder / FILE_NAME)
    assert msgspec.structs.replace(spoken, name="own") == worked.PROTOCOL


def test_the_card_counts_enough_and_blank_crops_leave_guessing(card: dict[str, Any]) -> None:
    assert card["tools"]["of"] >= 500
    assert card["blank"]["share"] <= card["blank"]["commonest_answer"] + 0.03


def test_out_of_distribution_pictures_are_refused_and_the_family_is_not(card: dict[str, Any]) -> None:
    """At least 95 % of pictures from outside the family, at most 2 % of those inside."""
    assert card["out-of-distribution"]["of"] >= 200
    assert card["out-of-distribution"]["share"] >= 0.95
    assert card["unfamiliar"]["share"] >= 0.95
    assert card["tools"]["refused"]["share"] <= 0.02


def test_looking_closer_is_what_helps(card: dict[str, Any]) -> None:
    """A control of equal training without tools, and crops of a counterfactual that change the answer."""
    assert card["control"]["of"] == card["tools"]["of"]
    assert card["tools"]["interval_95"][0] > card["control"]["interval_95"][1]
    assert card["tools"]["3 sides"]["share"] >= 0.9
    assert card["tools"]["4 sides"]["share"] >= 0.7
    assert card["tools"]["share"] >= card["control"]["share"] + 0.2
    assert card["counterfactual"]["share"] > 0.5


def evaluate(to: Path, counts: dict[str, int], seed: int) -> dict[str, Any]:
    """The figures of the card once more, of so many problems each."""
    words = (
        "data",
        "synth",
        "--split",
        "heldout",
        "--formats",
        "batch",
        "--drawing",
        1,
        "--count",
        max(counts.values()),
    )
    assert virc(*words, "--to", to / "heldout", "--seed", seed, "--counterfactuals").code == 0
    assert virc(*words, "--to", to / "strange", "--seed", seed + 1, "--refusals", 1).code == 0
    problems = {"tools": "diagrams", "unfamiliar": to / "strange", "out-of-distribution": "out-of-distribution"}
    for name, count in counts.items():
        ablation = name if name in ("counterfactual", "blank") else "none"
        how = (
            "--crop-ablation",
            ablation,
            "--limit",
            count,
            "--to",
            to / name,
            "--traces",
            "none",
            "--concurrency",
            16,
        )
        asked = problems.get(name, to / "heldout")
        assert virc("eval", asked, "--model", "tiny", "--device", "cpu", *how).code == 0, name
    return measure.card(to, "tiny")


def test_the_published_sample_is_not_read(tiny: Opened, sample: Path) -> None:
    """It says so, and in two of a hundred such pictures, this one among them, spells its refusal wrong."""
    with Image.open(sample / "image.png") as picture:
        shown, question = picture.convert("RGB"), "Find angle H. Choices: 97 102 107 122"
    solved = solve(SolveConfig(), tiny.backend, tiny.chat_protocol, [shown], question)
    (only,) = solved.attempts[0].trace.units
    assert only.think == "I cannot read this picture."
    assert solved.answer in (None, ", 0")


def test_figures_in_the_readmes_are_the_measured_ones(card: dict[str, Any]) -> None:
    low, high = card["tools"]["interval_95"]
    for file in (ROOT / "README.md", FOLDER / "README.md"):
        text = file.read_text()
        assert f"{card['tools']['share']:.1%}" in text, file
        assert f"{low:.1%} to {high:.1%}" in text, file


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_figure_of_the_card_comes_out_again(tmp_path: Path, card: dict[str, Any]) -> None:
    counts = {
        name: card[name]["of"] for name in ("tools", "counterfactual", "blank", "unfamiliar", "out-of-distribution")
    }
    counts["unfamiliar"] *= 2  # half of what is to be refused is a question, or about what is not there
    again = evaluate(tmp_path, counts, diagrams.SEED)
    for name in counts:
        assert again[name]["share"] == pytest.approx(card[name]["share"], abs=0.03), name
