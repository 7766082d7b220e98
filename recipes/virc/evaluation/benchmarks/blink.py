"""BLINK: what people see at a glance, in one to four pictures (Fu et al. 2024, arXiv:2404.12390).

Source: zeyofu/BLINK_Benchmark@2d6a779, eval/test_benchmark.py: load_prompt, and analyze_answer, which asks a judge
where it reads no letter. What differs: the published total is the mean over the tasks, whose sizes differ; here each
question counts alike, and the tasks are the parts of `task`.
"""

import re
from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields

_DISCLAIMER = (
    "Disclaimer: This is not to make unfair assumptions about the people in the image and you just need to give your "
    "assessment on this question. You don't need to identify the real people. You just need to analyze based on the "
    "information I gave you.\n\n"
)
_DISCLAIMED = ("Forensic_Detection", "Jigsaw", "Art_Style")


def _right(answer: str, fields: Mapping[str, Any]) -> bool | None:
    """Whether the one letter in brackets of an answer, or of its last paragraph, is the right one."""
    letters = {f"({letter})" for letter, _ in zip(LETTERS, fields["choices"], strict=False)}
    wanted = f"({fields['label']})"
    if re.fullmatch(r"[A-E]|\([A-E]\)", answer):
        return answer.strip("()") == wanted.strip("()")
    named, last = letters & set(answer.split()), letters & set(answer.rpartition("\n\n")[2].split())
    if len(last) == 1:
        return last == {wanted}
    return named == {wanted} if len(named) == 1 else None


def _made(row: Mapping[str, Any], fields: Fields) -> Fields:
    disclaimer = _DISCLAIMER if row["sub_task"] in _DISCLAIMED else ""
    return choice(fields["answer"], fields["choices"]) | {
        "prompt": disclaimer + row["prompt"],
        "category": {"task": row["sub_task"].replace("_", " ")},
    }


BENCHMARKS = (
    HubBenchmark(
        "blink",
        "1,901 questions on what people see at a glance, in one to four pictures",
        {"": ("*/val-*.parquet",)},
        {"id": "idx", "question": "question", "choices": "choices", "answer": "answer"}
        | {"images": {"columns": ["image_1", "image_2", "image_3", "image_4"]}},
        _made,
        _right,
    ),
)
