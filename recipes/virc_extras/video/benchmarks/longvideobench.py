"""LongVideoBench: long clips whose questions refer to a moment (Wu et al. 2024, arXiv:2407.15754).

Source: EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/longvideobench/utils.py: longvideobench_doc_to_text without
subtitles, and parse_multi_choice_response, by the authors: of a reply without a letter they choose one at random. Here
such a reply is wrong, or the judge decides; `with random choices` is the share that they would expect.
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import lettered
from virc.evaluation.benchmarks.letters import first_capital
from virc.evaluation.benchmarks.registry import Fields
from virc_extras.video.benchmarks.media_rows import Graded, Values, chosen, media_benchmark

ABOUT = "1,337 questions on clips of up to an hour, without subtitles"
HUB = "longvideobench/LongVideoBench"
_MOST = 5
_END = "Answer with the option's letter from the given choices directly.\n"


def _make(row: Mapping[str, Any], _: Fields) -> Fields:
    columns = [row[f"option{number}"] for number in range(_MOST)] if "option0" in row else row["candidates"]
    choices = [str(each) for each in columns if each not in (None, "N/A")]
    return chosen(int(row["correct_choice"]), choices) | {
        "id": row["id"],
        "files": [f"videos/{row['video_path']}", row["video_path"]],
        "question": row["question"],
        "prompt": f"{row['question']}\n{lettered(choices)}{_END}",
        "category": {"duration": str(row["duration_group"]), "question": str(row["question_category"])},
    }


def _right(answer: str, fields: Mapping[str, Any]) -> bool | None:
    letter = first_capital(answer, ())
    return letter == fields["label"] if letter else None


def _measures(answer: str, fields: Mapping[str, Any]) -> Values:
    found = _right(answer, fields)
    return {"with random choices": 1 / len(fields["choices"]) if found is None else float(found)}


right = Graded(_right, _measures)
_BENCHMARK = media_benchmark(
    "longvideobench", ABOUT, HUB, {"": ("lvb_val.json", "validation-*.parquet", "data/validation-*.parquet")}, _make
)
SPLITS = _BENCHMARK.SPLITS
rows = _BENCHMARK.rows
