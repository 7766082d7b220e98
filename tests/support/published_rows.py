"""Three rows in each published layout: columns, types and nesting as published, the content our own.

Each function writes a file below a folder and returns its path. What its columns are was read where its comment says.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from support import zoo

from virc.systems import texts

Row = dict[str, Any]
SIZE = (252, 196)  # px, on the patch grid of Qwen2-VL, and small enough for `tiny`: shown as it is
NUMBERS = ("12", "47", "85")
COLOURS = ("red", "green", "blue")
PLACES = ((14, 14), (140, 28), (84, 98))
SIDE = 84  # px of a square with a number
CROP = 168  # px, to which VLM-R3 enlarges it


def easy_r1(folder: Path) -> Path:
    """EasyR1, such as geometry3k: parquet with `images`, `problem`, `answer`."""
    # hiyouga/EasyR1, verl/utils/dataset.py, _build_messages: <image> in a problem is where an image stands
    rows = [
        {"images": [embedded(at)], "problem": f"<image>{_question(at)}", "answer": number}
        for at, number in enumerate(NUMBERS)
    ]
    return parquet(folder / "easy-r1.parquet", rows)


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
        row = {"image_path": _saved(folder, f"images/{at}.png", picture(at)), "question": _question(at)}
        crops = [_saved(folder, f"crops/{at}_0.png", crop)]
        rows.append(row | {"response_list": replies, "img_crop_list": crops})
    return _json(folder / "vlm-r3-sft.json", rows)


def vlm_r3_rl(folder: Path) -> Path:
    """VLM-R3, RL: a JSON array of problems, with the dataset that each is from."""
    # justgogorunrun/VLM-R3, src/r1-v/src/open_r1/rgrpo.py, main
    rows = [
        {"image_path": _saved(folder, f"images/{at}.png", picture(at)), "question": _question(at), "answer": number,
         "source": "textvqa"}
        for at, number in enumerate(NUMBERS)
    ]  # fmt: skip
    return _json(folder / "vlm-r3-rl.json", rows)


def thinklite_vl(folder: Path) -> Path:
    """ThinkLite-VL: one parquet with the bytes of an image, the problem, its answer and an id."""
    # si0wang/ThinkLite-VL, mcts.py, main: `image` is bytes, and the question stands behind <image> in `problem`
    rows = [
        {"id": at, "image": embedded(at)["bytes"], "problem": f"<image>{_question(at)}", "answer": number}
        for at, number in enumerate(NUMBERS)
    ]
    return parquet(folder / "ThinkLite-VL-Hard-11k.parquet", rows)


def vision_g1(folder: Path) -> Path:
    """Vision-G1: parquet with verl's columns; where the source says so, the answer is a box."""
    # yuh-zha/Vision-G1, training/verl/utils/dataset/rl_dataset.py and workers/reward_manager/naive.py
    rows = [_verl_row("vision_g1", at, [picture(at)], _question(at), number) for at, number in enumerate(NUMBERS)]
    left, top = PLACES[0]
    box = json.dumps([left, top, left + SIDE, top + SIDE])
    rows[0] = _verl_row("vision_g1_bbox", 0, [picture(0)], "Where is the red square?", box)
    return parquet(folder / "vision-g1.parquet", rows)


def actial_rl(folder: Path) -> Path:
    """Actial, RL on SAT: a shard of parquet with verl's columns, of one or two images."""
    # warmsnow-sh/Actial, verl/utils/dataset/rl_dataset.py and workers/reward_manager/naive.py
    rows = [
        _verl_row("SAT", at, [picture(at)], f"{_question(at)} Answer in digits.", number)
        for at, number in enumerate(NUMBERS)
    ]
    choices = "Which picture has a green square? A: the first, B: the second"
    rows[1] = _verl_row("SAT", 1, [picture(0), picture(1)], f"{choices}. Say A or B.", "B")
    return parquet(folder / "train-00000-of-00001.parquet", rows)


