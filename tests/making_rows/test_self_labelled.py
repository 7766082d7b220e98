"""Questions that pictures answer themselves: each answer is right by another way than the one it was made by."""

import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from virc.core.errors import UsageError
from virc.data.make.operator import Means
from virc.data.make.run import make
from virc.reasoning.images import open_image
from virc.tools.orient import CHANGES
from virc_zoo.mpcc.operators import hide
from virc_zoo.ssl4rl.operators import _augment as augment
from virc_zoo.ssl4rl.operators import contrast, jigsaw, position, rotation

BACK = {"0": None, "90": "turn_90", "180": "turn_180", "270": "turn_270"}
"""The clockwise change of `orient_image` that undoes a counter-clockwise turn."""
TASKS = ("rotation", "jigsaw", "position", "contrast")


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


def rules(folder: Path, to: str = "new") -> Counter[str]:
    lines = (folder / f"{to}.jsonl.left_out").read_text().splitlines()
    return Counter(json.loads(line)["rule"] for line in lines)


def test_rotations_are_undone_by_orient(tmp_path: Path) -> None:
    rows = made(tmp_path, "rotation", *(noise(40 + at, 60, at) for at in range(24)))
    assert {row["answer"] for row in rows} == set(BACK)
    for row in rows:
        first, second = (upright(tmp_path, name) for name in row["images"])
        change = BACK[row["answer"]]
        assert (second.transpose(CHANGES[change]) if change else second) == first
        assert row["data_source"] == "RotationQA_90degree"


@pytest.mark.parametrize(
    ("size", "canvas", "max_side", "angle", "expected"),
    [
        ((100, 60), "whole", 0, 90, (60, 100)),
        ((100, 60), "same", 0, 90, (100, 60)),
        ((100, 60), "same", 0, 180, (100, 60)),
        ((600, 180), "whole", 200, 90, (60, 200)),
        ((600, 180), "same", 200, 270, (200, 60)),
        ((150, 300), "whole", 200, 0, (100, 200)),
    ],
)
def test_turned_pictures_have_the_size_asked_for(
    tmp_path: Path, size: tuple[int, int], canvas: str, max_side: int, angle: int, expected: tuple[int, int]
) -> None:
    rows = made(tmp_path, "rotation", *[noise(*size)] * 16, canvas=canvas, max_side=max_side)
    row = next(row for row in rows if row["answer"] == str(angle))
    assert upright(tmp_path, row["images"][1]).size == expected


@pytest.mark.parametrize("size", [2, 3, 5])
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


@pytest.mark.parametrize(
    ("order", "answer"),  # recorded from build_benchmarks/makejigsaw_mmbench.py
    [
        ([3, 0, 2, 1], "2,4,3,1"), ([0, 1, 3, 2], "1,2,4,3"), ([1, 3, 2, 0], "4,1,3,2"), ([2, 0, 1, 3], "2,3,1,4"),
        ([4, 0, 7, 3, 8, 5, 1, 2, 6], "2,7,8,4,1,6,9,3,5"), ([7, 4, 5, 2, 6, 3, 8, 0, 1], "8,9,4,6,2,3,5,1,7"),
        ([1, 8, 3, 7, 2, 4, 5, 6, 0], "9,1,5,3,6,7,8,4,2"), ([1, 0, 8, 5, 4, 7, 3, 6, 2], "2,1,9,7,5,4,8,6,3"),
    ],
)  # fmt: skip
def test_orders_have_the_published_answer(order: list[int], answer: str) -> None:
    assert jigsaw.answer_of(order) == answer


def test_orders_and_angles_are_drawn_evenly(tmp_path: Path) -> None:
    options, rows = jigsaw.Options(), range(4800)
    orders, angles = Counter[str](), Counter[int]()
    for seed in rows:
        orders[jigsaw.answer_of(Means(options, seed, tmp_path / "n.jsonl").random.sample(range(4), 4))] += 1
        angles[Means(options, seed, tmp_path / "n.jsonl").random.choice((0, 90, 180, 270))] += 1
    for counts, kinds, limit in ((orders, 24, 49.7), (angles, 4, 16.3)):  # chi-square at 0.001, 23 and 3 degrees
        expected = len(rows) / kinds
        assert len(counts) == kinds
        assert sum((count - expected) ** 2 / expected for count in counts.values()) < limit


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


