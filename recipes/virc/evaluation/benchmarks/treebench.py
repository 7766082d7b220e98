"""TreeBench: subtle things in crowded photographs, with boxes of the evidence (Wang et al. 2025, arXiv:2507.07999).

Source: open-compass/VLMEvalKit@e8e78f0, vlmeval/dataset/image_mcq.py, TreeBench: build_prompt and evaluate. What
differs: published, a reply within `<answer>` is read in capitals, so that `The answer is B` there is E, the first of
THE; here it is B. The published box IoU of thoughts is not computed; the evidence that crops show is.
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice, lettered
from virc.evaluation.benchmarks.letters import first_capital
from virc.evaluation.benchmarks.registry import Fields
from virc.systems.layouts.layout import listed


def _right(answer: str, fields: Mapping[str, Any]) -> bool:
    """Whether the first of A to E in an answer is the right letter."""
    return bool(first_capital(answer) == fields["label"])


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    choices = fields.get("choices", [])  # a question may have its options in its text
    ability, _, kind = row["category"].partition("/")
    boxes = listed(row["target_instances"])
    options = f"Options:\n{lettered(choices)}Answer with the correct option's letter directly. \n" if choices else ""
    label = fields["answer"].upper()
    return (choice(label, choices) if choices else {"label": label}) | {
        "prompt": f"Question: {fields['question']}\n{options}",
        "category": {"ability": ability, "kind": kind or ability},
        **({"boxes": boxes} if boxes and isinstance(boxes, list) else {}),
    }


BENCHMARKS = (
    HubBenchmark(
        "treebench",
        "405 questions on subtle things in crowded photographs, with boxes of the evidence",
        {"": ("TreeBench.tsv",)},
        {"id": "index", "images": "image", "base64": True, "question": "question", "answer": "answer"}
        | {"choices": {"columns": ["A", "B", "C", "D", "E", "F"]}},
        _made,
        _right,
    ),
)
