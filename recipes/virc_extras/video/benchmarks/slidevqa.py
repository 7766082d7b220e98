"""SlideVQA: questions on decks of twenty slides (Tanaka et al. 2023, arXiv:2301.04883).

Source: nttmdlab-nlp/SlideVQA@e1f0bd9, evaluate.py, normalize_answer and evaluate_f1_em_qa; the prompt of
EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/slidevqa, which shows the slides in grids and scores by other rules.
Here they are twenty pictures. Right is the exact match; the pages of the evidence are not asked for.
"""

import re
from collections import Counter
from collections.abc import Mapping
from string import punctuation
from typing import Any

from virc.evaluation.benchmarks.hub_rows import HubBenchmark
from virc.evaluation.benchmarks.registry import Fields
from virc_extras.video.benchmarks.media_rows import Graded, Values

ABOUT = "2,215 questions on decks of twenty slides"
HUB = "NTT-hil-insight/SlideVQA"
_ASK = "Answer using only the short answer, without explanation."
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}
_CHANGED = {
    "this is ": "", "it is ": "", "&": ",", "and": ",", "percent": "", "organisation": "organization", "because of": "",
    "because": "", "due to": "", "hours": "hrs", "minites": "min",
}  # fmt: skip
"""Also within words, as published, and in this order."""
_UNITS = ("how many", "which")
_NO_SIGNS = str.maketrans(dict.fromkeys(punctuation))


def words_of(answer: str, question: str) -> list[str]:
    """The words of an answer as they are compared, without the unit that the question names."""
    text = answer.lower()
    for before, after in _CHANGED.items():
        text = text.replace(before, after)
    for asked in _UNITS:
        _, found, rest = question.partition(asked)
        if found and rest.split():
            text = text.replace(rest.split()[0], "")
    text = re.sub(r"\b(a|an|the)\b", " ", text.translate(_NO_SIGNS))
    if text.startswith(("yes", "no")):
        text = text.split()[0]
    return [_DIGITS.get(word, word) for word in text.split()]


def _make(row: Mapping[str, Any], fields: Fields) -> Fields:
    return {"prompt": f"{fields['question']}\n{_ASK}", "asked": fields["question"]}


def _measures(answer: str, fields: Mapping[str, Any]) -> Values:
    said, right_ = (words_of(each, fields["asked"]) for each in (answer, str(fields["answer"])))
    common = sum((Counter(said) & Counter(right_)).values())
    return {"exact match": float(bool(common) and said == right_), "F1": 2 * common / max(len(said) + len(right_), 1)}


def _right(answer: str, fields: Mapping[str, Any]) -> bool:
    return _measures(answer, fields)["exact match"] == 1


right = Graded(_right, _measures)
_BENCHMARK = HubBenchmark(
    "slidevqa",
    ABOUT,
    HUB,
    {split: (f"data/{split}-*.parquet",) for split in ("test", "val", "train")},
    {"id": "qa_id", "question": "question", "answer": "answer"}
    | {"images": {"columns": [f"page_{number}" for number in range(1, 21)]}},
    _make,
)
SPLITS = _BENCHMARK.SPLITS
rows = _BENCHMARK.rows