def internvl3_5(folder: Path) -> Path:
    """InternVL3.5, RL: parquet with verl's columns; MMPR-Tiny itself is on the hub alone."""
    # Weiyun1025/verl-internvl@3950bc4, verl/utils/dataset/rl_dataset.py and workers/reward_manager/naive.py
    rows = [_verl_row("geometry3k", at, [picture(at)], _question(at), number) for at, number in enumerate(NUMBERS)]
    return parquet(folder / "mmpr_tiny.parquet", rows)


def _verl_row(source: str, at: int, shown: Sequence[Image.Image], question: str, answer: str) -> Row:
    """A row as verl's own scripts for data write it."""
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": "<image>" * len(shown) + question}],
        "images": [_bytes(each) for each in shown],
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
    for at, (task, shown, question, answer) in enumerate(tasks):
        row = _verl_row(f"datasets/MMBench_{task}", at, shown, f"\n\n{question}", answer)
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


def visual_rft_classify(folder: Path) -> Path:
    """Visual-RFT, classification: a folder as `datasets.save_to_disk` writes it."""
    # Liuziyu77/Visual-RFT, src/virft/src/open_r1/grpo_classification.py, main: DatasetDict.load_from_disk
    rows = [
        {
            "image": embedded(at),
            "problem": f"Which colour is {number}? Write <think> ... </think> <answer>colour</answer>.",
            "solution": f"<answer>{COLOURS[at]}</answer>",
        }
        for at, number in enumerate(NUMBERS)
    ]
    return saved(folder, rows)


def visual_rft_ground(folder: Path) -> Path:
    """Visual-RFT, LISA: a JSON array of conversations, each with a picture and a box in its text."""
    # Liuziyu77/Visual-RFT, lisa_evaluation/gen_sft.py, which writes what grpo_lisa.py reads
    rows = []
    for at in range(len(NUMBERS)):
        name = _saved(folder, f"images/{at}.png", picture(at))
        left, top, right, bottom = thousandths(at)
        asked = f"<img>{name}</img>\n Output the bounding box in the image: {_question(at)}"
        turns = [{"from": "user", "value": asked}, {"from": "assistant", "value": f"({left},{top}),({right},{bottom})"}]
        rows.append({"id": f"lisa_{at}", "conversations": turns})
    return _json(folder / "lisa_train_sft.json", rows)


