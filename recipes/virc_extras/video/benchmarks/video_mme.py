"""Video-MME: short, medium and long clips of six domains (Fu et al. 2024, arXiv:2405.21075).

Source: the prompt of its page, without subtitles, which no command here reads; open-compass/VLMEvalKit@e8e78f0,
vlmeval/dataset/utils/videomme.py, extract_characters_regex, which is the authors' but for two prefixes. Its list lacks
two commas, so that four prefixes are two. lmms-eval@75571cf reads replies by another function since 2026.
"""

from collections.abc import Mapping
from typing import Any

from virc.evaluation.benchmarks.hub_rows import choice
from virc.evaluation.benchmarks.letters import JOINED_PREFIXES, first_capital
from virc.evaluation.benchmarks.registry import Fields
from virc_extras.video.benchmarks.media_rows import media_benchmark

ABOUT = "2,700 questions on 900 clips of eleven seconds to an hour"
HUB = "lmms-lab/Video-MME"
_SELECT = (
    "Select the best answer to the following multiple-choice question based on the video. "
    "Respond with only the letter (A, B, C, or D) of the correct option.\n"
)
_LETTER = len("A. ")
_PREFIXES = (*JOINED_PREFIXES, "Answer:", "Option:")


def _make(row: Mapping[str, Any], _: Fields) -> Fields:
    options = [str(each) for each in row["options"]]
    name = row["videoID"]
    return choice(row["answer"], [each[_LETTER:].strip() for each in options]) | {
        "id": row["question_id"],
        "files": [f"{folder}{name}.{ending}" for folder in ("data/", "") for ending in ("mp4", "MP4", "mkv")],
        "question": row["question"],
        "prompt": "\n".join((_SELECT + row["question"], *options, "The best answer is:")),
        "category": {"duration": row["duration"], "domain": row["domain"], "task": row["task_type"]},
    }


def right(answer: str, fields: Mapping[str, Any]) -> bool:
    return bool(first_capital(answer, (), _PREFIXES, "ABCD") == fields["label"])


_BENCHMARK = media_benchmark("video-mme", ABOUT, HUB, {"": ("videomme/test-*.parquet", "test*.parquet")}, _make)
SPLITS = _BENCHMARK.SPLITS
rows = _BENCHMARK.rows
