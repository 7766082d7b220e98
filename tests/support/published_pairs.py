"""Three pairs in each published layout: columns, types and nesting as published, the content our own.

Each function writes a file below a folder and returns its path. What its columns are was read where its comment says.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.published_rows import NUMBERS, embedded, parquet, picture
from support.row_files import array, lines

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
    return array(folder / "dpo_data_overall_new.json", rows)


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
    asked = [{"type": "image", "text": None}, {"type": "text", "text": QUESTION}]
    rows = [
        {**_sides(at, parts=True), "images": [embedded(at)], "prompt": [{"role": "user", "content": asked}]}
        for at in range(3)
    ]
    return parquet(folder / "rlaif.parquet", rows)


def trl_plain(folder: Path) -> Path:
    """The same as lines of JSON with plain contents: TRL puts the images before the first text of the user."""
    # huggingface/trl, trl/data_utils.py, prepare_multimodal_messages
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    return lines(
        folder / "trl.jsonl", [{"prompt": prompt, **_sides(at), "images": [_saved(folder, at)]} for at in range(3)]
    )


def trl_implicit(folder: Path) -> Path:
    """TRL's preference rows without a prompt: both sides begin with the same turns."""
    # huggingface/trl, docs/source/dataset_formats.md: preference with an implicit prompt
    asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    rows = [
        {**{side: [asked, *said] for side, said in _sides(at, parts=True).items()}, "images": [_saved(folder, at)]}
        for at in range(3)
    ]
    return lines(folder / "implicit.jsonl", rows)


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
    return lines(folder / "texts.jsonl", rows)


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
    return lines(folder / "mmpr.jsonl", rows)


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
    return array(folder / "demo_rl_data.json", rows)


ALL: tuple[Callable[[Path], Path], ...] = (
    llamafactory, critic_v, critique_vqa, trl, trl_plain, trl_implicit, texts, mmpr, visrl,
)  # fmt: skip


def _sides(at: int, parts: bool = False) -> dict[str, list[Row]]:
    """Both replies as messages, whose contents may be lists of parts."""
    texts = {"chosen": BETTER.format(NUMBERS[at]), "rejected": WORSE}
    return {
        side: [{"role": "assistant", "content": [{"type": "text", "text": text}] if parts else text}]
        for side, text in texts.items()
    }


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
