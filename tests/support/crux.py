"""A small set in the shape of CRUX as it is published, for tests of whatever reads it.

Written by the standard library, Pillow, lz4 and pyarrow alone, so that the readers are held against something they
did not write; its chat protocol is one that no code here knows.
"""

import io
import json
import random
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from PIL import Image, ImageDraw

IMAGES = "ViRC_images"
DYNAMIC = "ViRC_stage_1_InstrSFT_scale_dynamic_50K"
FIXED = "ViRC_stage_1_InstrSFT_scale_fixed_50K"
RL = "ViRC_stage_3_StratRL_{split}_scale_dynamic.parquet"

# What is done on the way to each answer; boxes in 0..999 of the image of that index. Inputs come first in the history.
_CROP, _SCALE, _DISPLAY = "crop_image", "scale_image", "display_image"
_PLANS: tuple[tuple[int, tuple[tuple[str, int, Any], ...]], ...] = (
    (1, ((_CROP, 0, [100, 200, 620, 810]),)),
    (1, ((_CROP, 0, [0, 0, 999, 999]), (_CROP, 1, [333, 250, 900, 750]))),
    (1, ((_SCALE, 0, 1.5), (_CROP, 1, [500, 40, 960, 540]))),
    (1, ((_DISPLAY, 0, None),)),
    (1, ()),
    (2, ((_CROP, 1, [80, 80, 700, 900]),)),
    (1, ((_SCALE, 0, 0.5), (_DISPLAY, 0, None), (_CROP, 1, [10, 300, 510, 830]))),
)
_INSTRUCTION = (
    "Work through it one step after another. Where a step needs a closer look, use a tool, else give the answer, "
    "always in the form <think>…</think> and then <tool_call>…</tool_call> or <answer>…</answer>."
)
_NEXT = "Make good use of the tools and carry on."
_UNITS = {False: "absolute pixels x1, y1, x2, y2", True: "x1, y1, x2, y2 from 0 to 999"}
_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
         "system_tag": "system"}  # fmt: skip


class Crux(NamedTuple):
    """Where the parts of a set lie."""

    folder: Path
    archive: Path
    dynamic: Path
    fixed: Path
    train: Path
    val: Path
    images: list[str]
    """Names of all images in the archive, relative to the folder."""


class Problem(NamedTuple):
    """One solved problem; `tools` has one name, or None for an answer, an assistant turn."""

    question: str
    answer: str
    messages: list[dict[str, str]]
    images: list[tuple[str, bytes]]
    tools: list[str | None]


