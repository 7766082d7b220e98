"""Questions on photographs: BLINK, HR-Bench, MME-RealWorld, TreeBench, VisualProbe, V*."""

import re
from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import msgspec

from virc.core.errors import DataError
from virc.core.files import json_or_none
from virc.evaluation.benchmarks.hub_rows import HubBenchmark, choice, lettered
from virc.evaluation.benchmarks.letters import JOINED_PREFIXES, LETTERS, first_capital, inferred
from virc.evaluation.benchmarks.registry import Fields
from virc.systems.layouts.layout import Layout, listed

_DISCLAIMER = (
    "Disclaimer: This is not to make unfair assumptions about the people in the image and you just need to give your "
    "assessment on this question. You don't need to identify the real people. You just need to analyze based on the "
    "information I gave you.\n\n"
)
_DISCLAIMED = ("Forensic_Detection", "Jigsaw", "Art_Style")
_LETTER = len("(A) ")
_SELECT = (
    "Select the best answer to the above multiple-choice question based on the image. "
    "Respond with only the letter (A, B, C, D, or E) of the correct option.\nThe best answer is: "
)
_OPTION = re.compile(r"\(([A-Z])\) *(\S.*)")
_MAX_TARGETS = 2**20  # bytes of the file next to an image
_Px = int | float


# BLINK, what people see at a glance, in one to four pictures (Fu et al. 2024, arXiv:2404.12390). Source:
# zeyofu/BLINK_Benchmark@2d6a779, eval/test_benchmark.py: load_prompt, and analyze_answer, which asks a judge if it
# reads no letter. What differs: the published total is the mean over the tasks, whose sizes differ; here each question
# counts alike, and the tasks are the parts of `task`.
def _of_blink(row: Mapping[str, Any], fields: Fields) -> Fields:
    disclaimer = _DISCLAIMER if row["sub_task"] in _DISCLAIMED else ""
    return choice(fields["answer"], fields["choices"]) | {
        "prompt": disclaimer + row["prompt"],
        "category": {"task": row["sub_task"].replace("_", " ")},
    }


def _right_in_blink(answer: str, fields: Mapping[str, Any]) -> bool | None:
    letters = {f"({letter})" for letter, _ in zip(LETTERS, fields["choices"], strict=False)}
    wanted = f"({fields['label']})"
    if re.fullmatch(r"[A-E]|\([A-E]\)", answer):
        return answer.strip("()") == wanted.strip("()")
    named, last = letters & set(answer.split()), letters & set(answer.rpartition("\n\n")[2].split())
    if len(last) == 1:
        return last == {wanted}
    return named == {wanted} if len(named) == 1 else None


# HR-Bench, small things in pictures of 4K and 8K (Wang et al. 2024, arXiv:2408.15556). Source:
# open-compass/VLMEvalKit@e8e78f0, vlmeval/dataset/image_mcq.py: the prompt of ImageMCQDataset, build_prompt, and the
# scoring of HRBenchDataset, evaluate, which asks a judge if `inferred` reads no letter. Each question is asked four
# times with its choices in another order (`cycle`).
def _of_hr_bench(row: Mapping[str, Any], fields: Fields) -> Fields:
    choices = fields["choices"]
    prompt = f"Question: {fields['question']}\nOptions:\n{lettered(choices)}"
    return choice(fields["answer"], choices) | {
        "prompt": f"{prompt}Please select the correct answer from the options above. \n",
        "category": {"type": row["category"], "cycle": str(row["cycle_category"])},
    }


def _right_in_hr_bench(answer: str, fields: Mapping[str, Any]) -> bool | None:
    letter = inferred(answer, fields["choices"])
    return None if letter is None else letter == fields["label"]


# MME-RealWorld, large photographs, maps, charts and traffic (Zhang et al. 2024, arXiv:2408.13257). Source: the prompt
# is that of EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/mme_realworld/utils.py, mme_realworld_doc_to_text; the
# scoring is yfzhang114/MME-RealWorld@87096fc, evaluation/eval_your_results.py, extract_characters_regex. The published
# list of prefixes lacks two commas, so that four of them are two here.
def _of_mme(row: Mapping[str, Any], fields: Fields) -> Fields:
    options = [str(each) for each in fields["choices"]]
    listed_ = "\n".join(options)
    task = "perception" if "perception" in row["category"].lower() else "reasoning"
    return choice(fields["answer"], [each[_LETTER:] for each in options]) | {
        "options": options,
        "prompt": f"{fields['question']} The choices are listed below:\n{listed_}\n{_SELECT}",
        "category": {"task": task, "domain": row["category"].rpartition("/")[2], "kind": row["l2-category"]},
    }


def _right_in_mme(answer: str, fields: Mapping[str, Any]) -> bool:
    return bool(first_capital(answer, fields["options"], JOINED_PREFIXES) == fields["label"])


# TreeBench, subtle things in crowded photographs, with boxes of the evidence (Wang et al. 2025, arXiv:2507.07999).
# Source: open-compass/VLMEvalKit@e8e78f0, vlmeval/dataset/image_mcq.py, TreeBench: build_prompt and evaluate. What
# differs: published, a reply within `<answer>` is read in capitals, so that `The answer is B` there is E, the first of
# THE; here it is B. The published box IoU of thoughts is not computed; the evidence that crops show is.
def _of_treebench(row: Mapping[str, Any], fields: Fields) -> Fields:
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


def _right_in_treebench(answer: str, fields: Mapping[str, Any]) -> bool:
    return bool(first_capital(answer) == fields["label"])


