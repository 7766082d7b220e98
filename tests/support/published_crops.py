"""Three rows in each published layout of the systems that crop, as in `published_rows`.

Each function writes a file below a folder and returns its path. Conversations are those of `virc data synth` in the
words of the system, with the crops that its calls name.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image
from support import system_rows
from support.published import writer
from support.row_files import NUMBERS, PLACES, SIDE, Row, array, parquet, picture, question, save

from virc.data.rows.record import content_of
from virc.models.chat_protocol import FILE_NAME, of_system
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Rejected, Reply, Session
from virc.systems import registry as systems
from virc.tools.registry import known

_DATASET = "VisualProbe_train"
deepeyes, chain_of_focus_rl, vigorl_rl, adareasoner = map(
    writer, ("deepeyes", "chain_of_focus_rl", "vigorl_rl", "adareasoner")
)


def _middle(at: int) -> tuple[int, int]:
    """The middle of the square with the number, in px of its picture."""
    left, top = PLACES[at]
    return left + SIDE // 2, top + SIDE // 2


def _searched(x: int, y: int) -> str:
    """A reply of ViGoRL that looks around a point."""
    call = {"name": "search_coordinate", "arguments": {"coordinate": [x, y]}}
    return f"<think>Look.</think>\n<tool_call>{json.dumps(call)}</tool_call>"


def mini_o3_cold_start(folder: Path) -> Path:
    """Mini-o3-Coldstart-Dataset: parquet whose conversations are texts, as Python prints a list."""

    # Mini-o3/Mini-o3@8654dbf, scripts/preprocess_coldstart.py, process_and_save
    def row(at: int, messages: list[Row], images: list[bytes]) -> Row:
        tags = {"system": "system", "user": "human", "assistant": "gpt"}
        return {
            "images": [{"bytes": image, "path": None} for image in images],
            "image_names": [f"image_{number}.png" for number in range(len(images))],
            "conversations": repr([{"from": tags[each["role"]], "value": each["content"]} for each in messages]),
            "data_source": "visual_probe",
            "sample_index": at,
            "rollout_index": 0,
        }

    return parquet(folder / "train-00000-of-00001.parquet", _conversations(folder, "mini-o3", row))


def _visual_probe(folder: Path, problems: Sequence[tuple[str, str, Image.Image]]) -> Path:
    """VisualProbe_train: a JSON array of problems; their pictures are named from the folder around that of the file."""
    # Mini-o3/Mini-o3@8654dbf, verl/utils/dataset/multimodal_dataset.py, make_conversation_multimodal; README.md
    rows = [
        {
            "problem": f"<image>\n{question}", "solution": answer, "doc_id": at, "data_source": "visual_probe",
            "images": [save(folder, f"{_DATASET}/data/{at}.png", image)],
        }
        for at, (question, answer, image) in enumerate(problems)
    ]  # fmt: skip
    return array(folder / _DATASET / "train.json", rows)


def mini_o3_rl(folder: Path) -> Path:
    """VisualProbe_train with our pictures."""
    return _visual_probe(folder, [(question(at), number, picture(at)) for at, number in enumerate(NUMBERS)])


def mini_o3_figures(folder: Path) -> Path:
    """The same with figures that `tiny` knows, for groups whose replies differ in their reward."""
    drawn = folder / "drawn"
    system_rows.in_words_of(drawn, [])
    found = [json.loads(line) for line in (drawn / "virc" / "problems.jsonl").read_text().splitlines()]
    problems = [(row["question"], row["answer"], Image.open(drawn / "virc" / row["image"])) for row in found]
    return _visual_probe(folder, problems)


def chain_of_focus_sft(folder: Path) -> Path:
    """CoF-SFT-Data-5.4k: a JSON array in LLaMA-Factory's sharegpt."""

    # xtong-zhang/Chain-of-Focus@431ff0d, configs/dataset_info.json
    def row(at: int, messages: list[Row], images: list[bytes]) -> Row:
        names = []
        for number, image in enumerate(images):
            file = folder / "images" / f"{at}_{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image)
            names.append(f"images/{file.name}")
        return {"messages": messages, "images": names}

    return array(folder / "cof_sft_data_5.4k.json", _conversations(folder, "chain-of-focus", row))


