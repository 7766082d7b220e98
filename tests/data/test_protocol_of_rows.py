"""The chat protocol of a dataset, found in its conversations."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from chat_protocols import (
    ANSWER,
    CROP,
    DISPLAY,
    NAMES,
    OWN,
    QUESTIONS,
    SCALE,
    WORDINGS,
    look,
    reworded,
    spoken,
    trained,
)
from data.chat_protocols import extract
from support import crux

from virc.core.errors import DataError
from virc.data.formats import registry as formats
from virc.data.protocol import templates as templates_of
from virc.data.protocol.extract import read_system_message, study, study_file
from virc.data.rows.record import MARK, Message, Record
from virc.reasoning.protocol import Protocol, own_protocol
from virc.tools import registry as tools


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> crux.Crux:
    return crux.build(tmp_path_factory.mktemp("crux") / "set")


def records(file: Path) -> list[Record]:
    [source] = formats.sources(file)
    return [row.record for row in formats.get(source.format).read(source)]


def templates(protocol: Protocol) -> tuple[str, ...]:
    return protocol.first, protocol.image_line, protocol.after_image, protocol.after_scale


@pytest.mark.parametrize("name", WORDINGS)
def test_any_chat_protocol_of_the_same_parts_is_found_to_the_letter(name: str) -> None:
    chat_protocol = WORDINGS[name]
    found = extract(spoken(chat_protocol, question) for question in QUESTIONS)
    assert templates(found) == templates(chat_protocol)
    assert found == chat_protocol


def test_square_pictures_leave_it_to_the_others_which_side_comes_first() -> None:
    chat_protocol = WORDINGS["height before width"]
    square, wide = spoken(chat_protocol, "Square?", side=112), spoken(chat_protocol, "Wide?")
    assert extract([square, square, wide]) == chat_protocol
    assert templates(extract([square])) != templates(chat_protocol)  # nothing tells: width comes first


def test_announcements_of_several_inputs_are_found_between_those_of_one() -> None:
    rows = [spoken(OWN, question, inputs=1 + at % 3) for at, question in enumerate(QUESTIONS)]
    assert extract(rows) == trained()
    assert extract(rows[1:2]) == trained()


@pytest.mark.parametrize("part", ["dynamic", "fixed", "train", "val"])
def test_published_files_tell_their_chat_protocol(published: crux.Crux, part: str) -> None:
    found = extract(records(getattr(published, part)))
    fixed = part == "fixed"
    line = "Image {index}: {width} x {height}."
    assert found == Protocol(
        system=crux._system(fixed),
        first=f"{{images}}\nQuestion: {{question}}\n\n{crux._INSTRUCTION}",
        image_line=line,
        after_image=f"{line} {crux._NEXT}",
        after_scale=f"{line} Remember: {{question}} {crux._NEXT}",
        tools=NAMES,
        coordinates="permille" if fixed else "pixel",
        images="square_1000" if fixed else "smart",
    )


def test_one_record_is_enough_and_what_it_does_not_show_is_said(published: crux.Crux) -> None:
    rows = records(published.dynamic)
    whole = extract(rows)
    assert extract(rows[2:3]) == whole  # it cuts and scales; its images are not there
    found = study(rows[:1])  # it cuts only
    assert found.notes == ("no row scales an image: after_scale is taken from after_image",)
    assert templates(found.protocol) == (*templates(whole)[:3], whole.after_image)
    assert (found.rows, found.units, found.calls) == (1, 2, {"crop_image": 1})


def test_a_known_question_shows_its_place_in_one_record() -> None:
    chat_protocol = trained(first="{images}\n{question}\n\nThink.\n\nAnswer.")
    record = spoken(chat_protocol, "What\n\nis it?")
    with pytest.raises(DataError, match="where the question begins"):
        extract([record])
    assert extract([msgspec.structs.replace(record, question="What\n\nis it?")]) == chat_protocol


def test_a_question_that_rows_tell_in_other_words_does_not_matter() -> None:
    rows = [
        msgspec.structs.replace(spoken(OWN, f"{question} Choices: {at}"), question=question)
        for at, question in enumerate(QUESTIONS)
    ]
    assert extract(rows) == trained()


@pytest.mark.parametrize("at", [0, 3, 5])
def test_an_odd_row_is_named_with_where_it_differs(at: int) -> None:
    rows = [spoken(OWN, question) for question in QUESTIONS]
    for number, old, new in ((1, "Reason in", "Argue in"), (3, "Go on;", "Carry on;"), (5, "question was", "task is")):
        odd = [reworded(row, number, old, new) if each == at else row for each, row in enumerate(rows)]
        with pytest.raises(DataError) as caught:
            extract(odd)
        assert caught.value.message.startswith(f"row {at + 1}: ")
        assert "is where the others have" in caught.value.message
    assert "task is: What" in caught.value.message or at


def test_texts_are_held_against_templates() -> None:
    assert [templates_of.common_start(*each) for each in (("abc", "ab"), ("ab", "abc"), ("abx", "aby"))] == [2, 2, 2]
    lines = templates_of.block_lines("Image {index}: {width} x {height}{more}", 3)
    assert [re.fullmatch(line, "Image 2: 55 x 7{more}") is not None for line in lines] == [False, False, True]
    twice = templates_of.regex("{question}, {question}", question="(?P<question>.*)")
    assert [re.fullmatch(twice, text) is not None for text in ("a, a", "a, b")] == [True, False]
    said = templates_of.departure(
        "Image 0: 28 x 56\nQ: Why?\nEnd.", "Image {index}: {width} x {height}\nQ: {question}\nStop."
    )
    assert said == "'Image #: # x #\\nQ: Why?\\nEnd' is where the others have '\\nStop'"
    said = templates_of.departure("Image 0: 28 px", "Image {index}: {width} x {height}")
    assert said == "'px' is where the others have 'x #'"
    text = spoken(OWN, "Why?").messages[1].content.replace(MARK, "")
    assert [templates_of.question_of(text, OWN, count) for count in (None, 1, 2, 257)] == ["Why?", "Why?", None, None]


def test_a_tool_shows_one_image_and_problems_show_no_chat_protocol(tmp_path: Path) -> None:
    row = reworded(spoken(OWN, QUESTIONS[0]), 3, MARK, MARK * 2)
    with pytest.raises(DataError, match=r"^row 1: message 4 shows 2 images, and a tool gives one$"):
        extract([row])
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "image": "a.png", "question": "Which?"}\n')
    [source] = formats.sources(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match="holds problems, and no conversation that would show a chat protocol"):
        study_file(source)


def test_a_number_that_is_not_the_images_own_is_a_fault() -> None:
    rows = [spoken(OWN, question) for question in QUESTIONS]
    rows[2] = reworded(rows[2], 3, "Image 1:", "Image 2:")
    with pytest.raises(DataError, match=r"^row 3: the turn that shows image 1 .* its numbers"):
        extract(rows)


def test_a_question_that_a_reminder_changes_is_a_fault() -> None:
    rows = [spoken(OWN, question) for question in QUESTIONS]
    rows[1] = reworded(rows[1], 5, "How long", "How short")
    with pytest.raises(DataError, match=r"^row 2: .* the question in it"):
        extract(rows)


def test_several_system_messages_are_counted() -> None:
    rows = [spoken(OWN, question) for question in QUESTIONS]
    rows[4] = reworded(rows[4], 0, "You answer", "You solve")
    with pytest.raises(DataError, match=r"2 system messages: 5 rows 'You answer .*'; 1 rows? 'You solve"):
        extract(rows)


@pytest.mark.parametrize(
    ("number", "old", "new", "said"),
    [
        (0, '"crop_image"', '"tilt_image"', "the tool tilt_image"),
        (0, "<tools>", "<list>", "lists no tools"),
        (0, '{"type": "function"', "{type", "not JSON"),
        (0, '"name": "crop_image"', '"title": "crop_image"', "a tool of the system message has no name"),
        (1, "Image 0:", "Image:", "announces"),
        (1, MARK, "", "shows no image"),
        (1, "Question:", f"{MARK}Question:", "message 2 has .* within its text"),
        (2, "</think>", "", "the tags are not"),
        (2, "crop_image", "tilt_image", "no tool 'tilt_image'"),
        (3, MARK, MARK * 2, "message 4 shows 2 images"),
    ],
)
def test_rows_that_no_session_could_have_had_are_refused(number: int, old: str, new: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        extract([reworded(spoken(OWN, QUESTIONS[0]), number, old, new)])


def test_rows_without_a_conversation_or_with_other_roles_are_refused() -> None:
    record = spoken(OWN, QUESTIONS[0])
    twice = (*record.messages[:2], *record.messages[1:])
    for messages, said in (
        ((), "no conversation"), (record.messages[1:], "no system"), (twice, "do not alternate"),
        ((*record.messages, record.messages[1], record.messages[2]), "continues after its answer"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"row 1: .*{said}"):
            extract([msgspec.structs.replace(record, messages=messages)])
    with pytest.raises(DataError, match="no rows"):
        extract([])
    with pytest.raises(DataError, match="row 1: its system message is not the one that was given"):
        study([record], system="You look.")
    assert study([record], system=record.messages[0].content).protocol == trained()
    with pytest.raises(DataError, match=r"row 30: .*no conversation"):
        study([record, msgspec.structs.replace(record, messages=())], numbers=[10, 30])


def test_tools_may_be_listed_without_a_type_and_a_last_reply_may_be_broken() -> None:
    record = spoken(OWN, QUESTIONS[0])
    for line in record.messages[0].content.splitlines():
        if line.startswith('{"type"'):
            record = reworded(record, 0, line, json.dumps(json.loads(line)["function"]))
    assert '"type": "function"' not in record.messages[0].content
    found = study([reworded(record, -1, "</think>", "")])
    assert (found.protocol.tools, templates(found.protocol)) == (NAMES, templates(OWN))
    assert found.calls == dict.fromkeys(NAMES, 1)


def unnamed(box: list[int]) -> Record:
    """A record whose schema does not say what its boxes are counted in."""
    record = spoken(OWN, QUESTIONS[0], (CROP, ANSWER))
    record = reworded(record, 0, "in pixels of that image as shown", "of a part")
    return reworded(record, 2, "[0, 0, 84, 56]", json.dumps(box))


def test_coordinates_are_what_caller_schema_or_boxes_say() -> None:
    permille = own_protocol(tools.schemas(NAMES, "permille"), "permille")
    rows = [spoken(permille, question) for question in QUESTIONS]
    assert (study(rows).protocol.coordinates, study(rows).coordinates_from) == ("permille", "schema")
    assert extract(rows, coordinates="pixel").coordinates == "pixel"
    for box, told in (([0, 0, 500, 900], ("permille", "boxes")), ([0, 0, 50, 60], ("pixel", "nothing"))):
        found = study([unnamed(box)])
        assert (found.protocol.coordinates, found.coordinates_from) == told


def test_a_short_question_is_not_cut_out_of_a_word() -> None:
    chat_protocol = trained(first="Examine.\n{images}\n{question}\n\nThink.\n\nAnswer.")
    records = [msgspec.structs.replace(spoken(chat_protocol, "in"), question="in")]
    assert extract(records).first == chat_protocol.first
    chat_protocol = trained(first="Which? Look.\n{images}\nQuestion: {question}\n\nThink.")
    records = [msgspec.structs.replace(spoken(chat_protocol, "Which?"), question="Which?")]
    assert extract(records).first == chat_protocol.first


def test_one_turn_on_one_line_does_not_show_where_its_question_ends() -> None:
    with pytest.raises(DataError, match="where the question begins and ends"):
        extract([spoken(WORDINGS["all on one line"], "Why?")])


def test_a_schema_that_names_two_units_leaves_it_to_the_boxes() -> None:
    record = reworded(unnamed([0, 0, 500, 900]), 0, "of a part", "in pixels or in thousandths")
    found = study([record])
    assert (found.protocol.coordinates, found.coordinates_from) == ("permille", "boxes")


def test_a_box_on_a_crop_is_held_against_that() -> None:
    on_crop = look("crop_image", bbox_2d=[0, 0, 100, 80], image_index=1)  # which is shown at 84 x 56 px
    record = spoken(OWN, QUESTIONS[0], (CROP, on_crop, ANSWER))
    found = study([reworded(record, 0, "in pixels of that image as shown", "of a part")])
    assert (found.protocol.coordinates, found.coordinates_from) == ("permille", "boxes")


@pytest.mark.parametrize("content", [b"Look.", b"Look.\n", b"Look.\r\n", b"\xef\xbb\xbfLook.\n"])
def test_what_editors_add_is_no_part_of_a_system_message(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_bytes(content)
    assert read_system_message(tmp_path / "system.txt") == "Look."


def test_images_are_as_the_caller_or_the_announcements_say() -> None:
    square = msgspec.structs.replace(OWN, images="square_1000")
    rows = [spoken(square, question) for question in QUESTIONS]
    assert extract(rows).images == "square_1000"
    assert extract(rows, images="smart").images == "smart"
    assert extract([*rows, spoken(OWN, "Another?")]).images == "smart"


def test_a_turn_is_held_against_the_tool_that_came_before_it() -> None:
    rows = [spoken(OWN, question, (DISPLAY, SCALE, CROP, ANSWER)) for question in QUESTIONS]
    assert extract(rows) == trained()
    cut = [row.messages[3].content for row in rows]
    swapped = [
        msgspec.structs.replace(
            row, messages=(*row.messages[:5], Message("user", text.replace("Image 1", "Image 2")), *row.messages[6:])
        )
        for row, text in zip(rows, cut, strict=True)
    ]
    assert extract(swapped).after_scale == OWN.after_image
