"""The figures of a model's card, gathered from evaluations of it in one folder.

    virc data synth --to heldout --split heldout --count 100 --seed 20000 --counterfactuals --formats batch --drawing 1
    virc data synth --to strange --split heldout --count 400 --seed 20001 --refusals 1 --formats batch --drawing 1
    virc eval diagrams --model MODEL --model CONTROL --to EVALS/tools
    virc eval heldout --model MODEL --crop-ablation counterfactual --to EVALS/counterfactual
    virc eval heldout --model MODEL --crop-ablation blank --to EVALS/blank
    virc eval strange --model MODEL --to EVALS/unfamiliar
    virc eval out-of-distribution --model MODEL --to EVALS/out-of-distribution
    PYTHONPATH=recipes python -m tiny.measure EVALS MODEL [--control CONTROL] > measured.json

* `tools`: right answers on held-out diagrams, and refusals; `control` is the same for a model without tools.
* `counterfactual`: answers to the counterfactual, when crops are cut from its picture.
* `blank`: right answers when crops are white, next to the share of the commonest answer.
* `unfamiliar`: refusals of pictures like those in training; `question` and `absent`: refusals of unfamiliar questions,
  and of those about what the picture does not show.
* `out-of-distribution`: refusals of pictures from other sources.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec

from virc.evaluation.benchmarks.diagrams import SEED
from virc.evaluation.statistics import Interval
from virc.evaluation.summary import ModelSummary, Score, Share, Summary


def card(folder: Path, model: str, control: str | None = None) -> dict[str, Any]:
    """Every figure of the card.

    Args:
        folder: with a folder for each evaluation.
        model: as the evaluations call it; `control` too.
    """
    blank, of_blank = _summary(folder / "blank", model)
    figures: dict[str, Any] = {
        "seed": SEED,
        "tools": _tools(folder, model),
        "counterfactual": _share(_summary(folder / "counterfactual", model)[1].score),
        "blank": _share(of_blank.score) | {"commonest_answer": round(blank.commonest.share, 3)},
    }
    refused = _summary(folder / "unfamiliar", model)[1].categories["refusal"]
    for name, part in (("unfamiliar", "stranger"), ("question", "question"), ("absent", "absent")):
        figures[name] = _share(refused[part])
    figures["out-of-distribution"] = _share(_summary(folder / "out-of-distribution", model)[1].score)
    return figures | ({"control": _tools(folder, control)} if control else {})


def _tools(folder: Path, model: str) -> dict[str, Any]:
    found = _summary(folder / "tools", model)[1]
    sides = {part: _share(score) for part, score in found.categories["sides"].items()}
    return {**_share(found.score), "refused": _share(found.refusals), **sides}


def _summary(folder: Path, model: str) -> tuple[Summary, ModelSummary]:
    summary = msgspec.json.decode((folder / "summary.json").read_bytes(), type=Summary)
    return summary, next(found for found in summary.models if found.name == model)


def _share(found: Score | Share) -> dict[str, Any]:
    return {"share": round(found.share, 3), "of": found.of, "interval_95": _rounded(found.interval)}


def _rounded(interval: Interval) -> Interval:
    return round(interval[0], 3), round(interval[1], 3)


def main() -> None:
    """Parse the command line, gather, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--control")
    options = parser.parse_args()
    print(json.dumps(card(options.folder, options.model, options.control), indent=1))


if __name__ == "__main__":
    main()
