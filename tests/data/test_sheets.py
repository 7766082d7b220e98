"""Pages of 12 megapixels: what is drawn for systems that cut crops from the file, and for those that do not."""

import json
import random
import re
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from PIL import Image
from support.called import virc

from virc.data.synth import worked
from virc.data.synth.families import sheets
from virc.data.synth.problem import inside
from virc.reasoning.images import Shown, as_png
from virc.reasoning.protocol import Crops
from virc.reasoning.session import Reply, Session
from virc.tools.registry import known

PICTURES = {"input_pixels": (3136, 1_000_000), "crop_pixels": (12_544, 63_504)}
YAML = "name: large\ncrops: file\ninput_pixels: [3136, 1000000]\ncrop_pixels: [12544, 63504]\n"


@pytest.fixture(scope="module")
def problem() -> sheets.Sheet:
    return sheets.generate(random.Random(3), difficulty="easy")


def solved(problem: sheets.Sheet, crops: Crops) -> Session:
    page = sheets.draw(problem)
    protocol = msgspec.structs.replace(worked.PROTOCOL, crops=crops, **PICTURES)
    session = Session(protocol, problem.question, [page], tolerate=(), tools=known())
    for text in worked.replies(sheets.solution(problem)):
        session.feed(Reply(worked.as_shown(text, session.images, page.size)))
    assert session.trace().answer == str(problem.answer)
    return session


def test_a_crop_from_the_file_has_the_pixels_of_the_page_and_one_from_what_was_shown_has_not(
    problem: sheets.Sheet,
) -> None:
    page, label = sheets.draw(problem), problem.numbers[problem.asked[0]]
    file, shown = solved(problem, "file"), solved(problem, "shown")
    box = file.history.region(2)
    assert box is not None
    assert file.images[2].pixels.tobytes() == page.crop(box).tobytes()
    assert inside(label.box, box)
    assert shown.images[2].size == file.images[2].size
    assert file.images[0].pixels.tobytes() == shown.images[0].pixels.tobytes()
    ink, blurred = (darkest(each) for each in (page.crop(label.box), shown.images[2].pixels))
    assert darkest(file.images[2].pixels) == ink
    assert blurred >= ink + 50  # so no pixel of it is that of a stroke


def test_boxes_of_a_reply_are_counted_in_what_was_shown(problem: sheets.Sheet) -> None:
    calls = [unit.call for unit in solved(problem, "file").trace().units if unit.call]
    assert [call.index for call in calls] == [0, 1]
    parts = [side / length for side, length in zip(sheets.square(problem.asked[0]), sheets.PAGE * 2, strict=True)]
    assert calls[0].box == tuple(round(part * side) for part, side in zip(parts, (1148, 840) * 2, strict=True))


def test_places_of_a_page_are_counted_in_each_image_that_shows_them() -> None:
    page = Shown(Image.new("RGB", (200, 100)))
    crop = Shown(Image.new("RGB", (100, 100)), 0, (100, 50, 150, 100))
    images = [page, crop, Shown(Image.new("RGB", (100, 50)), 1, (50, 0, 100, 50))]
    for said, meant in (
        ('"bbox_2d": [200, 200, 300, 400], "image_index": 1', '"bbox_2d": [0, 0, 100, 100], "image_index": 1'),
        ('"bbox_2d": [250, 200, 300, 300], "image_index": 2', '"bbox_2d": [0, 0, 100, 50], "image_index": 2'),
    ):
        assert worked.as_shown(said, images, (400, 400)) == meant


def test_a_question_is_of_one_split_whichever_square_it_names_first() -> None:
    problem = sheets.generate(random.Random(3), difficulty="hard")
    for asked in combinations(problem.numbers, 2):
        one, other = (msgspec.structs.replace(problem, asked=order) for order in (asked, asked[::-1]))
        assert one.split() == other.split()


