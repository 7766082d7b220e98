"""Files of rows drawn with a seed: every format, each with some of what people's files have or lack."""

import json
import random
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
from PIL import Image

Row = dict[str, Any]
Change = Callable[[list[Row], random.Random], object]
PICTURES = ("a.png", "b.png")


def draw(folder: Path, seed: int, made: Path) -> tuple[Path, str, tuple[str, ...]]:
    """A file of rows, the stage that trains on such and its options, drawn with a seed; pictures lie beside the file.

    Args:
        made: a folder of rows of `virc data synth` in the formats sft, rl and prompts.
    """
    chance = random.Random(seed)
    kind = chance.choice(list(KINDS))
    if kind in MADE:
        return _of_made(folder, kind, made, chance)
    folder.mkdir()
    for name, size in zip(PICTURES, ((224, 168), (112, 140)), strict=True):
        Image.radial_gradient("L").resize(size).save(folder / name)
    stage, make = KINDS[kind]
    rows = [make(number) for number in range(8)]
    hurt = chance.sample(rows, chance.choice((1, 1, 8)))
    for change in chance.sample(CHANGES[stage], chance.choice((0, 1, 1, 1, 2))):
        change(hurt, chance)
    if chance.random() < 0.3:
        picture(folder, hurt, chance)
    ending, form = chance.choice(FORMS)
    file = folder / f"rows{ending}"
    file.write_bytes(form(rows))
    return file, stage, WORDS[stage]


def draw_late(folder: Path, seed: int) -> tuple[Path, str, tuple[str, ...]]:
    """A file of so many rows that not all are looked at closely, and one of the others has an odd picture."""
    chance = random.Random(seed)
    folder.mkdir()
    Image.radial_gradient("L").resize((224, 168)).save(folder / PICTURES[0])
    stage, make = KINDS[chance.choice(("plain", "alpaca", "parts", "pairs", "problems"))]
    rows = [make(2 * number) for number in range(500)]
    picture(folder, [rows[2 * chance.randrange(50, 240) + 1]], chance)
    (folder / "rows.jsonl").write_bytes(lines(rows))
    return folder / "rows.jsonl", stage, WORDS[stage]


def _of_made(folder: Path, kind: str, made: Path, chance: random.Random) -> tuple[Path, str, tuple[str, ...]]:
    """Rows that call tools, or parquet for verl, made by virc and changed in one way."""
    shutil.copytree(made, folder)
    name, stage, words = MADE[kind]
    file = folder / name
    if file.suffix == ".json":
        rows = json.loads(file.read_text())
        chance.choice(CALLS)(chance.sample(rows, chance.choice((1, len(rows)))), chance)
        file.write_text(json.dumps(rows))
    else:
        table = pq.read_table(file)
        rows = table.to_pylist()
        chance.choice(PARQUET)(chance.sample(rows, chance.choice((1, len(rows)))), chance)
        pq.write_table(table.from_pylist(rows, schema=table.schema), file)
    if chance.random() < 0.2:
        (folder / "virc_protocol.json").unlink()
    return file, stage, words


def plain(number: int) -> Row:
    turns = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": f"Disk {number}."}]
    return {"id": number, "messages": turns, "images": [PICTURES[number % 2]]}


def thought(number: int) -> Row:
    row = plain(number)
    row["messages"][1]["content"] = f"<think>It is round.</think><answer>disk {number}</answer>"
    return row


def long(number: int) -> Row:
    row = plain(number)
    row["messages"] += [{"role": "user", "content": "And what colour?"}, {"role": "assistant", "content": "Grey."}]
    return row


def shared(number: int) -> Row:
    row = plain(number)
    turns = [{"from": {"user": "human"}.get(each["role"], "gpt"), "value": each["content"]} for each in row["messages"]]
    return {"id": number, "conversations": turns, "images": row["images"]}


def pair(number: int) -> Row:
    row = plain(number)
    rejected = {"role": "assistant", "content": "A cat."}
    return {**row, "messages": row["messages"][:1], "chosen": row["messages"][1], "rejected": rejected}


def problem(number: int) -> Row:
    return {"id": number, "image": PICTURES[number % 2], "question": "What is it?", "answer": "disk"}


