"""MMLongBench-Doc: questions on long documents, some without an answer (Ma et al. 2024, arXiv:2407.01523).

Source: mayubo2333/MMLongBench-Doc@d73f0dc, eval/eval_score.py, eval_score and eval_acc_and_f1; the prompt of
EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/mmlongbench_doc. What differs: published, a model takes a short
answer out of each reply; here the reply is the answer, whose lists are read as literals and not run. `score` is the
published accuracy, of which a text may have a part; right is all of it.
"""

import ast
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from virc.evaluation.benchmarks.registry import Fields
from virc.scoring.likeness import anls
from virc_extras.video.benchmarks.media_rows import Graded, Values, media_benchmark

ABOUT = "1,091 questions on 135 PDFs; --page shows more than the first 32 pages"
HUB = "yubo2333/MMLongBench-Doc"
_NONE = "Not answerable"
_ASK = "Answer with a single word or phrase. If the answer is not in the document, answer 'Not answerable'."
_WHOLE = (
    r"\b\d+(-\d+|\s\d+)?\b",
    r"\b\d{4}[-\s]\d{2}[-\s]\d{2}\b",
    r"\b\d{4}[-\s]\d{2}\b",
    r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}",
)
"""Numbers, dates and mail addresses, which are compared whole."""
_NEAR = 0.01


def _make(row: Mapping[str, Any], _: Fields) -> Fields:
    pages = ast.literal_eval(row["evidence_pages"]) if isinstance(row["evidence_pages"], str) else row["evidence_pages"]
    several = "several pages" if len(pages) > 1 else "a page"
    return {
        "files": [f"{folder}{row['doc_id']}" for folder in ("documents/", "data/documents/", "")],
        "question": row["question"],
        "prompt": f"{row['question']}\n{_ASK}",
        "answer": str(row["answer"]),
        "format": row["answer_format"],
        "category": {"document": row["doc_type"], "evidence": several if pages else "none"},
    }


def score(answer: str, right: str, kind: str) -> float:
    """How right an answer is, 0 to 1, by the format of the right one: Int, Float, Str, None or List."""
    if kind == "Int":
        number = _float(answer)
        return float(number is not None and math.isfinite(number) and int(right) == int(number))
    if kind == "Float":
        return float(_is_near(_clean(answer), _clean(right)))
    if kind in ("Str", "None"):
        return _likeness(_clean(answer), _clean(right))
    said, wanted = (sorted(map(_clean, _listed(each))) for each in (answer, right))
    if len(said) != len(wanted):
        return 0.0
    if _float(wanted[0]) is not None or _is_whole(wanted[0]):
        return float(said == wanted)
    return min(anls(*each) for each in zip(said, wanted, strict=True))


def _likeness(said: str, right: str) -> float:
    return float(said == right) if _is_whole(right) else anls(said, right)


def _is_near(said: str, right: str) -> bool:
    number, reference = _float(said.rstrip("%").strip()), _float(right.rstrip("%").strip())
    if number is None or reference is None:
        return False
    for each in (reference / 100, reference, reference * 100):
        digits = max(min(_digits(number), _digits(each)), 2)
        if math.isclose(each, number, rel_tol=_NEAR) or round(number, digits) == round(each, digits):
            return True
    return False


def _digits(number: float) -> int:
    _, point, decimals = str(number).rpartition(".")
    return len(decimals) if point else 3


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _clean(text: object) -> str:
    found = re.sub(r"\s*\([^)]*\)", "", str(text).lower().strip()).strip()
    return re.sub(r"^['\"]|['\"]$", "", found).strip().lstrip("$").strip().rstrip("%").strip()


def _is_whole(text: str) -> bool:
    return (
        "https://" in text
        or text.endswith((".py", "ipynb"))
        or text.startswith("page")
        or "a.m." in text
        or "p.m." in text
        or any(re.fullmatch(pattern, text) for pattern in _WHOLE)
    )


def _listed(text: str) -> list[object]:
    try:
        found = ast.literal_eval(text) if text.startswith("[") else [text]
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [text]
    return found if isinstance(found, list) and found else [text]


def _score(answer: str, fields: Mapping[str, Any]) -> float:
    return score(answer, fields["answer"], fields["format"])


def _right(answer: str, fields: Mapping[str, Any]) -> bool:
    return _score(answer, fields) == 1


def _measures(answer: str, fields: Mapping[str, Any]) -> Values:
    return {
        "score": _score(answer, fields),
        "has answer": float(fields["answer"] != _NONE),
        "answers": float(answer != _NONE),
    }


def _totals(values: Sequence[Values]) -> Values:
    found = sum(each["score"] for each in values if each["has answer"])
    recall, precision = (
        found / count if (count := sum(each[name] for each in values)) else 0.0 for name in ("has answer", "answers")
    )
    f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    return {"score": sum(each["score"] for each in values) / len(values), "F1": f1}


right = Graded(_right, _measures, _totals)
_BENCHMARK = media_benchmark(
    "mmlongbench-doc", ABOUT, HUB, {"": ("data/train-*.parquet", "samples.json", "data/samples.json")}, _make
)
SPLITS = _BENCHMARK.SPLITS
rows = _BENCHMARK.rows