def test_a_counterfactual_has_another_answer_and_none_of_zero() -> None:
    problem = msgspec.structs.replace(sheets.generate(random.Random(3), difficulty="hard"), ask="difference")
    answers = {sheets.counterfactual(problem, random.Random(seed)).answer for seed in range(60, 70)}
    assert not answers & {0, problem.answer}
    same, count = [int(problem.numbers[name].text) for name in problem.frames], len(problem.frames)
    drawn = iter([*same, *[50] * count, *range(20, 20 + count)])  # the same answer, then one of zero
    other = sheets.counterfactual(problem, SimpleNamespace(randint=lambda least, most: next(drawn)))  # type: ignore[arg-type]
    assert [int(other.numbers[name].text) for name in other.frames] == [*range(20, 20 + count)]


def test_crops_of_numbers_lie_in_their_squares_and_an_empty_square_is_searched() -> None:
    for seed in range(3):
        problem = sheets.generate(random.Random(seed))
        spots = dict(zip(problem.numbers, sheets.spots(problem), strict=True))
        for name, spot in spots.items():
            assert all(inside(box, sheets.square(name)) for box in (spot.box, spot.again))
            assert all(inside(problem.numbers[name].box, box) for box in (spot.box, spot.again))
            assert (spot.box != spot.again, spot.around) == (True, sheets.square(name))
        question, search = sheets.absent(problem, random.Random(seed))
        (spot,), (missing,) = search.spots, re.findall(r"\b[A-G][1-5]\b", question)
        assert missing not in problem.numbers
        assert (spot.box, spot.reads, len(problem.numbers)) == (sheets.square(missing), "Nothing is there.", 31)


def test_pages_take_little_space(problem: sheets.Sheet) -> None:
    page = sheets.draw(problem)
    assert page.size == (4032, 3024)
    assert len(as_png(page.convert("L")).data) < 150_000
    ink = {page.getpixel(place) for left, top, right, bottom in problem.frames.values()
           for place in ((left, top), (right, bottom))}  # fmt: skip
    assert ink == {(problem.style.ink,) * 3}


def test_problems_name_the_file_and_trajectories_what_the_system_shows_of_it(tmp_path: Path) -> None:
    system, to = tmp_path / "file.yaml", tmp_path / "drawn"
    system.write_text(YAML)
    done = virc("data", "synth", "--to", to, "--family", "sheets", "--count", 1, "--system", system)
    assert done.code == 0, done.err
    row = json.loads((to / "problems.jsonl").read_text())
    (path,) = json.loads((to / "trajectories.json").read_text())
    assert "file_sizes" not in row
    assert path["file_sizes"] == [list(sheets.PAGE)]
    assert [size_of(to / name) for name in (row["image"], path["images"][0])] == [sheets.PAGE, (1148, 840)]
    assert virc("data", "check", to).code == 0  # it cuts the crops of the row from a page of the file's size
    without = {key: value for key, value in path.items() if key != "file_sizes"}
    (to / "trajectories.json").write_text(json.dumps([without]))
    assert "result_differs" in virc("data", "check", to).out
    written = json.loads((to / "virc_protocol.json").read_text())
    assert {key: written[key] for key in ("crops", "input_pixels")} == {"crops": "file", "input_pixels": [3136, 10**6]}


def test_rows_of_crops_of_what_was_shown_are_checked_at_the_size_that_crops_have(tmp_path: Path) -> None:
    system, to = tmp_path / "shown.yaml", tmp_path / "drawn"
    system.write_text(YAML.replace("crops: file", "crops: shown"))
    drawn = ("--family", "sheets", "--difficulty", "easy", "--count", 1)
    assert virc("data", "synth", "--to", to, *drawn, "--system", system).code == 0
    done = virc("data", "check", to)
    assert done.code == 0, done.out
    assert size_of(to / json.loads((to / "problems.jsonl").read_text())["image"]) == sheets.PAGE


def test_a_system_with_other_words_is_refused(tmp_path: Path) -> None:
    done = virc("data", "synth", "--to", tmp_path / "drawn", "--system", "virgo")
    assert done.code == 2
    assert "our own words" in done.err
    assert "virc data convert --system virgo" in done.err


def darkest(image: Image.Image) -> int:
    return int(image.convert("L").getextrema()[0])  # type: ignore[arg-type]


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size