def alpaca(number: int) -> Row:
    return {"instruction": "<image>What is it?", "input": "", "output": "Disk.", "images": [PICTURES[number % 2]]}


def grounded(number: int) -> Row:
    row = plain(number)
    row["messages"][1]["content"] = "<ref-object> at <bbox>"
    return {**row, "objects": {"ref": ["disk"], "bbox": [[10, 20, 60, 70]]}}


def parts(number: int) -> Row:
    shown = {"type": "image_url", "image_url": {"url": PICTURES[number % 2]}}
    turns = [{"role": "user", "content": [shown, {"type": "text", "text": "What?"}]}, plain(number)["messages"][1]]
    return {"id": number, "messages": turns}


KINDS: dict[str, tuple[str, Callable[[int], Row]]] = {
    "plain": ("instruct", plain), "thought": ("instruct", thought), "long": ("instruct", long),
    "shared": ("instruct", shared), "pairs": ("dpo", pair), "problems": ("rl", problem),
    "more problems": ("rl", problem),
    "alpaca": ("instruct", alpaca), "grounded": ("instruct", grounded), "parts": ("instruct", parts),
    "calls": ("instruct", plain), "units": ("rl", plain), "prompts": ("rl", plain),
}  # fmt: skip


_SMALL = ("--set", "train_batch_size=8", "--set", "ppo_mini_batch_size=8")
WORDS = {"instruct": (), "dpo": (), "rl": ("--with", "multi-turn", *_SMALL)}
MADE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "calls": ("trajectories.json", "instruct", ()), "units": ("rl.parquet", "rl", _SMALL),
    "prompts": ("prompts.parquet", "rl", ("--with", "multi-turn", *_SMALL)),
}  # fmt: skip
"""Kinds of rows that virc makes itself: file, stage and its options."""


def each(change: Callable[[Row, random.Random], object]) -> Change:
    return lambda rows, chance: [change(row, chance) for row in rows if row]


def turns(row: Row) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = row.get("messages", row.get("conversations", []))
    return found


def said(row: Row, at: int, before: str = "", behind: str = "") -> None:
    turn = turns(row)[at] if turns(row) else {}
    key = "value" if "value" in turn else "content"
    if key in turn:
        turn[key] = f"{before}{turn[key]}{behind}"


def emptied(row: Row, at: int) -> None:
    turn = turns(row)[at] if turns(row) else {}
    turn["value" if "value" in turn else "content"] = ""


def renamed(row: Row, at: int, role: str) -> None:
    turn = turns(row)[at] if turns(row) else {}
    turn["from" if "from" in turn else "role"] = role


def system(row: Row, text: str) -> None:
    first = {"from": "system", "value": text} if "conversations" in row else {"role": "system", "content": text}
    turns(row).insert(0, first)


