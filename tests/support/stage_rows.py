"""Rows of systems whose conversations have code, searches, actions or boxes, as their programs read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from support import published_pairs
from support.published import writer
from support.published_crops import _chain
from support.row_files import NUMBERS, Row, array, embedded, parquet, picture, question, save, saved

from virc.data.rows.record import MARK
from virc.models.chat_protocol import of_system
from virc.reasoning.protocol import FILE_NAME
from virc.systems import registry as systems
from virc.systems import texts

_DRAWS = "import PIL.Image as I\nI.open(image_path).save('a.png')\nprint('a.png')"
_INLINE: Sequence[Sequence[str]] = (
    (f"<think>Look.<code>\n{_DRAWS}\n</code>", f"</think>\n<answer>{NUMBERS[0]}</answer>"),
    ("<think>Look.<code>\n1/0\n</code>", f"</think>\n<answer>{NUMBERS[0]}</answer>"),
    (f"<think>Look.</think>\n<answer>{NUMBERS[1]}</answer>",),
)
_IN_TURNS: Sequence[Sequence[str]] = (
    ("<think>Look.</think><code>\ndisplay(image_1)\n</code>", f"<think>So.</think><answer>{NUMBERS[0]}</answer>"),
    ('<think>Look.</think><tool_call>{"name": "search", "arguments": {"query": "number"}}</tool_call>',
     f"<think>So.</think><answer>{NUMBERS[0]}</answer>"),
    (f"<think>So.</think><answer>{NUMBERS[1]}</answer>",),
)  # fmt: skip
_GREY = "from PIL import Image as I\nI.new('L', (56, 56)).show()"


def _redraw(code: str) -> str:
    return f"<think>Look.</think><tool_call>{json.dumps({'name': 'redraw', 'arguments': {'code': code}})}</tool_call>"


_REDRAWN: Sequence[Sequence[str]] = tuple(
    (*map(_redraw, calls), f"<think>So.</think><answer>{code}</answer>")
    for calls, code in (([_GREY], _GREY), (["1/0"], _GREY), ([], "1/0"))
)
_REPLIES = {"v-thinker": _INLINE, "thyme": _INLINE, "deepeyes-v2": _IN_TURNS, "rrvf": _REDRAWN}
PAGES = {"page": "a page about a number", "report_1": "a report with a red number", "report_2": "last week's weather"}
"""Texts of pages that the tool `search` finds, by name."""
pyvision_rl = writer("pyvision_rl")
_REPORT = "Which number does the report have?"


def code_sft(system: str, folder: Path) -> Path:
    """Conversations with code; where it runs inside a reply, as rows of ms-swift: one message of the model for all."""
    rows, spoken = list[Row](), of_system(systems.get(system))
    for number, replies in enumerate(_REPLIES[system]):
        row = _chain(folder, f"0_{number}", spoken, 0, replies)
        told = row["messages"]
        if _REPLIES[system] is _INLINE:
            start = next(at for at, each in enumerate(told) if each["role"] == "assistant")
            said = {"role": "assistant", "content": "".join(each["content"] for each in told[start:])}
            told = [*told[:start], said]
        rows.append({"messages": told, "images": row["images"]})
    return array(folder / "solutions.json", rows)


def code_rl(system: str, folder: Path) -> Path:
    """Rows with the fields that the reward's program reads."""
    if system == "deepeyes-v2":
        # Visual-Agent/DeepEyesV2@0373e6e, verl/utils/reward_score/__init__.py and deepeyesv2.py
        info = {"index": "search_0", "question": question(0), "answer": NUMBERS[0]}
        prompt = [{"role": "user", "content": f"{MARK}{question(0)}"}]
        told = {"data_source": "search", "env_name": "deepeyes_v2", "ability": "search", "prompt": prompt}
        model = {"style": "model", "ground_truth": NUMBERS[0]}
        row = {**told, "images": [embedded(0)], "reward_model": model, "extra_info": info}
        return parquet(folder / "search.parquet", [row])
    # We-Math/V-Thinker@77a5ab8119d7, scripts/plugin/agent_rm.py, and yfzhang114/Thyme@b9285b7a0c5f, README.md, 4.1
    image = saved(folder, "images/0.png", 0)
    if system == "rrvf":  # of no publication
        return array(folder / "problems.json", [{"id": "0", "question": question(0), "answer": "-", "image": image}])
    row = {"question": f"{MARK}{question(0)}", "solution": NUMBERS[0], "images": [image]}
    return array(folder / "problems.json", [row])