def vlm_r1(folder: Path) -> Path:
    """VLM-R1: JSON lines of conversations, whose reply is a box, written as JSON in every other one."""
    # om-ai-lab/VLM-R1, README.md, "For your own data", and grpo_jsonl.py, which takes a reply that is no text, too
    rows = []
    for at, (left, top) in enumerate(PLACES):
        box = [left, top, left + SIDE, top + SIDE]
        told = json.dumps(box) if at % 2 else box
        turns = [{"from": "human", "value": f"<image>{_question(at)}"}, {"from": "gpt", "value": told}]
        rows.append({"id": at, "image": _saved(folder, f"train2014/{at}.png", picture(at)), "conversations": turns})
    folder.joinpath("refcoco_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "refcoco_train.jsonl"


def mpcc(folder: Path) -> Path:
    """MPCC: a JSON array of objects of COCO, one of them without a thought."""
    # yjainqdc/MPCC-GRPO_with_prior_sample, train_script/dataset.py, get_coco_sfpo_dataset: the columns
    rows: list[Row] = []
    for at, (left, top) in enumerate(PLACES):
        name = _saved(folder, f"{at:012}.jpg", picture(at))
        rows.append({"file_name": name, "bbox": [left + 0.5, top, SIDE, SIDE - 0.5], "category_name": "number"})
        rows[-1] |= {"cot_data": "A square on a page of numbers."} if at else {}
    return _json(folder / "CoMa_train_Cot_plus_withCOT.json", rows)


def visurf(folder: Path) -> Path:
    """ViSurf: parquet of phrases and the objects that they mean, of one none."""
    # the card of ViSurf_multi_non_object_7300_size840: the columns; dvlab-research/Seg-Zero: a solution
    rows = []
    for at, (left, top) in enumerate(PLACES):
        object_ = {"bbox_2d": [left, top, left + SIDE, top + SIDE], "point_2d": [left + 9, top + 9]}
        row = {"id": str(at), "problem": f"The {COLOURS[at]} square.", "solution": json.dumps([object_] if at else [])}
        rows.append({**row, "image": embedded(at), "img_height": SIZE[1], "img_width": SIZE[0]})
    return parquet(folder / "train.parquet", rows)


def virgo_text(folder: Path) -> Path:
    """Virgo, long thoughts in text alone: a JSON array of conversations."""
    # RUCAIBox/Virgo, LLaMA-Factory/scripts/vllm_infer.py, lines 141 to 144: `id` and `messages` of rows without images;
    # README.md, Quick Start: the sentence before the question
    return _json(folder / "numina_llava_special_prompt_5k.json", [_thought(at, "") for at in range(len(NUMBERS))])


def virgo_visual(folder: Path) -> Path:
    """Virgo, long thoughts about pictures: JSON lines with five replies, and the one that is learnt."""
    # RUC-AIBOX/Virgo-Visual-Long-Thought-Dataset on the hub, README.md: `question`, `answer`, `response`,
    # `conversation`, `images` and `score`
    rows = []
    for at, number in enumerate(NUMBERS):
        talk = _thought(at, "<image>")["messages"]
        images = [_saved(folder, f"images/{at}.png", picture(at))]
        row = {"question": f"<image>{_question(at)}", "answer": number, "response": [talk[1]["content"]] * 5}
        rows.append(row | {"conversation": talk, "images": images, "score": [1] * 5})
    file = folder / "visual_long_thought.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def saved(folder: Path, rows: Sequence[Row], files: int = 1) -> Path:
    """A folder as `datasets.save_to_disk` writes a set with the one split `train`."""
    import pyarrow

    split = folder / "train"
    split.mkdir(parents=True, exist_ok=True)
    names = [f"data-{at:05}-of-{files:05}.arrow" for at in range(files)]
    for at, name in enumerate(names):
        table = pyarrow.Table.from_pylist(list(rows[at::files]))
        with pyarrow.ipc.new_stream(split / name, table.schema) as stream:
            stream.write_table(table)
    (split / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (split / "dataset_info.json").write_text(json.dumps({"citation": "", "features": {}}))
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    return folder


def _thought(at: int, mark: str) -> Row:
    """A conversation with a long thought, in the words of Virgo."""
    asked = f"{texts.text(zoo.FOLDER / 'virgo', 'user')}\n{_question(at)}"
    thought = "<|begin_of_thought|>\n\nIt has two digits.\n\n<|end_of_thought|>\n\n"
    told = f"{thought}<|begin_of_solution|>\n\n\\boxed{{{NUMBERS[at]}}}\n\n<|end_of_solution|>"
    turns = [{"role": "user", "content": mark + asked}, {"role": "assistant", "content": told}]
    return {"id": at, "messages": turns}


def thousandths(at: int) -> list[int]:
    """The box of a square, in thousandths of the sides of its picture."""
    left, top = PLACES[at]
    box = (left, top, left + SIDE, top + SIDE)
    return [round(1000 * place / side) for place, side in zip(box, SIZE * 2, strict=True)]


def _question(at: int) -> str:
    return f"Which number is in the {COLOURS[at]} square?"


def picture(at: int) -> Image.Image:
    """A white page with a number in a coloured square."""
    image = Image.new("RGB", SIZE, "white")
    left, top = PLACES[at]
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=COLOURS[at])
    draw.text((left + 16, top + 22), NUMBERS[at], fill="white", font_size=36)
    return image


def embedded(at: int) -> Row:
    """An image as `datasets` saves it."""
    return _bytes(picture(at))


def _bytes(image: Image.Image) -> Row:
    data = io.BytesIO()
    image.save(data, "PNG")
    return {"bytes": data.getvalue(), "path": None}


def _saved(folder: Path, name: str, image: Image.Image) -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)
    return name


def _json(file: Path, rows: Sequence[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1))
    return file


def parquet(file: Path, rows: Sequence[Row]) -> Path:
    """A file of parquet."""
    import pyarrow
    import pyarrow.parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file
