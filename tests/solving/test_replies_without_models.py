"""Replies that are read, and calls that are written, without a model: on a blank picture, by any chat protocol."""

import json

import msgspec
import pytest
from support.solving import CROP, answer, call

from virc.reasoning.protocol import Coordinates, own_protocol
from virc.solving.reading import examples, read
from virc.tools import registry as tools

SIZE = (336, 252)
OWN = own_protocol(tools.schemas(tools.DEFAULT))


def arguments(text: str | None) -> dict[str, object]:
    assert text
    found: dict[str, object] = json.loads(text.partition("<tool_call>")[2].partition("</tool_call>")[0])["arguments"]
    return found


@pytest.mark.parametrize(
    ("coordinates", "box"),
    [
        ("pixel", [84, 63, 252, 189]),
        ("original", [84, 63, 252, 189]),
        ("thousand", [250, 250, 750, 750]),
        ("unit", [0.25, 0.25, 0.75, 0.75]),
    ],
)
def test_the_box_of_an_example_is_the_middle_of_the_picture(coordinates: Coordinates, box: list[float]) -> None:
    protocol = own_protocol(tools.schemas(["display_image", "crop_image"]), coordinates)
    given = {"bbox_2d": [1, 2, 3, 4], "image_index": 0}
    shown, cut = examples(protocol.tools, protocol, SIZE)
    assert (arguments(shown), arguments(cut)) == ({"image_index": 0}, {"bbox_2d": box, "image_index": 0})
    shown, cut = examples(protocol.tools, protocol, SIZE, arguments=given)
    assert (arguments(shown), arguments(cut)) == ({"image_index": 0}, given)


def test_replies_are_read_one_after_the_other_and_an_answer_ends_their_problem() -> None:
    two = msgspec.structs.replace(OWN, grammar=msgspec.structs.replace(OWN.grammar, most_calls=2))
    again = call("scale_image", scale_factor=0.5, image_index=1).partition("</think>")[2]
    replies = ["no", CROP + again, answer("7"), CROP]
    fault, cut, answered, other = read(replies, two, SIZE)
    assert (fault.fault or "").startswith("the tags are not")
    assert [(each.tool, each.image, each.size, each.box) for each in cut.calls] == [
        ("crop_image", 0, SIZE, (0, 0, 56, 56)), ("scale_image", 1, None, None),
    ]  # fmt: skip
    assert [each.arguments for each in cut.calls] == [{}, {"scale_factor": 0.5}]
    (sent,) = cut.sent
    assert sent.role == "user"
    assert sent.text.startswith("<image 1: 56 x 56><image 2: 56 x 56>Image 1: 56 x 56.")
    assert (answered.answer, answered.thought, answered.sent) == ("7", "Now it is clear.", ())
    assert other.sent[0].text.startswith("<image 1: 56 x 56>Image 1"), "the images of another problem count from 0"
    (refused,) = read([answer("unreadable")], OWN, SIZE)
    assert refused.failure == "the model answered 'unreadable'"
