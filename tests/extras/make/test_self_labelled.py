"""Questions that pictures answer themselves: each answer is right by another way than the one it was made by."""

import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from support.tables import each_case

from virc.reasoning.images import open_image
from virc_extras.image_tools.orient import CHANGES
from virc_extras.make.run import make
from virc_zoo.mpcc.operators import hide
from virc_zoo.ssl4rl.operators import _augment as augment
from virc_zoo.ssl4rl.operators import position

BACK = {"0": None, "90": "turn_90", "180": "turn_180", "270": "turn_270"}
"""The clockwise change of `orient_image` that undoes a counter-clockwise turn."""


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.frombytes("RGB", (width, height), Random(seed).randbytes(3 * width * height))


def upright(folder: Path, name: str) -> Image.Image:
    return open_image(folder / name, name)


def made(folder: Path, operator: str, *pictures: Image.Image, to: str = "new", **options: Any) -> list[dict[str, Any]]:
    """The rows that an operator makes of pictures, one a row; saved once."""
    rows = folder / "rows.jsonl"
    if not rows.exists():
        for at, picture in enumerate(pictures):
            picture.save(folder / f"p{at}.png", compress_level=0)
        rows.write_text("".join(json.dumps({"id": at, "image": f"p{at}.png"}) + "\n" for at in range(len(pictures))))
    return run(folder, rows, operator, to, options)


def run(folder: Path, rows: Path, operator: str, to: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    if operator == "contrast":
        options = {"others": str(rows), **options}
    make(operator, [str(rows)], folder / f"{to}.jsonl", options)
    return [json.loads(line) for line in (folder / f"{to}.jsonl").read_text().splitlines()]


def test_rotations_are_undone_by_orient(tmp_path: Path) -> None:
    rows = made(tmp_path, "rotation", *(noise(40 + at, 60, at) for at in range(24)))
    assert {row["answer"] for row in rows} == set(BACK)
    for row in rows:
        first, second = (upright(tmp_path, name) for name in row["images"])
        change = BACK[row["answer"]]
        assert (second.transpose(CHANGES[change]) if change else second) == first
        assert row["data_source"] == "RotationQA_90degree"


@each_case("size", [2, 3, 5])
def test_pieces_put_together_give_the_picture(tmp_path: Path, size: int) -> None:
    rows = made(tmp_path, "jigsaw", *(noise(29 * size + at, 30 * size, at) for at in range(4)), size=size)
    assert len(rows) == 4
    for row in rows:
        whole = upright(tmp_path, f"p{row['id']}.png")
        pieces = [upright(tmp_path, name) for name in row["images"]]
        width, height = pieces[0].size
        assert (width, height) == (whole.width // size, whole.height // size)
        again = Image.new("RGB", (width * size, height * size))
        for place, number in enumerate(map(int, row["answer"].split(","))):
            again.paste(pieces[number - 1], (place % size * width, place // size * height))
        assert again == whole.crop((0, 0, width * size, height * size))
        assert row["data_source"] == f"JigsawQA_{size}x{size}"


def test_a_piece_is_found_in_its_quarter_alone(tmp_path: Path) -> None:
    rows = made(tmp_path, "position", *(noise(111 + at, 131, at) for at in range(24)))
    assert {row["answer"] for row in rows} == set(position.QUARTERS)
    for row in rows:
        whole, piece = (np.asarray(upright(tmp_path, name)) for name in row["images"])
        height, width = piece.shape[:2]
        corners = np.argwhere((whole == piece[0, 0]).all(axis=2))
        ((top, left),) = [(y, x) for y, x in corners if np.array_equal(whole[y : y + height, x : x + width], piece)]
        vertical = "top" if top + height <= whole.shape[0] // 2 else "bottom" if top >= whole.shape[0] // 2 else "both"
        side = "left" if left + width <= whole.shape[1] // 2 else "right" if left >= whole.shape[1] // 2 else "both"
        assert row["answer"] == f"{vertical}-{side}"
        assert row["box"] == [left, top, left + width, top + height]


@each_case(
    ("turn", "digest"),  # recorded from torchvision 0.28, adjust_hue
    [(-0.2, "bd97ed8ae108042e"), (0.0, "f3b0a655b832b590"), (0.05, "b4bd3b5a500d2e85"), (0.5, "6d04a0defd6525f8")],
)
def test_hues_are_turned_as_published(turn: float, digest: str) -> None:
    pixels = augment.hue_turned(noise(64, 48, 7), turn).tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == digest


@each_case(
    ("size", "box", "form", "digest"),  # recorded from train_script/image_utils.py, soft_mask_coco and soft_mask
    [
        ((120, 90), [10, 20, 30, 40], "xywh", "a2e18443cb1f30a5"),
        ((120, 90), [100.6, 70.2, 60, 60.9], "xywh", "c25b8e7b8b2a363f"),
        ((50, 50), [0, 0, 50, 50], "xywh", "d911be33fc2c112f"),
        ((40, 300), [3.7, 200, 9.2, 1.5], "xywh", "1fe4a3d700de5f8b"),
        ((123, 77), "[100, 250, 666, 999]", "permille", "6aa446438999a95a"),
    ],
)
def test_covers_are_painted_as_published(size: tuple[int, int], box: Any, form: str, digest: str) -> None:
    covered = hide.covered(noise(*size, 3), hide.boxes_of(box, form, size), 5)
    assert hashlib.sha256(covered.tobytes()).hexdigest()[:16] == digest


def test_a_covered_object_is_the_answer(tmp_path: Path) -> None:
    Image.new("RGB", (100, 80), "white").save(tmp_path / "p.png")
    rows = tmp_path / "rows.jsonl"
    lines = [
        {"id": "a", "image": "p.png", "bbox": [20, 20, 40, 20], "category_name": " cat "},
        {"id": "b", "image": "p.png", "bbox": [20, 30, 40, 20], "category_name": " "},
        {"id": "c", "image": "p.png", "category_name": "dog"},
        {"id": "d", "image": "p.png", "bbox": [20, 20, 40, 19], "category_name": "eel"},
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (row,) = run(tmp_path, rows, "hide", "new", {"answer": "category_name"})
    assert (row["id"], row["answer"], row["boxes"]) == ("a", "cat", [[20, 20, 60, 40]])
    covered = upright(tmp_path, row["images"][0])
    assert (covered.convert("L").getpixel((40, 30)) or 0) < 20  # type: ignore[operator]
    assert covered.getpixel((2, 2)) == (255, 255, 255)
    left_out = [json.loads(line)["rule"] for line in (tmp_path / "new.jsonl.left_out").read_text().splitlines()]
    assert sorted(left_out) == ["no answer", "no box", "small box"]
    (own,) = run(tmp_path, rows, "hide", "own", {"answer": "category_name", "question": "What is under it?"})
    assert "What is under it?" in own["question"]
    assert hide.QUESTION[:40] in row["question"]
    both = hide.covered(Image.new("RGB", (100, 50), "white"), [(5, 5, 35, 45), (65, 5, 95, 45)], 1)
    assert [both.getpixel((x, 25)) for x in (20, 50, 80)] == [(0, 0, 0), (255, 255, 255), (0, 0, 0)]
