"""Rows in published layouts: those of `published.yaml`, and those whose images or replies are made; three in each.

Each function writes a file below a folder and returns its path. What its columns are was read where its comment says.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from support import zoo
from support.published import writer
from support.row_files import (
    COLOURS,
    NUMBERS,
    PLACES,
    SIDE,
    SIZE,
    Row,
    array,
    embedded,
    encoded,
    lines,
    parquet,
    picture,
    question,
    save,
    saved,
)

from virc.systems import texts

CROP = 168  # px, to which VLM-R3 enlarges a square
easy_r1 = writer("easy_r1")
vlm_r3_rl = writer("vlm_r3_rl")
vision_g1 = writer("vision_g1")
internvl3_5 = writer("internvl3_5")
visual_rft_classify = writer("visual_rft_classify")
visual_rft_ground = writer("visual_rft_ground")
vlm_r1 = writer("vlm_r1")
mpcc = writer("mpcc")
visurf = writer("visurf")
thinklite_vl = writer("thinklite_vl")
actial_rl = writer("actial_rl")


def vlm_r3_sft(folder: Path) -> Path:
    """VLM-R3, supervised: a JSON array of questions with replies in pieces."""
    # justgogorunrun/VLM-R3, qwen_vl_finetune/qwenvl/data/data_qwen.py, preprocess_qwen_2_visual
    rows = []
    for at, number in enumerate(NUMBERS):
        left, top = PLACES[at]
        box = [left, top, left + SIDE, top + SIDE]
        crop = picture(at).crop((left, top, left + SIDE, top + SIDE)).resize((CROP, CROP))
        first = f'<think>The number is small, so I look closer.\n{{"bbox_2d": {json.dumps(box)}}}\n'
        replies = [first, f"It says {number}.</think>\n<answer> {number} </answer>"]
        row = {"image_path": saved(folder, f"images/{at}.png", at), "question": question(at)}
        crops = [save(folder, f"crops/{at}_0.png", crop)]
        rows.append(row | {"response_list": replies, "img_crop_list": crops})
    return array(folder / "vlm-r3-sft.json", rows)


def verl_row(source: str, at: int, shown: Sequence[Image.Image], question: str, answer: str) -> Row:
    """A row as verl's own scripts for data write it."""
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": "<image>" * len(shown) + question}],
        "images": [{"bytes": encoded(each), "path": None} for each in shown],
        "ability": "vision",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": {"split": "train", "index": at},
    }


def ssl4rl(folder: Path) -> Path:
    """SSL4RL: parquet with verl's columns and those of the pictures' benchmark: a crop, a jigsaw, a turned picture."""
    # PKU-ML/SSL4RL, verl/preprocess.py, make_map_fn, and build_benchmarks/make{position,jigsaw,rotation}_mmbench.py:
    # `newdatum`; what asks for a thought and an answer stands behind such a question there
    whole, (width, height) = picture(0), (SIZE[0] // 2, SIZE[1] // 2)
    quarters = [whole.crop((x, y, x + width, y + height)) for y in (0, height) for x in (0, width)]
    tasks = (
        ("PositionQA", [whole, quarters[0]], "Which part is the second image from?", "top-left"),
        ("JigsawQA_2x2", [quarters[at] for at in (1, 2, 0, 3)], "What is the correct order?", "3,1,2,4"),
        ("RotationQA_90degree", [whole, whole.rotate(90, expand=True)], "How far is it rotated?", "90"),
    )
    rows = []
    for at, (task, shown, asked, answer) in enumerate(tasks):
        row = verl_row(f"datasets/MMBench_{task}", at, shown, f"\n\n{asked}", answer)
        info = {**row["extra_info"], "answer": answer, "question": row["prompt"][0]["content"]}
        rows.append({"index": at, "source": "", **row, "extra_info": info})
    return parquet(folder / "train.parquet", rows)


def visual_rft_detect(folder: Path) -> Path:
    """Visual-RFT, detection: parquet as on the hub, in two files; each problem is the whole prompt."""
    # Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo.py, make_conversation_image and extract_bbox; what a problem asks
    # for: coco_evaluation/Qwen2_VL_coco_infere.py, line 246; columns: the card of laolao77/ViRFT_LVIS_few_shot
    form = "<think> ... </think> <answer>[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]</answer>"
    rows = [
        {
            "image": embedded(at),
            "problem": f"Find every {COLOURS[at]} square.\nWrite {form}.",
            "solution": f"<answer>[{{'Position': {thousandths(at)}, 'Confidence': 1}}]</answer>",
        }
        for at in range(len(NUMBERS))
    ]
    parquet(folder / "data" / "train-00000-of-00002.parquet", rows[:2])
    parquet(folder / "data" / "train-00001-of-00002.parquet", rows[2:])
    return folder


def virgo_text(folder: Path) -> Path:
    """Virgo, long thoughts in text alone: a JSON array of conversations."""
    # RUCAIBox/Virgo, LLaMA-Factory/scripts/vllm_infer.py, lines 141 to 144: `id` and `messages` of rows without images;
    # README.md, Quick Start: the sentence before the question
    return array(folder / "numina_llava_special_prompt_5k.json", [_thought(at, "") for at in range(len(NUMBERS))])


def virgo_visual(folder: Path) -> Path:
    """Virgo, long thoughts about pictures: JSON lines with five replies, and the one that is learnt."""
    # RUC-AIBOX/Virgo-Visual-Long-Thought-Dataset on the hub, README.md: `question`, `answer`, `response`,
    # `conversation`, `images` and `score`
    rows = []
    for at, number in enumerate(NUMBERS):
        talk = _thought(at, "<image>")["messages"]
        images = [saved(folder, f"images/{at}.png", at)]
        row = {"question": f"<image>{question(at)}", "answer": number, "response": [talk[1]["content"]] * 5}
        rows.append(row | {"conversation": talk, "images": images, "score": [1] * 5})
    file = folder / "visual_long_thought.jsonl"
    return lines(file, rows)


def _thought(at: int, mark: str) -> Row:
    """A conversation with a long thought, in the words of Virgo."""
    asked = f"{texts.text(zoo.FOLDER / 'virgo', 'user')}\n{question(at)}"
    thought = "<|begin_of_thought|>\n\nIt has two digits.\n\n<|end_of_thought|>\n\n"
    told = f"{thought}<|begin_of_solution|>\n\n\\boxed{{{NUMBERS[at]}}}\n\n<|end_of_solution|>"
    turns = [{"role": "user", "content": mark + asked}, {"role": "assistant", "content": told}]
    return {"id": at, "messages": turns}


def thousandths(at: int) -> list[int]:
    """The box of a square, in thousandths of the sides of its picture."""
    left, top = PLACES[at]
    box = (left, top, left + SIDE, top + SIDE)
    return [round(1000 * place / side) for place, side in zip(box, SIZE * 2, strict=True)]