def test_a_changed_piece_keeps_its_size(tmp_path: Path) -> None:
    for row in made(tmp_path, "position", *[noise(150, 150)] * 6, augment="strong"):
        left, top, right, bottom = row["box"]
        assert upright(tmp_path, row["images"][1]).size == (right - left, bottom - top)


def coloured(at: int) -> Image.Image:
    """A picture of one colour with another's grain, so that its crops tell where they are from."""
    return Image.blend(Image.new("RGB", (200, 160), ((0, 0, 90), (250, 250, 40))[at]), noise(200, 160, at), 0.1)


def test_pairs_are_of_one_picture_or_of_two(tmp_path: Path) -> None:
    rows = made(tmp_path, "contrast", coloured(0), coloured(1), coloured(0), side=64)
    assert [row["id"] for row in rows[:2]] == ["0-positive", "0-negative"]
    assert Counter(row["answer"] for row in rows) == {"positive": 3, "negative": 3}
    assert all(upright(tmp_path, name).size == (64, 64) for row in rows for name in row["images"])


def test_a_negative_pair_has_another_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "cropped", lambda picture, kind, side, random: picture)
    for row in made(tmp_path, "contrast", *(noise(40, 40, at % 3) for at in range(9))):
        first, second = (upright(tmp_path, name) for name in row["images"])
        assert (first == second) == (row["answer"] == "positive")


def test_rows_with_no_other_picture_are_left_out(tmp_path: Path) -> None:
    assert made(tmp_path, "contrast", noise(40, 40), noise(40, 40)) == []
    assert rules(tmp_path) == {"no other picture": 2}


@pytest.mark.parametrize("operator", TASKS)
def test_a_row_asks_this_packages_question_or_the_users(tmp_path: Path, operator: str) -> None:
    pictures = [noise(130, 140, at) for at in range(2)]
    (usual, *_), (own, *_) = (
        made(tmp_path, operator, *pictures, to=to, **options)
        for to, options in (("a", {}), ("b", {"question": "Which way?"}))
    )
    module = {"rotation": rotation, "jigsaw": jigsaw, "position": position, "contrast": contrast}[operator]
    start = module.QUESTION[:40]
    assert [usual["question"].startswith(start), "Which way?" in own["question"], start in own["question"]] == [
        True, True, False
    ]  # fmt: skip


def test_a_file_of_others_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "others.jsonl").write_text("")
    assert made(tmp_path, "contrast", noise(40, 40), others=str(tmp_path / "others.jsonl")) == []
    assert rules(tmp_path) == {"no other picture": 1}


@pytest.mark.parametrize("operator", TASKS)
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, operator: str) -> None:
    pictures = [noise(130, 140, at) for at in range(4)]
    rows = {to: made(tmp_path, operator, *pictures, to=to, seed=seed) for to, seed in (("a", 1), ("b", 1), ("c", 2))}
    files = {
        to: [(tmp_path / name).read_bytes() for row in rows[to] for name in row["images"] if to in name.split("_")]
        for to in rows
    }
    assert [row["answer"] for row in rows["a"]] == [row["answer"] for row in rows["b"]]
    assert files["a"] == files["b"] != files["c"]


def halves(size: int, mode: str = "RGB") -> Image.Image:
    """Noise, of whatever mode."""
    return noise(size, size, 5).convert(mode)


@pytest.mark.parametrize(
    ("operator", "picture", "rule"),
    [
        ("rotation", Image.new("RGB", (60, 60), "red"), "same when turned"),
        ("rotation", noise(27, 60), "too small"),
        ("jigsaw", Image.new("RGB", (60, 60), "red"), "same pieces"),
        ("jigsaw", noise(55, 300), "too small"),
        ("jigsaw", noise(56, 300), None),
        ("position", Image.new("RGB", (200, 200), "red"), "one colour"),
        ("position", noise(60, 300), "too small"),
        *((task, Image.new("RGB", (1, 1)), "unreadable") for task in TASKS),
        *((task, Image.new("RGB", (30, 9000)), "unreadable") for task in TASKS),
    ],
)
def test_pictures_without_a_right_answer_are_left_out(
    tmp_path: Path, operator: str, picture: Image.Image, rule: str | None
) -> None:
    assert len(made(tmp_path, operator, picture)) == (rule is None)
    assert rules(tmp_path) == ({rule: 1} if rule else {})


