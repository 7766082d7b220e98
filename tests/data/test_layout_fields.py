"""What each field of a layout makes of a published row: its record, field by field."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from virc.core.errors import DataError
from virc.data.convert.change import Change, changed
from virc.data.formats.registry import LaidOut, Row, Source
from virc.data.rows import laid_out, paired
from virc.data.rows.record import Message, Record
from virc.reasoning.protocol import Protocol
from virc.systems.layouts.layout import Layout

PROBLEM = Layout("mine", question="ask", answer="say", images="pics")
TALK = Layout("mine", messages="talk", images="pics")
PAIR = Layout("mine", question="ask", images="pics", chosen="good", rejected="bad")
IN_SHARES = Protocol("", "", "", "", "", coordinates="permille")
IN_PIXELS = Protocol("", "", "", "", "", coordinates="pixel")


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "png")
    return file.getvalue()


WIDE, TALL, GONE = png(280, 140), png(140, 280), "gone.png"
ROW: dict[str, Any] = {"ask": "Which?", "say": " 7 \n", "pics": [WIDE, TALL], "level": 3, "raw": b"x"}


def record(layout: Layout, protocol: Protocol | None = None, **columns: Any) -> Record:
    return laid_out.record_of(ROW | columns, layout, Path(), protocol)


@pytest.mark.parametrize(
    ("layout", "columns", "field", "value"),
    [
        (PROBLEM, {}, "question", "Which?"),
        (PROBLEM, {"ask": "<image>Which?"}, "question", "Which?"),
        (PROBLEM, {}, "answer", "7"),
        (PROBLEM, {"say": ["7"]}, "answer", "7"),
        (PROBLEM, {"say": {"x": 1}}, "answer", '{"x":1}'),
        (PROBLEM, {"say": "<think>So.</think><answer> 7 </answer>"}, "answer", "7"),
        (PROBLEM, {"say": "So it is \\boxed{\\frac{7}{2}}."}, "answer", "\\frac{7}{2}"),
        (PROBLEM, {"say": "Answer: B"}, "answer", "B"),
        (PROBLEM, {"say": "It is 7, the answer."}, "answer", "It is 7, the answer."),
        (PROBLEM, {"ask": "<image><image> Which?"}, "question", "Which?"),
        (PROBLEM, {"ask": "Is <image> in <image>?"}, "question", "Is <image 1> in <image 2>?"),
        (PROBLEM, {"turn": 5, "box": [1]}, "extra", {"level": 3}),
        (Layout("mine", question="ask", answer="say", choices="level", index_from=0), {"level": None}, "answer", "7"),
        (Layout("mine", question="ask", answer="say", choices="level", index_from=1), {"say": "2", "level": [5, 6, 8]},
         "answer", "6"),
        (Layout("mine", question="ask", answers="say"), {"say": "['b', 'a']"}, "extra",
         {"answers": ["b", "a"], "level": 3, "pics": []}),
        (PROBLEM, {"ask": "<image><image>Which?\n"}, "question", "Which?"),
        (PROBLEM, {"ask": "<image>Which?\n<image>"}, "question", "Which?"),
        (Layout("mine", question="ask", answers="say", metric="vqa_accuracy"), {"say": [" b", "a", 2, "b", ""]},
         "extra",
         {"answers": ["b", "b", "a", "2"], "metric": "vqa_accuracy", "level": 3, "pics": []}),
        (Layout("mine", question="ask", answer="level", answers="say"), {"say": ["a", "3", "a"]}, "extra",
         {"answers": ["3", "a", "a"], "pics": []}),
        (Layout("mine", question="ask", id="level"), {}, "id", 3),
        (Layout("mine", question="ask", id="level"), {"level": 1.5}, "id", "1.5"),
        (Layout("mine", question="ask", choices="level"), {"level": {"A": "one", "B": 2}}, "extra",
         {"choices": ["one", "2"], "say": " 7 \n", "pics": []}),
        (Layout("mine", question="ask", choices="ask", images="pics"), {"ask": "<image>Which? A. 1 B. 2\n<image>"},
         "extra", {"choices": ["A. 1", "B. 2"], "level": 3, "say": " 7 \n"}),
    ],
)  # fmt: skip
def test_a_column_becomes_a_field(layout: Layout, columns: dict[str, Any], field: str, value: object) -> None:
    assert getattr(record(layout, **columns), field) == value


@pytest.mark.parametrize("key", ["content", "value", "text"])
def test_pictures_keep_their_order(key: str) -> None:
    assert [each.data for each in record(PROBLEM).images] == [WIDE, TALL]
    url = "data:image/png;base64,"
    inside = [{"type": "image", "image": {"bytes": each}} for each in (TALL, WIDE)]
    talk = [
        {"role": "user", key: [inside[0], {"type": "text", "text": "Which?"}]},
        {"role": "assistant", key: "This."},
        {"role": "user", key: [inside[1], {"type": "text", "text": "And now?"}]},
    ]
    found = record(Layout("mine", messages="talk"), talk=talk)
    assert [each.data for each in found.images] == [TALL, WIDE]
    assert [each.content for each in found.messages] == ["<image>Which?", "This.", "<image>And now?"]
    assert url not in str(found.messages)


def test_a_row_with_pictures_and_no_message_is_refused() -> None:
    layout = Layout("mine", messages="talk", images="pics", images_first=True)
    with pytest.raises(DataError, match="its messages have 0 <image> marks, and it has 1 images"):
        record(layout, pics=[TALL], talk=[])


@pytest.mark.parametrize(
    ("first", "role"), [({"from": "human"}, "user"), ({"from": "gpt"}, "assistant"), ({"role": "system"}, "system")]
)
def test_roles_are_ours(first: dict[str, str], role: str) -> None:
    found = record(TALK, pics=None, talk=[{**first, "value": "Hello"}])
    assert found.messages == (Message(role, "Hello"),)  # type: ignore[arg-type]
    assert laid_out.record_of({"talk": [{**first, "value": "Hello"}]}, TALK, Path(), None).images == ()


def test_a_system_message_of_its_own_column_comes_first() -> None:
    layout = Layout("mine", messages="talk", system="told")
    found = record(layout, pics=None, told="Look.", talk=[{"role": "user", "content": "Which?"}])
    assert found.messages == (Message("system", "Look."), Message("user", "Which?"))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"told": "Look."}, "Look."), ({"told": ""}, "You are one."), ({"told": None}, "You are one."),
        ({"told": "", "talk": [{"role": "user", "content": "Which?"}]}, None),
        ({"told": "Look.", "talk": [{"role": "tool"}]}, None), ({"told": "", "talk": []}, None),
    ],
)  # fmt: skip
def test_the_system_message_of_a_row_is_its_columns_else_its_first(columns: dict[str, Any], found: str | None) -> None:
    talk = [{"role": "system", "content": "You are one."}, {"role": "user", "content": "Which?"}]
    assert laid_out.system_of({"talk": talk} | columns, Layout("mine", messages="talk", system="told")) == found


@pytest.mark.parametrize(
    ("protocol", "box", "found"),
    [
        (None, [10, 20, 110, 120], (10, 20, 110, 120)),
        (IN_SHARES, [0, 0, 500, 999], (0, 0, 140.14, 140)),  # of the first picture, 280 x 140 px
        (IN_PIXELS, [140, 0, 280, 140], (140, 0, 280, 140)),
    ],
)
def test_boxes_lie_in_the_first_picture(protocol: Protocol | None, box: list[int], found: tuple[float, ...]) -> None:
    layout = Layout("mine", question="ask", images="pics", boxes="level")
    first, second = record(layout, protocol, level=[[0, 0, 70, 35], box]).extra["boxes"]
    assert second == pytest.approx(found, abs=0.2)
    assert first[:2] == (0, 0) != first[2:] != second[2:]


def test_boxes_in_pixels_as_shown_are_scaled_to_the_file() -> None:
    large = png(2800, 1400)
    seen = Protocol("", "", "", "", "", coordinates="pixel", input_pixels=(28 * 28 * 4, 280 * 140))
    layout = Layout("mine", question="ask", images="pics", boxes="level")
    (box,) = record(layout, seen, pics=[large, TALL], level=[[28, 14, 140, 70]]).extra["boxes"]
    assert box == pytest.approx((280, 140, 1400, 700), rel=0.1)
    # a box that was rounded may be off by one of its units
    (box,) = record(layout, IN_SHARES, pics=[large], level=[[0, 0, 1000, 500]]).extra["boxes"]
    assert box == pytest.approx((0, 0, 2800, 700), abs=3)
    assert record(layout, level="(10, 20), (110, 120)").extra["boxes"] == [(10, 20, 110, 120)]


def test_what_rows_of_a_layout_are_and_what_their_boxes_count_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")

    def source(protocol: Protocol | None = None, **fields: Any) -> Source:
        found = LaidOut("mine", Layout("mine", **{"question": "ask", **fields}), protocol, ("so",))
        return Source(tmp_path / "rows.jsonl", "published", "rows", {}, found)

    shares = "thousandths of the sides, 0 to 999"
    into = (f"boxes are counted in {shares}, and become pixels of the file",)
    assert source(boxes="level").reasons == source(coordinates="permille").reasons == ("so",)
    assert source(IN_SHARES, boxes="level").reasons == ("so", *into)
    assert source(boxes="level", coordinates="permille").reasons == ("so", *into)
    written = "are written in {}; virc train writes what its base counts"
    for protocol, unit in ((None, "pixels of the file"), (IN_SHARES, shares)):
        said = source(protocol, objects="of", messages="talk").reasons
        assert sorted(said) == [f"boxes of of {written.format(unit)}", "so"]
    kinds = [source(), source(reply="say"), source(IN_PIXELS, reply="say"), source(messages="talk", question=None)]
    kinds += [source(replied="say"), source(chosen="good", rejected="bad")]
    assert [each.holds for each in kinds] == ["problems"] * 2 + ["solutions"] * 3 + ["pairs"]
    assert [each.laid_out and each.laid_out.written_as for each in kinds] == ["batch"] * 2 + ["sft"] * 3 + ["pairs"]


def test_a_box_is_no_answer_without_the_units_of_a_system() -> None:
    with pytest.raises(DataError, match="its answer, column say, is a box"):
        record(PROBLEM, say=[1, 2, 30, 40])


def test_a_question_with_a_mark_more_than_images_is_a_fault() -> None:
    with pytest.raises(DataError, match="its question has 3 <image> marks, and it has 2 images"):
        record(PROBLEM, ask="<image><image><image>Which?")
    with pytest.raises(DataError, match="its question has 1 <image> mark, and it has 0 images"):
        record(PROBLEM, ask="<image>Which?", pics=[])


@pytest.mark.parametrize(
    ("layout", "columns", "says"),
    [
        (PROBLEM, {"pics": [WIDE] * 257}, "its column pics has 257 images, over 256"),
        (PROBLEM, {"ask": " \n"}, "its question, column ask, is empty"),
        (PROBLEM, {"say": " "}, "its answer, column say, is empty"),
        (PROBLEM, {"ask": 7}, "its column ask is a number, not text"),
        (PROBLEM, {"ask": "Is <image 2> <image 3>?"}, "it names <image 3>, and has 2 images"),
        (PROBLEM, {"pics": [WIDE, b""]}, "its column pics is empty, and an image is due"),
        (PROBLEM, {"pics": [{"bytes": WIDE, "path": 5}]}, "not an image: a path, bytes, or an object with one of them"),
        (Layout("mine", question="ask", boxes="level"), {"level": [[1, 2, 3, 4]]}, "it has boxes, and no image"),
        (Layout("mine", question="ask", answers="level"), {"level": [["a"]]}, "not a list of texts or numbers"),
        (Layout("mine", question="none"), {}, "it has no column none"),
        (Layout("mine", question="ask", images="none"), {}, "it has no column none"),
        (Layout("mine", question="ask", choices="level"), {}, "its column level is a number, not a list of texts or"),
        (Layout("mine", question="ask", images="pics", boxes="level", box="size"), {"level": [[1, 2, 3, 4], [5]]},
         "its column level is a list, not a box, or a list of some, of four numbers each"),
        (Layout("mine", question="ask", replied="say", history="level"), {"level": [["a"]], "pics": None},
         "its column level is a list, not a list of questions with their replies"),
        (Layout("mine", question="ask", images="pics", boxes="level"), {"pics": [GONE], "level": [[1, 2, 3, 4]]},
         "image gone.png cannot be read: no such file"),
        (TALK, {"talk": "[" * 400_000}, "its column talk is no JSON, and over "),
        (TALK, {"talk": "x" * (2**20 + 1)}, "its column talk is a text of over 1 MiB"),
        (TALK, {"talk": "Hello"}, "its column talk is text, not a list of messages"),
        (Layout("mine", messages="talk", system="told"), {"talk": [], "told": 5}, "its column told is a number, not"),
        (TALK, {"talk": [{"role": "user", "content": None, "tool_calls": [1]}]},
         "message 1 has no text, but tool_calls, which nothing reads"),
        (TALK, {"talk": [{"role": "user", "content": "a"}, {"role": "user"}]},
         "message 2 has no text: it is null or missing"),
        (TALK, {"talk": [{"role": "tool", "content": "a"}]}, "message 1 has the role 'tool', not one of system, user"),
        (TALK, {"talk": [{"role": "user", "content": [{"type": "image", "blob": "x"}]}]},
         "message 1 has an image as blob, which nothing reads"),
        (TALK, {"talk": [{"role": "user", "content": [{"type": "sound"}]}]},
         "message 1 is neither text nor a list of texts and images"),
    ],
)  # fmt: skip
def test_what_a_column_cannot_be_is_said_by_its_name(layout: Layout, columns: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as refused:
        record(layout, **columns)
    assert says in refused.value.message


OBJECTS = Layout("mine", messages="talk", images="pics", objects="of")
POINTED = [
    {"role": "user", "content": "<image><image>Where is <ref-object>?"},
    {"role": "assistant", "content": "<bbox>, <bbox>"},
]


@pytest.mark.parametrize(
    ("of", "said"),
    [  # files of 280 x 140 and of 140 x 280 px; both are shown as they are
        ({"ref": ["it"], "bbox": [[28, 14, 140, 70], [7, 9]]}, "[28, 14, 140, 70], [7, 9]"),
        ({"ref": ["it"], "bbox": [[0.1, 0.1, 0.5, 0.5], [0.25, 0.5]], "bbox_type": "norm1"},
         "[28, 14, 140, 70], [70, 70]"),
        ({"ref": ["it"], "bbox": [[0.1, 0.1, 0.5, 0.5]] * 2, "bbox_type": "norm1", "image_id": [1, 0]},
         "[14, 28, 70, 140], [28, 14, 140, 70]"),
        ({"ref": ["it", "that"], "bbox": [[1, 2]] * 2}, "its messages have 1 <ref-object>, and its column of 2"),
        ({"ref": ["it"], "bbox": [[1, 2]]}, "its messages have 2 <bbox>, and its column of 1"),
        ({"ref": ["it"], "bbox": [[1, 2], [1, 2, 3]]}, "one of its boxes is neither 2 nor 4 numbers: [1, 2, 3]"),
        ({"ref": ["it"], "bbox": [[1, 2]] * 2, "image_id": [0, 2]},
         "one of its boxes is of image 2, and it has 2 images"),
        ({"ref": ["it"], "bbox": [[1, 2]] * 2, "bbox_type": "cm"},
         "its bbox_type is cm, neither real (pixels) nor norm1"),
        ({"ref": ["it"], "bbox": [[0.1, 0.2]] * 2},
         "its box [0.1, 0.2] is in shares of the sides; write `bbox_type: norm1`"),
        ({"ref": ["it"], "bbox": [[28, 14, 140, 170], [1, 2]]}, "one of its boxes is outside"),
        ({"ref": "it"}, "not an object whose `ref`, `bbox` and `image_id` are lists"),
        ([1], "not an object whose `ref`, `bbox` and `image_id` are lists"),
    ],
)  # fmt: skip
def test_what_placeholders_of_objects_stand_for_is_written_in_the_units_of_the_layout(of: Any, said: str) -> None:
    if said[0] != "[":
        with pytest.raises(DataError) as refused:
            record(OBJECTS, talk=POINTED, of=of)
        assert said in refused.value.message
        return
    found = record(OBJECTS, talk=POINTED, of=of)
    assert [each.content for each in found.messages] == ["<image><image>Where is it?", said]


@pytest.mark.parametrize("text", ["Who is A. Smith and B. Jones in it?", "A. red\nB. blue", "Which?\nA. red\nA. blue",
                                  "Which?\nA. Is it red?\nB. Is it blue?"])  # fmt: skip
def test_a_question_that_is_to_end_with_choices_and_does_not_is_a_fault(text: str) -> None:
    with pytest.raises(DataError, match="its question does not end with choices"):
        record(Layout("mine", question="ask", choices="ask"), ask=text)


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ([110, 20, 10, 120], "turned round"),
        ([10, 120, 110, 20], "turned round"),
        ([10, 20, 300, 120], "outside"),
        ([10, 20, 110, 150], "outside"),
        ([-9, 20, 110, 120], "outside"),
        ([10, 20, 110], "boxes"),
    ],
)
def test_a_box_that_cannot_be_is_a_fault(box: list[int], sentence: str) -> None:
    layout = Layout("mine", question="ask", images="pics", boxes="level")
    for boxes in ([box, [10, 20, 30, 40]], [[10, 20, 30, 40], box]):
        with pytest.raises(DataError, match=sentence):
            record(layout, level=boxes)


SIDES = {"good": "It is 12.", "bad": "It is 3."}


def pair(layout: Layout = PAIR, **columns: Any) -> Record:
    return paired.record_of(ROW | SIDES | columns, layout, Path(), None)


def test_the_better_reply_of_a_pair_ends_its_conversation() -> None:
    found = pair()
    assert found.messages == (Message("user", "<image><image>Which?"), Message("assistant", "It is 12."))
    assert (found.rejected, found.answer, found.question) == ("It is 3.", None, None)
    assert found.extra == {"level": 3, "say": " 7 \n"}
    assert pair(pics=WIDE).messages[0].content == "<image>Which?"


def test_sides_that_have_their_own_turns_give_the_last_of_them() -> None:
    turns = [{"role": "user", "content": "Which?"}]
    sides = {name: [*turns, {"role": "assistant", "content": text}] for name, text in SIDES.items()}
    found = pair(Layout("mine", images="pics", chosen="good", rejected="bad"), **sides)
    assert found.messages == (Message("user", "<image><image>Which?"), Message("assistant", "It is 12."))
    other = [{"role": "user", "content": "What?"}, sides["bad"][-1]]
    with pytest.raises(DataError, match="do not follow the same turns"):
        pair(Layout("mine", images="pics", chosen="good", rejected="bad"), good=sides["good"], bad=other)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"good": []}, "its column good is an empty list, and a reply is due"),
        ({"bad": 5}, "its column bad is no reply: a text, a message, or a list that ends with one"),
        ({"bad": {"role": "user", "content": "a"}}, "its column bad ends with a message of user, and the assistant"),
        ({"ask": [5]}, "its column messages is a list, not a list of messages"),
    ],
)
def test_what_is_no_side_of_a_pair_is_said(columns: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as refused:
        pair(**columns)
    assert says in refused.value.message


def test_a_pair_follows_one_message_a_list_of_some_or_a_system_message_and_marks_stay() -> None:
    turn = {"role": "user", "content": "Which?"}
    system, marked = {"role": "system", "content": "Look."}, {"role": "user", "content": "Is it <image> or <image>?"}
    for asked, texts in (
        (turn, ["<image><image>Which?"]), ([system, turn, {"role": "assistant", "content": "A."}, turn],
         ["Look.", "<image><image>Which?", "A.", "Which?"]), ([marked], ["Is it <image> or <image>?"]),
    ):  # fmt: skip
        assert [each.content for each in pair(ask=asked).messages] == [*texts, "It is 12."]
    with pytest.raises(DataError, match="its replies have no turns before them, and no column has those"):
        pair(Layout("mine", images="pics", chosen="good", rejected="bad"))


def test_bytes_of_a_picture_may_be_under_image_and_base64() -> None:
    assert [each.data for each in record(PROBLEM, pics=[{"image": WIDE}, {"bytes": TALL, "path": "a.png"}]).images] == [
        WIDE, TALL,
    ]  # fmt: skip
    layout = Layout("mine", question="ask", images="pics", base64=True)
    assert [each.data for each in record(layout, pics=[base64.b64encode(TALL).decode()]).images] == [TALL]


def test_earlier_turns_of_a_row_stand_before_its_own() -> None:
    layout = Layout("mine", question="ask", replied="say", history="past", images="pics", images_first=True)
    found = record(layout, say="B.", past=[["One?", "1."], ["Two?", "2."]])
    assert [each.content for each in found.messages] == ["<image><image>One?", "1.", "Two?", "2.", "Which?", "B."]


@pytest.mark.parametrize(
    ("given", "kept"), [("mmm", "mmm"), ("virc", None), ("deepeyes", None), (3, None), (None, None)]
)
def test_what_stands_as_the_source_of_a_row_is_kept_unless_it_names_a_system(given: object, kept: str | None) -> None:
    messages = (Message("user", "Which?"), Message("assistant", "12"))
    record = Record(messages, question="Which?", extra={"data_source": given})
    extra = changed(Change("solutions", system="tiny"), Row(1, record))[0].known().extra
    assert (extra["data_source"], extra.get("published_data_source")) == ("tiny", kept)


@pytest.mark.parametrize("holds", ["problems", "solutions"])
def test_the_better_of_two_replies_is_no_answer(holds: Any) -> None:
    reply = "<think>so</think>\n<answer>12</answer>"
    messages = (Message("user", "Question: Which?"), Message("assistant", reply))
    alone, one_of_two = Record(messages, question="Which?"), Record(messages, question="Which?", rejected="3")
    (first, _), (second, _) = (changed(Change(holds), Row(1, each)) for each in (alone, one_of_two))
    assert second.known().rejected is None
    assert second.known().answer is None
    assert first.known().answer == ("12" if holds == "problems" else None)
