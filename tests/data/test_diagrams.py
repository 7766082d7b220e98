"""Synthetic diagrams: what is drawn is what is asked, boxes are exact, splits are disjoint."""

import random

import msgspec
import pytest
from PIL import ImageChops

from virc.data.synth import worked
from virc.data.synth.families import polygons
from virc.data.synth.problem import Split, inside
from virc.data.synth.sketch import Face, mask
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
