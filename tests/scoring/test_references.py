"""Right answers that nothing can match: what a row shows, what a file shows, and what `virc data check` draws of it."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import virc
from support.tables import each_case

from virc.core.errors import DataError
from virc.scoring.boxes import Box, meant_as_boxes, reference_boxes
from virc.scoring.references import References, references_of

SIZE = (640, 480)
COLORS = ["red", "blue", "green", "yellow"]


def survey(rows: list[dict[str, Any]], size: tuple[int, int] | None = SIZE) -> References:
    found = References()
    for number, fields in enumerate(rows, 1):
        found.add(number, references_of(fields, lambda: size))
    return found


@each_case(
    ("fields", "says"),
    [
        ({"box": [10, 20, 100, 200]}, None), ({"box": [0, 0, 640, 480]}, None), ({"boxes": []}, None),
        ({"box": [-0.8, 0, 640.9, 480]}, None), ({"boxes": [[1, 2, 3, 4], [10, 20, 100, 200]]}, None),
        ({"answer": "[10, 20, 700, 200]"}, None), ({"answer": "red", "box": [10, 20, 70, 20]}, None),
        ({"answer": "red", "boxes": []}, None), ({"answer": 7, "looks": [[5, 5, 5, 5]], "box": [9, 9, 20, 20]}, None),
        ({"answer": "B", "choices": COLORS, "boxes": [[0.1, 0.2, 0.5, 1]]}, "is in shares of the sides"),
        ({"answer": "red", "boxes": [300, 200, 400, 300]}, '"boxes": [[300, 200, 400, 300]]'),
        ({"answer": "red", "looks": [[300, 200, 50, 60]]}, "its look [300, 200, 50, 60] is turned round"),
        ({"box": [1, 2, 3, 4], "looks": [[0.1, 0.2, 0.5, 1]]}, "its look [0.1, 0.2, 0.5, 1] is in shares"),
        ({"answer": "red", "looks": "left"}, "the row's looks are no list of four numbers each"),
        ({"boxes": [[1, 2, 3, 4], [10, -9, 70, 200]]}, "[10, -9, 70, 200] is outside"),
        ({"box": [200, 100, 50, 60]}, "[200, 100, 50, 60] is turned round"),
        ({"box": [50, 60, 50, 100]}, "has no area"),
        ({"box": [0.1, 0.2, 0.5, 1]}, "[0.1, 0.2, 0.5, 1] is in shares of the sides"),
        ({"answer": "B", "choices": COLORS}, None), ({"answer": "blue", "choices": COLORS}, None),
        ({"answer": "A, C", "choices": COLORS}, None), ({"answer": "DB", "choices": COLORS}, None),
        ({"answer": 2, "choices": [1, 2, 3]}, None), ({"answer": "A (red)", "choices": COLORS}, None),
        ({"answer": "x", "answers": ["x", "green"], "choices": COLORS}, None),
        ({"answer": "purple", "choices": COLORS}, "its answer 'purple' is none of its choices"),
        ({"answer": "E", "choices": COLORS}, "its answer 'E' is none of its choices"),
        ({"answer": "3.7"}, None), ({"answer": 0.1}, None), ({"answer": 9.5367431640625e-07}, None),
        ({"answer": 3.141592653589793}, None), ({"answer": 16777217}, None), ({"answer": "a 3.700000047683716"}, None),
        ({"answer": 3.700000047683716, "tolerance": 0.05}, None), ({"answer": 1.00390625}, None),
        ({"answer": 3.700000047683716, "decimals": 2}, None),
        ({"answer": 3.700000047683716}, "3.700000047683716 has 32 bits and the digits of 64; write 3.7"),
        ({"answers": ["3.7", "0.30000001192092896"]}, "0.30000001192092896 has"),
    ],
)  # fmt: skip
def test_a_reference_that_nothing_matches_says_why(fields: dict[str, Any], says: str | None) -> None:
    flaws = [each.flaw for each in references_of(fields, lambda: SIZE) if each.flaw]
    assert len(flaws) == bool(says)
    assert (says or "") in "".join(flaws)


Form = Callable[[float, float, float, float, float, float], tuple[float, ...]]
FORMS: dict[str, Form] = {
    "x, y, width, height in pixels": lambda x, y, r, b, w, h: (x, y, r - x, b - y),
    "centre x, centre y, width, height in pixels": lambda x, y, r, b, w, h: ((x + r) / 2, (y + b) / 2, r - x, b - y),
    "top, left, bottom, right in pixels": lambda x, y, r, b, w, h: (y, x, b, r),
    "left, right, top, bottom in pixels": lambda x, y, r, b, w, h: (x, r, y, b),
    "right, bottom, left, top in pixels": lambda x, y, r, b, w, h: (r, b, x, y),
    "left, top, right, bottom in shares of the sides": lambda x, y, r, b, w, h: (x / w, y / h, r / w, b / h),
    "x, y, width, height in shares of the sides": lambda x, y, r, b, w, h: (x / w, y / h, (r - x) / w, (b - y) / h),
    "centre x, centre y, width, height in shares of the sides": lambda x, y, r, b, w, h: (
        (x + r) / 2 / w, (y + b) / 2 / h, (r - x) / w, (b - y) / h
    ),
    "left, top, right, bottom in thousandths of the sides": lambda x, y, r, b, w, h: (
        1000 * x / w, 1000 * y / h, 1000 * r / w, 1000 * b / h
    ),
    "top, left, bottom, right in thousandths of the sides": lambda x, y, r, b, w, h: (
        1000 * y / h, 1000 * x / w, 1000 * b / h, 1000 * r / w
    ),
}  # fmt: skip


def drawn(count: int, size: tuple[int, int], seed: int) -> list[Box]:
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        width, height = (dice.uniform(5, 0.4 * side) for side in size)
        left, top = dice.uniform(0, size[0] - width), dice.uniform(0, size[1] - height)
        found.append((left, top, left + width, top + height))
    return found


@each_case("size", [SIZE, (300, 200), (480, 900)])
@each_case("name", FORMS)
def test_all_boxes_of_a_file_tell_what_they_are(name: str, size: tuple[int, int]) -> None:
    rows: list[dict[str, Any]] = []
    for count, (left, top, right, bottom) in enumerate(drawn(80, size, seed=size[0])):
        box = list(FORMS[name](left, top, right, bottom, *size))
        rows.append({"boxes": [box]} if count % 2 else {"box": box})
    found = survey(rows, size).conventions()
    assert [*found] == ["boxes"]
    message = found["boxes"].message
    order, unit = name.split(" in ")
    both = f"left, top, right, bottom in {unit} or as top, left, bottom, right in {unit}"  # either is within the sides
    meant = both if order in both and unit != "pixels" else name
    assert message.endswith(f"right answers cannot be matched as they stand, and all can be read as {meant}")
    survey([{"box": list(box)} for box in drawn(80, size, seed=1)], size).check()


@each_case(
    ("answers", "says"),
    [
        ([0, 1, 3], "choice from 0"), (["0"], "choice from 0"), ([1, 4, 2], "choice from 1"),
        ([1, 2, 3], "choice from 0 or as the number of a choice from 1"),
        ([0, 4], None), ([7], None),
    ],
)  # fmt: skip
def test_numbers_of_choices_are_told_apart_where_they_can_be(answers: list[Any], says: str | None) -> None:
    rows = [{"answer": each, "choices": COLORS} for each in answers]
    if says is None:
        assert not survey(rows).conventions()
    else:
        assert survey(rows).conventions()["choice"].message.endswith(says)


@each_case(
    ("fields", "hint"),
    [
        ({"boxes": [1, 2, 30, 40, 5, 6, 70, 80]}, '"boxes": [[1, 2, 30, 40], [5, 6, 70, 80]]'),
        ({"boxes": [1, 2, 30, 40]}, '"boxes": [[1, 2, 30, 40]]'),
        ({"box": [10, 20, 99, 25, 90, 77, 12, 70]}, '"boxes": [[10, 20, 99, 77]]'),
        ({"boxes": [[[10, 20], [99, 25], [90, 77]]]}, '"boxes": [[10, 20, 99, 77]]'),
        ({"boxes": [[10, 20, 99, 25, 90, 77], [1, 2, 3, 4]]}, '"boxes": [[10, 20, 99, 77], [1, 2, 3, 4]]'),
        ({"box": [1, 2, 3]}, None), ({"boxes": "1, 2"}, None), ({"boxes": [{"x": 1}]}, None), ({"box": [[], 1]}, None),
        ({"boxes": [1, [2, 3, 4, 5]]}, None), ({"boxes": {"a": 1}}, None),
    ],
)  # fmt: skip
def test_flat_lists_and_outlines_are_refused_with_what_to_write(fields: dict[str, Any], hint: str | None) -> None:
    (found,) = references_of(fields, lambda: SIZE)
    assert found.flaw.startswith("the row's boxes are no list of four numbers each")
    assert found.flaw.endswith(hint or "each")
    is_flat = "boxes" in fields and isinstance(next(iter(fields["boxes"])), int)
    what = "a list of four numbers for each box" if is_flat else "of each outline its left, top, right, bottom"
    assert not hint or f"write {what}" in found.flaw


@each_case(
    ("fields", "boxes"),
    [
        ({}, None), ({"box": None, "boxes": None}, None), ({"box": [1, 2, 3, 4]}, ((1, 2, 3, 4),)), ({"boxes": []}, ()),
        ({"boxes": [[5, 6, 7, 8]], "box": [1, 2, 3, 4]}, ((5, 6, 7, 8),)),
        ({"box": [1, 2, 3, 4], "answer": "red"}, None), ({"box": [1, 2, 3, 4], "answer": 5}, None),
        ({"box": [1, 2, 3, 4], "answer": "[1, 2, 3, 4]"}, ((1, 2, 3, 4),)), ({"boxes": [], "answer": " [] "}, ()),
        ({"box": [1, 2, 3, 4], "answer": [1, 2, 3, 4]}, ((1, 2, 3, 4),)),
        ({"box": [1, 2, 3, 4], "answer": {"bbox": [1, 2, 3, 4]}}, ((1, 2, 3, 4),)),
        ({"box": [1, 2, 3, 4], "choices": ["left", "right"]}, None),
        ({"box": [1, 2, 3, 4], "choices": []}, ((1, 2, 3, 4),)),
    ],
)  # fmt: skip
def test_boxes_are_what_an_answer_is_compared_with_where_no_words_are(
    fields: dict[str, Any], boxes: tuple[Box, ...] | None
) -> None:
    assert reference_boxes(fields) == boxes


@pytest.mark.integration
@each_case(
    ("fields", "codes", "says"),
    [
        ({"answer": "red", "boxes": [[0.6, 0.25, 0.78, 0.75]]}, (5, 5, 5), "rows' boxes of evidence cannot be matched"),
        ({"answer": "red", "box": [300, 200, 50, 60]}, (5, 5, 5), "can be read as x, y, width, height in pixels"),
        ({"box": [0.6, 0.25, 0.78, 0.75]}, (5, 5, 5), "right answers cannot be matched"),
        ({"answer": "red", "looks": [[300, 200, 50, 60]]}, (0, 5, 0), "rows' looks cannot be matched"),
        ({"answer": "[400, 100, 500, 300]"}, (0, 0, 0), "looks like a box, and is compared as a text"),
        ({"answer": "E", "choices": COLORS}, (5, 5, 5), "its answer 'E' is none of its choices"),
    ],
)  # fmt: skip
def test_check_eval_and_convert_refuse_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], codes: tuple[int, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", SIZE, "white").save(tmp_path / "a.png")
    rows = [{"image": "a.png", "question": "What?", "id": at, **fields} for at in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rows), "utf-8")
    to_learn = ("data", "convert", "rows.jsonl", "--to", "c", "--format", "sft", "--answers", "--model", "tiny")
    done = [
        virc("data", "check", "rows.jsonl"),
        virc("eval", "rows.jsonl", "--model", "tiny", "--to", "e"),
        virc(*to_learn),
    ]
    assert tuple(each.code for each in done) == codes
    assert says in done[0].out or not any(codes)
    assert says in done[1].err


def test_one_flaw_is_named_by_its_row_and_others_are_counted() -> None:
    good = {"box": [10, 20, 100, 200]}
    with pytest.raises(DataError, match=r"line 4: its box \[10, 20, 100, 500\] is outside") as caught:
        survey([good, good, good, {"box": [10, 20, 100, 500]}, good]).check()
    assert "like it" not in caught.value.message
    with pytest.raises(DataError, match=r"line 2: .*; 1 more row like it"):
        survey([good, {"box": [10, 20, 100, 999]}, {"box": [10, 20, 2000, 900]}, good]).check()
    survey([good] * 5).check()
    # of 40 rows, four that fit as x, y, width, height tell what is meant, three do not
    turned = {"box": [200, 100, 50, 60]}
    assert [len(survey([good] * (40 - few) + [turned] * few).conventions()) for few in (3, 4)] == [0, 1]


@pytest.mark.parametrize("answer", ["[]", "[1, 2, 3]", "7", "the list [1, 2, 3, 4]", "(1, 2)", "[1, 2, 3, 4, 5]"])
def test_no_other_answer_looks_like_a_box(answer: str) -> None:
    assert not meant_as_boxes(answer)
