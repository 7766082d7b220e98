"""The page: what it shows, and that nothing written by a model can act in it."""

import re
import unicodedata
from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from problems import META, interrupted, look, session, solved
from support.parsed import HOSTILE, Page, assert_nothing_runs_or_loads
from support.tables import each_case

from virc.reasoning.calls import Call
from virc.reasoning.session import Reply
from virc.reasoning.trace import Failure
from virc.solving.traces.page import in_words, render_page


def test_page_shows_question_answer_model_and_every_unit_in_order() -> None:
    page = Page(render_page(*solved(think="A thought of mine."), META))
    assert "How long is the line?" in page.text
    assert ("strong", "42") in page.texts
    assert "some/model · 172 new tokens" in page.text
    headings = re.findall(r"^\d(?:Crop|Scale|Display|Answer).*$", page.text, re.MULTILINE)
    assert headings == ["1Crop 140,56–224,140 of image 0", "2Scale image 2 by 2", "3Display image 1", "4Answer"]
    assert page.text.count("A thought of mine.") == 6  # three units, each with its reply as written
    assert "1,503 prompt + 43 new tokens" in page.text
    assert "temperature 0, top p 1, max tokens 1024, seed 3" in page.text
    assert "You answer questions about pictures" in page.text


def test_each_image_is_encoded_and_embedded_once_however_often_it_is_shown() -> None:
    running = session()
    for _ in range(9):
        running.feed(Reply(look("crop_image", bbox_2d=[0, 0, 56, 56], image_index=0)))
    text = render_page(running.trace(), running.images, META)
    assert text.count("data:image/png;base64,") == len(running.images) == 11
    assert text.count(running.images[0].data_url) == 1
    assert [shown.encodings for shown in running.images] == [1] * 11


def test_hostile_text_stays_text_wherever_it_stands() -> None:
    meta = {"model": HOSTILE, HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}
    plain = {"model": "m", "k": ["v", {"k": "v"}]}

    def page(words: str, meta: Mapping[str, object]) -> Page:
        trace, images = solved(f"q {words}", f"t {words}", f"a {words}")
        units = [
            msgspec.structs.replace(
                unit,
                results=tuple(msgspec.structs.replace(each, deviations=(words,)) for each in unit.results),
                rejected=tuple(msgspec.structs.replace(each, reason=words) for each in unit.rejected),
            )
            for unit in trace.units
        ]
        return Page(render_page(msgspec.structs.replace(trace, units=units), images, meta))

    hostile = page(HOSTILE, meta)
    assert hostile.skeleton == page("harmless", plain).skeleton
    shown = HOSTILE.replace("\u202e", "U+202E").replace("\u0007", "U+0007")
    for start in "qta":
        assert f"{start} {shown}".strip() in hostile.text
    failed, images = interrupted()
    failed = msgspec.structs.replace(failed, failure=Failure("engine", HOSTILE))
    assert shown.strip() in Page(render_page(failed, images, META)).text


@given(st.text(max_size=300))
def test_any_text_keeps_the_page_in_shape_and_hides_nothing(words: str) -> None:
    trace, images = EXAMPLE
    units = [msgspec.structs.replace(unit, think=words, text=words) for unit in trace.units]
    text = render_page(
        msgspec.structs.replace(trace, question=words, answer=words, units=units), images, {"model": words}
    )
    assert Page(text).skeleton == SKELETON
    odd = {character for character in text if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert odd <= set("\n\t\u200c\u200d")
    text.encode("utf-8")


EXAMPLE = solved()
SKELETON = Page(render_page(*EXAMPLE, {"model": "m"})).skeleton


def test_page_runs_and_loads_nothing_and_forbids_it() -> None:
    links = "#image-|#figure-|data:image/png;"
    assert_nothing_runs_or_loads(Page(render_page(*solved(), META)), links, "img-src data:")


@each_case(
    ("call", "words"),
    [
        (Call("crop_image", 0, box=(1, 2, 30, 40)), "crop 1,2–30,40 of image 0"),
        (Call("scale_image", 1, factor=1.5), "scale image 1 by 1.5"),
        (Call("turn_by", 0, arguments={"degrees": 20}), "turn_by image 0, degrees 20"),
        (Call("search", arguments={"query": "tons of\ngrain"}), "search, query tons of grain"),
    ],
)
def test_a_call_in_words_has_all_its_arguments(call: Call, words: str) -> None:
    assert in_words(call) == words
