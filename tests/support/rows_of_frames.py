"""Three published rows of systems that look into frames, with our pictures, as in `published_rows`."""

import json
from pathlib import Path
from typing import Any

from support.published_rows import NUMBERS, parquet, picture
from support.row_files import array, lines

from virc.models.chat_protocol import of_system
from virc.reasoning.resize import smart_resize
from virc.systems import registry as systems

Row = dict[str, Any]
FRAMES = 4


def _file(folder: Path, name: str, at: int, box: tuple[int, int, int, int] | None = None) -> str:
    """The name of a picture, or of a part of one, below the folder."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image = picture(at).crop(box)
    image.resize(smart_resize(*image.size)).save(folder / name)
    return name


def pixel_reasoner_sft(folder: Path) -> Path:
    """PixelReasoner-SFT-Data: a JSON array of conversations; the first is about a video."""
    # TIGER-AI-Lab/Pixel-Reasoner@a3a6c3a, instruction_tuning/sft_tooltrainer.py, compute_loss: `message_list`;
    # vlm_modules/qwen_module.py, prepare_from_msg_2_vlm_inputs: the parts of its turns
    rows = []
    for at, number in enumerate(NUMBERS):
        call: Row = {"name": "crop_image_normalized", "arguments": {"bbox_2d": [0.4, 0.5, 0.7, 0.9], "target_image": 1}}
        shown: Row = {"image": _file(folder, f"images/{at}.png", at)}
        if at == 0:
            call = {"name": "select_frames", "arguments": {"target_frames": [2]}}
            shown = {"video": [_file(folder, f"images/frame{each}.png", each % 3) for each in range(FRAMES)]}
        looked = _file(folder, f"images/looked{at}.png", at, (76, 78, 202, 196) if at else None)
        messages = [
            {"role": "system", "content": [{"text": of_system(systems.get("pixel-reasoner")).system}]},
            {"role": "user", "content": [{"text": f"Which number is it in picture {at}?\n\nGuidelines."}, shown]},
            {"role": "assistant", "content": [{"text": f"Look.\n<tool_call>\n{json.dumps(call)}\n</tool_call>"}]},
            {"role": "user", "content": [{"text": "\nHere it is:"}, {"image": looked}]},
            {"role": "assistant", "content": [{"text": f"It is \\boxed{{{number}}}."}]},
        ]
        rows.append({"message_list": messages})
    return array(folder / "train.json", rows)


def pixel_reasoner_rl(folder: Path) -> Path:
    """PixelReasoner-RL-Data: parquet of questions; the first is about the frames of a video."""
    # curiosity_driven_rl/openrlhf/datasets/prompts_dataset.py, preprocess_data, and experience_maker.py
    rows = []
    for at, number in enumerate(NUMBERS):
        names = [_file(folder, f"images/{at}-{each}.png", at) for each in range(1 if at else FRAMES)]
        row = {"question": f"Which number is it in picture {at}?", "answer": [f"\\boxed{{{number}}}"], "image": names}
        rows.append(row | {"is_video": not at, "qid": f"q{at}"})
    return parquet(folder / "train.parquet", rows)


def verltool(folder: Path) -> Path:
    """VerlTool's visual part: parquet for verl; the first row is about the frames of a video."""
    # TIGER-AI-Lab/verl-tool@980962b, examples/data_preprocess/pixel_reasoner/prepare_train.py, make_map_fn
    spoken = of_system(systems.get("verltool"))
    rows = []
    for at, number in enumerate(NUMBERS):
        names = [_file(folder, f"images/{at}-{each}.png", at) for each in range(1 if at else FRAMES)]
        asked = f"Which number is it in picture {at}?\n\nGuidelines: {spoken.name}"
        prompt = [
            {"role": "system", "content": spoken.system},
            {"role": "user", "content": "<image>" * len(names) + asked},
        ]
        rows.append({
            "data_source": "TIGER-Lab/PixelReasoner-RL-Data", "prompt": prompt, "ability": "visual_reasoning",
            "images": [{"image": name} for name in names],
            "reward_model": {"style": "rule", "ground_truth": [f"\\boxed{{{number}}}"]},
            "extra_info": {"split": "train", "index": at, "qid": f"q{at}", "is_video": not at, "images": names},
        })  # fmt: skip
    return parquet(folder / "train.parquet", rows)


def vilasr_sft(folder: Path) -> Path:
    """ViLaSR-data, cold_start: a JSON array in LLaMA-Factory's sharegpt, with the pictures that were drawn on."""
    # AntResearchNLP/ViLaSR@61669c0, README.md, dataset_info.json
    rows = []
    system = of_system(systems.get("vilasr")).system.replace("(width, height)", "(252, 196)")
    for at, number in enumerate(NUMBERS):
        marks = [{"index": 1, "bbox_2d": [14, 14, 98, 98], "label": "number"}]
        thought = f"<think> Look. </think> Action: Object Mapper\n```json\n{json.dumps(marks)}\n```"
        answer = f"<think> So. </think> Action: Answer\n<answer> {number} </answer>"
        turns = [("system", system), ("user", f"<image>\n### Question:\nWhich number is in picture {at}?"),
                 ("assistant", thought), ("user", "<image>\nGo on.\n"), ("assistant", answer)]  # fmt: skip
        names = [_file(folder, f"vqa/{at}-{each}.png", at) for each in range(2)]
        rows.append({"conversations": [{"role": role, "content": text} for role, text in turns], "images": names})
    return array(folder / "vqa.json", rows)


def vilasr_rl(folder: Path) -> Path:
    """ViLaSR-data, rl: JSONL of questions about frames and about a picture, each of another kind."""
    # the same, verl/utils/dataset_multimodal.py
    kinds: list[Row] = [
        {"question_type": "multiple choice", "data_type": "video", "options": ["A. 12", "B. 47"], "answer": "A"},
        {"question_type": "regression", "data_type": "vqa", "answer": "47"},
        {"question_type": "multiple choice", "data_type": "maze", "answer": "B", "grid_size": 3},
    ]
    rows = []
    for at, kind in enumerate(kinds):
        names = [_file(folder, f"rl/{at}-{each}.png", at) for each in range(1 if at else FRAMES)]
        rows.append({"question": f"Which number is it in picture {at}?", "image_path": names, **kind})
    return lines(folder / "rl/vilasr_rl_data.jsonl", rows)
