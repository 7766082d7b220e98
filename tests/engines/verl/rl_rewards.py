"""Rewards of runs made by hand: `compute_score` for a run that goes on, `fails` for one that cannot."""

import json
from typing import Any


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any
) -> dict[str, float]:
    """More for an answer, less for what is long."""
    trace = json.loads(extra_info["rollout"])
    answered = float(extra_info["ended"] == "answer")
    length = sum(len(message["text"]) for message in trace["messages"] if message["role"] == "assistant")
    return {"score": answered + 1 / (1 + length), "answered": answered}


def fails(data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any) -> float:
    """As a judge that stays away."""
    raise ConnectionError("the judge does not answer")