TALKS: Sequence[Change] = (
    each(lambda row, chance: said(row, 0, "<image>")),
    each(lambda row, chance: said(row, -1, behind="<image>")),
    each(lambda row, chance: said(row, 0, chance.choice(PLACEHOLDERS))),
    each(lambda row, chance: said(row, -1, behind=chance.choice(PLACEHOLDERS))),
    each(lambda row, chance: said(row, 0, behind=" 数学 \u00e9")),
    each(lambda row, chance: said(row, -1, "word word " * 8)),
    each(lambda row, chance: said(row, -1, "<think>so</think>")),
    each(lambda row, chance: said(row, -1, '<tool_call>{"name": "zoom", "arguments": {}}</tool_call>')),
    each(lambda row, chance: emptied(row, 0)),
    each(lambda row, chance: emptied(row, -1)),
    each(lambda row, chance: renamed(row, 0, "assistant")),
    each(lambda row, chance: renamed(row, -1, chance.choice(("tool", "observation", "function_call", "user")))),
    each(lambda row, chance: turns(row)[-1:] and turns(row).pop()),
    each(lambda row, chance: turns(row).clear()),
    each(lambda row, chance: turns(row).reverse()),
    each(lambda row, chance: system(row, "Be brief.")),
    each(lambda row, chance: system(row, "")),
    each(lambda row, chance: system(row, f"Row {row.get('id')}.")),
    each(lambda row, chance: row.update(images=[*row.get("images", ()), "a.png"])),
    each(lambda row, chance: row.update(images=[])),
    each(lambda row, chance: row.pop("images", None)),
    each(lambda row, chance: row.update(images="a.png")),
)
ANY: Sequence[Change] = (
    each(lambda row, chance: row.update(id=1)),
    each(lambda row, chance: row.update(id=str(row.get("id")))),
    each(lambda row, chance: row.pop("id", None)),
    each(lambda row, chance: row.update(note={"a": [1, None]})),
    each(lambda row, chance: row.update(note="\ud800")),
    each(lambda row, chance: row.update({chance.choice(ODD_COLUMNS): ["x", "y"]})),
    each(lambda row, chance: row.update(tools="[]", objects={"ref": [], "bbox": []})),
    each(lambda row, chance: row.clear()),
)
PAIRS: Sequence[Change] = (
    each(lambda row, chance: row.update(rejected=row.get("chosen"))),
    each(lambda row, chance: row.update(rejected={"role": "assistant", "content": ""})),
    each(lambda row, chance: row.update(chosen={"role": "user", "content": "Disk."})),
    each(lambda row, chance: row.update(chosen={"role": "assistant", "content": f"{chance.choice(PLACEHOLDERS)}."})),
    each(lambda row, chance: row.update(margin=chance.choice((-1, 0.5, "much")))),
    each(lambda row, chance: row.pop("rejected", None)),
)
PROBLEMS: Sequence[Change] = (
    each(lambda row, chance: row.update(question="")),
    each(lambda row, chance: row.update(question=f"{chance.choice(('<image>', *PLACEHOLDERS))}What?")),
    each(lambda row, chance: row.update(answer="")),
    each(lambda row, chance: row.update(answer=None)),
    each(lambda row, chance: row.update(answer="['disk', 'ball']")),
    each(lambda row, chance: row.update(answer=["disk", "ball"])),
    each(lambda row, chance: row.update(answer=7)),
    each(lambda row, chance: row.update(choices=["cat", "dog"])),
    each(lambda row, chance: row.update(choices=["disk", "dog"])),
    each(lambda row, chance: row.pop("answer", None)),
    each(lambda row, chance: row.pop("question", None)),
    each(lambda row, chance: row.pop("image", None)),
    each(lambda row, chance: row.update(image=None)),
)
PLACEHOLDERS = (
    "<video>", "<audio>", "<bbox>", "<ref-object>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|image|>",
    "<image_1>", "<Image>", "<img>", "</video>",
)  # fmt: skip
ODD_COLUMNS = ("choices", "answers", "boxes", "videos", "mask", "options", "history", "name", "gt")
CALLS: Sequence[Change] = (
    lambda rows, chance: None,
    each(lambda row, chance: said(row, 2, behind=chance.choice(("</think>", "<answer>7</answer>", "{", "<image>")))),
    each(lambda row, chance: said(row, -1, behind=chance.choice(PLACEHOLDERS))),
    each(lambda row, chance: row.update(answer="no such")),
    each(lambda row, chance: turns(row).pop(0)),
    each(lambda row, chance: turns(row).pop()),
    each(lambda row, chance: row["images"].pop()),
    each(lambda row, chance: row["images"].__setitem__(0, "gone.png")),
    each(lambda row, chance: row.update(id="a")),
    each(lambda row, chance: row.update(note=chance.choice((1, "x")))),
)
PARQUET: Sequence[Change] = (
    lambda rows, chance: None,
    lambda rows, chance: None,
    each(lambda row, chance: row["reward_model"].update(ground_truth=None)),
    each(lambda row, chance: row["extra_info"].update(question=None)),
    each(lambda row, chance: row.update(data_source=None)),
    each(lambda row, chance: row["prompt"][-1].update(content=f"{chance.choice(PLACEHOLDERS)} What?")),
    each(lambda row, chance: row["prompt"][-1].update(role="assistant")),
    each(lambda row, chance: row["images"].pop()),
    each(lambda row, chance: row["images"][0].update(image="gone.png")),
    each(lambda row, chance: row["extra_info"].update(id="a")),
)
CHANGES = {"instruct": (*TALKS, *ANY), "dpo": (*TALKS, *PAIRS, *ANY), "rl": (*PROBLEMS, *ANY)}


def lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=chance_free(row)) + "\n" for row in rows).encode()


def chance_free(row: Row) -> bool:
    """Whether a row can only be written in ASCII: half a character is no text."""
    return "\\ud800" in json.dumps(row)


def array(rows: Sequence[Row]) -> bytes:
    return b"[" + b",\n".join(lines([row]).strip() for row in rows) + b"]"


FORMS: Sequence[tuple[str, Callable[[Sequence[Row]], bytes]]] = (
    *[(".jsonl", lines)] * 8, *[(".json", array)] * 6,
    (".jsonl", lambda rows: b"\xef\xbb\xbf" + lines(rows)), (".json", lambda rows: b"\xef\xbb\xbf" + array(rows)),
    (".jsonl", lambda rows: lines(rows).decode().encode("utf-16")),
    (".json", lambda rows: array(rows).decode().encode("utf-16")),
    (".jsonl", lambda rows: lines(rows).decode().encode("gb18030")),
    (".json", lambda rows: array(rows).decode().encode("gb18030")),
    (".json", lines), (".jsonl", array), (".jsonl", lambda rows: lines(rows) + b'{"id": 9, "mess'),
    (".json", lambda rows: array(rows)[:-9]), (".jsonl", lambda rows: lines(rows).replace(b"\n", b"\r\n\r\n")),
)  # fmt: skip


def picture(folder: Path, rows: Sequence[Row], chance: random.Random) -> None:
    """Give rows another picture, odd in one way."""
    name, make = chance.choice(ODD_PICTURES)
    make(folder / name)
    for row in rows:
        if row.get("image"):
            row["image"] = name
        elif row.get("images") and isinstance(row["images"], list):
            row["images"][0] = name


def _turned(file: Path) -> None:
    image = Image.radial_gradient("L").resize((120, 90))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(file, exif=exif)


def _huge(file: Path) -> None:
    """The header of a picture that has more pixels than a decoder takes."""
    image = Image.new("L", (8, 8))
    image.save(file)
    data = bytearray(file.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    file.write_bytes(data)


def _cut(file: Path) -> None:
    Image.effect_noise((300, 300), 90).save(file)
    file.write_bytes(file.read_bytes()[:2000])


ODD_PICTURES: Sequence[tuple[str, Callable[[Path], object]]] = (
    ("gone.png", lambda file: None),
    ("empty.png", lambda file: file.write_bytes(b"")),
    ("text.png", lambda file: file.write_text("no picture")),
    ("cut.png", _cut),
    ("cut.jpg", _cut),
    ("huge.png", _huge),
    ("turned.jpg", _turned),
    ("clear.png", lambda file: Image.new("RGBA", (200, 100), (0, 0, 0, 0)).save(file)),
    ("deep.png", lambda file: Image.new("I;16", (200, 100), 40_000).save(file)),
    ("tiny.png", lambda file: Image.new("RGB", (1, 1)).save(file)),
    ("thin.png", lambda file: Image.new("RGB", (3000, 2)).save(file)),
    ("thin palette.png", lambda file: Image.new("P", (6000, 20), 1).save(file)),
    ("thin grey.png", lambda file: Image.linear_gradient("L").resize((6000, 20)).point(lambda it: it % 2).save(file)),
    ("large.png", lambda file: Image.new("RGB", (2000, 1500)).save(file)),
    ("cmyk.jpg", lambda file: Image.new("CMYK", (200, 100)).save(file)),
    ("moving.gif", lambda file: Image.new("L", (60, 60)).save(
        file, save_all=True, append_images=[Image.new("L", (60, 60), 90)])),
    ("https://host.invalid/a.png", lambda file: None),
    ("../outside.png", lambda file: Image.new("RGB", (99, 99)).save(file)),
    ("name with space.png", lambda file: Image.new("RGB", (99, 99)).save(file)),
)  # fmt: skip