def vrag_rl(folder: Path) -> Path:
    """Rows of Alibaba-NLP/VRAG@24f8d05, VRAG-RL/examples/rag_dataset.json: one object with a list."""
    meta = {"file_name": "report.pdf", "reference_page": [1], "query_type": "Single-Hop"}
    row = {"uid": "report_0", "query": _REPORT, "reference_answer": NUMBERS[0], "meta_info": meta}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rag_dataset.json").write_text(json.dumps({"examples": [row]}))
    return folder / "rag_dataset.json"


def vrag_sft(folder: Path) -> Path:
    """Conversations of VRAG-RL/examples/search_sft.json: pages and crops are turns of the user."""
    said = ["<search>number</search>", "<bbox>[0, 0, 28, 28]</bbox>", f"<answer>{NUMBERS[0]}</answer>"]
    asked = of_system(systems.get("vrag-rl")).first.format(images="", question=_REPORT)
    told: list[Row] = [{"role": "user", "content": asked}]
    for each in said:
        told += [{"role": "assistant", "content": f"<think>Look.</think>\n{each}"}, {"role": "user", "content": MARK}]
    pages = [saved(folder, f"images/{at}.png", at) for at in range(2)]
    return array(folder / "search_sft.json", [{"messages": told[:-1], "images": pages}])


def actial_sft(folder: Path) -> Path:
    """Rows of ours of one and of two pictures, as the published layout is not known."""
    spoken = of_system(systems.get("actial"))
    asked = {"Which way was the camera turned? A. left B. right": 2, "Which number is it?": 1}
    image, rows = saved(folder, "images/0.png", 0), list[Row]()
    for text, pictures in asked.items():
        first = spoken.first.format(images="\n".join([MARK] * pictures), question=text)
        told = {"system": spoken.system, "user": first, "assistant": "<think>Look.</think>\n<answer>A</answer>"}
        messages = [{"role": role, "content": content} for role, content in told.items()]
        rows.append({"id": text, "messages": messages, "images": [image] * pictures})
    (folder / FILE_NAME).write_bytes(msgspec.json.encode(spoken))
    return array(folder / "taught.json", rows)


def _vts_step(thought: str, action: str, **arguments: object) -> Mapping[str, str]:
    content = {"thought": thought, "action_name": action, "action": arguments}
    return {"role": "assistant", "content": json.dumps(content, indent=4)}


def vts_v(folder: Path) -> Path:
    """Traces as `datagen/sft_data_gen/sft_datagen.py` writes them, of a zoom and the answer: its system message is that
    of the chat protocol, and a picture stands for its `Image Index`.
    """
    traces = []
    for at, number in enumerate(NUMBERS):
        whole = picture(at)
        width, height = whole.width // 2, whole.height // 2
        box = {"x_min": 0, "y_min": 0, "x_max": width, "y_max": height}
        messages = [
            {"role": "system", "content": of_system(systems.get("vts-v")).system},
            {"role": "user", "content": "<image>Which number is in the square?"},
            _vts_step("It is small.", "zoomin_action", image_index=1, bounding_box=box),
            {"role": "user", "content": "Here's the zoomed in image: <image>"},
            _vts_step("Now it can be read.", "terminate_action", final_response=number),
        ]
        shown = (whole, whole.crop((0, 0, width, height)))
        images = [save(folder, f"images/{at}-{number}.png", each) for number, each in enumerate(shown)]
        traces.append({"images": images, "messages": messages})
    return array(folder / "llavaov_sft_train.json", traces)


def visrl_boxes(folder: Path) -> Path:
    """preprocess/sft_format_round1.py: the first turn and its box; the entry is that of `data/dataset_info.json`."""
    asked = texts.text(systems.get("visrl").file.parent, "look").strip()
    rows = [
        {
            "image": row["images"],
            "conversations": [
                {"from": "human", "value": f"<image>\n{published_pairs.QUESTION} {asked}"},
                {"from": "gpt", "value": row["chosen_step"]["value"]},
            ],
        }
        for row in json.loads(published_pairs.visrl(folder).read_text())
    ]
    (folder / "demo_sft_data_30k.json").write_text(json.dumps(rows))
    columns = {"messages": "conversations", "images": "image"}
    entry = {"file_name": "demo_sft_data_30k.json", "formatting": "sharegpt", "columns": columns}
    entries = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({"demo_sft_data": entry, **entries}))
    return folder / "demo_sft_data_30k.json"