def test_a_picture_that_is_itself_upside_down_is_left_out_at_every_angle(tmp_path: Path) -> None:
    half = noise(60, 30)
    whole = Image.new("RGB", (60, 60))
    whole.paste(half)
    whole.paste(half.rotate(180), (0, 30))
    assert (made(tmp_path, "rotation", *[whole] * 12), rules(tmp_path)) == ([], {"same when turned": 12})


@pytest.mark.parametrize("operator", TASKS)
@pytest.mark.parametrize(
    "picture",
    [halves(120, "L"), halves(120, "RGBA"), halves(120, "P"), halves(120, "1"), noise(120, 120 * 30)],
    ids=["grey", "alpha", "palette", "two colours", "very tall"],
)
def test_pictures_of_every_mode_are_shown(tmp_path: Path, operator: str, picture: Image.Image) -> None:
    rows = made(tmp_path, operator, picture, noise(140, 130, 9))
    assert any(str(row["id"]).startswith("0") for row in rows)


def test_pictures_within_rows_become_files(tmp_path: Path) -> None:
    file = io.BytesIO()
    noise(60, 60).save(file, "JPEG")
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([{"image": {"bytes": file.getvalue(), "path": "a.jpg"}}] * 4), rows)
    for row in run(tmp_path, rows, "rotation", "new", {}):
        first, second = (upright(tmp_path, name) for name in row["images"])
        change = BACK[row["answer"]]
        assert (second.transpose(CHANGES[change]) if change else second) == first
    assert [path.read_bytes() for path in (tmp_path / "images").iterdir()] == [file.getvalue()]


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_photographs_are_turned_upright_first(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    noise(90, 60).save(tmp_path / "p.png", exif=exif)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": at, "image": "p.png"}) + "\n" for at in range(12)))
    whole = upright(tmp_path, "p.png")
    for row in run(tmp_path, rows, "rotation", "new", {}):
        change = BACK[row["answer"]]
        second = upright(tmp_path, row["images"][1])
        assert (second.transpose(CHANGES[change]) if change else second) == whole


def test_alpha_is_white(tmp_path: Path) -> None:
    picture = noise(60, 60).convert("RGBA")
    picture.putalpha(0)
    ImageDraw.Draw(picture).rectangle((0, 0, 20, 9), fill=(255, 0, 0, 255))
    (row,) = made(tmp_path, "rotation", picture)
    colours = upright(tmp_path, row["images"][1]).getcolors() or []
    assert sorted(colours) == [(210, (255, 0, 0)), (3390, (255, 255, 255))]


@pytest.mark.parametrize(
    ("operator", "options"),
    [
        ("rotation", {"canvas": "some"}),
        ("rotation", {"max_side": -1}),
        ("jigsaw", {"size": 1}),
        ("jigsaw", {"size": 11}),
        ("position", {"augment": "much"}),
        ("contrast", {"side": 27}),
        ("contrast", {"others": "nowhere.jsonl"}),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, operator: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        made(tmp_path, operator, noise(60, 60), **options)


def test_questions_can_be_worded_otherwise(tmp_path: Path) -> None:
    for operator in TASKS:
        rows = made(tmp_path, operator, noise(130, 130), noise(131, 130, 1), to=operator, question="How so?")
        assert {row["question"] for row in rows} == {"How so?"}


@pytest.mark.parametrize(
    ("turn", "digest"),  # recorded from torchvision 0.28, adjust_hue
    [(-0.2, "bd97ed8ae108042e"), (0.0, "f3b0a655b832b590"), (0.05, "b4bd3b5a500d2e85"), (0.5, "6d04a0defd6525f8")],
)
def test_hues_are_turned_as_published(turn: float, digest: str) -> None:
    pixels = augment.hue_turned(noise(64, 48, 7), turn).tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == digest


class _FixedRandom(Random):
    """Random numbers as given: `random` is always `chance`, `uniform` gives four in turn, `sample` keeps the order."""

    def __init__(self, chance: float) -> None:
        super().__init__(0)
        self.chance, self.numbers = chance, iter((0.5, 1.5, 0.2, 0.1))

    def random(self) -> float:
        return self.chance

    def uniform(self, a: float, b: float) -> float:
        return next(self.numbers)

    def sample(self, population: Any, k: int, *, counts: Any = None) -> list[Any]:
        return list(population)


def test_pictures_are_recoloured_and_mirrored_as_the_augmentation_says() -> None:
    picture, none = noise(48, 48), augment.Augmentation((1, 1), 0, 0, 0, 0, 0)
    bright = ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(0.5)).enhance(1.5)
    jittered = augment.hue_turned(ImageEnhance.Color(bright).enhance(0.2), 0.1)
    assert augment.recoloured(picture, none, _FixedRandom(0.7)) == jittered
    changed = {
        "grey": picture.convert("L").convert("RGB"), "solarize": ImageOps.solarize(picture),
        "equalize": ImageOps.equalize(picture), "blur": picture.filter(ImageFilter.GaussianBlur(0.5)),
    }  # fmt: skip
    for name, expected in changed.items():
        kind = msgspec.structs.replace(none, **{name: 1})
        assert augment.recoloured(picture, kind, _FixedRandom(0.9)) == expected, name
    for flip, expected in ((1, ImageOps.mirror(picture)), (0, picture)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(augment, "crop_box", lambda size, *_: (0, 0, *size))
            assert augment.cropped(picture, msgspec.structs.replace(none, flip=flip), 48, _FixedRandom(0.9)) == expected


@pytest.mark.parametrize("size", [(640, 480), (100, 900), (1000, 30), (1, 1), (1, 500)])
def test_crops_are_within_the_picture(size: tuple[int, int]) -> None:
    random = Random(3)
    for _ in range(300):
        left, top, right, bottom = augment.crop_box(size, (0.08, 1.0), random)
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


def test_shares_of_crops_are_as_asked() -> None:
    random = Random(4)
    boxes = [augment.crop_box((640, 480), (0.08, 0.3), random) for _ in range(4000)]
    shares = [(right - left) * (bottom - top) / (640 * 480) for left, top, right, bottom in boxes]
    assert 0.079 < min(shares) < 0.085
    assert 0.295 < max(shares) < 0.301
    assert abs(float(np.mean(shares)) - 0.19) < 0.003


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ([10, 20, 30, 40], "xywh", [(10, 20, 40, 60)]),
        ([10, 20, 30, 40], "xyxy", [(10, 20, 30, 40)]),
        ([100, 500, 200, 1000], "permille", [(10, 25, 20, 50)]),
        ([[1, 2, 3, 4], [5, 6, 7, 8]], "xyxy", [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("[[1, 2, 3, 4]]", "xyxy", [(1, 2, 3, 4)]),
        ([10, 20, 0, 40], "xywh", []),
        ([200, 20, 30, 40], "xywh", []),
        ([-30, 20, 20, 10], "xywh", []),
        ([1, 2, 3], "xywh", []),
        ([1, 2, 3, 1e400], "xywh", []),
        (["a", 2, 3, 4], "xywh", []),
        ([], "xywh", []),
        (None, "xywh", []),
        ("no box", "xywh", []),
        ("[" * 100_000, "xywh", []),
        ({"x": 1}, "xywh", []),
        ([[1, 2, 3, 4], [500, 6, 7, 8]], "xyxy", []),
    ],
)
def test_boxes_are_read_in_every_form(value: Any, form: str, expected: list[tuple[int, ...]]) -> None:
    assert hide.boxes_of(value, form, (100, 50)) == expected


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
    assert rules(tmp_path) == {"no answer": 1, "no box": 1, "small box": 1}
    (own,) = run(tmp_path, rows, "hide", "own", {"answer": "category_name", "question": "What is under it?"})
    assert "What is under it?" in own["question"]
    assert hide.QUESTION[:40] in row["question"]
    both = hide.covered(Image.new("RGB", (100, 50), "white"), [(5, 5, 35, 45), (65, 5, 95, 45)], 1)
    assert [both.getpixel((x, 25)) for x in (20, 50, 80)] == [(0, 0, 0), (255, 255, 255), (0, 0, 0)]


def test_a_quarter_turn_moves_every_pixel() -> None:
    picture = noise(1000, 33)
    for angle in (90, 180, 270):
        assert sorted(rotation.turned(picture, angle).tobytes()) == sorted(picture.tobytes())
