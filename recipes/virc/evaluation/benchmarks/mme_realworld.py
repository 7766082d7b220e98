"""MME-RealWorld: large photographs, maps, charts and traffic (Zhang et al. 2024, arXiv:2408.13257).

Source: the prompt is that of EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/mme_realworld/utils.py,
mme_realworld_doc_to_text; the scoring is yfzhang114/MME-RealWorld@87096fc, evaluation/eval_your_results.py,
extract_characters_regex. The published list of prefixes lacks two commas, so that four of them are two here.
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice
from virc.evaluation.benchmarks.letters import first_capital
from virc.evaluation.benchmarks.registry import Fields

_LETTER = len("(A) ")
_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
)
_ASKED = (
    "Select the best answer to the above multiple-choice question based on the image. "
    "Respond with only the letter (A, B, C, D, or E) of the correct option.\nThe best answer is: "
)


def _right(answer: str, fields: Mapping[str, Any]) -> bool:
    """Whether the first of A to E in an answer is the right letter."""
    return bool(first_capital(answer, fields["options"], _PREFIXES) == fields["label"])


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    options = [str(each) for each in fields["choices"]]
    listed = "\n".join(options)
    task = "perception" if "perception" in row["category"].lower() else "reasoning"
    return choice(fields["answer"], [each[_LETTER:] for each in options]) | {
        "options": options,
        "prompt": f"{fields['question']} The choices are listed below:\n{listed}\n{_ASKED}",
        "category": {"task": task, "domain": row["category"].rpartition("/")[2], "kind": row["l2-category"]},
    }


_COLUMNS = {"id": "index", "images": "bytes", "base64": True, "question": "question", "answer": "answer"}
BENCHMARKS = tuple(
    HubBenchmark(
        name,
        about,
        {"": ("data/train-*.parquet", "*.parquet")},
        _COLUMNS | {"choices": "multi-choice options"},
        _made,
        _right,
    )
    for name, about in (
        ("mme-realworld", "23,609 questions on large photographs, maps, charts and traffic"),
        ("mme-realworld-lite", "1,919 questions of MME-RealWorld, at most 50 of each task"),
    )
)
