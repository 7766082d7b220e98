"""Pages of 12 megapixels: what a crop from the file has, and one from what was shown has not."""

import random

import msgspec
import pytest
from PIL import Image

from virc.data.synth import worked
from virc.data.synth.problem import inside
from virc.reasoning.protocol import Crops
from virc.reasoning.session import Reply, Session
from virc.tools.registry import known
from virc_extras.drawn import sheets

PICTURES = {"input_pixels": (3136, 1_000_000), "crop_pixels": (12_544, 63_504)}


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


def darkest(image: Image.Image) -> int:
    return int(image.convert("L").getextrema()[0])  # type: ignore[arg-type]
