"""Questions on charts and pages of documents: ChartQA, CharXiv, DocVQA."""

from collections.abc import Mapping
from typing import Any

from virc.core.errors import DataError
from virc.evaluation.benchmarks.hub_rows import HubBenchmark
from virc.evaluation.benchmarks.registry import Fields
from virc.scoring.reading.replies import boxes
from virc.scoring.rules import without_latex

_TOLERANCE = 0.05
_END = "\n    "
_INSTRUCTIONS = {
    1: (
        "* Your final answer must be grounded to some text that is explicitly written and relevant to the question in "
        "the chart.",
        "* If you need to answer multiple terms, separate them with commas.",
        "* Unless specified in the question (such as answering with a letter), you are required to answer the full "
        "names of subplots and/or labels by default.",
    ),
    2: (
        "* If there are options in the question, your final answer must conform to one of the options.",
        "* If there are additional instructions in the question, follow them accordingly.",
        "* If there are neither options nor additional instructions, you are allowed to respond with a short phrase "
        "only.",
    ),
    3: (
        "* Your final answer must be grounded to a number that is exlicitly written and relevant to the question in "
        "the chart, even if it's an approximate value.",
        "* You are allowed to extract numbers within some text when needed.",
    ),
}
"""Of CharXiv, by the type of the answer; `exlicitly` is published so."""
_TYPES = {1: "text in chart", 2: "text in general", 3: "number in chart", 4: "number in general"}


# ChartQA, questions of people and made of captions (Masry et al. 2022, arXiv:2203.10244). Source:
# EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/chartqa: the prompt of chartqa.yaml, and relaxed_correctness of
# utils.py, which is Qwen-VL's. Of a reply with a box, which lmms-eval does not read, its content is compared.
def _of_chartqa(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {
        "prompt": f"{fields['question']}\nAnswer the question with a single word.",
        "category": {"type": row["type"].removesuffix("_test")},
    }


def _right_in_chartqa(answer: str, fields: Mapping[str, Any]) -> bool:
    answer = next((without_latex(box.content).strip() for box in reversed(boxes(answer))), answer)
    number, wanted = _number(answer), _number(fields["answer"])
    if number is not None and wanted:
        return abs(number - wanted) / abs(wanted) <= _TOLERANCE
    return answer.lower() == str(fields["answer"]).lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


# CharXiv, its questions that need reasoning: charts of scientific papers (Wang et al. 2024, arXiv:2406.18521). Source:
# princeton-nlp/CharXiv@7ebe88f, src/reasoning_utils.py, build_reasoning_queries, and src/constants.py,
# REASONING_RESP_INST. There is no published rule: GPT-4o scores by a rubric (REASONING_GRADING_INST). Here answers are
# scored as any other, and a judge decides about the rest. The descriptive questions are left out, whose rubric needs a
# judge for each of them. lmms-eval takes the instruction by the source of the question, not by the type of the answer.
def _of_charxiv(row: Mapping[str, Any], fields: Fields) -> Fields:
    kind = int(row["reasoning_a_type"])
    if kind not in _TYPES:
        raise DataError(f"the type of its answer is {kind}, not 1 to 4")
    lines = _INSTRUCTIONS.get(kind, (_of_number(str(row["reasoning_a"])),))
    return {
        "prompt": _END.join((fields["question"], *lines, "")),
        "category": {"answer": _TYPES[kind], "subject": str(row["category"])},
    }


def _of_number(answer: str) -> str:
    parts = answer.split(".")
    if len(parts) == 1:
        return "* Your final answer must be an exact integer."
    return f"* Your final answer must be a number with {len(parts[1])} decimal places."


# DocVQA (Mathew et al. 2020, arXiv:2007.00398). Source: EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/docvqa: the
# prompt of _default_template_docvqa_yaml, and the metric `anls` of lmms_eval/api/metrics.py
# (`virc.scoring.accepted.anls`), whose mean is the published figure. Right and wrong are by the rules of virc. The
# answers of the split test are not published.
def _of_docvqa(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {
        "prompt": f"{fields['question']}\nAnswer the question using a single word or phrase.",
        "category": {"type": list(row["question_types"] or ())},
    }


BENCHMARKS = (
    HubBenchmark(
        "chartqa",
        "2,500 questions on charts, whose numbers may be off by 5 %",
        "lmms-lab/ChartQA",
        {"": ("data/test-*.parquet",)},
        {"images": "image", "question": "question", "answer": "answer"},
        _of_chartqa,
        _right_in_chartqa,
    ),
    HubBenchmark(
        "charxiv",
        "1,000 questions that need reasoning on charts of scientific papers",
        "princeton-nlp/CharXiv",
        {"": ("val.parquet", "data/val-*.parquet")},
        {"images": "image", "question": "reasoning_q", "answer": "reasoning_a"},
        _of_charxiv,
    ),
    HubBenchmark(
        "docvqa",
        "5,349 questions on pages of documents, measured by ANLS",
        "lmms-lab/DocVQA",
        {"": ("DocVQA/validation-*.parquet", "data/validation-*.parquet")},
        {"id": "questionId", "images": "image", "question": "question", "answers": "answers", "metric": "anls"},
        _of_docvqa,
    ),
)
