"""MVBench: twenty tasks on short clips (Li et al. 2023, arXiv:2311.17005).

Source: EvolvingLMMs-Lab/lmms-eval@75571cf, lmms_eval/tasks/mvbench/utils.py: mvbench_doc_to_text and mcq_acc. Rows with
`start` and `end` show that part of their clip. The frames of `tvqa` are files, at three a second: eight of them are
shown, in the middle of eight parts, as the authors choose (VLMEvalKit@e8e78f0, vlmeval/dataset/mvbench.py, get_index).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from virc.core.errors import DataError
from virc.core.text import plain
from virc.data.rows import raw
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields, Placed, problems
from virc.solving.rows import ProblemRow
from virc_extras.video.benchmarks.media_rows import chosen, media_benchmark

ABOUT = "4,000 questions on short clips, 200 of each of twenty tasks"
HUB = "OpenGVLab/MVBench"
SPLITS = ()
_FOLDERS = {
    "action_sequence": "star/Charades_v1_480", "action_prediction": "star/Charades_v1_480",
    "object_interaction": "star/Charades_v1_480", "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw/videos", "unexpected_action": "FunQA_test/test",
    "object_existence": "clevrer/video_validation", "moving_direction": "clevrer/video_validation",
    "moving_count": "clevrer/video_validation", "moving_attribute": "clevrer/video_validation",
    "counterfactual_inference": "clevrer/video_validation", "object_shuffle": "perception/videos",
    "action_count": "perception/videos", "state_change": "perception/videos", "character_order": "perception/videos",
    "action_localization": "sta/sta_video", "scene_transition": "scene_qa/video", "fine_grained_pose": "nturgbd",
    "egocentric_navigation": "vlnqa", "episodic_reasoning": "tvqa/frames_fps3_hq",
}  # fmt: skip
"""Task, which is the name of a file of rows, -> the folder of its clips."""
_OF_FRAMES, _RATE, _FRAMES = "episodic_reasoning", 3, 8
_SIGNS = re.compile(r"""[;/\[\]"{}()=+\\_\-><@`,?!]""")
_LABELLED = re.compile(r"([A-E])\.\s*.+", re.IGNORECASE)
_LETTER = re.compile(r"\b([A-E])\b", re.IGNORECASE)


def _make(row: Mapping[str, Any], _: Fields) -> Fields:
    task, choices = row["task"], [str(each) for each in row["candidates"]]
    folder, is_frames = f"{_FOLDERS[task]}/{row['video']}", task == _OF_FRAMES
    frames = [f"video/{folder}/{number:05}.jpg" for number in _frames(row)] if is_frames else []
    options = "".join(f"({letter}) {each}\n" for letter, each in zip(LETTERS, choices, strict=False))
    part = {key: row[key] for key in ("start", "end") if not is_frames and row.get(key) is not None}
    return {
        **chosen(choices.index(row["answer"]) if row["answer"] in choices else -1, choices),
        **part,
        "files": [frames] if is_frames else [f"video/{folder}", f"video/data0613/{folder}"],
        "question": row["question"],
        "prompt": f"Question:{row['question']}\nOption:\n{options}Only give the best option.\n",
        "category": {"task": task.replace("_", " ")},
    }


def _frames(row: Mapping[str, Any]) -> Sequence[int]:
    """The numbers of the frames of a part, from 1; the last that there is bounds them."""
    first, last = max(1, round(row["start"] * _RATE)), min(round(row["end"] * _RATE), row["frames"])
    size = (last - first) / _FRAMES
    return [int(first + size / 2 + round(size * number)) for number in range(_FRAMES)]


def right(answer: str, fields: Mapping[str, Any]) -> bool:
    if labelled := _LABELLED.fullmatch(answer.strip()):
        return bool(labelled[1].upper() == fields["label"])
    letter = _LETTER.search(_without_signs(answer.replace("\n", " ").replace("\t", " ").strip()).lower())
    return bool(letter and letter[1].upper() == fields["label"])


def _without_signs(text: str) -> str:
    """A text as the evaluation of VQA has it: a sign at a blank goes, another becomes one, a comma in a number too."""
    is_number = re.search(r"\d,\d", text)
    out = text
    for sign in dict.fromkeys(_SIGNS.findall(text)):
        at_blank = is_number or f"{sign} " in text or f" {sign}" in text
        out = out.replace(sign, "" if at_blank else " ")
    return re.sub(r"(?!<=\d)\.(?!\d)", "", out, count=32)


_BENCHMARK = media_benchmark("mvbench", ABOUT, HUB, {}, _make)


def rows(folder: Path, split: str | None) -> Iterator[ProblemRow]:
    files = [file for task in _FOLDERS if (file := folder / "json" / f"{task}.json").is_file()]
    if not files:
        raise DataError(f"{folder} holds no json/{next(iter(_FOLDERS))}.json", "virc download eval mvbench")
    numbers = count(1)
    return problems(_placed(folder, files), lambda row: _BENCHMARK.problem(row, next(numbers), folder))


def _placed(folder: Path, files: Sequence[Path]) -> Iterator[Placed]:
    for file in files:
        of_frames = folder / "video" / _FOLDERS[file.stem] if file.stem == _OF_FRAMES else None
        for number, fields in raw.rows(file):
            if isinstance(fields, dict):
                frames = [*(of_frames / plain(fields.get("video"))).glob("*.jpg")] if of_frames else []
                fields |= {"task": file.stem, "frames": len(frames)}
            yield f"{file.name}, row {number}", fields
