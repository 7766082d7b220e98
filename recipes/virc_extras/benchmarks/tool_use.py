"""Questions for models that have tools: HR-MMSearch, O3-Bench, VTC-Bench, ZoomBench."""

import re
from collections.abc import Mapping
from string import punctuation
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice, lettered
from virc.evaluation.benchmarks.registry import Fields
from virc.solving.rows import split_choices

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans(dict.fromkeys(punctuation))
_SHORT = 5  # words


# HR-MMSearch, questions on large photographs whose answers are found by a search (Chng et al. 2025, arXiv:2512.24330).
# Source: OpenSenseNova/SenseNova-MARS@ce052d7, inference/eval.py: em_check, which asks a judge about every other
# answer. Quirk: it drops all punctuation, so that $520 is $5.20.
def _of_hr_mmsearch(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {"category": {"difficulty": row["difficulty"], "domain": row["category"]}}


def _right_in_hr_mmsearch(answer: str, fields: Mapping[str, Any]) -> bool | None:
    return _without_articles(answer) == _without_articles(fields["answer"]) or None


def _without_articles(text: str) -> str:
    """Small letters without punctuation, English articles and repeated spaces; the letter of a choice stays."""
    letters = text.lower().translate(_NO_PUNCTUATION)
    return " ".join((letters if letters.strip() == "a" else _ARTICLES.sub(" ", letters)).split())


# O3-Bench, charts and maps whose evidence lies far apart (Li et al. 2025, arXiv:2512.18745), with boxes of it. Source:
# m-Just/InSight-o3@21acec8, insight_o3/scripts/evaluate.py, process_sample: a judge reads the letter of every reply
# that is not the letter alone. Here the letter is read as of any other choice.
def _of_o3_bench(row: Mapping[str, Any], fields: Fields) -> Fields:
    boxes = [row["layout_infos"][str(number)]["bbox"] for number in row["target_layouts"]]
    return choice(fields["answer"], fields["choices"]) | {
        "prompt": f"{fields['question']}\n{row['options']}",
        "category": {"subset": row["subset"]},
        **({"boxes": boxes} if boxes else {}),
    }


# VTC-Bench, questions that take a chain of picture operations (Zhu et al. 2026, arXiv:2603.15030). Source:
# zhuzil/VTC-Bench@484ef7c: data/VTC-Bench.tsv; eval/VTC_Bench_Eval.py, process_single_item, writes the options; below
# eval/eval/VLMEvalKit/vlmeval, dataset/image_vqa.py, VTCBenchDataset: _evaluate_single_item, and a judge decides about
# what that finds wrong. Quirks: an answer of fewer than five words is right in any reply that contains its letters, 3
# in 13; what math-verify says there is not used.
def _of_vtc_bench(row: Mapping[str, Any], fields: Fields) -> Fields:
    made = {"category": {"task": row["category"]}}
    if not (choices := fields.get("choices")):
        return made
    options = "\n".join(lettered(choices).splitlines(keepends=True))
    return made | choice(fields["answer"], choices) | {"prompt": f"{fields['question']}\n\nOptions:\n{options}"}


def _right_in_vtc_bench(answer: str, fields: Mapping[str, Any]) -> bool | None:
    said, wanted = (" ".join(text.lower().split()) for text in (answer, fields.get("label") or fields["answer"]))
    if "label" in fields or wanted in tuple("abcd"):  # a question lacks its options
        right = said == wanted or said.startswith(tuple(wanted + end for end in (".", " ", "-")))
    else:
        right = said == wanted or (len(wanted.split()) < _SHORT and wanted in said)
    return right or None


# ZoomBench, small things in large photographs (Wei et al. 2026, arXiv:2602.11858). Source:
# inclusionAI/Zooming-without-Zooming@fdc0ba1, mm-eval/judge_qwenlm.py: a judge decides about what MathRuler does not
# find equal. Here answers are scored as any other. The published prompt of the system is that of the chat protocol.
def _of_zoombench(row: Mapping[str, Any], fields: Fields) -> Fields:
    question, choices = split_choices(fields["question"])
    return {
        "prompt": fields["question"],
        "category": {"question": row["question_type"]},
        **({"question": question, "choices": choices} if choices else {}),
    }


BENCHMARKS = (
    HubBenchmark(
        "hr-mmsearch",
        "305 questions on large photographs, whose answers are found by a search",
        "sensenova/HR-MMSearch",
        {"": ("data/train-*.parquet",)},
        {"id": "sample_id", "images": "query_image", "question": "query", "answer": "ground_truth"},
        _of_hr_mmsearch,
        _right_in_hr_mmsearch,
    ),
    HubBenchmark(
        "o3-bench",
        "questions on large charts and maps whose evidence lies far apart, with boxes of it",
        "m-Just/O3-Bench",
        {"": ("test/metadata.jsonl",)},
        {"images": {"text": "test/{file_name}"}, "question": "question", "answer": "answer", "choices": "options"},
        _of_o3_bench,
    ),
    HubBenchmark(
        "vtc-bench",
        "680 questions that take a chain of picture operations",
        "zzzhu/VTC-Bench",
        {"": ("VTC-Bench.tsv", "data/VTC-Bench.tsv")},
        {"id": "id", "images": "image", "question": "question", "answer": "answer"}
        | {"choices": {"columns": ["A", "B", "C", "D"]}},
        _of_vtc_bench,
        _right_in_vtc_bench,
        "https://github.com/zhuzil/VTC-Bench/tree/main/data",
    ),
    HubBenchmark(
        "zoombench",
        "845 questions on small things in large photographs",
        "inclusionAI/ZoomBench",
        {"": ("data/test*.parquet",)},
        {"id": "id", "images": "image", "question": "query", "answer": "response"},
        _of_zoombench,
    ),
)
