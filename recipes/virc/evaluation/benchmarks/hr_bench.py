"""HR-Bench: small things in pictures of 4K and 8K (Wang et al. 2024, arXiv:2408.15556).

Source: open-compass/VLMEvalKit@e8e78f0, vlmeval/dataset/image_mcq.py: the prompt of ImageMCQDataset, build_prompt, and
the scoring of HRBenchDataset, evaluate, which asks a judge where `inferred` reads no letter. Each question is asked
four times with its choices in another order (`cycle`).
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice, lettered
from virc.evaluation.benchmarks.letters import inferred
from virc.evaluation.benchmarks.registry import Fields


def _right(answer: str, fields: Mapping[str, Any]) -> bool | None:
    """Whether an answer has the right letter, or quotes its choice."""
    letter = inferred(answer, fields["choices"])
    return None if letter is None else letter == fields["label"]


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    choices = fields["choices"]
    prompt = f"Question: {fields['question']}\nOptions:\n{lettered(choices)}"
    return choice(fields["answer"], choices) | {
        "prompt": f"{prompt}Please select the correct answer from the options above. \n",
        "category": {"type": row["category"], "cycle": str(row["cycle_category"])},
    }


BENCHMARKS = (
    HubBenchmark(
        "hr-bench",
        "800 questions on small things in pictures of 4K, and of 8K",
        {size: (f"hr_bench_{size}.parquet", f"hr_bench_{size}.tsv") for size in ("4k", "8k")},
        {"id": "index", "images": "image", "base64": True, "question": "question", "answer": "answer"}
        | {"choices": {"columns": ["A", "B", "C", "D"]}},
        _made,
        _right,
    ),
)
