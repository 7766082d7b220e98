"""A folder of synthetic problems: pictures, questions with exact boxes, and worked trajectories to train on."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc_recipes.data import diagrams, worked
from virc_recipes.data.diagrams import Diagram, Split
from virc_recipes.errors import UsageError
from virc_recipes.reasoning.protocol import FILE_NAME
from virc_recipes.reasoning.session import Reply, Session

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
    taken = UsageError(f"{config.to} is in use", "choose another folder with --to")
    if config.to.exists() and (not config.to.is_dir() or any(config.to.iterdir())):
        raise taken
    to = config.to.resolve()
    partial = Path(tempfile.mkdtemp(prefix=f".{to.name}.", suffix=".partial", dir=_made(to.parent)))
    partial.chmod(0o777 & ~_umask())
    (partial / "images").mkdir()
    try:
        _fill(partial, config, on_progress)
        try:
            partial.replace(to)
        except OSError as error:  # somebody else filled it meanwhile
            raise taken from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return config.to


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _umask() -> int:
    """What this process withholds from new folders; `mkdtemp` withholds more."""
    current = os.umask(0o077)
    os.umask(current)
    return current


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
    trajectories, written = folder / "trajectories.json", folder / "problems.jsonl"
    with written.open("w", encoding="utf-8") as problems, trajectories.open("w", encoding="utf-8") as solved:
        for number in range(config.count):
            name = f"{config.split}-{config.seed}-{number:06d}"
            diagram = diagrams.generate(rng, config.split, config.sides)
            row = _trajectory(folder, name, diagram)
            problems.write(_line(problem(diagram, name, row["images"][0])))
            solved.write(
                ("[" if number == 0 else ",") + _line(row)
            )  # row by row: a million do not fit in memory
            on_progress(number + 1)
        solved.write("]\n")
    info = {
        DATASET: {
            "file_name": "trajectories.json", "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"}, "tags": _SHAREGPT_TAGS,
        }
    }  # fmt: skip
    _dump(folder / "dataset_info.json", info)
    _dump(folder / FILE_NAME, msgspec.to_builtins(worked.PROTOCOL))


def _trajectory(folder: Path, name: str, diagram: Diagram) -> dict[str, Any]:
    """Solve the diagram through Session and keep its messages and every image it showed."""
    session = Session(worked.PROTOCOL, diagram.question, [diagrams.draw(diagram)])
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


def _line(row: object) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
