"""Synthetic diagrams: what is drawn is what is asked, boxes are exact, splits are disjoint."""

import random
import re
from functools import partial
from itertools import pairwise
from math import dist
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import ImageChops, ImageStat

from virc.data.synth import draw as tasks
from virc.data.synth import sketch, unfamiliar, worked
from virc.data.synth.families import polygons
from virc.data.synth.families import registry as families
from virc.data.synth.problem import Split, around, inside, meet, moved_box, split_of, unit, window
from virc.data.synth.sketch import LETTERS, Face, mask
from virc.reasoning.protocol import own_protocol
from virc.reasoning.session import Done, Reply, Session
from virc.tools.registry import known, schemas

PROTOCOL = own_protocol(schemas(("crop_image", "scale_image", "display_image")))


def many(count: int = 200, split: Split = "train") -> list[polygons.Diagram]:
    rng = random.Random(5)
    return [polygons.generate(rng, split) for _ in range(count)]


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    first, again, other = (polygons.generate(random.Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert polygons.draw(first).tobytes() == polygons.draw(again).tobytes()
    assert first != other


def test_points_and_boxes_on_a_page() -> None:
    assert (unit((1, 1), (4, 5)), unit((2, 3), (2, 3))) == ((0.6, 0.8), (0.0, 0.0))
    assert around((10, 20), (4, 6)) == (8, 17, 12, 23)
    box = (20, 20, 40, 40)
    touching = [(0, 20, 20, 40), (40, 20, 60, 40), (20, 0, 40, 20), (20, 40, 40, 60)]
    apart = [(0, 20, 19, 40), (41, 20, 60, 40), (20, 0, 40, 19), (20, 41, 40, 60)]
    assert [meet(box, each) for each in (*touching, *apart)] == [True] * 4 + [False] * 4
    outside = [(19, 20, 40, 40), (20, 19, 40, 40), (20, 20, 41, 40), (20, 20, 40, 41)]
    assert [inside(each, box) for each in (box, *outside)] == [True, False, False, False, False]
    assert window((40, 60, 44, 64), (28, 28), (100, 120)) == (28, 42, 56, 70)  # of 28 and 48, on a grid of 14 px
    corners = [window(each, (28, 28), (100, 120)) for each in ((0, 0, 4, 4), (90, 110, 98, 118))]
    assert corners == [(0, 0, 28, 28), (72, 92, 100, 120)]
    steps = {(16, 4, 20, 8): (14, 0, 42, 28), (4, 16, 8, 20): (0, 14, 28, 42), (12, 12, 16, 16): (0, 0, 28, 28)}
    assert {label: moved_box((0, 0, 28, 28), label, (56, 56)) for label in steps} == steps
    ends = {(30, 44, 34, 48): (14, 28, 42, 56), (44, 30, 48, 34): (28, 14, 56, 42)}
    assert {label: moved_box((28, 28, 56, 56), label, (56, 56)) for label in ends} == ends
    assert polygons.arithmetic([35, 60]) == (
        "The sum is 180. 180 - 30 = 150. 150 - 5 = 145. 145 - 60 = 85. 85 - 0 = 85."
    )


def test_a_box_of_the_page_is_counted_in_the_part_that_is_shown() -> None:
    """A page of 400 x 200 px is shown at half its size, and a quarter of that at twice its size."""
    page = SimpleNamespace(size=(200, 100), parent=None, box=None)
    part = SimpleNamespace(size=(200, 100), parent=0, box=(50, 0, 150, 50))
    scaled = SimpleNamespace(size=(400, 200), parent=1, box=None)
    images: Any = [page, part, scaled]
    for index, box in ((0, [100, 20, 150, 50]), (1, [100, 40, 200, 100]), (2, [200, 80, 400, 200])):
        reply = f'"bbox_2d": [200, 40, 300, 100], "image_index": {index}'
        assert worked.as_shown(reply, images, (400, 200)) == f'"bbox_2d": {box}, "image_index": {index}'


def test_angles_sum_to_that_of_the_polygon_and_exactly_one_is_hidden() -> None:
    for diagram in many():
        assert sum(corner.angle for corner in diagram.corners) == 180 * (len(diagram.corners) - 2)
        assert [corner.printed for corner in diagram.corners].count("?") == 1


def test_a_label_box_holds_all_ink_of_its_label_and_nothing_less() -> None:
    """Drawing without one label changes pixels exactly inside its box."""
    for diagram in many(40):
        whole = polygons.draw(diagram)
        for index, corner in enumerate(diagram.corners):
            empty = mask("°", Face(size=1))
            moved = msgspec.structs.replace(corner, value_box=(0, 0, *empty.size), printed="1")
            corners = (*diagram.corners[:index], moved, *diagram.corners[index + 1 :])
            without = polygons.draw(msgspec.structs.replace(diagram, corners=corners))
            changed = ImageChops.difference(whole, without)
            changed.paste(0, (0, 0, 20, 20))  # where the moved label went
            box = changed.getbbox()
            assert box is not None
            assert inside(box, corner.value_box)
            assert abs(box[2] - box[0] - (corner.value_box[2] - corner.value_box[0])) <= 4


def test_every_crop_holds_both_labels_and_lies_on_the_page() -> None:
    for diagram in many():
        for corner in diagram.corners:
            crop = polygons.crop_of(corner, diagram.width, diagram.height)
            assert inside(corner.box, crop)
            assert inside(crop, (0, 0, diagram.width, diagram.height))
            assert crop[2] - crop[0] == crop[3] - crop[1] == polygons.CROP


@pytest.mark.integration
def test_no_figure_is_in_both_splits_wherever_its_corners_begin() -> None:
    for split in ("train", "heldout"):
        for diagram in many(100, split):
            for turn in range(1, len(diagram.corners)):
                corners = (*diagram.corners[turn:], *diagram.corners[:turn])
                asked = (diagram.asked - turn) % len(corners)
                again = msgspec.structs.replace(diagram, corners=corners, asked=asked)
                assert polygons.draw(again).tobytes() == polygons.draw(diagram).tobytes()
                assert again.split() == split


def test_the_question_names_the_figure_and_looks_vary() -> None:
    drawn = many()
    named = [d for d in drawn if "triangle" in d.question or "quadrilateral" in d.question]
    assert len(named) > len(drawn) / 3
    for diagram in named:
        assert polygons.FIGURES[len(diagram.corners)] in diagram.question
    for value in ("kind", "size", "bold", "slant"):
        assert len({getattr(d.style.face, value) for d in drawn}) > 1, value
    for value in ("line", "dashed", "degrees", "arcs", "ink", "paper"):
        assert len({getattr(d.style, value) for d in drawn}) > 1, value
    assert len({(d.width, d.height) for d in drawn}) > 4


def test_the_worked_solution_runs_through_session_to_the_right_answer() -> None:
    for diagram in many(60):
        session = Session(PROTOCOL, diagram.question, [polygons.draw(diagram)], tools=known())
        for text in worked.replies(polygons.solution(diagram)):
            unit = session.feed(Reply(text))
            assert not hasattr(unit, "reason"), unit
        done = session.next()
        assert isinstance(done, Done)
        assert done.trace.answer == str(diagram.answer)
        assert [unit.deviations for unit in done.trace.units] == [()] * len(done.trace.units)
        assert all(shown.size == (84, 84) for shown in session.images[1:])


def test_every_reply_says_which_angle_is_asked_for() -> None:
    rng = random.Random(6)
    for diagram in many(20):
        asked = f"I need angle {diagram.corners[diagram.asked].letter}"
        for pattern in worked.PATTERNS:
            said = worked.replies(polygons.solution(diagram), pattern, rng)
            assert all(text.count(asked) == 1 for text in said), said
        (told,) = worked.replies(polygons.solution(diagram), "direct")
        assert told.count(asked) == 1
        question, search = polygons.absent(diagram, rng)
        (missing,) = {re.findall(r"I need angle (.)\.", text)[0] for text in worked.replies(search)}
        assert re.search(rf"(?:m∠|angle ){missing}\b", question), question
        assert missing not in {corner.letter for corner in diagram.corners}


def test_turns_of_a_path_are_written_to_the_letter() -> None:
    def crop(index: int, *box: int) -> str:
        call = f'{{"name": "crop_image", "arguments": {{"bbox_2d": {list(box)}, "image_index": {index}}}}}'
        return f"\n<tool_call>\n{call}\n</tool_call>"

    spots = [
        worked.Spot((0, 0, 8, 8), (1, 0, 9, 8), "A is 5."),
        worked.Spot((4, 4, 12, 12), (5, 4, 13, 12), "B is 7.", around=(0, 0, 16, 16)),
    ]
    solution = worked.Solution("corner", "Both.", spots, "5 + 7 = 12.", "12")
    assert worked.replies(solution, "plan+verify") == [
        "<think>Both. Look at the first corner.</think>" + crop(0, 0, 0, 8, 8),
        "<think>A is 5. Look at the next corner.</think>" + crop(0, 0, 0, 16, 16),
        "<think>It is too small to read.</think>" + crop(2, 4, 4, 12, 12),
        "<think>B is 7. Look again to be sure.</think>" + crop(0, 0, 0, 16, 16),
        "<think>It is too small to read.</think>" + crop(4, 5, 4, 13, 12),
        "<think>B is 7. That agrees. 5 + 7 = 12.</think>\n<answer>12</answer>",
    ]
    assert worked.replies(solution, "look")[0].startswith("<think>Look at the first corner.</think>")
    assert worked.replies(solution, "direct") == ["<think>A is 5. B is 7. 5 + 7 = 12.</think>\n<answer>12</answer>"]


def test_the_arithmetic_says_only_true_sums() -> None:
    rng = random.Random(0)
    for _ in range(200):
        known = [rng.randint(1, 90), rng.randint(1, 89)]
        text = polygons.arithmetic(known)
        for line in text.split(". ")[1:]:
            left, _, right = line.rstrip(".").partition(" = ")
            whole, _, part = left.partition(" - ")
            assert int(whole) - int(part) == int(right)
        assert text.endswith(f"= {180 - sum(known)}.")


def test_a_question_about_a_missing_corner_ends_without_a_number() -> None:
    rng = random.Random(5)
    for diagram in many(20):
        question, search = polygons.absent(diagram, rng)
        session = Session(PROTOCOL, question, [polygons.draw(diagram)], tools=known())
        for text in worked.replies(search):
            session.feed(Reply(text))
        done = session.next()
        assert isinstance(done, Done)
        assert done.trace.answer is None
        assert len(session.images) == 1 + len(diagram.corners)


def test_a_counterfactual_differs_only_in_its_values() -> None:
    rng = random.Random(3)
    for diagram in many(50):
        other = polygons.counterfactual(diagram, rng)
        assert other.answer != diagram.answer
        assert all(25 <= corner.angle <= 140 for corner in other.corners)
        assert sum(corner.angle for corner in other.corners) == sum(corner.angle for corner in diagram.corners)
        for ours, theirs in zip(diagram.corners, other.corners, strict=True):
            assert (ours.letter, ours.point, ours.letter_box) == (theirs.letter, theirs.point, theirs.letter_box)
            assert (ours.printed == "?") == (theirs.printed == "?")


class Repeating(random.Random):
    """Draws some numbers first."""

    def __init__(self, first: list[int]) -> None:
        super().__init__(3)
        self.left = first

    def randint(self, a: int, b: int) -> int:
        return self.left.pop(0) if self.left else super().randint(a, b)


def test_a_counterfactual_has_another_answer_though_the_same_angles_are_drawn() -> None:
    for diagram in many(8):
        rng = Repeating([corner.angle for corner in diagram.corners[:-1]])
        assert polygons.counterfactual(diagram, rng).answer != diagram.answer
        assert rng.left == []


def test_faces_differ_in_strokes_weight_and_slant() -> None:
    plain = {kind: mask("H", Face(kind, 20)) for kind in ("sans", "plotter")}
    assert plain["sans"].tobytes() != plain["plotter"].tobytes()
    for kind, upright in plain.items():
        assert abs(upright.height - 20) <= 2
        bold, leaning = mask("H", Face(kind, 20, bold=True)), mask("H", Face(kind, 20, slant=0.2))
        assert ImageStat.Stat(bold).sum[0] > 1.2 * ImageStat.Stat(upright).sum[0]
        assert 3 <= leaning.width - upright.width <= 5  # a fifth of the height
        left, right = (leaning.crop((0, top, leaning.width, top + 3)).getbbox() for top in (17, 0))
        assert left is not None
        assert right is not None
        assert left[0] < right[0]


def test_lines_are_dashed_corners_run_clockwise_and_arcs_lie_inside() -> None:
    style = sketch.Style(Face(), 1, dashed=False, degrees=False, arcs=True, ink=0, paper=255)
    for dashed, gaps in ((False, set[int]()), (True, {7, 8, 9, 17, 18, 19, 27, 28, 29})):
        image, pencil = sketch.blank(31, 3, style)
        sketch.line(pencil, (0, 1), (30, 1), msgspec.structs.replace(style, dashed=dashed))
        assert {x for x in range(30) if image.getpixel((x, 1))} == gaps
    image, pencil = sketch.blank(40, 40, style)
    sketch.arc(pencil, [(20, 20), (40, 20), (20, 40)], 0, style)
    assert image.getbbox() is not None
    assert ImageChops.invert(image).getbbox() == (20, 20, 30, 30)
    rng = random.Random(1)
    found = [points for at in range(200) if (points := sketch.polygon(rng, 3 + at % 2, 252, 252))]
    assert len(found) > 5
    for points in found:
        assert sum(x * v - u * y for (x, y), (u, v) in pairwise([*points, points[0]])) > 0  # as y points down


def test_a_figure_has_all_its_sides_names_outside_and_values_inside_in_the_order_of_reading() -> None:
    moved = 0
    for diagram in many(20):
        plain = msgspec.structs.replace(diagram.style, dashed=False, ink=0, paper=255, arcs=False)
        page = polygons.draw(msgspec.structs.replace(diagram, style=plain)).convert("L")
        corners, points = diagram.corners, [corner.point for corner in diagram.corners]
        middle = [sum(axis) / len(points) for axis in zip(*points, strict=True)]
        for (x, y), (u, v) in pairwise([*points, points[0]]):
            at = round((x + u) / 2), round((y + v) / 2)
            assert page.crop((at[0] - 2, at[1] - 2, at[0] + 3, at[1] + 3)).getextrema()[0] == 0
        for corner in corners:
            boxes = corner.letter_box, corner.value_box
            name, value = (((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in boxes)
            assert dist(name, middle) > dist(corner.point, middle) > dist(value, middle)
        letters = "".join(corner.letter for corner in corners)
        named = re.findall(r"\b[A-Z]{3,4}\b", diagram.question)
        assert all(each in letters * 2 or each in letters[::-1] * 2 for each in named)
        spots, solution = polygons.spots(diagram), polygons.solution(diagram)
        assert [spot.box for spot in spots] == sorted(spot.box for spot in spots)
        moved += sum(spot.box != spot.again for spot in spots)
        if diagram.is_printed:
            assert solution.needed == (len(solution.spots) - 1,)
            assert solution.spots[-1].reads == f"{corners[diagram.asked].letter} is {diagram.answer}."
    assert moved > 40
    for printed in (True, False):
        found = [polygons.generate(random.Random(seed), printed=printed) for seed in range(6)]
        assert {each.is_printed for each in found} == {printed}


def test_the_key_of_a_split_is_that_of_the_figure_wherever_its_corners_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [split_of(key) for key in ("a", "b", "e", "o", "y")]  # SHA-256 begins with ca, 3e, 3f, 65, a1 (hex)
    assert said == [["train", "heldout"][byte % 10 == 0] for byte in (0xCA, 0x3E, 0x3F, 0x65, 0xA1)]
    diagrams = many(2)
    monkeypatch.setattr(polygons, "split_of", lambda key: key)
    for diagram in diagrams:
        keys = set[str]()
        for turn in range(len(diagram.corners)):
            corners = (*diagram.corners[turn:], *diagram.corners[:turn])
            asked = (diagram.asked - turn) % len(corners)
            keys.add(msgspec.structs.replace(diagram, corners=corners, asked=asked).split())
        assert len(keys) == 1


def test_both_faces_draw_every_letter_differently() -> None:
    for kind in ("sans", "plotter"):
        drawn = {mask(letter, Face(kind)).tobytes() for letter in LETTERS + "0123456789?°"}
        assert len(drawn) == len(LETTERS) + 12


@pytest.mark.parametrize("seed", range(5))
def test_a_spoilt_figure_is_the_figure_changed_in_one_way(seed: int) -> None:
    for each in range(seed, 20, 5):
        rng = random.Random(each)
        figure, kind = polygons.draw(polygons.generate(rng)), rng.randrange(5)
        found = unfamiliar._spoilt(random.Random(each), 1, 1)
        if kind == 4:
            assert ImageChops.difference(ImageChops.invert(figure), found).getbbox() is None
        elif kind == 3:
            assert (sorted(found.size), found.histogram()) == (sorted(figure.size), figure.histogram())
        else:
            assert found.size == figure.size
        assert found.size != figure.size or ImageChops.difference(figure, found).getbbox()


def test_unfamiliar_pictures_and_questions_are_seeded_and_differ() -> None:
    for seed in range(20):
        first, again = (unfamiliar.picture(random.Random(seed)) for _ in range(2))
        assert first.mode == "RGB"
        assert min(first.size) >= 28
        assert first.tobytes() == again.tobytes()
    asked = {unfamiliar.question(random.Random(seed)) for seed in range(60)}
    assert len(asked) > 55
    for pattern in (r"\d", r"\b(?!What|Find|How|Which|Where|Is|Read|Describe|Why)[A-Z]+\b"):
        assert 10 < sum(bool(re.search(pattern, each)) for each in asked) < 40


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_generation_ends(split: Split) -> None:
    assert polygons.generate(random.Random(0), split, sides=(4,)).corners


def test_drawn_rows_ask_for_no_printed_angle_but_in_the_first_drawing() -> None:
    draw = partial(tasks.polygon, split="train", sides=(3, 4))
    for seed in range(6):
        before, now = draw(random.Random(seed), drawing=1), draw(random.Random(seed), drawing=2)
        assert worked.FOUND not in now.paths["look"][-1]
        assert (before.question == now.question) is (worked.FOUND not in before.paths["look"][-1])


def test_a_figure_too_small_to_read_has_no_label_of_five_pixels() -> None:
    family = families.get("polygons")
    for seed in range(30):
        task = tasks.refusal(random.Random(seed), "train", family)
        if task.about["category"]["refusal"] == "small":
            problem = family.generate(random.Random(seed))
            tallest = max(label.box[3] - label.box[1] for label in problem.labels)
            assert task.question == problem.question
            assert tallest * task.picture.height / problem.height < 5
            assert task.picture.convert("L").getextrema()[0] < 200
            return
    pytest.fail("no such refusal")
