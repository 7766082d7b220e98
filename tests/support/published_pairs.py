"""Three pairs in each published layout: columns, types and nesting as published, the content our own.

Each function writes a file below a folder and returns its path. What its columns are was read where its comment says.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.published_rows import NUMBERS, embedded, parquet, picture

Row = dict[str, Any]
QUESTION = "Which number is in the square?"
BETTER, WORSE = "It says {}.", "It says 3."


def llamafactory(folder: Path) -> Path:
    """RLHF-V as LLaMA-Factory publishes it: parquet with `conversations`, `chosen`, `rejected`, `images`."""
    # the card of llamafactory/RLHF-V, and LLaMA-Factory's data/dataset_info.json: rlhf_v
    return parquet(folder / "rlhf-v.parquet", [_sharegpt(at, [embedded(at)]) for at in range(3)])


def critic_v(folder: Path) -> Path:
    """Critic-V before its upload: a JSON array of the same columns, with names of images."""
    # kyrieLei/Critic-V, data_utils/utils/format.py, dpo_format
    rows = [_sharegpt(at, [_saved(folder, at)]) for at in range(3)]
    for row in rows:
        row["conversations"][0]["value"] = f"<image>\nQuestion: {QUESTION}, Answer: 3"
    return _json(folder / "dpo_data_overall_new.json", rows)


def critique_vqa(folder: Path) -> Path:
    """Critic-V on the hub: parquet in which a conversation is one message, and texts are under `text`."""
    # the card of huaXiaKyrie/critique-VQA: `conversation`, `chosen` and `rejected` are structs of `from` and `text`
    rows = []
    for at in range(3):
        row = _sharegpt(at, [])
        texts = {key: {"from": row[key]["from"], "text": row[key]["value"]} for key in ("chosen", "rejected")}
        asked = {"from": "human", "text": f"#### Question\n{QUESTION}"}
        rows.append({"conversation": asked, **texts, "image": embedded(at)})
    return parquet(folder / "critique.parquet", rows)


def trl(folder: Path) -> Path:
    """TRL's preference rows: lists of messages whose contents are lists of parts, and `images`."""
    # the card of HuggingFaceH4/rlaif-v_formatted
    rows = []
    for at, number in enumerate(NUMBERS):
        asked = [{"type": "image", "text": None}, {"type": "text", "text": QUESTION}]
        sides = {
            side: [{"role": "assistant", "content": [{"type": "text", "text": text.format(number)}]}]
            for side, text in (("chosen", BETTER), ("rejected", WORSE))
        }
        rows.append({**sides, "images": [embedded(at)], "prompt": [{"role": "user", "content": asked}]})
    return parquet(folder / "rlaif.parquet", rows)


def trl_plain(folder: Path) -> Path:
    """The same as lines of JSON with plain contents: TRL puts the images before the first text of the user."""
    # huggingface/trl, trl/data_utils.py, prepare_multimodal_messages
    rows = []
    for at, number in enumerate(NUMBERS):
        sides = {
            side: [{"role": "assistant", "content": text.format(number)}]
            for side, text in (("chosen", BETTER), ("rejected", WORSE))
        }
        prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
        rows.append({"prompt": prompt, **sides, "images": [_saved(folder, at)]})
    return _lines(folder / "trl.jsonl", rows)


def trl_implicit(folder: Path) -> Path:
    """TRL's preference rows without a prompt: both sides begin with the same turns."""
    # huggingface/trl, docs/source/dataset_formats.md: preference with an implicit prompt
    rows = []
    for at, number in enumerate(NUMBERS):
        asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
        sides = {
            side: [asked, {"role": "assistant", "content": [{"type": "text", "text": text.format(number)}]}]
            for side, text in (("chosen", BETTER), ("rejected", WORSE))
        }
        rows.append({**sides, "images": [_saved(folder, at)]})
    return _lines(folder / "implicit.jsonl", rows)


def texts(folder: Path) -> Path:
    """Turns under `messages`, and both replies as text."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"<image>{QUESTION}"}],
            "chosen": BETTER.format(number),
            "rejected": WORSE,
            "images": [_saved(folder, at)],
        }
        for at, number in enumerate(NUMBERS)
    ]
    return _lines(folder / "texts.jsonl", rows)


def mmpr(folder: Path) -> Path:
    """MMPR of InternVL: lines with `image`, `question`, `chosen`, `rejected`."""
    # OpenGVLab/InternVL, internvl_chat/internvl/train/internvl_chat_dpo.py, multi_modal_get_item
    rows = [
        {
            "image": _saved(folder, at),
            "question": f"<image>\n{QUESTION}" if at else QUESTION,
            "chosen": BETTER.format(number),
            "rejected": WORSE,
        }
        for at, number in enumerate(NUMBERS)
    ]
    return _lines(folder / "mmpr.jsonl", rows)


def visrl(folder: Path) -> Path:
    """VisRL, both stages: one file, and a `dataset_info.json` that says which replies are compared."""
    # zhangquanchen/VisRL, data/dataset_info.json: stage 1 compares `chosen_step` and `rejected_step`
    rows = []
    for at in range(3):
        steps = {"chosen_step": "[0.1, 0.1, 0.4, 0.5]", "rejected_step": "[0.7, 0.7, 0.9, 0.9]"}
        replies = {key: {"from": "gpt", "value": value} for key, value in steps.items()}
        rows.append({**_sharegpt(at, [_saved(folder, at)]), **replies})
    columns = {"messages": "conversations", "chosen": "chosen_step", "rejected": "rejected_step", "images": "images"}
    entry = {"file_name": "demo_rl_data.json", "ranking": True, "formatting": "sharegpt", "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps({"demo_rl_data_stage1": entry}))
    return _json(folder / "demo_rl_data.json", rows)


ALL: tuple[Callable[[Path], Path], ...] = (
    llamafactory,
    critic_v,
    critique_vqa,
    trl,
    trl_plain,
    trl_implicit,
    texts,
    mmpr,
    visrl,
)


def _sharegpt(at: int, images: Sequence[Any]) -> Row:
    return {
        "conversations": [{"from": "human", "value": f"<image>{QUESTION}"}],
        "chosen": {"from": "gpt", "value": BETTER.format(NUMBERS[at])},
        "rejected": {"from": "gpt", "value": WORSE},
        "images": list(images),
    }


def _saved(folder: Path, at: int) -> str:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    picture(at).save(folder / "images" / f"{at}.png")
    return f"images/{at}.png"


def _json(file: Path, rows: Sequence[Row]) -> Path:
    file.write_text(json.dumps(rows))
    return file


def _lines(file: Path, rows: Sequence[Row]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