def build(folder: Path, rows: int = 8, seed: int = 0, *, unpacked: bool = False) -> Crux:
    """Write a set as it is downloaded, `rows` problems in each SFT file; with `unpacked`, its images as well.

    The images are in the archive only, or in it and beside it. The RL files hold theirs; no problem of `train` is in
    `val`. The same arguments give the same rows and images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dynamic = [_problem(seed, number, fixed=False) for number in range(rows)]
    fixed = [_problem(seed, number, fixed=True) for number in range(rows)]
    val = [_problem(seed, rows + number, fixed=False) for number in range(max(1, rows // 4))]
    images = {name: data for problem in dynamic + fixed for name, data in problem.images}
    _archive(folder / f"{IMAGES}.tar.lz4", images)
    if unpacked:
        for name, data in images.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    for name, problems in ((DYNAMIC, dynamic), (FIXED, fixed)):
        _dump(folder / f"{name}.json", [_sft(problem) for problem in problems])
    _dump(folder / "dataset_info.json", {name: _entry(name) for name in (DYNAMIC, FIXED)})
    train_file, val_file = (folder / RL.format(split=split) for split in ("train", "val"))
    _parquet(train_file, dynamic, named=True)
    _parquet(val_file, val, named=False)
    return Crux(
        folder, folder / f"{IMAGES}.tar.lz4", folder / f"{DYNAMIC}.json", folder / f"{FIXED}.json",
        train_file, val_file, list(images),
    )  # fmt: skip


def publish(folder: Path, rows: int = 8, seed: int = 0) -> dict[str, Path]:
    """Write every file of the repository, by its name there: both SFT stages in both scales and sizes, and stage 3.

    The SFT files of one scale are alike; that of `rows` rows stands for 50,000 and for 100,000.
    """
    made = build(folder, rows, seed)
    names = {}
    for scale, file in (("dynamic", made.dynamic), ("fixed", made.fixed)):
        for stage in ("1_InstrSFT", "2_PracSFT"):
            for size in ("50K", "100K"):
                name = f"ViRC_stage_{stage}_scale_{scale}_{size}"
                names[name] = folder / f"{name}.json"
                if names[name] != file:
                    shutil.copyfile(file, names[name])
    _dump(folder / "dataset_info.json", {name: _entry(name) for name in names})
    for split, first in (("train", 0), ("val", rows)):
        problems = [_problem(seed, first + number, fixed=True) for number in range(max(1, rows // 4))]
        file = folder / RL.format(split=split).replace("dynamic", "fixed")
        _parquet(file, problems, named=split == "train")
    (folder / "README.md").write_text("CRUX, small\n")
    return {file.name: file for file in sorted(folder.iterdir()) if file.is_file()}


def copy(crux: Crux, to: Path) -> Crux:
    """A copy of a set to break, made anew in `to`."""
    shutil.copytree(crux.folder, to)
    moved = [value if isinstance(value, list) else to / value.relative_to(crux.folder) for value in crux]
    return Crux(*moved)  # type: ignore[arg-type]


@cache
def _problem(seed: int, number: int, *, fixed: bool) -> Problem:
    rng = random.Random(f"{seed} {number} {fixed}")
    count, plan = _PLANS[number % len(_PLANS)]
    question, answer = _question(rng)
    files = [_picture(rng, number + each, fixed) for each in range(count)]
    shown = [file if fixed else file.resize(_size(*file.size), Image.Resampling.LANCZOS) for file in files]
    lines = "\n".join(_line(index, image) for index, image in enumerate(shown))
    first = f"{'<image>' * count}{lines}\nQuestion: {question}\n\n{_INSTRUCTION}"
    messages = [_message("system", _system(fixed)), _message("user", first)]
    for tool, index, value in plan:
        arguments, image = _carry_out(tool, shown[index], value, fixed)
        call = json.dumps({"name": tool, "arguments": {**arguments, "image_index": index}}, ensure_ascii=False)
        messages.append(_turn(rng, "tool_call", call))
        between = f" Remember: {question}" if tool == _SCALE else ""
        messages.append(_message("user", f"<image>{_line(len(shown), image)}{between} {_NEXT}"))
        shown.append(image)
    messages.append(_turn(rng, "answer", answer))
    place = f"{IMAGES}/{'fixed' if fixed else 'dynamic'}/{number // 4:03d}"
    images = [_file(place, number, index, image) for index, image in enumerate([*files, *shown[count:]])]
    return Problem(question, answer, messages, images, [*(step[0] for step in plan), None])


def _question(rng: random.Random) -> tuple[str, str]:
    """A question with the letters, backslashes, quotes and braces that real ones have, and its answer."""
    first, second = rng.randint(20, 89), rng.randint(20, 80)
    answer = 180 - first - second
    choices = rng.sample([answer, answer + 3, answer - 7, answer + 11], 4)
    asked = (
        f"In $\\triangle ABC$, $m\\angle A = {first}^{{\\circ}}$ and ∠B = {second}°. Find $m\\angle C$.",
        f'The shop\'s sign says "{first}" and "{second}"; what is missing to 180?',
        f"已知 ∠A = {first}°, ∠B = {second}°, 求 ∠C. Choices: {' '.join(map(str, choices))}",
    )
    return rng.choice(asked), str(answer)


def _turn(rng: random.Random, tag: str, inner: str) -> dict[str, str]:
    number, angle = rng.randint(1, 999), rng.randint(1, 99)
    thought = f'Step {number}: the marks say \\( x = {angle}^\\circ \\), so "look" there.'
    return _message("assistant", f"<think>\n{thought}\n</think>\n\n<{tag}>\n{inner}\n</{tag}>")


def _picture(rng: random.Random, number: int, fixed: bool) -> Image.Image:
    """A drawing, of 1000 x 1000 px or of any size, in one of seven over 1000 px wide; no two are alike."""
    wide = 900 * (number % 7 == 1)
    size = (1000, 1000) if fixed else (wide + rng.randint(250, 420), rng.randint(230, 360))
    image = Image.new("RGB", size, "white")
    pencil = ImageDraw.Draw(image)
    points = [(rng.randrange(size[0]), rng.randrange(size[1])) for _ in range(6)]
    pencil.line(points, fill=(rng.randrange(200), 40, 90), width=2)
    pencil.text((size[0] // 3, size[1] // 2), f"{number} {rng.randrange(10**6)}", fill="black")
    return image


def _size(width: int, height: int) -> tuple[int, int]:
    """The size at which these images are shown; all are large and small enough for the plain rule."""
    return round(width / 28) * 28, round(height / 28) * 28


def _carry_out(tool: str, image: Image.Image, value: Any, fixed: bool) -> tuple[dict[str, Any], Image.Image]:
    """The arguments of a call as they are written, without the index, and the image it leads to as shown."""
    if tool == _DISPLAY:
        return {}, image
    if tool == _SCALE:
        smaller = value < 1
        made = image.resize(
            (int(image.width * value), int(image.height * value)),
            Image.Resampling.BOX if smaller else Image.Resampling.LANCZOS,
        )
        return {"scale_factor": value}, made.resize(_size(*made.size), Image.Resampling.LANCZOS)
    sides = (image.width, image.height) * 2
    box = [round(place / 999 * side) for place, side in zip(value, sides, strict=True)]
    made = image.crop((box[0], box[1], box[2], box[3]))
    return {"bbox_2d": value if fixed else box}, made.resize(_size(*made.size), Image.Resampling.LANCZOS)


def _system(fixed: bool) -> str:
    index = {"type": "integer", "minimum": 0, "description": "number of the image"}
    box = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4, "description": _UNITS[fixed]}
    factor = {"type": "number", "minimum": 0.25, "maximum": 4.0}
    tools = (
        (_CROP, "Take a region out of an image.", {"bbox_2d": box, "image_index": index}),
        (_SCALE, "Change the size of an image.", {"scale_factor": factor, "image_index": index}),
        (_DISPLAY, "See an image once more.", {"image_index": index}),
    )
    listed = "\n".join(
        json.dumps({"type": "function", "function": {"name": name, "description": said, "parameters": {
            "type": "object", "properties": properties, "required": list(properties)}}})
        for name, said, properties in tools
    )  # fmt: skip
    return (
        "You are a patient solver of problems in pictures.\n\n# Tools\n\nThese functions may be of use:\n"
        f"<tools>\n{listed}\n</tools>\n\nTo use one, write a JSON object with its name and arguments:\n"
        '<tool_call>\n{"name": <name>, "arguments": <arguments>}\n</tool_call>'
    )


def _line(index: int, image: Image.Image) -> str:
    return f"Image {index}: {image.width} x {image.height}."


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _file(place: str, number: int, index: int, image: Image.Image) -> tuple[str, bytes]:
    """Name and bytes; every third problem has JPEGs."""
    kind = "JPEG" if number % 3 == 2 else "PNG"
    data = io.BytesIO()
    image.save(data, kind, compress_level=1)
    return f"{place}/{number:05d}_{index}.{'jpg' if kind == 'JPEG' else 'png'}", data.getvalue()


def _sft(problem: Problem) -> dict[str, Any]:
    return {"messages": problem.messages, "images": [name for name, _ in problem.images]}


def _entry(name: str) -> dict[str, Any]:
    columns = {"messages": "messages", "images": "images"}
    return {"file_name": f"{name}.json", "formatting": "sharegpt", "columns": columns, "tags": _TAGS}


def _units(problems: Iterable[Problem], named: bool) -> list[dict[str, Any]]:
    """One row for each assistant turn: what stands before it."""
    rows: list[dict[str, Any]] = []
    for problem in problems:
        turns = [at for at, message in enumerate(problem.messages) if message["role"] == "assistant"]
        for at, tool in zip(turns, problem.tools, strict=True):
            prompt = problem.messages[:at]
            shown = sum(message["content"].count("<image>") for message in prompt)
            images = [
                {"bytes": data, "path": Path(name).name if named else None} for name, data in problem.images[:shown]
            ]
            rows.append(
                {
                    "data_source": "virc", "prompt": prompt, "images": images, "ability": "math",
                    "reward_model": {"style": "rule", "ground_truth": problem.answer},
                    "extra_info": {
                        "index": len(rows), "question": problem.question, "images": images, "prompt": prompt,
                        "tool_info_gt": {"name": tool} if tool else None,
                    },
                }
            )  # fmt: skip
    return rows


def _parquet(path: Path, problems: Sequence[Problem], *, named: bool) -> None:
    text, image = pa.string(), pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    prompt, images = pa.list_(pa.struct([("role", text), ("content", text)])), pa.list_(image)
    extra = [("index", pa.int64()), ("question", text), ("images", images), ("prompt", prompt),
             ("tool_info_gt", pa.struct([("name", text)]))]  # fmt: skip
    reward = pa.struct([("style", text), ("ground_truth", text)])
    schema = pa.schema([
        ("data_source", text), ("prompt", prompt), ("images", images), ("ability", text), ("reward_model", reward),
        ("extra_info", pa.struct(extra)),
    ])  # fmt: skip
    pq.write_table(pa.Table.from_pylist(_units(problems, named), schema=schema), path)


def _archive(path: Path, files: dict[str, bytes]) -> None:
    folders = sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."})
    with lz4.frame.open(path, "wb") as frame, tarfile.open(fileobj=frame, mode="w|") as tar:
        for folder in folders:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
