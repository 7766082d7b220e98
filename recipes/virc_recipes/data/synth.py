"""A folder of synthetic problems: pictures, questions with exact boxes, and worked trajectories to train on."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc_recipes.data import diagrams, worked
from virc_recipes.data.diagrams import Diagram, Split
from virc_recipes.errors import UsageError
from virc_recipes.reasoning.protocol import FILE_NAME, Protocol, own_protocol
from virc_recipes.reasoning.session import Reply, Session
from virc_recipes.tools import schemas

DATASET = "virc_synth"
_SHAREGPT_TAGS = {
    "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
    "system_tag": "system",
}  # fmt: skip


class SynthConfig(msgspec.Struct, frozen=True):
    """What to draw.

    Args:
        to: folder to make; it must not exist, or be empty.
        count: problems.
        seed: same seed, split and sides: same folder, byte for byte.
        split: `train` or `heldout`; no figure of one is in the other.
        sides: numbers of sides to choose from, 3 or 4; a number given twice is drawn twice as often.
    """

    to: Path
    count: int = 100
    seed: int = 0
    split: Split = "train"
    sides: tuple[int, ...] = (3, 3, 4)


def write(config: SynthConfig, on_progress: Callable[[int], None] = lambda done: None) -> Path:
    """Make the folder, whole or not at all.

    It holds `problems.jsonl` (the batch layout, with boxes), `trajectories.json` with `dataset_info.json` (CRUX as
    LLaMA-Factory reads it), `virc_protocol.json` (the wording of the trajectories) and `images/`.

    Raises:
        UsageError: the folder is in use, or a figure of that many sides is not drawn.
    """
    unknown = set(config.sides) - set(diagrams.FIGURES)
    if unknown or not config.sides:
        raise UsageError(
            f"no figure has {', '.join(map(str, sorted(unknown))) or 'no'} sides here", "--sides 3,4"
        )
    if config.to.exists() and (not config.to.is_dir() or any(config.to.iterdir())):
        raise UsageError(f"{config.to} is in use", "choose another folder with --to")
    partial = config.to.with_name(f".{config.to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "images").mkdir(parents=True)
    try:
        _fill(partial, config, on_progress)
        partial.replace(config.to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return config.to


def problem(diagram: Diagram, name: str, image: str) -> dict[str, Any]:
    """One row in the batch layout; boxes are left, top, right, bottom in px."""
    corners = [
        {
            "letter": corner.letter,
            "printed": corner.printed,
            "letter_box": corner.letter_box,
            "value_box": corner.value_box,
            "crop": diagrams.crop_of(corner, diagram.width, diagram.height),
        }
        for corner in diagram.reading_order()
    ]
    return {
        "id": name, "image": image, "question": diagram.question, "answer": str(diagram.answer), "corners": corners
    }  # fmt: skip


def _fill(folder: Path, config: SynthConfig, on_progress: Callable[[int], None]) -> None:
    rng = random.Random(f"{config.seed} {config.split}")
    protocol = own_protocol(schemas(("crop_image", "scale_image", "display_image")))
    trajectories = []
    with (folder / "problems.jsonl").open("w", encoding="utf-8") as problems:
        for number in range(config.count):
            name = f"{config.split}-{config.seed}-{number:06d}"
            diagram = diagrams.generate(rng, config.split, config.sides)
            trajectories.append(_trajectory(folder, name, diagram, protocol))
            row = problem(diagram, name, trajectories[-1]["images"][0])
            problems.write(json.dumps(row, ensure_ascii=False) + "\n")
            on_progress(number + 1)
    info = {
        DATASET: {
            "file_name": "trajectories.json", "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"}, "tags": _SHAREGPT_TAGS,
        }
    }  # fmt: skip
    _dump(folder / "trajectories.json", trajectories)
    _dump(folder / "dataset_info.json", info)
    _dump(folder / FILE_NAME, msgspec.to_builtins(protocol))


def _trajectory(folder: Path, name: str, diagram: Diagram, protocol: Protocol) -> dict[str, Any]:
    """Solve the diagram through Session and keep its messages and every image it showed."""
    session = Session(protocol, diagram.question, [diagrams.draw(diagram)])
    for text in worked.replies(diagram):
        session.feed(Reply(text))
    trace = session.trace()
    files: Sequence[str] = [f"images/{name}-{index}.png" for index in range(len(session.images))]
    for file, shown in zip(files, session.images, strict=True):
        (folder / file).write_bytes(shown.png)
    messages = [
        {"role": message.role, "content": "<image>" * len(message.images) + message.text}
        for message in trace.messages
    ]
    return {"id": name, "messages": messages, "images": list(files), "answer": trace.answer}


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