# VisualProbe, small things in large photographs, in three levels (Lai et al. 2025, arXiv:2509.07969). Source:
# Mini-o3/Mini-o3@8654dbf, README.md and docs/mini_o3_demo.md: `val.json`, whose `problem` is the prompt. There is no
# published rule: verl/utils/reward_score/general_qa_tool.py asks a judge about each answer. Here answers are scored
# as any other.
def _of_visualprobe(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {"category": {"source": str(row.get("data_source") or "visual_probe").replace("_", " ")}}


# V*, small things in large photographs (Wu and Xie 2023, arXiv:2312.14135). Read as it is published:
# `test_questions.jsonl` next to the image folders; a JSON file of the same name as an image says where its targets
# are. Or the parquet files of `lmms-lab/vstar-bench`, which hold the images. The prompt is the column `text`. There is
# no published rule: the authors' program compares how likely the options are (penghao-wu/vstar, vstar_bench_eval.py).
# Here answers are scored as any other.
class _VStar(HubBenchmark, frozen=True):
    def _problem(self, row: Fields, number: int, layout: Layout, folder: Path) -> Fields:
        fields = super()._problem(row, number, layout, folder)
        boxes = _boxes(folder / row["image"]) if isinstance(row["image"], str) else []
        return fields | ({"boxes": boxes} if boxes else {})


class _Targets(msgspec.Struct):
    """Boxes of what a question asks about: left, top, width, height in px."""

    bbox: list[tuple[_Px, _Px, _Px, _Px]] = []


def _boxes(image: Path) -> list[list[_Px]]:
    """Left, top, right and bottom of what the question asks about, in px of the image; [] if that is not known."""
    targets = json_or_none(image.with_suffix(".json"), _Targets, _MAX_TARGETS) or _Targets()
    return [[left, top, left + width, top + height] for left, top, width, height in targets.bbox]


def _of_vstar(row: Mapping[str, Any], fields: Fields) -> Fields:
    made = {"category": {"type": row["category"].replace("_", " ")}}
    lines = [line.strip() for line in row["text"].splitlines()]
    options = [_OPTION.fullmatch(line) for line in lines]
    letters = "".join(option[1] for option in options if option)
    if len(letters) < 2 or not ascii_uppercase.startswith(letters):
        return made
    label = fields["answer"]
    if len(label) != 1 or label not in letters:
        raise DataError(f"its label {label[:20]!r} is none of its {len(letters)} choices")
    choices = [option[2] for option in options if option]
    question = "\n".join(lines[: next(at for at, option in enumerate(options) if option)]).strip()
    return made | {"question": question, "choices": choices, "answer": choices[letters.index(label)],
                   "prompt": row["text"]}  # fmt: skip


_OF_MME = {"id": "index", "images": "bytes", "question": "question", "answer": "answer"}
_FOLDERS = ["VisualProbe_Easy", "VisualProbe_Medium", "VisualProbe_Hard"]
BENCHMARKS = (
    HubBenchmark(
        "blink",
        "1,901 questions on what people see at a glance, in one to four pictures",
        "BLINK-Benchmark/BLINK",
        {"": ("*/val-*.parquet",)},
        {"id": "idx", "question": "question", "choices": "choices", "answer": "answer"}
        | {"images": {"columns": ["image_1", "image_2", "image_3", "image_4"]}},
        _of_blink,
        _right_in_blink,
    ),
    HubBenchmark(
        "hr-bench",
        "800 questions on small things in pictures of 4K, and of 8K",
        "DreamMr/HR-Bench",
        {size: (f"hr_bench_{size}.parquet", f"hr_bench_{size}.tsv") for size in ("4k", "8k")},
        {"id": "index", "images": "image", "question": "question", "answer": "answer"}
        | {"choices": {"columns": ["A", "B", "C", "D"]}},
        _of_hr_bench,
        _right_in_hr_bench,
    ),
    *(
        HubBenchmark(
            name,
            about,
            f"yifanzhang114/MME-RealWorld-{hub}",
            {"": ("data/train-*.parquet", "*.parquet")},
            _OF_MME | {"choices": "multi-choice options"},
            _of_mme,
            _right_in_mme,
        )
        for name, about, hub in (
            ("mme-realworld", "23,609 questions on large photographs, maps, charts and traffic", "Lmms-eval"),
            ("mme-realworld-lite", "1,919 questions of MME-RealWorld, at most 50 of each task", "lite-lmms-eval"),
        )
    ),
    HubBenchmark(
        "treebench",
        "405 questions on subtle things in crowded photographs, with boxes of the evidence",
        "HaochenWang/TreeBench",
        {"": ("TreeBench.tsv",)},
        {"id": "index", "images": "image", "question": "question", "answer": "answer"}
        | {"choices": {"columns": ["A", "B", "C", "D", "E", "F"]}},
        _of_treebench,
        _right_in_treebench,
    ),
    *(
        HubBenchmark(
            f"visualprobe-{level}",
            f"{level} questions on small things in large photographs",
            f"Mini-o3/VisualProbe_{level.title()}",
            {"": ("val.json", "*/val.json", "data/val*.parquet", "data/*.parquet")},
            {"id": "doc_id", "images": "images", "folder": _FOLDERS, "question": "problem", "answer": "solution"},
            _of_visualprobe,
        )
        for level in ("easy", "medium", "hard")
    ),
    _VStar(
        "vstar",
        "191 questions on small things in large photographs",
        "craigwu/vstar_bench",
        {"": ("test_questions.jsonl", "data/test-*.parquet")},
        {"id": "question_id", "images": "image", "question": "text", "answer": "label"},
        _of_vstar,
    ),
)