VIGORL: Sequence[Sequence[Sequence[str]]] = tuple(
    (
        (_searched(*_middle(at)), f"<think>Look.</think>\n<answer>{number}</answer>"),
        (_searched(*_middle(at)), f"<think>Look.</think>\n<answer>{other}</answer>"),
        (_searched(14, 182), _searched(*_middle(at)), f"<think>Look.</think>\n<answer>{number}</answer>"),
        (f"<answer>{number}</answer>",),
    )
    for at, (number, other) in enumerate(zip(NUMBERS, (*NUMBERS[1:], NUMBERS[0]), strict=True))
)
"""Of each picture the replies of four rollouts in the words of ViGoRL."""


def vigorl_sft(folder: Path, side: int | None = None) -> Path:
    """Chains of ViGoRL, a turn for each point: a JSON array of conversations; with `side` their squares are smaller."""
    # Gabesarch/grounded-rl@e7970c0, scripts/mcts/build_reasoning_chains_from_mcts_multiturn.py, process_paths_batch
    rows, spoken = [], of_system(systems.get("vigorl"))
    if side:
        (form,) = spoken.grammar.calls
        form = msgspec.structs.replace(form, given={**form.given, "size": side})
        spoken = msgspec.structs.replace(spoken, grammar=msgspec.structs.replace(spoken.grammar, calls=(form,)))
        folder.mkdir(parents=True)
        (folder / FILE_NAME).write_bytes(msgspec.json.encode(spoken))
    for at, chains in enumerate(VIGORL):
        for number, replies in enumerate(chains):
            row = _chain(folder, f"{at}_{number}", spoken, at, replies)
            rows.append({"messages": row["messages"], "images": row["images"]})
    return array(folder / "vigorl_multiturn.json", rows)


def wide_base(folder: Path) -> Path:
    """`tiny` in a folder, as a base that is shown images of up to a million pixels: ViGoRL's squares have 451,584."""
    shutil.copytree(EMBEDDED_FOLDER, folder)
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"max_pixels": 10**6}))
    return folder


def adareasoner_sft(folder: Path) -> Path:
    """AdaReasoner-TC: a JSON array in LLaMA-Factory's sharegpt, with calls of a tool that is not here, too."""
    # ssmisya/AdaReasoner@19c799d, AdaTC/data/dataset_info.json
    calls = [{"name": "OCR", "parameters": {"image": "img_1"}}]
    calls += [{"name": "Crop", "parameters": {"image": "img_1", "coordinates": "[14, 14, 98, 98]"}}]
    replies = [f"<think>a</think>\n<tool_call>\n{json.dumps(each)}\n</tool_call>" for each in calls]
    tags = {"system": "system", "user": "human", "assistant": "gpt"}
    rows = []
    for at, number in enumerate(NUMBERS):
        ended = [*replies, f"<think>b</think>\n<response>\\boxed{{{number}}}</response>"]
        row = _chain(folder, str(at), of_system(systems.get("adareasoner")), at, ended)
        told = [{"from": tags[each["role"]], "value": each["content"]} for each in row["messages"]]
        rows.append({"conversations": told, "images": row["images"]})
    return array(folder / "merged_sft_jigsaw_vsp_web_v1.json", rows)


def _chain(folder: Path, name: str, spoken: Protocol, at: int, replies: Sequence[str]) -> Row:
    """A conversation in a chat protocol about a picture, with what its tools show, and the names of its images."""
    session = Session(spoken, question(at), [picture(at)], tools=known())
    for reply in replies:
        taken = session.feed(Reply(reply))
        assert not isinstance(taken, Rejected), taken
    told = [{"role": each.role, "content": content_of(each)} for each in session.trace().messages]
    images = [save(folder, f"images/{name}_{number}.png", shown.pixels) for number, shown in enumerate(session.images)]
    return {"messages": told, "images": images}


def _conversations(folder: Path, system: str, row: Callable[[int, list[Row], list[bytes]], Row]) -> list[Row]:
    """Three conversations in the words of a system, each as `row` publishes it."""
    drawn = folder / "drawn"
    if not (drawn / system).exists():
        system_rows.in_words_of(drawn, [system])
    found: list[dict[str, Any]] = json.loads((drawn / system / "trajectories.json").read_bytes())[:3]
    return [
        row(at, each["messages"], [(drawn / system / name).read_bytes() for name in each["images"]])
        for at, each in enumerate(found)
    ]
